"""What a vault costs as it grows, 1,000 to 1,000,000 memories: questions, writes, starts, memory, disk.

For each size a new vault is filled, then driven from outside like any other: `sunaiva mcp` over stdio, the agent behind it. Up to
20,000 memories come through `capture` with real embeddings; more are filled as `bench.bulk` says, and the rate of real embedding is then
measured on some more, into the full vault.
"""

import argparse
import itertools
import math
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import anyio
from mcp.client import Client

from bench import bulk, metrics, texts
from bench.device import Device, agents, connected, disk_bytes, fresh_device, relays
from bench.filling import TURNS_PER_CALL, capture, index_complete
from bench.latency import RECALL_P95_MS, STORE_P50_MS, spread
from bench.processes import end, resident_mib
from bench.progress import Progress
from bench.report import Bar, at_least, at_most
from bench.stdio import call
from shared.errors import UnavailableError

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CALLS = 200
_WARM_UP = 5  # the first calls load pages and threads; every later one is an ordinary call
_REAL_MAX = 20_000
_MORE = 2_000  # taken in with real embeddings where the rest was not
_POLL_SECONDS = 0.05
_FIRST_S, _FULL_S, _INGEST_PER_S = 3.0, 60.0, 200.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--min", type=int, default=SIZES[0], help="leave out smaller sizes")
    parser.add_argument("--calls", type=int, default=CALLS, help="timed calls of each kind")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    sizes = [size for size in SIZES if options.min <= size <= (options.max or SIZES[-1])]
    results: dict[str, Any] = {}
    bars: list[Bar] = []
    for size in sizes:
        results[str(size)] = await _measure(size, options, progress)
        bars += _bars(size, results[str(size)])
    p50s = [results[str(size)]["recall_ms"]["p50"] for size in sizes]
    return results | {"recall_growth_exponent": growth_exponent(sizes, p50s)}, bars


def growth_exponent(sizes: Sequence[int], milliseconds: Sequence[float]) -> float:
    """The slope of log time over log size: 0 if size does not matter, 1 if time grows as it does. Not a number for one size."""
    logs = [
        (math.log(size), math.log(each)) for size, each in zip(sizes, milliseconds, strict=True)
    ]
    middle = metrics.mean([x for x, _ in logs]), metrics.mean([y for _, y in logs])
    width = math.fsum((x - middle[0]) ** 2 for x, _ in logs)
    if not width:
        return math.nan
    return math.fsum((x - middle[0]) * (y - middle[1]) for x, y in logs) / width


async def _measure(size: int, options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    made = texts.turns(options.seed + 1)  # none of which is in a vault that was filled in bulk
    with fresh_device() as device:
        real = min(size, _MORE) if size > _REAL_MAX else size
        if size > real:
            end(agents(device))
            bulk.fill(device, size - real, options.seed, progress)
        async with connected(device) as client:
            await index_complete(client, ["personal"], progress)
            ingest = await _take_in(client, itertools.islice(made, real), progress)
        end(agents(device))
        starts = await _start(device, progress)
        async with connected(device) as client:
            at_rest = disk_bytes(device)
            asked = texts.questions(options.seed)
            recall_ms = await _timed(
                lambda: call(client, "recall", query=next(asked)), options.calls, progress, "recall"
            )
            store_ms = await _timed(
                lambda: call(client, "remember", memories=[_memory(next(made))]),
                options.calls,
                progress,
                "remember",
            )
            agent_mib, relay_mib = resident_mib(agents(device)), resident_mib(relays(device))
    return starts | {
        "filled": "in bulk, mixed vectors" if size > real else "by capture, real vectors",
        "recall_ms": recall_ms,
        "store_ms": store_ms,
        "agent_mib": agent_mib,
        "relay_mib": relay_mib,
        "disk_bytes_per_memory": at_rest / size,
        "ingest_per_s": ingest,
    }


async def _take_in(client: Client, turns: Any, progress: Progress) -> float:
    """Memories a second, from the first `capture` until all of them can be found by meaning."""
    began, count = perf_counter(), 0
    while batch := list(itertools.islice(turns, TURNS_PER_CALL)):
        await capture(client, f"taken in {count}", batch)
        count += len(batch)
        if progress.time_is_up():
            raise UnavailableError("Time was up before all were in. Give more --seconds.")
    await index_complete(client, ["personal"], progress)
    return count / (perf_counter() - began)


async def _start(device: Device, progress: Progress) -> dict[str, float]:
    """From the spawn of `sunaiva mcp` with no agent running to an answer by keyword, and to one that searched in full."""
    began = perf_counter()
    async with connected(device) as client:
        answer = await call(client, "recall", query="Who is moving in spring?")
        first_s = perf_counter() - began
        while answer["searched"] != "full":
            if progress.time_is_up():
                raise UnavailableError(
                    "Time was up before the index was there. Give more --seconds."
                )
            await anyio.sleep(_POLL_SECONDS)
            answer = await call(client, "recall", query="Who is moving in spring?")
    return {"start_first_s": first_s, "start_full_s": perf_counter() - began}


async def _timed(one: Any, calls: int, progress: Progress, label: str) -> dict[str, float]:
    milliseconds = []
    for _ in progress.over(range(calls + _WARM_UP), label):
        began = perf_counter()
        await one()
        milliseconds.append((perf_counter() - began) * 1000)
    return spread(milliseconds[_WARM_UP:])


def _memory(turn: dict[str, Any]) -> dict[str, Any]:
    return {"text": turn["text"], "speaker": turn["speaker"]}


def _bars(size: int, figures: dict[str, Any]) -> list[Bar]:
    limit = next(most for up_to, most in RECALL_P95_MS if size <= up_to)
    return [
        at_most(f"{size:,}: recall p95 (ms)", figures["recall_ms"]["p95"], limit),
        at_most(f"{size:,}: store p50 (ms)", figures["store_ms"]["p50"], STORE_P50_MS),
        at_most(f"{size:,}: start to first answer (s)", figures["start_first_s"], _FIRST_S),
        at_most(f"{size:,}: start to full recall (s)", figures["start_full_s"], _FULL_S),
        at_least(f"{size:,}: taken in and embedded (/s)", figures["ingest_per_s"], _INGEST_PER_S),
    ]
