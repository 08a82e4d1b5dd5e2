"""Short words to whoever listens now, in whatever process: "there is something new for you". Nobody keeps them.

A word may get lost, or be told twice, so it never carries the thing itself: who hears it looks in the database. After a gap every
listener hears an empty word, and looks. PostgreSQL carries them, or Redis where there is one: PostgreSQL lets one transaction at
a time commit that tells something, and that is why nothing is told inside of the transaction that causes it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import psycopg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cloud_api.connections import CONNECT_SECONDS, KEPT_ALIVE
from cloud_api.db import Database
from cloud_api.questions import Question
from shared.errors import UnavailableError

WORD_CHARS_MAX = 1024  # PostgreSQL carries 8,000 bytes with the channel's name
UNREAD_MAX = 100  # of one listener; who has missed that many looks anyway
AGAIN_SECONDS = 1.0

_LINE = "sunaiva"  # one for all channels: a process listens once, however many people are connected to it

# Nobody waits for the disk: while one tells, others cannot, and a word may get lost.
_TELL = Question(
    "tell",
    "SELECT pg_notify($1::text, $2::text), set_config('synchronous_commit', 'off', true)",
    lambda *_: None,
)

logger = structlog.get_logger(__name__)

Hear = Callable[[str], None]
Line = Callable[[Hear, Callable[[], None]], Awaitable[None]]
"""Hears until something breaks, and says when it begins to."""


class Channels:
    """Of one process. `carry` tells all processes; `line` hears what any of them tells."""

    def __init__(
        self,
        carry: Callable[[str], Awaitable[None]],
        line: Line,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._carry = carry
        self._line = line
        self._close = close
        self._listeners: dict[str, set[asyncio.Queue[str]]] = {}

    async def tell(self, channel: str, word: str) -> None:
        """After the transaction it is about. Told or not, the work is done: nothing is raised."""
        assert "\n" not in channel, channel
        assert len(word) <= WORD_CHARS_MAX, len(word)
        try:
            await self._carry(f"{channel}\n{word}")
        except (UnavailableError, psycopg.OperationalError, RedisError) as error:
            logger.warning("word_not_told", kind=type(error).__name__)

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[asyncio.Queue[str]]:
        """The words of a channel while the block runs."""
        words: asyncio.Queue[str] = asyncio.Queue(UNREAD_MAX)
        self._listeners.setdefault(channel, set()).add(words)
        try:
            yield words
        finally:
            self._listeners[channel].discard(words)
            if not self._listeners[channel]:
                del self._listeners[channel]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        hearing = asyncio.create_task(self._hear_always())
        try:
            yield
        finally:
            hearing.cancel()
            with suppress(asyncio.CancelledError):
                await hearing
            if self._close is not None:
                await self._close()

    async def _hear_always(self) -> None:
        while True:
            try:
                await self._line(self._heard, self._gap)
            except (psycopg.OperationalError, RedisError, OSError) as error:
                logger.warning("channels_broken", kind=type(error).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    def _heard(self, told: str) -> None:
        channel, _, word = told.partition("\n")
        for words in self._listeners.get(channel, ()):
            _put(words, word)

    def _gap(self) -> None:
        for listeners in self._listeners.values():
            for words in listeners:
                _put(words, "")


def over_postgresql(db: Database, url: str) -> Channels:
    async def carry(told: str) -> None:
        await db.ask(None, _TELL.of(_LINE, told))

    async def line(heard: Hear, begun: Callable[[], None]) -> None:
        # Its own connection: it is held for as long as the process runs.
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=CONNECT_SECONDS, **KEPT_ALIVE
        ) as connection:
            await connection.execute(f"LISTEN {_LINE}")
            begun()
            async for each in connection.notifies():
                heard(each.payload)

    return Channels(carry, line)


def over_redis(redis: Redis) -> Channels:
    async def carry(told: str) -> None:
        await redis.publish(_LINE, told)

    async def line(heard: Hear, begun: Callable[[], None]) -> None:
        async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(_LINE)
            begun()
            while True:
                each = await subscription.get_message(timeout=None)
                if each is not None:
                    heard(each["data"].decode())

    return Channels(carry, line, redis.aclose)


def _put(words: asyncio.Queue[str], word: str) -> None:
    if words.full():
        words.get_nowait()  # the oldest: all say the same
    words.put_nowait(word)
