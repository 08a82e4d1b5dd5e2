from collections.abc import Awaitable, Callable

import pytest
from httpx import AsyncClient

from cloud_api import deps as wiring
from cloud_api.deps import Deps
from cloud_api.settings import Settings
from tests.cloud_api.accounts.people import AGREED, PASSWORD, Hands, Mailbox, Person

SignedUp = Callable[[str], Awaitable[Person]]


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def deps(settings: Settings, database_url: str, clock: Hands) -> Deps:
    return wiring.build(settings, database_url, clock=clock)


@pytest.fixture
def mailbox(deps: Deps) -> Mailbox:
    return Mailbox(deps)


@pytest.fixture
def signed_up(client: AsyncClient, mailbox: Mailbox) -> SignedUp:
    """Somebody with an account, logged in."""

    async def sign_up(mail: str) -> Person:
        person = Person(client, mail)
        asked = {"mail": mail, "password": PASSWORD, **AGREED}
        assert (await person.post("/auth/sign-up", asked)).status_code == 202
        verifying = {"token": await mailbox.token(mail), "password": PASSWORD}
        assert (await person.post("/auth/verify", verifying)).status_code == 204
        assert (await person.log_in()).status_code == 200
        return person

    return sign_up


@pytest.fixture
async def ada(signed_up: SignedUp) -> Person:
    return await signed_up("ada@example.org")


@pytest.fixture
async def bob(signed_up: SignedUp) -> Person:
    return await signed_up("bob@example.org")
