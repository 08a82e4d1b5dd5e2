"""What a person reads and changes about their own account."""

from msgspec import Struct

from cloud_api.accounts.means import Means
from cloud_api.accounts.people import store
from cloud_api.accounts.people.actions import own
from cloud_api.accounts.people.store import Person
from cloud_api.accounts.roles.store import roles_of
from cloud_api.accounts.tokens import Bearer


class Profile(Struct, frozen=True):
    person: Person
    roles: list[str]


async def read(means: Means, bearer: Bearer) -> Profile:
    async with means.db.transaction(bearer.account) as connection:
        person = await own(connection, bearer)
        return Profile(person, await roles_of(connection, bearer.account))


async def change(means: Means, bearer: Bearer, *, name: str | None, language: str) -> Profile:
    async with means.db.transaction(bearer.account) as connection:
        await store.set_profile(connection, bearer.account, name=name, language=language)
        person = await own(connection, bearer)
        return Profile(person, await roles_of(connection, bearer.account))
