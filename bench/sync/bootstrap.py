"""A new device of a vault that is full already: seconds until it finds its first memory, and until it has them all.

It is the engine on a vault with its indexes and the real model, which embeds in the background meanwhile, as in the agent. The relay is a
plain folder, or the server that people run, with its database, over HTTP.
"""

import argparse
import random
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from msgspec import Struct

from bench.progress import Progress
from bench.sync import vaults
from bench.sync.cloud import signed_up_cloud
from bench.sync.memories import Memory, made_up, memories
from mcp_server import search
from mcp_server.device import Device
from mcp_server.index.embedder import OnnxEmbedder
from mcp_server.index.export import bundled_model_folder, export_in_child
from mcp_server.index.models import Models
from mcp_server.replica import Replica
from mcp_server.settings import load
from shared.clock import system_clock
from shared.errors import UnavailableError
from sync_service.changes import merge
from sync_service.device import inbox, log, membership
from sync_service.device.replica import change
from sync_service.sealed import keys
from sync_service.sealed.keys import Seeds
from sync_service.steps import engine
from sync_service.steps.step import Engine, Report
from sync_service.transport import Transport
from sync_service.transports.folder import FolderTransport, Seen
from sync_service.transports.folder import vaults as folder_vaults
from sync_service.transports.http import DeviceLogin, HttpTransport

MEMORIES = 100_000
MILLION = 1_000_000
_FILLED_AT_ONCE = 4_096
_TURNS = 50_000  # texts; a larger vault says them again
_LOOK_SECONDS = 0.02
_QUESTION = "Who moved to Oslo?"

Way = Callable[[Device, bytes | None], Transport]
"""To the relay, for a device; without a vault before it has one."""


class Times(Struct, frozen=True):
    first_result_s: float
    text_s: float
    cpu_s: float
    """Of the whole process, embedding in the background included."""


