"""What speaks for each memory on each question of the development files, taken from inside the shipped ranking.

Runs in this process, because no answer says what each piece of evidence weighed. `ablation` and `fit` read it; figures that
are promised come from `recall`, which asks from outside.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from bench import metrics
from bench.dataset import ADVERSARIAL, Dataset, Query, Scope
from bench.inside import filled
from bench.progress import Progress
from mcp_server import recall, search
from mcp_server.device import Device
from shared.errors import UnavailableError

_RANKED_MAX = 200  # some 15,000 tokens; no figure looks further
BUDGET_TOKENS = 2_000


class Case(Struct, frozen=True):
    """One question with evidence, and all that the ranking knew of the memories it considered."""

    scope: str
    category: str
    gold: frozenset[int]
    """Rows that hold the answer."""
    lasting: int
    """The cues that have reserved places for this question."""
    found: recall.Candidates
    told: dict[str, NDArray[np.float32]]
    session_of: NDArray[np.int64]
    """Of each candidate, the number of its conversation."""
    gold_sessions: frozenset[int]
    shown_chars: NDArray[np.int64]


def cases(dataset: Dataset, progress: Progress) -> list[Case]:
    """Every question of a data set that has evidence and is no trap.

    Raises:
        UnavailableError: time was up.
    """
    with filled(dataset, progress) as vault:
        rows = {place: row for row, place in enumerate(vault.places.values(), 1)}
        found = [
            _case(vault.device, scope, query, rows)
            for scope in progress.over(dataset.scopes, f"{dataset.name}: ask")
            for query in scope.queries
            if query.evidence and query.cat != ADVERSARIAL
        ]
    if not progress.complete:
        raise UnavailableError("Time was up before everything was asked. Give more --seconds.")
    return found


def order(case: Case, weights: recall.Weights, *, reserved: bool = True) -> NDArray[np.int64]:
    """Places of a case's candidates, best first, as `recall.score` orders them."""
    total = np.sum(
        [getattr(weights, name) * values for name, values in case.told.items()],
        axis=0,
        dtype=np.float32,
    )
    best = np.argsort(-total, kind="stable")
    best = best[case.found.eligible[best]]
    if reserved:
        best = best[
            recall.with_reserved(case.found.columns["flags"].astype(np.uint8)[best], case.lasting)
        ]
    return best


def figures(case: Case, ordered: NDArray[np.int64]) -> dict[str, float]:
    """What a ranking of a case's candidates is worth."""
    first = ordered[:_RANKED_MAX]
    turns = [str(row) for row in case.found.rows[first].tolist()]
    sessions = metrics.distinct(str(number) for number in case.session_of[first].tolist())
    gold = {str(row) for row in case.gold}
    gold_sessions = {str(number) for number in case.gold_sessions}
    fitting = metrics.fitting(_tokens(case.shown_chars[first].tolist()), BUDGET_TOKENS)
    return {
        "turn.any@10": metrics.any_at(turns, gold, 10),
        "turn.recall@10": metrics.recall_at(turns, gold, 10),
        "turn.mrr": metrics.reciprocal_rank(turns, gold),
        "turn.ndcg@10": metrics.ndcg_at(turns, gold, 10),
        "session.any@5": metrics.any_at(sessions, gold_sessions, 5),
        "session.all@5": metrics.all_at(sessions, gold_sessions, 5),
        f"budget.any@{BUDGET_TOKENS}": metrics.any_at(turns, gold, fitting),
    }


def means(scored: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: metrics.mean([each[name] for each in scored]) for name in scored[0]}


def _tokens(chars: Sequence[int]) -> list[float]:
    """What each memory costs as an answer shows it."""
    return [
        metrics.tokens_of(min(each, search.excerpt_chars(place)))
        for place, each in enumerate(chars)
    ]


def _case(device: Device, scope: Scope, query: Query, rows: dict[tuple[str, str], int]) -> Case:
    asked = search.Asked(query=query.text, spaces=(scope.id,))
    question = search.understood(device, asked)
    with device.vault.reading() as db:
        found = search.candidates(device, db, asked, question)
    gold = frozenset(rows[scope.id, doc] for doc in query.evidence)
    conversation = device.index.catalogue.columns["conversation"]
    return Case(
        scope=scope.id,
        category=query.cat,
        gold=gold,
        lasting=recall.lasting(question),
        found=found,
        told=recall.evidence(question, found, search.ASSISTANT),
        session_of=found.columns["conversation"].astype(np.int64),
        gold_sessions=frozenset(int(conversation[row]) for row in gold),
        shown_chars=found.columns["chars"].astype(np.int64),
    )
