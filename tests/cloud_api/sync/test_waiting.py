"""Waiting for news, also of what another process took in."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from litestar.testing import AsyncTestClient
from litestar.types import ASGIApp
from msgspec import structs

from cloud_api import deps as wiring
from cloud_api.app import create_app
from cloud_api.deps import Deps
from cloud_api.devices.names import DeviceId, VaultId
from cloud_api.devices.passes import Pass
from cloud_api.settings import Settings
from cloud_api.sync import waiting
from cloud_api.sync.batches import push
from cloud_api.sync.refusals import TooManyListenersError
from cloud_api.sync.rules import LISTENERS_PER_VAULT_MAX
from tests.cloud_api.accounts.people import Hands
from tests.cloud_api.strangers import Unlimited
from tests.cloud_api.sync.test_vaults import account_of
from tests.cloud_api.sync.vaults import Device

pytestmark = pytest.mark.anyio


@pytest.fixture
async def elsewhere(
    settings: Settings, database_url: str, clock: Hands
) -> AsyncIterator[AsyncTestClient[ASGIApp]]:
    """Another process on the same database."""
    deps = structs.replace(wiring.build(settings, database_url, clock=clock), counters=Unlimited())
    async with AsyncTestClient(create_app(deps)) as opened:
        yield opened


async def test_what_is_there_already_is_not_waited_for(phone: Device) -> None:
    await phone.wrote(b"one")
    answer = await phone.get("/wait", after=0, seconds=55)
    assert answer.json() == {"head_pos": 1}


async def test_when_the_time_is_over_the_head_is_said_as_it_is(phone: Device) -> None:
    await phone.wrote(b"one")
    assert (await phone.get("/wait", after=1, seconds=0)).json() == {"head_pos": 1}
    assert (await phone.get("/wait", after=1, seconds=1)).json() == {"head_pos": 1}


async def test_a_push_in_one_process_wakes_who_waits_in_another(
    phone: Device, laptop: Device, elsewhere: AsyncTestClient[ASGIApp]
) -> None:
    person = structs.replace(laptop.person, client=elsewhere)
    there = structs.replace(laptop, person=person)
    for head in (1, 2, 3):
        waits = asyncio.create_task(there.get("/wait", after=head - 1, seconds=50))
        await phone.wrote(b"news")
        async with asyncio.timeout(20):
            assert (await waits).json() == {"head_pos": head}


async def test_heads_are_told_as_they_move_until_the_device_is_removed(
    phone: Device, laptop: Device, here: Deps
) -> None:
    account = await account_of(phone.person)
    vault = VaultId(phone.vault.id)
    own = Pass(account, vault, DeviceId(laptop.id))
    async with asyncio.timeout(20):
        heads = waiting.heads(here.relay, own, after=0)
        for head in (1, 2):
            await phone.wrote(b"news")
            assert await anext(heads) == head
        await phone.revoke(laptop)
        await phone.wrote(b"not for it")
        assert [each async for each in heads] == []


async def test_listeners_of_a_vault_are_bounded_and_make_room_when_they_leave(
    deps: Deps, phone: Device
) -> None:
    vault = VaultId(phone.vault.id)
    nudges = deps.relay.nudges
    opened = [nudges.listening(vault) for _ in range(LISTENERS_PER_VAULT_MAX)]
    for each in opened:
        await each.__aenter__()
    answer = await phone.get("/wait", seconds=0)
    assert (answer.status_code, answer.json()["code"]) == (429, "listeners_too_many")
    assert answer.headers["retry-after"] == "30"
    with pytest.raises(TooManyListenersError):
        nudges.demand_room(vault)
    await opened[0].__aexit__(None, None, None)
    assert (await phone.get("/wait", seconds=0)).status_code == 200
    for each in opened[1:]:
        await each.__aexit__(None, None, None)


async def test_an_answer_that_is_lost_after_the_commit_is_given_again(
    phone: Device, here: Deps
) -> None:
    frame = phone.seal()
    own = Pass(await account_of(phone.person), VaultId(phone.vault.id), DeviceId(phone.id))
    await push(here.relay, own, frame.raw)  # nobody hears what it returned
    again = await phone.push(frame)
    assert (again.status_code, again.json()["placed"][0]["pos"]) == (200, 1)
    assert len(await phone.read()) == 1