async def measure(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    number = MILLION if options.million else MEMORIES
    number = min(number, options.max or number)
    made = memories(made_up(min(number, _TURNS), options.seed), number, options.seed)
    results: dict[str, Any] = {"memories": number}
    with vaults.folder() as home:
        (home / "relay").mkdir()
        results["folder"] = _measured(home, made, by_folder(home / "relay"), progress)
    with signed_up_cloud() as (cloud, token), vaults.folder() as home:
        results["http"] = _measured(home, made, _by_http(cloud.url, token), progress)
    return results


def _measured(home: Path, made: Sequence[Memory], way: Way, progress: Progress) -> dict[str, Any]:
    recovery = keys.new_seeds(secrets.token_bytes)
    with vaults.opened(home / "old") as old:
        progress.say(f"fill {len(made):,}")
        began = perf_counter()
        sent = fill(old, made, recovery, way, progress)
        seconds = perf_counter() - began
        disk = vaults.disk_bytes(old, progress)
    models = served()
    with vaults.opened(home / "new", models) as new:
        wait_for_model(new, progress)
        times = _bootstrap(new, recovery, way, len(made), progress)
    return {
        "first_result_s": round(times.first_result_s, 2),
        "text_s": round(times.text_s, 2),
        "text_cpu_s": round(times.cpu_s, 2),
        "memories_per_s": round(len(made) / times.text_s),
        "filled_and_pushed_s": round(seconds, 1),
        "batches": sent,
        "disk_bytes_per_memory_of_writer": round(disk / len(made), 1),
    }


def fill(
    device: Device, made: Sequence[Memory], recovery: Seeds, way: Way, progress: Progress
) -> int:
    replica = Replica(device)
    membership.found(
        way(device, None), replica, recovery=recovery, name="old", random=secrets.token_bytes
    )
    for at in range(0, len(made), _FILLED_AT_ONCE):
        with replica.transaction() as db:
            stream = log.own_stream(db)
            said = [one.op() for one in made[at : at + _FILLED_AT_ONCE]]
            made_now = {
                op.memory: change(merge.EMPTY, merge.apply(merge.EMPTY, op, stream)) for op in said
            }
            replica.save(db, made_now)
            log.record(db, said, made_now)
    runs = runs_of(device, replica, way)
    sent = 0
    while True:
        report = step(runs, progress)
        sent += report.pushed
        if not report.is_behind and not report.pushed:
            break
    engine.keep_house(runs)
    return sent


def _bootstrap(
    device: Device, recovery: Seeds, way: Way, expected: int, progress: Progress
) -> Times:
    replica = Replica(device)
    with _first_result(device) as found:
        began = perf_counter()
        cpu = process_time()
        membership.join_by_words(
            way(device, None), replica, recovery=recovery, name="new", random=secrets.token_bytes
        )
        runs = runs_of(device, replica, way)
        while step(runs, progress).is_behind:
            pass
        seconds = perf_counter() - began
        used = process_time() - cpu
        with replica.transaction() as db:
            if replica.count(db) != expected:
                raise UnavailableError(f"Of {expected:,} memories {replica.count(db):,} came.")
        first = found()
    return Times(first - began, seconds, used)


def step(runs: Engine, progress: Progress) -> Report:
    report = engine.sync_once(runs, patiently=False)
    if report.unavailable is not None or report.alarms:
        said = report.unavailable or report.alarms[0].sentence
        raise UnavailableError(f"Sync did not go through: {said}")
    if progress.time_is_up():
        raise UnavailableError("Time was up before everything was there. Give more --seconds.")
    return report


@contextmanager
def _first_result(device: Device) -> Iterator[Callable[[], float]]:
    """Asks again and again; what it yields waits for the moment of the first answer with a memory in it."""
    moment: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            answer = search.find(device, search.Asked(query=_QUESTION), client="bench")
            if answer.found:
                moment.append(perf_counter())
                return

    looking = threading.Thread(target=look, daemon=True)
    looking.start()

    def found() -> float:
        looking.join(60)
        if not moment:
            raise UnavailableError("Nothing was found within a minute.")
        return moment[0]

    try:
        yield found
    finally:
        ended.set()
        looking.join()


def runs_of(device: Device, replica: Replica, way: Way) -> Engine:
    with replica.transaction() as db:
        vault = log.read(db).vault
    return Engine(
        replica=replica,
        transport=way(device, vault),
        clock=system_clock,
        random=secrets.token_bytes,
    )


def by_folder(folder: Path) -> Way:
    def way(device: Device, vault: bytes | None) -> Transport:
        def seen() -> Seen:
            with device.vault.reading() as db:
                if not log.is_set_up(db):
                    return Seen(0, {})
                me = log.read(db)
                heads = {stream: head.seq for stream, head in inbox.heads(db).items()}
                owed = {stream: seq - 1 for stream, seq in log.first_not_shown(db).items()}
                return Seen(me.cursor, heads | {me.stream: me.seq} | owed)

        there = vault or next(iter(folder_vaults(folder)), None)
        return FolderTransport(folder, there, seen=seen, sleep=_rest)

    return way


def _by_http(url: str, token: str) -> Way:
    known: list[bytes] = []

    def way(device: Device, vault: bytes | None) -> Transport:
        login = None
        if vault is not None:
            known.append(vault)
            with device.vault.reading() as db:
                me = log.read(db)
            login = DeviceLogin(vault, Seeds(me.sign_seed, me.kem_seed))
        return HttpTransport(
            url,
            vault=vault or next(iter(known), None),
            login=login,
            account_token=lambda: token,
            sleep=_rest,
            jitter=random.random,
        )

    return way


def served() -> Models:
    settings = load({"SUNAIVA_HOME": "/nowhere"})
    embedder = OnnxEmbedder(export_in_child(bundled_model_folder(), settings.model_cache))
    return Models(lambda _: embedder.model_id, lambda _: embedder)


def wait_for_model(device: Device, progress: Progress) -> None:
    """What an agent that runs already has done before anybody joins a vault with it."""
    while not device.index.state().meaning and not progress.time_is_up():
        _rest(_LOOK_SECONDS)


def _rest(seconds: float) -> None:
    threading.Event().wait(seconds)
