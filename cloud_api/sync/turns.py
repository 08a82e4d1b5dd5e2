"""Turns at a vault, within a process: who writes to one waits here, before a connection is taken. Else those who wait for one busy
vault's row would hold all the connections of the process, and everybody else would wait with them.

Pushes that wait for the same turn go together: one transaction and one write to the disk for all, and an answer for each.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID
from weakref import WeakValueDictionary

from msgspec import Struct

from cloud_api.devices.names import VaultId
from cloud_api.devices.passes import Pass
from cloud_api.sync.placing import Pushed
from shared.errors import SunaivaError
from sync_service.sealed.frames import PUSH_BYTES_MAX, PUSH_FRAMES_MAX, Frame


class Push(Struct, frozen=True):
    """Its batches were authenticated, and have no place yet."""

    device_pass: Pass
    frames: Sequence[Frame]


Outcome = Pushed | SunaivaError
Store = Callable[[Sequence[Push]], Awaitable[list[Outcome]]]
"""Stores or refuses each by itself; what it raises holds for all of them."""


class _Round(Struct):
    """Of pushes that go together: all of one vault in one account."""

    pushes: list[Push]
    outcomes: "asyncio.Task[list[Outcome]]"


class Turns:
    """One at a time for each vault."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        # Those whose turn has not come yet: who arrives now may still join.
        self._rounds: dict[tuple[UUID, VaultId], _Round] = {}

    def of(self, vault: VaultId) -> AbstractAsyncContextManager[None]:
        lock = self._locks.get(vault)
        if lock is None:
            lock = self._locks[vault] = asyncio.Lock()
        return lock

    async def together(self, push: Push, store: Store) -> Pushed:
        """Stored with others that wait, or by itself where none does.

        Raises:
            SunaivaError: what `store` found against this push, or raised.
        """
        whose = (push.device_pass.account, push.device_pass.vault)
        joined = self._rounds.get(whose)
        if joined is None or not _fits(joined.pushes, push):
            pushes = [push]
            # A task, because none of them may end what the others wait for by leaving.
            task = asyncio.create_task(self._stored(whose, pushes, store))
            joined = self._rounds[whose] = _Round(pushes, task)
        else:
            joined.pushes.append(push)
        place = len(joined.pushes) - 1
        outcome = (await asyncio.shield(joined.outcomes))[place]
        if isinstance(outcome, SunaivaError):
            raise outcome
        return outcome

    async def _stored(
        self, whose: tuple[UUID, VaultId], pushes: list[Push], store: Store
    ) -> list[Outcome]:
        async with self.of(whose[1]):
            present = self._rounds.get(whose)
            if present is not None and present.pushes is pushes:
                del self._rounds[whose]
            return await store(pushes)


def _fits(pushes: Sequence[Push], push: Push) -> bool:
    """Whether all together are no more than one push may be, so that no transaction becomes larger than without company."""
    frames = [frame for each in (*pushes, push) for frame in each.frames]
    size = sum(len(frame.raw) for frame in frames)
    return len(frames) <= PUSH_FRAMES_MAX and size <= PUSH_BYTES_MAX
