"""A word told in one process is heard in another, over PostgreSQL and over Redis, also after the line broke."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest
from redis.asyncio import Redis

from cloud_api.channels import UNREAD_MAX, Channels, over_postgresql, over_redis
from cloud_api.db import Database
from tests.cloud_api.http.test_counters import valkey

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["postgresql", "redis"])
async def processes(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> AsyncIterator[list[Channels]]:
    """Two, each with its own connections."""
    async with AsyncExitStack() as stack:
        made = []
        url = stack.enter_context(valkey(tmp_path))[1] if request.param == "redis" else ""
        for _ in range(2):
            if request.param == "redis":
                redis = Redis.from_url(url)
                stack.push_async_callback(redis.aclose)
                made.append(over_redis(redis))
            else:
                db = await stack.enter_async_context(Database(database_url, connections_max=2))
                made.append(over_postgresql(db, database_url))
        for each in made:
            await stack.enter_async_context(each.opened())
        yield made


async def _next(words: asyncio.Queue[str]) -> str:
    async with asyncio.timeout(20):
        return await words.get()


async def test_a_word_is_heard_in_every_process_by_who_listens_there(
    processes: list[Channels],
) -> None:
    first, second = processes
    async with (
        first.listening("ann") as here,
        second.listening("ann") as there,
        second.listening("ben") as other,
    ):
        assert [await _next(each) for each in (here, there, other)] == ["", "", ""]  # it begins
        await first.tell("ann", "news")
        await second.tell("ben", "none of ann's")
        assert [await _next(each) for each in (here, there)] == ["news", "news"]
        assert await _next(other) == "none of ann's"
        assert there.empty()


async def test_who_does_not_read_keeps_the_newest_only(processes: list[Channels]) -> None:
    first, second = processes
    async with second.listening("ann") as slow, second.listening("ben") as quick:
        assert await _next(quick) == ""
        for number in range(UNREAD_MAX + 5):
            await first.tell("ann", str(number))
        await first.tell("ben", "last")
        assert await _next(quick) == "last"
        assert slow.qsize() == UNREAD_MAX
        assert await _next(slow) == "5"


async def test_after_a_gap_every_listener_is_told_to_look(database_url: str, db: Database) -> None:
    channels = over_postgresql(db, database_url)
    async with channels.opened(), channels.listening("ann") as words:
        assert await _next(words) == ""
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE query = 'LISTEN sunaiva' AND datname = current_database()"
            )
        assert await _next(words) == ""
        await channels.tell("ann", "again")
        assert await _next(words) == "again"


async def test_telling_when_nothing_carries_it_does_no_harm(tmp_path: Path) -> None:
    redis = Redis.from_url(f"unix://{tmp_path / 'none'}")
    await over_redis(redis).tell("ann", "news")
    await redis.aclose()
