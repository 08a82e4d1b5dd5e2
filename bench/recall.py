"""How much of the evidence the shipped `recall` returns, on conversations with questions and gold turns.

One vault for a file, one space for each of its scopes, every session captured as an assistant's hook would; then one
question after the other through the `recall` tool. Gold ids never enter the vault's texts; answers are mapped back
through `browse`. Questions without evidence and LoCoMo's adversarial ones stay out of the headline and stand beside it.
"""

import argparse
import random
from pathlib import Path
from time import perf_counter
from typing import Any

from mcp.client import Client

from bench import metrics
from bench.dataset import Dataset, Query, Scope, load
from bench.device import connected, fresh_device
from bench.filling import capture, ids_in_order, index_complete
from bench.metrics import Answered
from bench.progress import Progress
from bench.recall_figures import Asked, bars_of, figures_of
from bench.report import Bar
from bench.stdio import call
from shared.errors import CorruptError, UnavailableError

LIMIT = 50  # as many memories as one call may return
PAGES_MAX = 8
BUDGET_MAX = max(metrics.BUDGETS)

DocIds = dict[str, tuple[str, str]]
"""Memory id → (scope, doc id)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    results: dict[str, Any] = {}
    bars: list[Bar] = []
    for path in options.files:
        dataset = load(path)
        figures = await _measure(dataset, options, progress)
        results[dataset.name] = figures
        bars += bars_of(dataset.name, figures)
    return results, bars


async def _measure(
    dataset: Dataset, options: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    rng = random.Random(options.seed)
    with fresh_device() as device:
        async with connected(device) as client:
            began = perf_counter()
            doc_ids = await _fill(client, dataset, progress)
            captured_s = perf_counter() - began
            await index_complete(client, [scope.id for scope in dataset.scopes], progress)
            indexed_s = perf_counter() - began
            asked = await _ask_all(client, dataset, doc_ids, options.max, rng, progress)
    return figures_of(dataset, asked, rng) | {
        "ingest": {
            "turns": sum(len(scope.docs) for scope in dataset.scopes),
            "captured_s": captured_s,
            "indexed_s": indexed_s,
        }
    }


async def _fill(client: Client, dataset: Dataset, progress: Progress) -> DocIds:
    """Capture every session, scope by scope."""
    sessions = [(scope, *item) for scope in dataset.scopes for item in scope.sessions.items()]
    for scope, name, docs in progress.over(sessions, f"{dataset.name}: capture"):
        turns = [
            {"speaker": doc.who, "text": doc.text, "at": doc.ts, "key": f"{scope.id}/{doc.id}"}
            | ({"role": doc.role} if doc.role else {})
            for doc in docs
        ]
        await capture(client, f"{scope.id}/{name}", turns, space=scope.id)
    if not progress.complete:
        raise UnavailableError("Time was up before everything was captured. Give more --seconds.")
    return await _doc_ids(client, dataset, progress)


async def _doc_ids(client: Client, dataset: Dataset, progress: Progress) -> DocIds:
    found: DocIds = {}
    for scope in progress.over(dataset.scopes, f"{dataset.name}: list"):
        sessions = {f"{scope.id}/{name}": docs for name, docs in scope.sessions.items()}
        texts = {name: [doc.text for doc in docs] for name, docs in sessions.items()}
        for name, ids in (await ids_in_order(client, texts, space=scope.id)).items():
            for memory_id, doc in zip(ids, sessions[name], strict=True):
                found[memory_id] = (scope.id, doc.id)
    return found


async def _ask_all(
    client: Client,
    dataset: Dataset,
    doc_ids: DocIds,
    most: int | None,
    rng: random.Random,
    progress: Progress,
) -> list[Asked]:
    questions = [(scope, query) for scope in dataset.scopes for query in scope.queries]
    rng.shuffle(questions)  # so that a run which is cut short has asked a fair sample
    asked = [
        await _ask(client, scope, query, doc_ids)
        for scope, query in progress.over(questions[:most], f"{dataset.name}: ask")
    ]
    if not asked:
        raise UnavailableError("Time was up before the first question. Give more --seconds.")
    return asked


async def _ask(client: Client, scope: Scope, query: Query, doc_ids: DocIds) -> Asked:
    began = perf_counter()
    # Exactly what an assistant sends that knows nothing of limits and budgets.
    answer = await call(client, "recall", query=query.text, space=scope.id)
    milliseconds = (perf_counter() - began) * 1000
    if answer["searched"] != "full":
        raise CorruptError("`recall` searched by keyword only although the index was complete.")
    everything = await _memories(client, scope, query)
    return Asked(
        answered=_answered(scope, query, everything, doc_ids),
        called=_answered(scope, query, answer["memories"], doc_ids),
        audited=frozenset(query.evidence_audited) if query.evidence_audited else None,
        milliseconds=milliseconds,
        called_irrelevant="note" in answer,  # of a complete index, an answer has no other
    )


async def _memories(client: Client, scope: Scope, query: Query) -> list[dict[str, Any]]:
    """What `recall` returns for the largest budget, following its cursor until the budget is full."""
    memories: list[dict[str, Any]] = []
    spent = 0.0
    cursor: dict[str, str] = {}
    for _ in range(PAGES_MAX):
        answer = await call(
            client,
            "recall",
            query=query.text,
            space=scope.id,
            limit=LIMIT,
            max_tokens=BUDGET_MAX,
            **cursor,
        )
        memories += answer["memories"]
        spent += sum(metrics.memory_tokens(memory["text"]) for memory in answer["memories"])
        if spent >= BUDGET_MAX or not answer.get("cursor"):
            break
        cursor = {"cursor": answer["cursor"]}
    return memories


def _answered(
    scope: Scope, query: Query, memories: list[dict[str, Any]], doc_ids: DocIds
) -> Answered:
    ranking = []
    for memory in memories:
        home, doc_id = doc_ids.get(memory["id"], (None, ""))
        if home != scope.id:
            raise CorruptError(f"`recall` in space {scope.id} returned a memory of {home}.")
        ranking.append(doc_id)
    return Answered(
        scope=scope.id,
        category=query.cat,
        evidence=frozenset(query.evidence),
        ranking=tuple(ranking),
        tokens=tuple(metrics.memory_tokens(memory["text"]) for memory in memories),
    )
