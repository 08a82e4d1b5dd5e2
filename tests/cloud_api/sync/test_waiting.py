"""Waiting for news, also of what another process took in."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from msgspec import structs

from cloud_api import deps as wiring
from cloud_api.deps import Deps
from cloud_api.devices.actions import VaultDeletedError
from cloud_api.devices.names import DeviceId, VaultId
from cloud_api.devices.passes import Pass
from cloud_api.settings import Settings
from cloud_api.sync import rules, vaults, waiting
from cloud_api.sync.batches import push
from cloud_api.sync.commands import renew_generations
from cloud_api.sync.refusals import TooManyListenersError
from cloud_api.sync.rules import LISTENERS_PER_VAULT_MAX
from cloud_api.sync.store import Mark
from tests.cloud_api.accounts.people import Hands, Person
from tests.cloud_api.clients import client_of
from tests.cloud_api.strangers import Unlimited
from tests.cloud_api.sync.test_vaults import account_of
from tests.cloud_api.sync.vaults import Device, create

pytestmark = pytest.mark.anyio


@pytest.fixture
async def elsewhere(
    settings: Settings, database_url: str, clock: Hands
) -> AsyncIterator[AsyncClient]:
    """Another process on the same database."""
    deps = structs.replace(wiring.build(settings, database_url, clock=clock), counters=Unlimited())
    async with client_of(deps) as opened:
        yield opened


async def test_what_is_there_already_is_not_waited_for(phone: Device) -> None:
    await phone.wrote(b"one")
    answer = await phone.get("/wait", after=0, seconds=55)
    assert answer.json()["head_pos"] == 1


async def test_when_the_time_is_over_the_head_is_said_as_it_is(phone: Device) -> None:
    await phone.wrote(b"one")
    assert (await phone.get("/wait", after=1, seconds=0)).json()["head_pos"] == 1
    assert (await phone.get("/wait", after=1, seconds=1)).json()["head_pos"] == 1


async def test_a_push_in_one_process_wakes_who_waits_in_another(
    phone: Device, laptop: Device, elsewhere: AsyncClient
) -> None:
    person = structs.replace(laptop.person, client=elsewhere)
    there = structs.replace(laptop, person=person)
    for head in (1, 2, 3):
        waits = asyncio.create_task(there.get("/wait", after=head - 1, seconds=50))
        await phone.wrote(b"news")
        async with asyncio.timeout(20):
            assert (await waits).json()["head_pos"] == head


async def test_heads_are_told_as_they_move_until_the_device_is_removed(
    phone: Device, laptop: Device, here: Deps
) -> None:
    own = await pass_of(laptop)
    async with asyncio.timeout(20):
        marks = waiting.marks(here.relay, own, after=await waiting.mark(here.relay, own))
        for head in (1, 2):
            await phone.wrote(b"news")
            assert await moved(marks) == head
        await phone.revoke(laptop)
        assert [each async for each in marks] == []


async def test_who_waits_is_let_go_when_the_process_leaves(laptop: Device, here: Deps) -> None:
    own = await pass_of(laptop)
    present = await waiting.mark(here.relay, own)
    marks = waiting.marks(here.relay, own, after=present)
    async with asyncio.timeout(20):
        polls = asyncio.create_task(
            waiting.beyond(here.relay, own, after=0, generation=None, control_seq=None, seconds=50)
        )
        here.relay.nudges.end()
        assert await polls == present
        assert [each async for each in marks] == []


async def test_a_longer_device_list_is_told_at_once(
    phone: Device, laptop: Device, here: Deps
) -> None:
    own = await pass_of(laptop)
    before = await waiting.mark(here.relay, own)
    async with asyncio.timeout(20):
        marks = waiting.marks(here.relay, own, after=before)
        told = asyncio.create_task(moved(marks))
        waits = asyncio.create_task(beyond(here, own, before))
        await phone.paired("tablet")
        assert await told == 0
        assert (await waits).control_seq > before.control_seq


async def test_a_vault_that_is_founded_anew_is_told_although_its_head_is_lower(
    phone: Device, laptop: Device, ada: Person, here: Deps
) -> None:
    await phone.wrote(b"one", b"two")
    own = await pass_of(laptop)
    before = await waiting.mark(here.relay, own)
    marks = waiting.marks(here.relay, own, after=before)
    told = asyncio.create_task(anext(marks, None))
    waits = asyncio.create_task(beyond(here, own, before))
    async with asyncio.timeout(20):
        await vaults.delete(here.relay, own.account, own.vault)
        assert await told is None
        with pytest.raises(VaultDeletedError):
            await waits
        await vaults.take_deletion_back(here.relay, own.account, own.vault)
        assert (await create(ada, phone.vault)).status_code == 201
        now = await laptop.get("/wait", after=2, generation=before.generation, seconds=50)
    assert (now.status_code, now.json()["head_pos"]) == (200, 0)
    assert now.json()["generation"] != str(before.generation)


async def test_a_generation_that_a_terminal_began_is_told_to_who_waits(
    laptop: Device, here: Deps, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "HEARTBEAT_SECONDS", 0.2)
    own = await pass_of(laptop)
    before = await waiting.mark(here.relay, own)
    async with asyncio.timeout(20):
        marks = waiting.marks(here.relay, own, after=before)
        told = asyncio.create_task(moved(marks))
        waits = asyncio.create_task(beyond(here, own, before))
        await renew_generations(database_url, None)
        assert await told == before.head_pos
        assert (await waits).generation != before.generation


async def pass_of(device: Device) -> Pass:
    account = await account_of(device.person)
    return Pass(account, VaultId(device.vault.id), DeviceId(device.id))


async def beyond(here: Deps, own: Pass, before: Mark) -> Mark:
    return await waiting.beyond(
        here.relay,
        own,
        after=before.head_pos,
        generation=before.generation,
        control_seq=before.control_seq,
        seconds=50,
    )


async def moved(marks: AsyncIterator[Mark | None]) -> int:
    """The head at the next movement."""
    async for each in marks:
        if each is not None:
            return each.head_pos
    raise AssertionError("the stream ended")


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
