"""Two assistants on two devices of one person: how soon the one recalls what the other was told, and what both send while nobody says anything.

Everything is real: `sunaiva mcp` over stdio, agents, accounts, the server with its database. Only the way between them is counted.
"""

import argparse
import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from bench.progress import Progress
from bench.stdio import call, session
from bench.sync.cloud import Counted, counted_cloud
from bench.sync.memories import made_up
from shared.errors import UnavailableError
from tests.computer import computer
from tests.e2e.clouds import Browser
from tests.people import SUNAIVA, Person

TOLD = 40
IDLE_SECONDS = 240.0
# People and assistants say things at any moment, now and then quickly one after the other.
_PAUSE_SECONDS_MAX = 4.0
_LOOK_SECONDS = 0.02
_LOST_SECONDS = 60.0
# What was said last goes out, is fetched and confirmed; then it is quiet.
_SETTLE_SECONDS = 20.0


async def measure(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    with ExitStack() as stack:
        # Logging in and counting share this process, so what waits for a command waits in a thread.
        cloud, browser = stack.enter_context(counted_cloud())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sunaiva-sync-")))
        persons = []
        for name in ("a", "b"):
            (folder / name).mkdir()
            persons.append(Person(stack.enter_context(computer(folder / name))))
        one, other = persons
        progress.say("two devices join")
        await asyncio.to_thread(_join, one, other, browser, cloud.url)
        async with _connected(one, folder) as first, _connected(other, folder) as second:
            told = await _told(first, second, options, progress)
            idle = await _idle(cloud, options.idle, progress)
    return {"visible_ms": told, "idle": idle}


def _join(one: Person, other: Person, browser: Browser, url: str) -> None:
    words = one.gets("init")["recovery_words"].encode()
    other.gets("init")
    where = ("--cloud", url, "--words-file", "-")
    browser.approves(one, "login", *where, "--name", "one", stdin=words)
    browser.approves(other, "recover", *where, stdin=words)


@asynccontextmanager
async def _connected(person: Person, folder: Path) -> AsyncIterator[Client]:
    server = StdioServerParameters(command=str(SUNAIVA), args=["mcp"], env=person.device.environ)
    async with session(server, folder / "mcp.log") as client:
        yield client


async def _told(
    first: Client, second: Client, options: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    rng = random.Random(options.seed)
    said = made_up(TOLD + 1, options.seed)
    took: list[float] = []
    stored: list[float] = []
    for number in progress.over(range(min(options.max or TOLD, TOLD) + 1), "told and recalled"):
        word = f"zq{rng.getrandbits(40):x}"
        began = perf_counter()
        await call(first, "remember", memories=[f"{said[number][:280]} {word}"])
        known = perf_counter()
        await _until_recalled(second, word)
        if number:  # the first is told before the devices have found each other
            took.append((perf_counter() - began) * 1_000)
            stored.append((known - began) * 1_000)
        await asyncio.sleep(rng.uniform(0, _PAUSE_SECONDS_MAX))
    cuts = quantiles(took, n=100, method="inclusive")
    return {
        "told": len(took),
        "p50": round(cuts[49]),
        "p95": round(cuts[94]),
        "max": round(max(took)),
        "stored_p50": round(quantiles(stored, n=2)[0]),
    }


async def _until_recalled(client: Client, word: str) -> None:
    ends = perf_counter() + _LOST_SECONDS
    while perf_counter() < ends:
        answer = await call(client, "recall", query=word)
        if any(word in each["text"] for each in answer["memories"]):
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise UnavailableError(
        f"What one device was told was not found by the other in {_LOST_SECONDS:.0f} s."
    )


async def _idle(cloud: Counted, seconds: float, progress: Progress) -> dict[str, Any]:
    """Bytes that two devices together send and get, TCP's own left out."""
    progress.say(f"idle for {seconds:.0f} s")
    await asyncio.sleep(_SETTLE_SECONDS)
    before = cloud.counter.bytes
    await asyncio.sleep(seconds)
    moved = cloud.counter.bytes - before
    return {
        "seconds": seconds,
        "pair_bytes_per_minute": round(moved * 60 / seconds),
        "device_bytes_per_minute": round(moved * 30 / seconds),
    }
