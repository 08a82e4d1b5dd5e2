"""What a person reads and changes about their own account."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct, UnsetType

from cloud_api.accounts.means import Means
from cloud_api.accounts.people import store
from cloud_api.accounts.people.store import Person
from cloud_api.accounts.tokens import Bearer
from cloud_api.http.caller import AccountGoneError
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
        present = of(await store.person_and_roles(bearer.account).within(connection))
        check(present)
        await store.set_profile(
            connection,
            bearer.account,
            name=present.person.name if isinstance(name, UnsetType) else name,
            language=present.person.language if isinstance(language, UnsetType) else language,
        )
        return of(await store.person_and_roles(bearer.account).within(connection))
