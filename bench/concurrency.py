"""Four clients write at once while the agent is killed again and again: what was acknowledged must all be there.

A write counts as acknowledged when its client got the id. After a kill the client asks again with the same text, as an
assistant would; what is then there twice is counted too. Only the agents of this run's own vault are killed.
"""

import argparse
import random
from collections import Counter
from typing import Any

import anyio
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from msgspec import Struct

from bench.device import Device, agents, connected, fresh_device, run_cli
from bench.filling import listed
from bench.processes import kill
from bench.progress import Progress
from bench.report import Bar, at_least, at_most
from bench.stdio import call
from shared.errors import SunaivaError, UnavailableError

CLIENTS = 4
WRITES = 10_000
KILL_EVERY_SECONDS = (1.0, 4.0)
_RETRY_SECONDS = 0.05
_TRIES_MAX = 200  # a write that never goes through ends the run instead of hanging it
_SAY_EVERY = 1000


class Tally(Struct):
    """What the writers saw, as they go."""

    acknowledged: dict[str, str]
    """Text → id, as the server told."""
    retried: int = 0
    reconnected: int = 0
    kills: int = 0
    writing: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clients", type=int, default=CLIENTS)


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    writes = options.max or WRITES
    tally = Tally({}, writing=options.clients)
    with fresh_device() as device:
        async with anyio.create_task_group() as tasks:
            for writer in range(options.clients):
                share = range(writer, writes, options.clients)
                tasks.start_soon(_write, device, share, tally, progress)
            tasks.start_soon(_kill_at_random, device, random.Random(options.seed), tally)
        async with connected(device) as client:
            present = await listed(client)
        problems = run_cli(device, "doctor", "--json")["problems"]
    texts = Counter(memory["text"] for memory in present)
    ids = {memory["id"]: memory["text"] for memory in present}
    lost = sum(ids.get(memory_id) != text for text, memory_id in tally.acknowledged.items())
    written = {_text(number) for number in range(writes)}
    results = {
        "acknowledged": len(tally.acknowledged),
        "kills": tally.kills,
        "retried": tally.retried,
        "reconnected": tally.reconnected,
        "present": len(present),
        "lost": lost,
        "duplicated": sum(count - 1 for count in texts.values()),
        "altered": len(set(texts) - written),
        "doctor_problems": problems,
    }
    return results, [
        at_least("writes acknowledged", len(tally.acknowledged), writes),
        at_least("kills", tally.kills, 1),
        at_most("acknowledged writes lost", lost, 0),
        at_most("texts stored twice", results["duplicated"], 0),
        at_most("texts altered", results["altered"], 0),
        at_most("problems the doctor finds in the vault", len(problems), 0),
    ]


async def _write(device: Device, share: range, tally: Tally, progress: Progress) -> None:
    waiting = list(reversed(share))
    tries = 0
    while waiting and not progress.time_is_up():
        try:
            async with connected(device) as client:
                while waiting and not progress.time_is_up():
                    await _acknowledged(client, waiting[-1], tally, progress)
                    waiting.pop()
                    tries = 0
        except (MCPError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            # The connection went down with the agent; an assistant opens a new one.
            tally.reconnected += 1
            tries += 1
            if tries > _TRIES_MAX:
                raise UnavailableError(f"Gave up after {tries} connections: {error}") from error
            await anyio.sleep(_RETRY_SECONDS)
    tally.writing -= 1


async def _acknowledged(client: Client, number: int, tally: Tally, progress: Progress) -> None:
    for _ in range(_TRIES_MAX):
        try:
            answer = await call(client, "remember", memories=[_text(number)])
        except SunaivaError:
            tally.retried += 1
            await anyio.sleep(_RETRY_SECONDS)
            continue
        tally.acknowledged[_text(number)] = answer["stored"][0]["id"]
        if len(tally.acknowledged) % _SAY_EVERY == 0:
            progress.say(f"{len(tally.acknowledged):,} acknowledged, {tally.kills} kills")
        return
    raise UnavailableError(f"Write {number} was refused {_TRIES_MAX} times.")


async def _kill_at_random(device: Device, rng: random.Random, tally: Tally) -> None:
    while tally.writing:
        await anyio.sleep(rng.uniform(*KILL_EVERY_SECONDS))
        victims = agents(device)
        if victims and tally.writing:
            # In a thread, so that the writers go on while the system tidies up after the agent.
            await anyio.to_thread.run_sync(kill, victims)
            tally.kills += len(victims)


def _text(number: int) -> str:
    return (
        f"Write number {number}: the crate {number * 7919 % 100_003} stands in aisle {number % 97}."
    )
