"""Waking devices that wait for something new. Every process hears of every push and change of a device list, in words that name many vaults.

Pushes are told some milliseconds later and together, because PostgreSQL lets only one transaction at a time tell anything. A word that
is lost costs a device half a minute: who waits looks by itself then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from cloud_api.channels import WORD_CHARS_MAX, Channels
from cloud_api.devices.names import VaultId
from cloud_api.sync.refusals import TooManyListenersError
from cloud_api.sync.rules import LISTENERS_PER_VAULT_MAX

CHANNEL = "vaults"
TOGETHER_SECONDS = 0.02
_TOLD_AT_ONCE = WORD_CHARS_MAX // 33  # a vault's id in hexadecimal and a blank
_AGAIN_SECONDS = 30


class Nudges:
    """Of one process: those who listen, and the vaults that it has not told of yet."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._listeners: dict[VaultId, set[asyncio.Event]] = {}
        self._untold: set[VaultId] = set()
        self._pushed = asyncio.Event()
        self.has_ended = False
        """Nobody is told of anything any more, and whoever waits goes."""

    def end(self) -> None:
        """The process is about to leave: it would stay as long as anybody waits."""
        self.has_ended = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.set()

    def tell(self, vault: VaultId) -> None:
        """After the transaction in which its head or its device list moved, or it went."""
        self._untold.add(vault)
        self._pushed.set()

    def demand_room(self, vault: VaultId) -> None:
        """
        Raises:
            TooManyListenersError: so many devices nobody has; something comes again and again without leaving.
        """
        if len(self._listeners.get(vault, ())) >= LISTENERS_PER_VAULT_MAX:
            raise TooManyListenersError(
                "Too many devices of this vault wait for news at once. Ask from time to time instead.",
                retry_after_seconds=_AGAIN_SECONDS,
            )

    @asynccontextmanager
    async def listening(self, vault: VaultId) -> AsyncIterator[asyncio.Event]:
        """Set whenever there may be something new; who has looked clears it.

        Raises:
            TooManyListenersError
        """
        self.demand_room(vault)
        listeners = self._listeners.setdefault(vault, set())
        listener = asyncio.Event()
        listeners.add(listener)
        try:
            yield listener
        finally:
            listeners.discard(listener)
            if not listeners and self._listeners.get(vault) is listeners:
                del self._listeners[vault]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work()) for work in (self._tell_always, self._hear_always)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _tell_always(self) -> None:
        while True:
            await self._pushed.wait()
            await asyncio.sleep(TOGETHER_SECONDS)
            self._pushed.clear()
            while self._untold:
                some = list(self._untold)[:_TOLD_AT_ONCE]
                self._untold.difference_update(some)
                await self._channels.tell(CHANNEL, " ".join(vault.hex for vault in some))

    async def _hear_always(self) -> None:
        async with self._channels.listening(CHANNEL) as words:
            while True:
                self._hear(await words.get())

    def _hear(self, word: str) -> None:
        """An empty word is a gap: then everybody looks."""
        told = [VaultId(UUID(hex=each)) for each in word.split()] or list(self._listeners)
        for vault in told:
            for listener in self._listeners.get(vault, ()):
                listener.set()
