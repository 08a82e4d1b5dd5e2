"""The generator's process, spoken to in lines of JSON."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.load.mix import Kind
from bench.load.servers import HOST
from shared.errors import UnavailableError

# Each has 28,000 ports towards one address of a server, of which some are still held after they were closed.
SOURCES = tuple(f"127.0.0.{number}" for number in range(2, 8))
_LINE_BYTES_MAX = 1 << 20


class Generator(Struct, frozen=True):
    """A process that asks."""

    process: asyncio.subprocess.Process

    async def connect(self, count: int) -> int:
        """How many connections are open then."""
        answer = await _order(self.process, {"do": "connect", "count": count})
        return int(answer["connected"])

    async def run(self, rate: float, *, warm_up: float, seconds: float) -> dict[str, Any]:
        order = {"do": "run", "rate": rate, "warm_up": warm_up, "seconds": seconds}
        return await _order(self.process, order)


@asynccontextmanager
async def generator(
    port: int, *, tokens: Sequence[str], mix: Sequence[Kind], seed: int
) -> AsyncIterator[Generator]:
    if sys.platform != "linux":
        raise UnavailableError(
            "The load generator needs Linux: its epoll, and source addresses on loopback."
        )
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("generator.py")),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES_MAX,
    )  # fmt: skip
    assert process.stdin is not None
    plan = {
        "seed": seed,
        "host": HOST,
        "port": port,
        "sources": SOURCES,
        "tokens": tokens,
        "mix": [
            {"name": kind.name, "weight": kind.weight, "text": kind.text, "expected": 200}
            for kind in mix
        ],
    }
    try:
        process.stdin.write(json.dumps(plan).encode() + b"\n")
        await process.stdin.drain()
        yield Generator(process)
    finally:
        process.stdin.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _order(process: asyncio.subprocess.Process, order: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        raise UnavailableError("The load generator ended; what it said is above.")
    answer: dict[str, Any] = json.loads(line)
    return answer
