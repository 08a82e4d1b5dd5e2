"""Argon2id beside the event loop, a few at a time: a storm of logins waits in its own queue, everybody else does not.

It must never run more hashes at once than it has threads (each takes 19 MiB), nor queue without an end.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cloud_api.accounts.passwords.rules import Weakness, normal, weakness
from shared import crypto
from shared.errors import UnavailableError

# In each process, however many cores it has: two leave the others to everybody who is logged in already.
HASHING_THREADS = 2
# At 30 to 40 ms each, the last in the queue waits some two seconds; more would outlast what a person waits for.
WAITING_MAX = 64

T = TypeVar("T")


class TooManyLoginsError(UnavailableError):
    code = "too_many_logins"

    def __init__(self) -> None:
        super().__init__(
            "Very many people are logging in at this moment. Try again in some seconds."
        )


class PasswordHasher:
    """Owns its threads; `close` ends them."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="argon2")
        self._waiting = 0
        # Compared with when there is no account, so that the answer takes as long as with one.
        self._nobody = crypto.login_hash("nobody's password")

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def weakness(self, password: str, own_words: Sequence[str]) -> Weakness | None:
        """In the same line: judging takes as long as hashing."""
        return await self._beside(lambda: weakness(password, own_words))

    async def hash(self, password: str) -> str:
        return await self._beside(lambda: crypto.login_hash(normal(password)))

    def is_current(self, kept: str) -> bool:
        return crypto.login_hash_is_current(kept)

    async def fits(self, password: str, kept: str | None) -> bool:
        """Whether this is the password. Without a kept hash it takes as long, and is not."""
        fits = await self._beside(
            lambda: crypto.login_hash_fits(normal(password), kept or self._nobody)
        )
        return fits and kept is not None

    async def _beside(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise TooManyLoginsError
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
