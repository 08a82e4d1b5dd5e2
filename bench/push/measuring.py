"""How many pushes a second one server process takes in: everything is on, from the log-in of devices to the write-ahead log on disk."""

import argparse
import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from time import monotonic
from typing import Any

from bench.load.people import fill, signing
from bench.load.servers import GRANIAN, Target, running
from bench.progress import Progress
from bench.push.devices import OCTETS, Caller, Plan, Pusher, caller, vault
from bench.push.plain import plain_pushes
from bench.report import Bar, at_least
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
PUSHES_ONE_VAULT = 1_600
PUSHES_PER_VAULT = 8
BATCH_BYTES = 1_792  # with header, padding and signature about 2 kB
_ORIGIN = "http://127.0.0.1:8400"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vaults", type=int, default=VAULTS, help="how many in the second part")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    vaults = min(options.vaults, options.max or options.vaults)
    with _folder() as home, embedded(home) as server:
        migrate(server.url())
        environ = {"SUNAIVA_CLOUD_HOME": str(home), "SUNAIVA_CLOUD_URL": _ORIGIN}
        bearers = fill(server.url(user=SUPERUSER), vaults + 1, options.seed, asking=0)
        accounts = (await signing(load(environ), server.url())).tokens(bearers)
        command = (*GRANIAN, "--factory", "bench.push.serving:serving", "--port")
        given = {**os.environ, **environ, "DATABASE_URL": server.url()}
        target = Target("ours", command, given, (), "/health/ready")
        async with running(target) as started:
            results = await _both(started.port, accounts, vaults, progress)
        progress.say("The same writes without a server")
        for name, count in (("one_vault", 1), ("many_vaults", vaults)):
            plain = await plain_pushes(
                server.url(user=SUPERUSER),
                vaults=count,
                writers=WRITERS,
                pushes=results[name]["pushes"],
                batch=bytes(range(256)) * 8,
            )
            results[name]["plain_per_s"] = round(plain, 1)
            results[name]["of_plain"] = round(results[name]["pushes_per_s"] / plain, 3)
    one, many = results["one_vault"], results["many_vaults"]
    bars = [
        at_least("pushes/s, one vault", one["pushes_per_s"], ONE_VAULT_BAR),
        at_least("pushes/s, many vaults", many["pushes_per_s"], MANY_VAULTS_BAR),
        at_least("of plain writes in this run, one vault", one["of_plain"], OF_PLAIN_BAR),
        at_least("of plain writes in this run, many vaults", many["of_plain"], OF_PLAIN_BAR),
    ]
    return results, bars


async def _both(
    port: int, accounts: Sequence[str], vaults: int, progress: Progress
) -> dict[str, Any]:
    callers = [await caller(port) for _ in range(WRITERS)]
    progress.say(f"One vault, {WRITERS} devices")
    plan = Plan(PUSHES_ONE_VAULT // WRITERS, BATCH_BYTES)
    names = [f"device {number}" for number in range(WRITERS)]
    together = await vault(callers[0], "one", names, account=accounts[0], origin=_ORIGIN, plan=plan)
    one = await _pushed(callers, [[each] for each in together])
    progress.say(f"{vaults} vaults, {WRITERS} connections")
    plan = Plan(PUSHES_PER_VAULT, BATCH_BYTES)
    shares: list[list[Pusher]] = [[] for _ in callers]
    for number in progress.over(range(vaults), "Making vaults"):
        made = await vault(
            callers[0],
            f"vault {number}",
            ["device"],
            account=accounts[number + 1],
            origin=_ORIGIN,
            plan=plan,
        )
        shares[number % WRITERS] += made
    many = await _pushed(callers, shares)
    for each in callers:
        each.close()
    return {"one_vault": one, "many_vaults": {"vaults": vaults, **many}}


async def _pushed(callers: Sequence[Caller], shares: Sequence[Sequence[Pusher]]) -> dict[str, Any]:
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

    began = monotonic()
    await asyncio.gather(*(push(*each) for each in zip(callers, shares, strict=True)))
    seconds = monotonic() - began
    cuts = quantiles(took, n=100)
    return {
        "pushes": len(took),
        "pushes_per_s": round(len(took) / seconds, 1),
        "ms_p50": round(cuts[49] * 1000, 2),
        "ms_p95": round(cuts[94] * 1000, 2),
    }


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sunaiva-push-"))
    path.chmod(0o755)  # PostgreSQL may run as another user
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
