"""What a person reads and changes about their own account."""

from datetime import datetime

from msgspec import Struct

from cloud_api.accounts.means import Means
from cloud_api.accounts.people import store
from cloud_api.accounts.people.actions import AccountGoneError
from cloud_api.accounts.people.store import Person
from cloud_api.accounts.tokens import Bearer
from cloud_api.questions import Asked


class Profile(Struct, frozen=True):
    person: Person
    roles: list[str]


def asked(bearer: Bearer, _: datetime) -> Asked[tuple[Person, list[str]]]:
    """What `of` makes a profile of; goes along with a guard."""
    return store.person_and_roles(bearer.account)


def of(found: list[tuple[Person, list[str]]]) -> Profile:
    """
    Raises:
        AccountGoneError: it was deleted, and the access token is still good for some minutes.
    """
    if not found:
        raise AccountGoneError
    return Profile(*found[0])


async def change(means: Means, bearer: Bearer, *, name: str | None, language: str) -> Profile:
    """
    Raises:
        AccountGoneError
    """
    async with means.db.transaction(bearer.account) as connection:
        await store.set_profile(connection, bearer.account, name=name, language=language)
        return of(await store.person_and_roles(bearer.account).within(connection))
