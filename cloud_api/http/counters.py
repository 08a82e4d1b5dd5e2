"""Counts hits in windows of time: in this process, or in Redis or Valkey for all processes together.

Litestar's stores can read and write, but not add one in a single step, and whoever guesses passwords sends many requests at
once: between reading and writing all of them would count as one. Counts are never truth: losing them costs one window.
"""

import time
from collections.abc import Callable
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

# An address is some 100 bytes with its count; past this the oldest windows go first, and memory stays at 10 MB.
KEYS_MAX = 100_000

# A Redis that does not answer costs its timeout; so long nobody asks it again.
AWAY_SECONDS = 5.0
TIMEOUT_SECONDS = 0.5

logger = structlog.get_logger(__name__)


class Counters(Protocol):
    async def hit(self, key: str, *, window: int, seconds: int) -> int:
        """Count one more in this window (a number that grows with time); how many there are now."""

    async def close(self) -> None: ...


class MemoryCounters:
    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = {}

    async def hit(self, key: str, *, window: int, seconds: int) -> int:
        at = (key, window)
        count = self._counts.pop(at, 0) + 1
        self._counts[at] = count  # at the end: first out is who was not seen for longest
        if len(self._counts) > KEYS_MAX:
            del self._counts[next(iter(self._counts))]
        return count

    async def close(self) -> None:
        self._counts.clear()


class RedisCounters:
    """Counts in this process while Redis is away: limits are then as many times as wide as there are processes, never gone, so
    passwords cannot be guessed faster by taking Redis down, and nobody is locked out."""

    def __init__(self, url: str, *, seconds_now: Callable[[], float] = time.monotonic) -> None:
        self._redis: Redis = Redis.from_url(
            spoken(url), socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        )
        self._own = MemoryCounters()
        self._seconds_now = seconds_now
        self._away_until = 0.0

    async def hit(self, key: str, *, window: int, seconds: int) -> int:
        if self._seconds_now() < self._away_until:
            return await self._own.hit(key, window=window, seconds=seconds)
        name = f"sunaiva:rate:{key}:{window}"
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.incr(name)
                pipeline.expire(name, seconds * 2)
                count, _ = await pipeline.execute()
        except RedisError as error:
            self._away_until = self._seconds_now() + AWAY_SECONDS
            logger.warning("redis_unavailable", kind=type(error).__name__)
            return await self._own.hit(key, window=window, seconds=seconds)
        return int(count)

    async def close(self) -> None:
        await self._redis.aclose()
        await self._own.close()


def spoken(url: str) -> str:
    """Valkey speaks the same language; only the client does not know the name."""
    return url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
