"""What a person reads and changes about their own account."""

from msgspec import Struct

from cloud_api.accounts.means import Means
from cloud_api.accounts.people import store
from cloud_api.accounts.people.store import Person
from cloud_api.accounts.tokens import Bearer
from cloud_api.db import Connection
from cloud_api.http.caller import AccountGoneError


class Profile(Struct, frozen=True):
    person: Person
    roles: list[str]


async def read(means: Means, bearer: Bearer) -> Profile:
    """
    Raises:
        AccountGoneError: it was deleted, and the access token is still good for some minutes.
    """
    async with means.db.transaction(bearer.account) as connection:
        return await _of(connection, bearer)


async def change(means: Means, bearer: Bearer, *, name: str | None, language: str) -> Profile:
    """
    Raises:
        AccountGoneError
    """
    async with means.db.transaction(bearer.account) as connection:
        await store.set_profile(connection, bearer.account, name=name, language=language)
        return await _of(connection, bearer)


async def _of(connection: Connection, bearer: Bearer) -> Profile:
    found = await store.person_and_roles(connection, bearer.account)
    if found is None:
        raise AccountGoneError
    return Profile(*found)
