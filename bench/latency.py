"""Store and recall through MCP, as the vault grows: p50, p95, p99, resident memory, bytes on disk.

For each size a new vault is filled by `capture`, then memories are stored one by one and questions asked one by one,
by one client, each call timed whole: stdio, relay, socket, embedding of the question, search, answer.
"""

import argparse
import itertools
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from bench import metrics, texts
from bench.device import agents, connected, disk_bytes, fresh_device, relays
from bench.filling import TURNS_PER_CALL, capture, index_complete
from bench.processes import resident_mib
from bench.progress import Progress
from bench.report import Bar, at_most
from bench.stdio import call
from shared.errors import CorruptError, InvalidError, UnavailableError

SIZES = "1000,10000"
CALLS = 200
_WARM_UP = 5  # the first calls load pages and threads; every later one is an ordinary call

STORE_P50_MS = 30.0
# Recall p95 in milliseconds, up to so many memories.
RECALL_P95_MS = ((10_000, 50.0), (1_000_000, 100.0))
AGENT_MIB_AT = (10_000, 600.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n", default=SIZES, help="sizes of the vault, with commas")
    parser.add_argument("--calls", type=int, default=CALLS, help="timed calls of each kind")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    try:
        sizes = [int(size) for size in options.n.split(",")]
    except ValueError:
        raise InvalidError("--n takes sizes with commas, such as 1000,10000.") from None
    results: dict[str, Any] = {}
    bars: list[Bar] = []
    for size in (size for size in sizes if options.max is None or size <= options.max):
        figures = await _measure(size, options.calls, options.seed, progress)
        results[str(size)] = figures
        bars += _bars(size, figures)
    return results, bars


async def _measure(size: int, calls: int, seed: int, progress: Progress) -> dict[str, Any]:
    made = texts.turns(seed)
    with fresh_device() as device:
        async with connected(device) as client:
            began = perf_counter()
            for start in progress.over(range(0, size, TURNS_PER_CALL), f"{size:,}: capture"):
                batch = list(itertools.islice(made, min(TURNS_PER_CALL, size - start)))
                await capture(client, f"conversation {start}", batch)
            captured_s = perf_counter() - began
            if not progress.complete:
                raise UnavailableError(f"Time was up before {size:,} were in. Give more --seconds.")
            await index_complete(client, ["personal"], progress)
            indexed_s = perf_counter() - began
            at_rest = disk_bytes(device)
            recall_ms = []
            asked = texts.questions(seed)
            for _ in progress.over(range(calls + _WARM_UP), f"{size:,}: recall"):
                question = next(asked)
                began_call = perf_counter()
                answer = await call(client, "recall", query=question)
                recall_ms.append((perf_counter() - began_call) * 1000)
                if answer["searched"] != "full":
                    raise CorruptError("`recall` went back to keywords although all was indexed.")
            store_ms = []
            for _ in progress.over(range(calls + _WARM_UP), f"{size:,}: remember"):
                turn = next(made)
                memory = {"text": turn["text"], "speaker": turn["speaker"]}
                began_call = perf_counter()
                await call(client, "remember", memories=[memory])
                store_ms.append((perf_counter() - began_call) * 1000)
            return {
                "store_ms": spread(store_ms[_WARM_UP:]),
                "recall_ms": spread(recall_ms[_WARM_UP:]),
                "agent_mib": resident_mib(agents(device)),
                "relay_mib": resident_mib(relays(device)),
                "disk_bytes_per_memory": at_rest / size,
                "captured_per_s": size / captured_s,
                "indexed_per_s": size / indexed_s,
            }


def spread(milliseconds: Sequence[float]) -> dict[str, float]:
    if not milliseconds:
        raise UnavailableError("Time was up before the timed calls. Give more --seconds.")
    return {
        "p50": metrics.percentile(milliseconds, 0.5),
        "p95": metrics.percentile(milliseconds, 0.95),
        "p99": metrics.percentile(milliseconds, 0.99),
        "max": max(milliseconds),
        "calls": len(milliseconds),
    }


def _bars(size: int, figures: dict[str, Any]) -> list[Bar]:
    bars = [at_most(f"{size:,}: store p50 (ms)", figures["store_ms"]["p50"], STORE_P50_MS)]
    limit = next((most for up_to, most in RECALL_P95_MS if size <= up_to), None)
    if limit is not None:
        bars.append(at_most(f"{size:,}: recall p95 (ms)", figures["recall_ms"]["p95"], limit))
    if size <= AGENT_MIB_AT[0]:
        bars.append(at_most(f"{size:,}: agent (MiB)", figures["agent_mib"], AGENT_MIB_AT[1]))
    return bars
