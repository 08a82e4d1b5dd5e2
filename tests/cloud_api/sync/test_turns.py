"""Pushes of one vault that wait for the same turn go together, and each is answered for itself."""

import asyncio

import pytest

from cloud_api.deps import Deps
from cloud_api.devices.passes import Pass
from cloud_api.sync import waiting
from cloud_api.sync.batches import push
from cloud_api.sync.placing import Pushed
from cloud_api.sync.refusals import BatchGapError
from sync_service.sealed.frames import PUSH_BYTES_MAX, Frame
from tests.cloud_api.sync.test_batches import noise
from tests.cloud_api.sync.test_waiting import pass_of
from tests.cloud_api.sync.vaults import Device

pytestmark = pytest.mark.anyio


@pytest.fixture
async def phone_pass(phone: Device, here: Deps) -> Pass:
    """Of the phone, which has pushed a batch already: the process knows the device list."""
    own = await pass_of(phone)
    await push(here.relay, own, phone.seal(b"first").raw)
    return own


async def waiting_pushes(
    here: Deps, *pushes: tuple[Pass, list[Frame]]
) -> list[asyncio.Task[Pushed]]:
    """All of them have come before the first has its turn."""
    own, _ = pushes[0]
    async with here.relay.turns.of(own.vault):
        tasks = [
            asyncio.create_task(push(here.relay, each, b"".join(one.raw for one in frames)))
            for each, frames in pushes
        ]
        await waiting.mark(here.relay, own)
    return tasks


async def transactions(here: Deps, own: Pass) -> int:
    """In how many of them batches were stored."""
    async with here.db.transaction(own.account) as connection:
        cursor = await connection.execute("SELECT count(DISTINCT xmin::text) FROM batches")
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_pushes_that_wait_are_stored_together_and_answered_apart(
    phone: Device, laptop: Device, phone_pass: Pass, here: Deps
) -> None:
    laptop_pass = await pass_of(laptop)
    mine, yours = phone.seal(), laptop.seal()
    laptop.seal()
    early = laptop.seal()
    tasks = await waiting_pushes(
        here,
        (phone_pass, [mine]),
        (laptop_pass, [early]),
        (laptop_pass, [yours]),
        (phone_pass, [mine]),
    )
    first, refused, second, again = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(refused, BatchGapError)
    places = [
        [each.pos for each in one.placed]
        for one in (first, second, again)
        if isinstance(one, Pushed)
    ]
    assert places == [[2], [3], [2]]
    assert [frame.raw for _, frame in await phone.read(1)] == [mine.raw, yours.raw]
    assert await transactions(here, phone_pass) == 2  # with the first one of the phone


async def test_who_leaves_does_not_end_what_others_wait_for(
    phone: Device, laptop: Device, phone_pass: Pass, here: Deps
) -> None:
    mine, yours = phone.seal(), laptop.seal()
    leaves, stays = await waiting_pushes(
        here, (phone_pass, [mine]), (await pass_of(laptop), [yours])
    )
    leaves.cancel()
    assert (await stays).head_pos == 3
    with pytest.raises(asyncio.CancelledError):
        await leaves


async def test_together_they_are_never_more_than_one_push_may_be(
    phone: Device, laptop: Device, phone_pass: Pass, here: Deps
) -> None:
    large = noise(1, PUSH_BYTES_MAX // 32 // 3)
    mine, yours = [phone.seal(large), phone.seal(large)], [laptop.seal(large), laptop.seal(large)]
    tasks = await waiting_pushes(here, (phone_pass, mine), (await pass_of(laptop), yours))
    assert [(await task).head_pos for task in tasks] == [3, 5]
    assert await transactions(here, phone_pass) == 3
