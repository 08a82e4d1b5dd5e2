"""What a person reads and changes about their own account."""

from collections.abc import Callable

from msgspec import Struct, UnsetType

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


async def change(
    means: Means,
    bearer: Bearer,
    check: Callable[[Profile], None],
    *,
    name: str | UnsetType | None,
    language: str | UnsetType,
) -> Profile:
    """What is unset stays. `check` sees the present one, which nobody else changes meanwhile, and raises if it is not to be changed.

    Raises:
        AccountGoneError
    """
    async with means.db.transaction(bearer.account) as connection:
        await store.lock_person(connection, bearer.account)
        present = await _of(connection, bearer)
        check(present)
        await store.set_profile(
            connection,
            bearer.account,
            name=present.person.name if isinstance(name, UnsetType) else name,
            language=present.person.language if isinstance(language, UnsetType) else language,
        )
        return await _of(connection, bearer)


async def _of(connection: Connection, bearer: Bearer) -> Profile:
    found = await store.person_and_roles(connection, bearer.account)
    if found is None:
        raise AccountGoneError
    return Profile(*found)
