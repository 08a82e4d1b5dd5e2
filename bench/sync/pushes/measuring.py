"""How many pushes a second one server process takes in: everything is on, from the log-in of devices to the write-ahead log on disk.

Each round pushes through the server and then writes the same without it, so that whatever else the machine does falls on both.
"""

import argparse
import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from time import monotonic
from typing import Any

import psutil
from msgspec import Struct, structs

from bench.load.people import fill, signing
from bench.load.servers import GRANIAN, Target, database_processes, running, used_by
from bench.progress import Progress
from bench.report import Bar, at_least
from bench.sync.pushes.devices import OCTETS, Caller, Plan, Pusher, caller, vault
from bench.sync.pushes.plain import plain_pushes
from cloud_api.embedded import SUPERUSER, embedded
from cloud_api.migrating import migrate
from cloud_api.settings import load
from shared.errors import UnavailableError

# What PostgreSQL alone took in by hand-written transactions of the same shape, without a server in front.
ONE_VAULT_BAR, MANY_VAULTS_BAR = 350 * 0.5, 1_400 * 0.5
# On another machine, or a busy one, only this ratio means something.
OF_PLAIN_BAR = 0.5
VAULTS = 1_000
WRITERS = 8
PUSHES_ONE_VAULT = 1_600  # in a round
PUSHES_PER_VAULT = 8
BATCH_BYTES = 1_792  # with header, padding and signature about 2 kB
_ORIGIN = "http://127.0.0.1:8400"

Shares = list[list[Pusher]]
"""For each connection the devices that push over it."""


class _Machine(Struct, frozen=True):
    """What is measured, and who takes part in it."""

    callers: Sequence[Caller]
    database_url: str
    server: psutil.Process
    cluster: Path

    def cpu_s(self) -> dict[str, float]:
        """So far. Connections of the database are processes, and come and go."""
        processes = {
            "server": [self.server, *self.server.children(recursive=True)],
            "database": database_processes(self.cluster),
            "generator": [psutil.Process()],
        }
        return {name: used_by(each).cpu_s for name, each in processes.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vaults", type=int, default=VAULTS, help="how many in the second part of the pushes"
    )


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    vaults = min(options.vaults, options.max or options.vaults)
    with _folder() as home, embedded(home) as server:
        migrate(server.url())
        environ = {"SUNAIVA_CLOUD_HOME": str(home), "SUNAIVA_CLOUD_URL": _ORIGIN}
        bearers = fill(server.url(user=SUPERUSER), vaults + 1, options.seed, asking=0)
        accounts = (await signing(load(environ), server.url())).tokens(bearers)
        command = (*GRANIAN, "--factory", "bench.sync.pushes.serving:serving", "--port")
        given = {**os.environ, **environ, "DATABASE_URL": server.url()}
        async with running(Target("ours", command, given, (), "/health/ready")) as started:
            callers = [await caller(started.port) for _ in range(WRITERS)]
            one = await _one_vault(callers[0], accounts[0], options.repeats)
            many = await _many_vaults(callers[0], accounts[1:], options.repeats, progress)
            url = server.url(user=SUPERUSER)
            machine = _Machine(callers, url, started.process, server.cluster)
            repeats = options.repeats
            results = {
                "one_vault": await _rounds(machine, one, repeats, progress),
                "many_vaults": {
                    "vaults": vaults,
                    **await _rounds(machine, many, repeats, progress),
                },
            }
            for each in callers:
                each.close()
    return results, _bars(results)


def _bars(results: dict[str, Any]) -> list[Bar]:
    one, many = results["one_vault"], results["many_vaults"]
    return [
        at_least("pushes/s, one vault", one["pushes_per_s"], ONE_VAULT_BAR),
        at_least("pushes/s, many vaults", many["pushes_per_s"], MANY_VAULTS_BAR),
        at_least("of plain writes in this run, one vault", one["of_plain"], OF_PLAIN_BAR),
        at_least("of plain writes in this run, many vaults", many["of_plain"], OF_PLAIN_BAR),
    ]


async def _one_vault(asks: Caller, account: str, rounds: int) -> Shares:
    plan = Plan(rounds * (PUSHES_ONE_VAULT // WRITERS), BATCH_BYTES)
    names = [f"device {number}" for number in range(WRITERS)]
    together = await vault(asks, "one", names, account=account, origin=_ORIGIN, plan=plan)
    return [[each] for each in together]


async def _many_vaults(
    asks: Caller, accounts: Sequence[str], rounds: int, progress: Progress
) -> Shares:
    plan = Plan(rounds * PUSHES_PER_VAULT, BATCH_BYTES)
    shares: Shares = [[] for _ in range(WRITERS)]
    for number in progress.over(range(len(accounts)), "Making vaults"):
        account = accounts[number]
        shares[number % WRITERS] += await vault(
            asks, f"vault {number}", ["device"], account=account, origin=_ORIGIN, plan=plan
        )
    return shares


async def _rounds(
    machine: _Machine, shares: Shares, count: int, progress: Progress
) -> dict[str, Any]:
    """The median of each figure."""
    vaults = len({each.path for share in shares for each in share})
    found: list[dict[str, float]] = []
    for number in progress.over(range(count), f"{vaults:,} vaults, {WRITERS} connections"):
        pushed = await _pushed(
            machine, [[_part(each, number, count) for each in s] for s in shares]
        )
        plain = await plain_pushes(
            machine.database_url,
            vaults=vaults,
            writers=WRITERS,
            pushes=int(pushed["pushes"]),
            batch=bytes(range(256)) * 8,
        )
        ratio = pushed["pushes_per_s"] / plain
        found.append({**pushed, "plain_per_s": round(plain, 1), "of_plain": round(ratio, 3)})
    return {name: median(each[name] for each in found) for name in found[0]}


def _part(pusher: Pusher, number: int, count: int) -> Pusher:
    size = len(pusher.batches) // count
    return structs.replace(pusher, batches=pusher.batches[number * size : (number + 1) * size])


async def _pushed(machine: _Machine, shares: Shares) -> dict[str, float]:
    """Each connection pushes a batch of each of its devices in turn, until all are stored."""
    took: list[float] = []

    async def push(asks: Caller, pushers: Sequence[Pusher]) -> None:
        for batches in zip(*(each.batches for each in pushers), strict=True):
            for pusher, batch in zip(pushers, batches, strict=True):
                began = monotonic()
                path = f"{pusher.path}/batches"
                answer = await asks.ask("POST", path, pusher.token, OCTETS, batch)
                if answer.status != 200:
                    raise UnavailableError(f"A push was answered {answer.status}.")
                took.append(monotonic() - began)

    before, began = machine.cpu_s(), monotonic()
    await asyncio.gather(*(push(*each) for each in zip(machine.callers, shares, strict=True)))
    seconds, after = monotonic() - began, machine.cpu_s()
    cuts = quantiles(took, n=100)
    return {
        "pushes": len(took),
        "pushes_per_s": round(len(took) / seconds, 1),
        "ms_p50": round(cuts[49] * 1000, 2),
        "ms_p95": round(cuts[94] * 1000, 2),
        **{
            f"{name}_cpu_ms": round((after[name] - before[name]) / len(took) * 1000, 3)
            for name in before
        },
    }


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sunaiva-push-"))
    path.chmod(0o755)  # PostgreSQL may run as another user
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
