"""Vectors that a new device takes over, beside embedding the same texts: bytes, and seconds on both sides.

The vault, the folder and the model are the real ones; the vectors that are carried are made up, because to make 100,000 real ones is just
what takes an hour. They are as incompressible as real ones, and nothing that is measured looks inside.
"""

import argparse
import secrets
from collections.abc import Sequence
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bench.progress import Progress
from bench.sync import bootstrap, vaults
from bench.sync.memories import NAMES, Memory, made_up, memories
from mcp_server.device import Device
from mcp_server.replica import Replica
from mcp_server.syncing import vector_offering, vector_taking
from mcp_server.vault import vector_store
from shared.clock import system_clock, to_ms
from shared.errors import UnavailableError
from sync_service.device import log, membership
from sync_service.sealed import keys

MEMORIES = 100_000
_EMBEDDED = 1_000
_EMBED_BATCH = 32
_ROWS_AT_ONCE = 10_000
_TURNS = 50_000
_HOLD_SECONDS = 86_400.0


def measure(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    number = min(MEMORIES, options.max or MEMORIES)
    made = memories(made_up(min(number, _TURNS), options.seed), number, options.seed)
    recovery = keys.new_seeds(secrets.token_bytes)
    with vaults.folder() as home:
        relay = home / "relay"
        relay.mkdir()
        way = bootstrap.by_folder(relay)
        models = bootstrap.served()
        with vaults.opened(home / "old", models) as old:
            old.index.hold.keep(_HOLD_SECONDS)
            bootstrap.wait_for_model(old, progress)
            progress.say(f"fill {number:,}")
            bootstrap.fill(old, made, recovery, way, progress)
            _make_up(old, options.seed)
            offered = _offer(old, way, progress)
        with vaults.opened(home / "new", models) as new:
            new.index.hold.keep(_HOLD_SECONDS)
            bootstrap.wait_for_model(new, progress)
            membership.join_by_words(
                way(new, None),
                Replica(new),
                recovery=recovery,
                name="new",
                random=secrets.token_bytes,
            )
            runs = bootstrap.runs_of(new, Replica(new), way)
            while bootstrap.step(runs, progress).is_behind:
                pass
            taken, longest = _take(new, way, number)
            embedding = _embed(new, made)
    return {
        "memories": number,
        "bytes": offered["bytes"],
        "bytes_per_memory": round(offered["bytes"] / number, 1),
        "pieces": offered["pieces"],
        "offer_s": offered["seconds"],
        "take_over_s": round(taken, 2),
        "longest_piece_s": round(longest, 2),
        "embedding_s_extrapolated": round(embedding * number),
        "times_as_fast": round(embedding * number / taken),
    }


def _make_up(device: Device, seed: int) -> None:
    embedder = device.index.embedder
    assert embedder is not None
    drawn = np.random.default_rng(seed)
    with device.vault.reading() as db:
        rows = [row for (row,) in db.execute("SELECT row FROM records ORDER BY row").fetchall()]
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[first : first + _ROWS_AT_ONCE]
        code = drawn.integers(0, 256, (len(part), embedder.dim // 2), np.uint8)
        with device.changing() as change:
            change.then(device.index.store_codes(change.db, part, code))


def _offer(device: Device, way: bootstrap.Way, progress: Progress) -> dict[str, Any]:
    with device.vault.reading() as db:
        vault, members = log.read(db).vault, log.members(db)
    transport, embedder = way(device, vault), device.index.embedder
    assert embedder is not None
    began, pieces, size = perf_counter(), 0, 0
    offering = vector_offering.begin(device, transport, members, vector_taking.kind_of(embedder))
    while offering is not None:
        pieces = len(offering.segments)
        size = sum(segment.size for segment in offering.segments)
        offering = vector_offering.go_on(device, transport, members, offering)
        progress.say(f"{pieces} pieces offered")
    return {"seconds": round(perf_counter() - began, 2), "pieces": pieces, "bytes": size}


def _take(device: Device, way: bootstrap.Way, expected: int) -> tuple[float, float]:
    """Seconds, and of the longest piece."""
    with device.vault.reading() as db:
        vault, members = log.read(db).vault, log.members(db)
    transport, embedder = way(device, vault), device.index.embedder
    assert embedder is not None
    kind, now_ms = vector_taking.kind_of(embedder), to_ms(system_clock())
    began = perf_counter()
    source = vector_taking.find(device, transport, members, kind, now_ms)
    assert source is not None
    last, longest = began, 0.0
    while vector_taking.take_piece(device, transport, source, now_ms):
        now = perf_counter()
        last, longest = now, max(longest, now - last)
    seconds = perf_counter() - began
    with device.vault.writing() as db:
        there = vector_store.count(db, "vectors", vector_store.model_number(db, kind.model))
    if there != expected:
        raise UnavailableError(f"Of {expected:,} vectors {there:,} were taken over.")
    return seconds, longest


def _embed(device: Device, made: Sequence[Memory]) -> float:
    """Seconds for one text, as the index does it: the median of its batches."""
    embedder = device.index.embedder
    assert embedder is not None
    place = NAMES.index("text")
    texts = [str(one.values[place]) for one in made[:_EMBEDDED]]
    seconds = []
    for first in range(0, len(texts), _EMBED_BATCH):
        part = texts[first : first + _EMBED_BATCH]
        began = perf_counter()
        embedder.embed(part)
        seconds.append((perf_counter() - began) / len(part))
    return median(seconds)
