"""What speaks for each memory on each question of the development files, taken from inside the shipped ranking.

Runs in this process, because no answer says what each piece of evidence weighed. `ablation` and `fit` read it; figures that
are promised come from `recall`, which asks from outside.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from bench.dataset import Dataset, Query, Scope
from bench.inside import filled
from bench.progress import Progress
from mcp_server import recall, search
from mcp_server.device import Device
from shared.errors import UnavailableError


class Case(Struct, frozen=True):
    """One question with evidence, and all that the ranking knew of the memories it considered."""

    scope: str
    category: str
    gold: frozenset[int]
    """Rows that hold the answer."""
    question: recall.Question
    found: recall.Candidates
    told: dict[str, NDArray[np.float32]]
    session_of: NDArray[np.int64]
    """Of each candidate, the number of its conversation."""
    gold_sessions: frozenset[int]
    shown_chars: NDArray[np.int64]


def cases(dataset: Dataset, progress: Progress) -> list[Case]:
    """Every question of a data set that has evidence.

    Raises:
        UnavailableError: time was up.
    """
    with filled(dataset, progress) as vault:
        rows = {place: row for row, place in enumerate(vault.places.values(), 1)}
        found = [
            _case(vault.device, scope, query, rows)
            for scope in progress.over(dataset.scopes, f"{dataset.name}: ask")
            for query in scope.queries
            if query.evidence
        ]
    if not progress.complete:
        raise UnavailableError("Time was up before everything was asked. Give more --seconds.")
    return found


def _case(device: Device, scope: Scope, query: Query, rows: dict[tuple[str, str], int]) -> Case:
    asked = search.Asked(query=query.text, spaces=(scope.id,))
    with device.vault.reading() as db:
        found = search.candidates(device, db, asked)
    question = recall.understand(query.text, device.index.catalogue.speakers)
    gold = frozenset(rows[scope.id, doc] for doc in query.evidence)
    conversation = device.index.catalogue.columns["conversation"]
    return Case(
        scope=scope.id,
        category=query.cat,
        gold=gold,
        question=question,
        found=found,
        told=recall.evidence(question, found, search.ASSISTANT),
        session_of=found.columns["conversation"].astype(np.int64),
        gold_sessions=frozenset(int(conversation[row]) for row in gold),
        shown_chars=found.columns["chars"].astype(np.int64),
    )
