"""The cloud under ten thousand connections: which rate it sustains, what that costs, and the same of what it is compared with.

Ours, a bare Litestar route on the same Granian, and the same endpoints on FastAPI are measured one after the other in the
same call, each with one process, by the same generator, over the same database with its accounts. Server, database and
generator share the machine's cores; what each takes of them is in the figures.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.load import peer_install
from bench.load.asking import Generator, generator
from bench.load.mix import HELLO, LIVE, MIX, READ, Kind
from bench.load.people import Signing, fill, signing
from bench.load.search import P95_MS, Tried, best_rate, held, next_rate, slope
from bench.load.servers import (
    GRANIAN,
    Running,
    Target,
    Used,
    database_processes,
    free_port,
    running,
    used_by,
)
from bench.progress import Progress
from bench.report import Bar, at_least, at_most
from cloud_api.accounts.tokens import Bearer
from cloud_api.embedded import SUPERUSER, Server, embedded
from cloud_api.migrating import migrate
from cloud_api.settings import load
from shared.errors import UnavailableError

CONNECTIONS = 10_000
ACCOUNTS = 100_000
RATIO = 3.0
WARM_UP_SECONDS = 2.0
SECONDS = 6.0
# For the cost of connections: few enough requests that they are not what is measured.
COST_RATE = 200.0
COST_LEVELS = (0.1, 0.4, 0.7, 1.0)
POOL = 10
# Tokens name it; nobody goes there.
_ORIGIN = "http://load.localhost"
_FOLDER = Path(__file__).resolve().parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--install", action="store_true", help="install the peer into .peers/")
    parser.add_argument("--accounts", type=int, default=ACCOUNTS, help="accounts in the database")
    parser.add_argument(
        "--account-only", action="store_true", help="only GET /api/v1/account, instead of the mix"
    )
    parser.add_argument(
        "--step", type=float, default=SECONDS, help="seconds that each rate is measured"
    )


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    connections = options.max or CONNECTIONS
    mix = READ if options.account_only else MIX
    if options.install:
        progress.say("install the peer")
        peer_install.install()
    with _folder() as home, embedded(home) as server:
        began = perf_counter()
        migrate(server.url())
        superuser_url = server.url(user=SUPERUSER)
        bearers = fill(superuser_url, options.accounts, options.seed, asking=connections)
        filled_s = perf_counter() - began
        environ = {"SUNAIVA_CLOUD_HOME": str(home), "SUNAIVA_CLOUD_URL": _ORIGIN}
        signs = await signing(load(environ), server.url())
        task = _Task(server, signs, bearers, connections, options, progress)
        results: dict[str, Any] = {
            "accounts": len(bearers),
            "filled_s": filled_s,
            "connections": connections,
            "mix": {kind.name: kind.weight for kind in mix},
            "ours": await task.measured(_ours(server, environ, mix), with_cost=True),
            "hello": await task.measured(_hello()),
            "fastapi": await _or_reason(task, server, signs, mix),
        }
    rates = {name: results[name].get("sustained_per_s") for name in ("ours", "hello", "fastapi")}
    results["ratio"] = {
        f"ours_to_{name}": rates["ours"] / rates[name]
        for name in ("hello", "fastapi")
        if rates["ours"] and rates[name]
    }
    return results, _bars(results)


class _Task:
    """What is the same for every server of one measurement."""

    def __init__(
        self,
        server: Server,
        signs: Signing,
        bearers: list[Bearer],
        connections: int,
        options: argparse.Namespace,
        progress: Progress,
    ) -> None:
        self._server = server
        self._signs = signs
        self._bearers = bearers[:connections]
        self._connections = connections
        self._step_seconds: float = options.step
        self._seed: int = options.seed
        self._progress = progress

    async def measured(self, target: Target, *, with_cost: bool = False) -> dict[str, Any]:
        self._progress.say(f"{target.name}: start")
        async with (
            running(target) as server,
            generator(
                server.port,
                tokens=self._signs.tokens(self._bearers),
                mix=target.mix,
                seed=self._seed,
            ) as asks,
        ):
            idle = server.used().mib
            figures: dict[str, Any] = {"idle_mib": idle}
            if with_cost:
                figures["cost"] = await self._cost(server, asks)
            figures["connected"] = await asks.connect(self._connections)
            figures["connected_mib"] = server.used().mib
            return figures | await self._sustained(target.name, server, asks)

    async def _cost(self, server: Running, asks: Generator) -> dict[str, Any]:
        """What each thousand connections more takes, at a rate that is the same for all."""
        levels = []
        for share in COST_LEVELS:
            count = await asks.connect(round(self._connections * share))
            self._progress.say(f"{count:,} connections")
            levels.append({"connections": count, **await self._run(server, asks, COST_RATE)})
        thousands = [level["connections"] / 1000 for level in levels]
        return {
            "rate": COST_RATE,
            "levels": levels,
            **{
                f"{name}_per_1000": slope(
                    [(at, level[name]) for at, level in zip(thousands, levels, strict=True)]
                )
                for name in ("server_mib", "server_cpu_share", "p95_ms")
            },
        }

    async def _sustained(self, name: str, server: Running, asks: Generator) -> dict[str, Any]:
        tried: list[Tried] = []
        runs: list[dict[str, Any]] = []
        while (rate := next_rate(tried)) is not None and not self._progress.time_is_up():
            run = await self._run(server, asks, rate)
            if not run["held"] and not self._progress.time_is_up():
                # Others share this machine: only a rate that fails twice is too high.
                run = await self._run(server, asks, rate)
            # None: so far behind that nothing was answered before the measured part began.
            p95 = "—" if run["p95_ms"] is None else f"{run['p95_ms']:,.0f} ms"
            self._progress.say(
                f"{name}: {rate:,.0f}/s, p95 {p95}, {'held' if run['held'] else 'too much'}"
            )
            tried.append(Tried(rate, run["held"]))
            runs.append(run)
        best = best_rate(tried)
        at_best = next((run for run in runs if run["rate"] == best), {})
        return {"sustained_per_s": best, "at_that_rate": at_best, "variants": {"runs": runs}}

    async def _run(self, server: Running, asks: Generator, rate: float) -> dict[str, Any]:
        database = database_processes(self._server.cluster)
        before, database_before = server.used(), used_by(database)
        began = perf_counter()
        run = await asks.run(rate, warm_up=WARM_UP_SECONDS, seconds=self._step_seconds)
        after, database_after = server.used(), used_by(database)
        seconds = perf_counter() - began
        late = run.pop("late_ms")
        return {
            "rate": rate,
            "held": held(run),
            "p50_ms": run["ms"]["p50"],
            "p95_ms": run["ms"]["p95"],
            "p99_ms": run["ms"]["p99"],
            "answered_per_s": run["answered_per_s"],
            "errors": run["errors"],
            "reconnected": run["reconnected"],
            "by_endpoint": run["by_endpoint"],
            "sent_late_p99_ms": late["p99"],
            "generator_cpu_share": run["cpu_share"],
            "server_cpu_share": _share(before, after, seconds),
            "database_cpu_share": _share(database_before, database_after, seconds),
            "server_mib": after.mib,
            "database_mib": database_after.mib,
        }


def _share(before: Used, after: Used, seconds: float) -> float:
    return (after.cpu_s - before.cpu_s) / seconds


async def _or_reason(
    task: _Task, server: Server, signs: Signing, mix: Sequence[Kind]
) -> dict[str, Any]:
    """A peer that cannot be had is reported with the reason, never left out."""
    try:
        return await task.measured(_fastapi(server, signs, mix))
    except UnavailableError as error:
        return {"unavailable": str(error)}


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sunaiva-load-") as path:
        Path(path).chmod(0o755)  # PostgreSQL does not run as root, and has to come in
        yield Path(path)


def _ours(server: Server, environ: Mapping[str, str], mix: Sequence[Kind]) -> Target:
    return Target(
        "ours",
        (sys.executable, "-P", "-c", "from cloud_api.cli import main; main()", "serve"),
        {
            **environ,
            "DATABASE_URL": server.url(),
            "SUNAIVA_CLOUD_POOL": str(POOL),
            "SUNAIVA_CLOUD_ADMIN_PORT": str(free_port()),
        },
        mix,
        ready=LIVE,
        port_setting="SUNAIVA_CLOUD_PORT",
    )


def _hello() -> Target:
    command = (*GRANIAN, "--working-dir", str(_FOLDER), "hello:app", "--port")
    return Target("hello", command, {}, HELLO, ready="/hello")


def _fastapi(server: Server, signs: Signing, mix: Sequence[Kind]) -> Target:
    command = (
        str(peer_install.python()), "-m", "uvicorn", "peer_fastapi:app", "--app-dir", str(_FOLDER),
        "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
        # Idle connections stay open, as they do with ours.
        "--backlog", "4096", "--timeout-keep-alive", "600", "--port",
    )  # fmt: skip
    environ = {
        "LOAD_BENCH_DATABASE": f"postgresql+asyncpg://{server.url().partition('://')[2]}",
        "LOAD_BENCH_POOL": str(POOL),
        "LOAD_BENCH_PUBLIC_KEY": signs.public_key,
        "LOAD_BENCH_ISSUER": signs.issuer.issuer,
        "LOAD_BENCH_AUDIENCE": signs.issuer.audience,
    }
    return Target("fastapi", command, environ, mix, ready=LIVE)


def _bars(results: Mapping[str, Any]) -> list[Bar]:
    at_best = results["ours"]["at_that_rate"]
    bars = [
        at_least("connections", results["ours"]["connected"], results["connections"]),
        at_most("p95 ms at the highest rate", at_best.get("p95_ms") or float("nan"), P95_MS),
    ]
    if (ratio := results["ratio"].get("ours_to_fastapi")) is not None:
        bars.append(at_least("ratio to FastAPI", ratio, RATIO))
    return bars
