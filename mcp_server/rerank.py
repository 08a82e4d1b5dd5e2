"""The tiers of recall: what a person may let happen to the first of a ranking, for more milliseconds or more bytes.

`fast` does nothing here. `late` compares tokens with tokens, `cross` lets the person's own cross-encoder read. Only the first
are looked at, none is dropped, and what is not ready yet is left out without a word: the ranking was good before.
"""

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mcp_server.device import Device
from mcp_server.index import late
from mcp_server.index.entries import memory_text
from mcp_server.recall import Ranked
from mcp_server.vault import store

if TYPE_CHECKING:
    from sqlite_utils import Database

# As many as hold nearly all evidence that the first ten could hold; four times as many measured the same.
_LATE_FIRST = 50
_LATE_WEIGHT = 0.5
_CROSS_FIRST = 30
_CROSS_WEIGHT = 1.0
# On top of some 20 ms of everything else; a question that takes longer than a third of a second is felt.
_CROSS_SECONDS_MAX = 0.3


def rerank(device: Device, db: "Database", query: str, ranked: Ranked) -> Ranked:
    """The same rows, the first of them in the order of the tier that is on."""
    serving = device.index.serving()
    if len(ranked.rows) < 2:
        return ranked
    if device.index.keeps_tokens and serving is not None:
        asked = late.naming(query, serving[0].question_tokens(query))
        matches = late.scores(asked, db, ranked.rows[:_LATE_FIRST])
        return reordered(ranked, _LATE_WEIGHT * matches, "tokens")
    if device.index.cross is not None:
        rows = ranked.rows[:_CROSS_FIRST].tolist()
        memories = store.by_rows(db, rows)
        texts = [
            memory_text(memories[row].text, memories[row].speaker) if row in memories else ""
            for row in rows
        ]
        read = device.index.cross.scores(
            query, texts, seconds_max=_CROSS_SECONDS_MAX, clock=time.perf_counter
        )
        return reordered(ranked, _CROSS_WEIGHT * _spread(read), "reading")
    return ranked


def reordered(ranked: Ranked, gained: NDArray[np.float32], name: str) -> Ranked:
    """The first of a ranking sorted anew by what they scored and gained; nobody behind them comes before them."""
    first = len(gained)
    assert first <= len(ranked.rows)
    weighed = np.zeros(len(ranked.rows), np.float32)
    weighed[:first] = gained
    scores = ranked.scores + weighed
    order = np.arange(len(scores))
    order[:first] = np.argsort(-scores[:first], kind="stable")
    evidence = dict(ranked.evidence) | {name: weighed}
    return Ranked(
        ranked.rows[order], scores[order], {key: values[order] for key, values in evidence.items()}
    )


def _spread(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """From 0 for the worst to 1 for the best: every cross-encoder has a unit of its own."""
    width = float(np.ptp(scores)) if len(scores) else 0.0
    if width == 0:
        return np.zeros(len(scores), np.float32)
    spread: NDArray[np.float32] = ((scores - scores.min()) / width).astype(np.float32)
    return spread
