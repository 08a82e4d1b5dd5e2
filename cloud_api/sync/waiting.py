"""Waiting for a vault's head to move. Whoever is woken looks in the database, and is sent away once it was removed from the vault."""

import asyncio
from collections.abc import AsyncIterator

from cloud_api.devices.passes import Pass
from cloud_api.sync import rules, store
from cloud_api.sync.refusals import DeviceRevokedError
from cloud_api.sync.relay import Relay
from shared.errors import SunaivaError


async def head(relay: Relay, device_pass: Pass) -> int:
    """
    Raises:
        DeviceRevokedError: or the vault is gone; for who waits it is the same.
    """
    async with relay.db.transaction(device_pass.account) as connection:
        found = await store.head_pos(connection, device_pass.vault, device_pass.device)
    if found is None:
        raise DeviceRevokedError
    return found


async def beyond(relay: Relay, device_pass: Pass, *, after: int, seconds: float) -> int:
    """The head, once it is beyond `after` or the time is over.

    Raises:
        TooManyListenersError, DeviceRevokedError
    """
    # Listening begins before looking: what is pushed between the two is not missed.
    async with relay.nudges.listening(device_pass.vault) as woken:
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            found = await head(relay, device_pass)
            left = deadline - asyncio.get_running_loop().time()
            if found > after or left <= 0 or not await _is_woken(woken, left):
                return found


async def heads(relay: Relay, device_pass: Pass, *, after: int) -> AsyncIterator[int | None]:
    """The head each time it moves; None when nothing has happened for a while. Ends when the device was removed.

    Raises:
        TooManyListenersError
    """
    told = after
    async with relay.nudges.listening(device_pass.vault) as woken:
        # What was pushed before listening began.
        woken.set()
        while True:
            if not await _is_woken(woken, rules.HEARTBEAT_SECONDS):
                yield None
                continue
            try:
                found = await head(relay, device_pass)
            except SunaivaError:
                return  # the stream ends; what the matter is, the next request is told
            if found > told:
                told = found
                yield found


async def _is_woken(woken: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return False
    woken.clear()
    return True
