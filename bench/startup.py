"""How long an assistant waits for its first tool answer after it started our process, and what that process weighs.

From the spawn of `sunaiva mcp` to the answer of `recall`, handshake included, on a vault with memories in it: with the
agent running, with no agent running, and without an agent at all.
"""

import argparse
import itertools
from time import perf_counter
from typing import Any

import anyio

from bench import metrics, texts
from bench.answers import schema_tokens
from bench.device import Device, agents, connected, fresh_device, relays
from bench.filling import TURNS_PER_CALL, capture, index_complete
from bench.processes import end, resident_mib
from bench.progress import Progress
from bench.report import Bar, at_most
from bench.stdio import call
from shared.errors import UnavailableError

REPEATS = 7
MEMORIES = 1000
_FULL_POLL_SECONDS = 0.05

WARM_S, COLD_S, SCHEMA_TOKENS, RELAY_MIB = 0.3, 3.0, 2000, 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=REPEATS)


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    memories = options.max or MEMORIES
    with fresh_device() as device:
        async with connected(device) as client:
            made = texts.turns(options.seed)
            for start in range(0, memories, TURNS_PER_CALL):
                batch = list(itertools.islice(made, min(TURNS_PER_CALL, memories - start)))
                await capture(client, f"conversation {start}", batch)
            await index_complete(client, ["personal"], progress)
            listed = await client.list_tools()
            relay_mib, agent_mib = resident_mib(relays(device)), resident_mib(agents(device))
        warm = await _repeat(device, options.repeats, progress, "agent up", stop=False)
        cold = await _repeat(device, options.repeats, progress, "agent cold", stop=True)
        alone = await _repeat(
            device, options.repeats, progress, "in process", "--in-process", stop=True
        )
    tokens = schema_tokens(listed)
    results = {
        "memories": memories,
        "agent_up": warm,
        "agent_cold": cold,
        "in_process": alone,
        "relay_mib": relay_mib,
        "agent_mib": agent_mib,
        "schema_tokens": tokens,
        "tools": len(listed.tools),
    }
    return results, [
        at_most("first answer, agent up (s)", warm["first_answer_s"], WARM_S),
        at_most("first answer, agent cold (s)", cold["first_answer_s"], COLD_S),
        at_most("schema tokens", tokens, SCHEMA_TOKENS),
        at_most("relay resident memory (MiB)", relay_mib, RELAY_MIB),
    ]


async def _repeat(
    device: Device, repeats: int, progress: Progress, label: str, *arguments: str, stop: bool
) -> dict[str, float]:
    """Medians of: handshake done, first answer, first answer that searched in full."""
    connected_s, first_s, full_s = [], [], []
    for _ in progress.over(range(repeats), label):
        if stop:
            end(agents(device))
        began = perf_counter()
        async with connected(device, *arguments) as client:
            connected_s.append(perf_counter() - began)
            answer = await call(client, "recall", query="Who is moving in spring?")
            first_s.append(perf_counter() - began)
            while answer["searched"] != "full" and not progress.time_is_up():
                await anyio.sleep(_FULL_POLL_SECONDS)
                answer = await call(client, "recall", query="Who is moving in spring?")
            full_s.append(perf_counter() - began)
    if not first_s:
        raise UnavailableError("Time was up before the first start. Give more --seconds.")
    return {
        "connected_s": metrics.median(connected_s),
        "first_answer_s": metrics.median(first_s),
        "first_answer_worst_s": max(first_s),
        "full_answer_s": metrics.median(full_s),
        "starts": len(first_s),
    }
