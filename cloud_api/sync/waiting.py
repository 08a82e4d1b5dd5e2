"""Waiting for a vault to move: its head, its device list, or its generation, in which positions are counted anew.

Whoever is woken looks in the database, and is sent away once it was removed from the vault. Who hears nothing looks now and then too: of
a generation that a terminal began nobody is told, and a word may get lost.
"""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from cloud_api.devices.passes import Pass
from cloud_api.sync import rules, store
from cloud_api.sync.refusals import DeviceRevokedError
from cloud_api.sync.relay import Relay, missing
from cloud_api.sync.store import Mark
from shared.errors import SunaivaError


async def mark(relay: Relay, device_pass: Pass) -> Mark:
    """
    Raises:
        DeviceRevokedError, VaultNotFoundError, VaultDeletedError
    """
    question = store.mark(device_pass.vault, device_pass.device)
    found = await relay.db.ask(device_pass.account, question)
    if not found:
        async with relay.db.transaction(device_pass.account) as connection:
            if await store.vault(connection, device_pass.vault) is None:
                raise await missing(connection, device_pass.vault)
        raise DeviceRevokedError
    return found[0]


async def beyond(
    relay: Relay,
    device_pass: Pass,
    *,
    after: int,
    generation: UUID | None,
    control_seq: int | None,
    seconds: float,
) -> Mark:
    """How far the vault has come, once its head is beyond `after`, or what else the device names is not so any more, or the time is over.

    Raises:
        TooManyListenersError, DeviceRevokedError, VaultNotFoundError, VaultDeletedError
    """
    # Listening begins before looking: what is pushed between the two is not missed.
    async with relay.nudges.listening(device_pass.vault) as woken:
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            found = await mark(relay, device_pass)
            is_news = (
                found.head_pos > after
                or generation not in (None, found.generation)
                or (control_seq is not None and found.control_seq > control_seq)
            )
            left = deadline - asyncio.get_running_loop().time()
            if is_news or left <= 0 or relay.nudges.has_ended:
                return found
            await _is_woken(woken, min(left, rules.HEARTBEAT_SECONDS))


async def marks(relay: Relay, device_pass: Pass, *, after: Mark) -> AsyncIterator[Mark | None]:
    """Each time that the vault has moved; None when nothing has happened for a while. Ends when the device was removed, the vault is gone,
    or this process leaves.

    Raises:
        TooManyListenersError
    """
    told = after
    async with relay.nudges.listening(device_pass.vault) as woken:
        # What was pushed before listening began.
        woken.set()
        while not relay.nudges.has_ended:
            is_woken = await _is_woken(woken, rules.HEARTBEAT_SECONDS)
            try:
                found = await mark(relay, device_pass)
            except SunaivaError:
                return  # the stream ends; what the matter is, the next request is told
            if found != told:
                told = found
                yield found
            elif not is_woken:
                yield None


async def _is_woken(woken: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return False
    woken.clear()
    return True
