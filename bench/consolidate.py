"""How much smaller consolidation makes a vault, and what that costs: bytes and recall before and after, through MCP.

All files go into one vault, as an assistant's hook would capture them; then `sunaiva consolidate`, as a person would call it. The
naive layout of the same memories is really built: rows with uuids, FTS5 with its defaults, float32 vectors in an HNSW graph.
"""

import argparse
import random
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import sqlcipher3.dbapi2 as sqlcipher
from mcp.client import Client
from msgspec import Struct

from bench import metrics
from bench.dataset import ADVERSARIAL, Dataset, Query, Scope, load
from bench.device import Device, agents, connected, disk_bytes, fresh_device, run_cli
from bench.filling import capture, ids_in_order, index_complete
from bench.processes import end
from bench.progress import Progress
from bench.report import Bar, at_least, at_most
from bench.stdio import call
from mcp_server.device import database_key
from mcp_server.index.catalogue import Catalogue
from mcp_server.vault.db import DATABASE_NAME
from mcp_server.vault.keys import unlock_with_words
from shared.errors import UnavailableError

NAIVE_SAVED = 0.75
OWN_SAVED = 0.60
POINTS_LOST = 0.005
QUESTIONS = 600  # of each file, at most: twice as many calls each time
BUDGET = 2_000
# Of a graph of 16 neighbours a node: two per layer-0 link, and a share of the upper layers.
_HNSW_BYTES = 140
_DIM = 384


class Question(Struct, frozen=True):
    dataset: str
    space: str
    query: Query


class Size(Struct, frozen=True):
    """A vault from outside, at one moment."""

    disk: int
    index_in_memory: int
    tables: dict[str, int]


class Recalled(Struct, frozen=True):
    any_in_budget: dict[str, float]
    any_at_10: dict[str, float]
    ms_p50: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    datasets = [load(path) for path in options.files]
    rng = random.Random(options.seed)
    questions = [
        each
        for dataset in datasets
        for each in _sample(dataset, rng, min(options.max or QUESTIONS, QUESTIONS))
    ]
    with fresh_device() as device:
        key = database_key(unlock_with_words(device.home, device.recovery_words).current)
        async with connected(device) as client:
            doc_ids: dict[str, str] = {}
            for dataset in datasets:
                doc_ids |= await _fill(client, dataset, progress)
            asked = [await _ask(client, questions, doc_ids, progress)]
            read = [_exported(device)]
            # Right before and after: what else was written, lines of the access log, is not to be counted.
            sizes = [_size(device, key)]
            began = perf_counter()
            said = run_cli(device, "consolidate", "--json", seconds=options.seconds)
            said["seconds"] = perf_counter() - began
            sizes.append(_size(device, key))
            read.append(_exported(device))
            asked.append(await _ask(client, questions, doc_ids, progress))
        end(agents(device))
        naive = _naive_bytes(datasets, device.root / "naive.db")
    figures = {"memories": len(read[0]), "consolidate": said, **_sizes(sizes, naive)}
    figures |= {"recall": dict(zip(("before", "after"), asked, strict=True))}
    unlike = len(set(read[0]) ^ set(read[1]))
    return msgspec.to_builtins(figures), [
        *_size_bars(figures["saved"]),
        at_most("memories that read otherwise", unlike, 0),
        *_recall_bars(*asked),
    ]


def _sizes(sizes: Sequence[Size], naive: dict[str, int]) -> dict[str, Any]:
    before, after = sizes
    # The naive graph lies on the disk and is read into memory as it is; ours are counted in both places, too.
    naive_disk, naive_memory = sum(naive.values()), naive["hnsw"]
    whole = after.disk + after.index_in_memory
    return {
        "naive": naive | {"disk": naive_disk, "index_in_memory": naive_memory},
        "before": before,
        "after": after,
        "saved": {
            "of the naive layout": 1 - after.disk / naive_disk,
            "of the naive layout, indexes in memory added": 1 - whole / (naive_disk + naive_memory),
            "of our vault before": 1 - after.disk / before.disk,
            "of our vault before, indexes in memory added": 1
            - whole / (before.disk + before.index_in_memory),
        },
    }


def _size_bars(saved: dict[str, float]) -> list[Bar]:
    return [
        at_least(f"saved {what}", share, NAIVE_SAVED if "naive" in what else OWN_SAVED)
        for what, share in saved.items()
    ]


def _recall_bars(before: Recalled, after: Recalled) -> list[Bar]:
    return [
        at_most(f"{dataset}: {what} lost", first[dataset] - second[dataset], POINTS_LOST)
        for what, first, second in (
            ("any within 2,000 tokens", before.any_in_budget, after.any_in_budget),
            ("turn any@10", before.any_at_10, after.any_at_10),
        )
        for dataset in first
    ]


def _sample(dataset: Dataset, rng: random.Random, most: int) -> list[Question]:
    asked = [
        Question(dataset.name, _space(dataset, scope), query)
        for scope in dataset.scopes
        for query in scope.queries
        if query.evidence and query.cat != ADVERSARIAL
    ]
    return rng.sample(asked, min(most, len(asked)))


def _space(dataset: Dataset, scope: Scope) -> str:
    return f"{dataset.name} {scope.id}"


