"""What `context` brings up without a question: standing instructions and preferences of an assistant's log, and what next sessions go back to.

Two tasks, defined by the files' own evidence. In a log with questions about instructions and preferences, the whole history is captured and
`context` is asked for its space: how much of the turns that hold them is in the answer? In conversations of several sessions, for
every border between two: of the earlier turns that some question needs together with a turn of the very next session, how
many does `context` show before that session begins? Beside it the same budget filled with the latest turns, the first ones, and random ones.
A turn counts when its memory is in the answer, by the sentence shown of it. Times are moved by whole weeks, so that the history ends now.
"""

import argparse
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from mcp.client import Client
from msgspec import Struct

from bench import metrics
from bench.dataset import ADVERSARIAL, Dataset, Doc, Scope, load
from bench.device import connected, fresh_device
from bench.filling import capture, ids_in_order
from bench.progress import Progress
from bench.report import Bar
from bench.stdio import call
from shared.errors import UnavailableError

BUDGETS = (500, 1000, 2000)
STATED = ("instruction_following", "preference_following")
RANDOM_DRAWS = 20
_WEEK = timedelta(days=7)


class Case(Struct, frozen=True):
    """A history, and the turns of it that ought to come up."""

    space: str
    scope: str
    category: str
    docs: list[Doc]
    gold: frozenset[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    results: dict[str, Any] = {}
    for path in options.files:
        dataset = load(path)
        results[dataset.name] = await _measure(dataset, options, progress)
    return results, []  # what is good enough is not known yet


async def _measure(
    dataset: Dataset, options: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    rng = random.Random(options.seed)
    cases = cases_of(dataset)
    rng.shuffle(cases)  # so that a run which is cut short has seen a fair sample
    cases = cases[: options.max]
    if not cases:
        raise UnavailableError(f"{dataset.name} has no instructions and no sessions to ask about.")
    shares: list[tuple[Case, str, float]] = []
    milliseconds: list[float] = []
    with fresh_device() as device:
        async with connected(device) as client:
            filled: dict[str, dict[str, str]] = {}
            for case in progress.over(cases, f"{dataset.name}: ask"):
                if case.space not in filled:
                    filled[case.space] = await _fill(client, case)
                for budget in BUDGETS:
                    began = perf_counter()
                    found = await _asked(client, case, filled[case.space], budget)
                    milliseconds.append((perf_counter() - began) * 1000)
                    shares.append((case, f"context@{budget}", _share(found, case)))
                    shares += _baselines(case, budget, rng)
    return _figures(dataset, shares, rng) | {
        "ms_p50": metrics.median(milliseconds),
        "ms_p95": metrics.percentile(milliseconds, 0.95),
    }


def cases_of(dataset: Dataset) -> list[Case]:
    cases: list[Case] = []
    for scope in dataset.scopes:
        stated = _stated(scope)
        cases += stated or _borders(scope)
    return cases


def _stated(scope: Scope) -> list[Case]:
    known = {doc.id for doc in scope.docs}
    cases = []
    for category in STATED:
        evidence = {e for q in scope.queries if q.cat == category for e in q.evidence} & known
        if evidence:
            cases.append(Case(scope.id, scope.id, category, scope.docs, frozenset(evidence)))
    return cases


def _borders(scope: Scope) -> list[Case]:
    """One case for each session that goes back to earlier ones."""
    names = list(scope.sessions)
    session_of = {doc.id: names.index(doc.session) for doc in scope.docs}
    cases = []
    for following in range(1, len(names)):
        gold: set[str] = set()
        for query in scope.queries:
            evidence = [each for each in query.evidence if each in session_of]
            if query.cat != ADVERSARIAL and any(session_of[e] == following for e in evidence):
                gold |= {each for each in evidence if session_of[each] < following}
        if gold:
            docs = [doc for doc in scope.docs if session_of[doc.id] < following]
            space = f"{scope.id}/{following}"
            cases.append(Case(space, scope.id, "next session", docs, frozenset(gold)))
    return cases


async def _fill(client: Client, case: Case) -> dict[str, str]:
    """Capture a history; the doc of each memory id."""
    shift = _shift(case.docs)
    sessions = Scope(case.scope, case.docs, []).sessions
    for name, docs in sessions.items():
        turns = [
            {"speaker": doc.who, "text": doc.text, "at": (_moment(doc.ts) + shift).isoformat()}
            | ({"role": doc.role} if doc.role else {})
            for doc in docs
        ]
        await capture(client, f"{case.space}/{name}", turns, space=case.space)
    texts = {f"{case.space}/{name}": [doc.text for doc in docs] for name, docs in sessions.items()}
    found = await ids_in_order(client, texts, space=case.space)
    return {
        memory_id: doc.id
        for name, docs in sessions.items()
        for memory_id, doc in zip(found[f"{case.space}/{name}"], docs, strict=True)
    }


async def _asked(client: Client, case: Case, doc_of: dict[str, str], budget: int) -> set[str]:
    answer = await call(client, "context", space=case.space, max_tokens=budget)
    return {
        doc_of[memory["id"]] for section in answer["sections"] for memory in section["memories"]
    }


def _baselines(case: Case, budget: int, rng: random.Random) -> list[tuple[Case, str, float]]:
    """The budget filled with whole turns; of an assistant's log, with the person's."""
    turns = [doc for doc in case.docs if doc.role != "assistant"]
    random_shares = [
        _share(_fitting(rng.sample(turns, len(turns)), budget), case) for _ in range(RANDOM_DRAWS)
    ]
    return [
        (case, f"latest@{budget}", _share(_fitting(turns[::-1], budget), case)),
        (case, f"first@{budget}", _share(_fitting(turns, budget), case)),
        (case, f"random@{budget}", metrics.mean(random_shares)),
    ]


def _fitting(docs: Sequence[Doc], budget: int) -> set[str]:
    costs = [metrics.memory_tokens(doc.text) for doc in docs]
    return {doc.id for doc in docs[: metrics.fitting(costs, budget)]}


def _share(found: set[str], case: Case) -> float:
    return len(found & case.gold) / len(case.gold)


def _figures(
    dataset: Dataset, shares: list[tuple[Case, str, float]], rng: random.Random
) -> dict[str, Any]:
    """Means over conversations of each half: the first, third, … were looked at when phrases were chosen, the others never."""
    places = {scope.id: number for number, scope in enumerate(dataset.scopes)}
    figures: dict[str, Any] = {}
    for half, parity in (("tuned", 0), ("held_out", 1)):
        chosen = [one for one in shares if places[one[0].scope] % 2 == parity]
        for category in dict.fromkeys(case.category for case, _, _ in chosen):
            block: dict[str, Any] = {}
            for name in dict.fromkeys(name for _, name, _ in chosen):
                groups: dict[str, list[float]] = {}
                for case, way, share in chosen:
                    if way == name and case.category == category:
                        groups.setdefault(case.scope, []).append(share)
                values = [share for group in groups.values() for share in group]
                block[name] = metrics.mean(values)
                if name.startswith("context"):
                    block[f"{name} interval"] = metrics.bootstrap_interval(
                        list(groups.values()), rng
                    )
            cases = {case.space: case for case, _, _ in chosen if case.category == category}
            block["cases"] = len(cases)
            block["turns"] = sum(len(case.gold) for case in cases.values())
            figures.setdefault(half, {})[category] = block
    return figures


def _shift(docs: Sequence[Doc]) -> timedelta:
    """Whole weeks, so that "next Friday" stays one."""
    last = max(_moment(doc.ts) for doc in docs)
    return (datetime.now(UTC) - last) // _WEEK * _WEEK


def _moment(ts: str) -> datetime:
    moment = datetime.fromisoformat(ts)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
