from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from msgspec import structs

from cloud_api import deps as wiring
from cloud_api.deps import Deps
from cloud_api.settings import Settings
from tests.cloud_api.accounts.conftest import ada, bob, clock, mailbox, signed_up
from tests.cloud_api.accounts.people import Hands, Person
from tests.cloud_api.clients import client_of
from tests.cloud_api.strangers import Unlimited
from tests.cloud_api.sync.vaults import Device, Subscription, founded

__all__ = ["ada", "bob", "clock", "mailbox", "signed_up"]


@pytest.fixture
def subscription() -> Subscription:
    return Subscription()


@pytest.fixture
def deps(settings: Settings, database_url: str, clock: Hands, subscription: Subscription) -> Deps:
    made = wiring.build(settings, database_url, clock=clock, may_push=subscription.may_push)
    return structs.replace(made, counters=Unlimited())


@pytest.fixture
async def client(deps: Deps) -> AsyncIterator[AsyncClient]:
    async with client_of(deps) as opened:
        yield opened


@pytest.fixture
async def phone(ada: Person) -> Device:
    """Ada's first device, let in."""
    return await founded(ada, "phone")


@pytest.fixture
async def laptop(phone: Device) -> Device:
    """Ada's second device, let in."""
    return await phone.paired("laptop")


@pytest.fixture
async def here(settings: Settings, database_url: str, clock: Hands) -> AsyncIterator[Deps]:
    """Another process on the same database."""
    made = wiring.build(settings, database_url, clock=clock)
    async with wiring.opened(made):
        yield made