async def _fill(client: Client, dataset: Dataset, progress: Progress) -> dict[str, str]:
    """Capture every session; memory id → doc id."""
    found: dict[str, str] = {}
    for scope in progress.over(dataset.scopes, f"{dataset.name}: capture"):
        space = _space(dataset, scope)
        sessions = {f"{space} {name}": docs for name, docs in scope.sessions.items()}
        for name, docs in sessions.items():
            turns = [
                {"speaker": doc.who, "text": doc.text, "at": doc.ts}
                | ({"role": doc.role} if doc.role else {})
                for doc in docs
            ]
            await capture(client, name, turns, space=space)
        said = {name: [doc.text for doc in docs] for name, docs in sessions.items()}
        for name, ids in (await ids_in_order(client, said, space=space)).items():
            found |= {memory_id: doc.id for memory_id, doc in zip(ids, sessions[name], strict=True)}
    if not progress.complete:
        raise UnavailableError("Time was up before everything was captured. Give more --seconds.")
    await index_complete(client, [_space(dataset, scope) for scope in dataset.scopes], progress)
    return found


async def _ask(
    client: Client, questions: Sequence[Question], doc_ids: dict[str, str], progress: Progress
) -> Recalled:
    in_budget: dict[str, list[float]] = {}
    at_10: dict[str, list[float]] = {}
    times: list[float] = []
    for asked in progress.over(questions, "ask"):
        evidence = frozenset(asked.query.evidence)
        began = perf_counter()
        answer = await _ranking(client, asked, doc_ids, limit=50, max_tokens=BUDGET)
        times.append((perf_counter() - began) * 1000)
        ten = await _ranking(client, asked, doc_ids, limit=10, max_tokens=20 * BUDGET)
        in_budget.setdefault(asked.dataset, []).append(float(bool(evidence & set(answer))))
        at_10.setdefault(asked.dataset, []).append(metrics.any_at(ten, evidence, 10))
    return Recalled(
        any_in_budget={name: metrics.mean(values) for name, values in in_budget.items()},
        any_at_10={name: metrics.mean(values) for name, values in at_10.items()},
        ms_p50=metrics.median(times),
    )


async def _ranking(
    client: Client, asked: Question, doc_ids: dict[str, str], *, limit: int, max_tokens: int
) -> tuple[str, ...]:
    answer = await call(
        client,
        "recall",
        query=asked.query.text,
        space=asked.space,
        limit=limit,
        max_tokens=max_tokens,
    )
    return tuple(doc_ids[memory["id"]] for memory in answer["memories"])


def _exported(device: Device) -> list[str]:
    path = device.root / "all.jsonl"
    run_cli(device, "export", str(path), "--overwrite", "--json")
    _, *lines = path.read_text().splitlines()
    path.unlink()
    return lines


def _size(device: Device, key: bytes) -> Size:
    """On the disk, and what the agent holds in memory to search: codes, their signs, the catalogue's columns."""
    run_cli(device, "doctor", "--json")  # writes the log back into the file
    plain = device.root / "plain.db"
    connection = sqlcipher.connect(f"file:{device.home / DATABASE_NAME}?mode=ro", uri=True)
    try:
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        vectors, code_bytes = connection.execute(
            "SELECT count(*), coalesce(sum(length(code)), 0) FROM vectors"
        ).fetchone()
        connection.execute("ATTACH ? AS plain KEY ''", [str(plain)])
        connection.execute("SELECT sqlcipher_export('plain')")
    finally:
        connection.close()
    columns = sum(column.dtype.itemsize for column in Catalogue().columns.values())
    return Size(
        disk=disk_bytes(device),
        index_in_memory=code_bytes + vectors * (_DIM // 8 + columns),
        tables=_by_table(plain),
    )


def _by_table(plain: Path) -> dict[str, int]:
    """From SQLite's own account; nothing where this Python's SQLite was built without it."""
    connection = sqlite3.connect(plain)
    try:
        found = connection.execute(
            "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 15"
        ).fetchall()
    except sqlite3.OperationalError:
        found = []
    finally:
        connection.close()
        plain.unlink()
    return dict(found)


def _naive_bytes(datasets: Sequence[Dataset], path: Path) -> dict[str, int]:
    """What the same memories take in the layout that most servers of this kind have."""
    ids = random.Random(0)
    rows = [
        (
            str(uuid.UUID(int=ids.getrandbits(128), version=4)),
            *(doc.text, doc.who, _space(dataset, scope), f"{scope.id}/{doc.session}", doc.ts),
        )
        for dataset in datasets
        for scope in dataset.scopes
        for doc in scope.docs
    ]
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE memories (id TEXT PRIMARY KEY, text TEXT, speaker TEXT, space TEXT, conversation TEXT, at TEXT)"
            )
            connection.execute("CREATE VIRTUAL TABLE words USING fts5 (text)")
            connection.executemany("INSERT INTO memories VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.execute("INSERT INTO words (rowid, text) SELECT rowid, text FROM memories")
        connection.execute("VACUUM")
    finally:
        connection.close()
    return {"sqlite": path.stat().st_size, "hnsw": len(rows) * (_DIM * 4 + _HNSW_BYTES)}
