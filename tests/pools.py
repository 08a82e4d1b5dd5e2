"""Candidates of a ranking, made by hand."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from mcp_server.recall import STEPS, Candidates, Question, Ranked, Weights, reason

ASSISTANT = 1
WEIGHTS = Weights()
DAY = datetime(2023, 5, 8, tzinfo=UTC)
DAY_MS = 86_400_000
ASKED = Question(
    text="", dates=(), speaker=None, of_assistant=False, asks_when=False, names_somebody=False
)

COLUMNS: dict[str, tuple[Any, Any]] = {
    "question": (np.bool_, False),
    "conversation": (np.int32, -1),
    "speaker": (np.int32, -1),
    "when_ms": (np.int64, 0),
    "flags": (np.uint8, 0),
    "importance": (np.float32, 0.5),
    "pinned": (np.bool_, False),
    "trust": (np.int8, 0),
}


def candidates(
    *memories: dict[str, Any],
    beside: dict[int, list[int]] | None = None,
    rarities: tuple[float, ...] = (1.0, 1.0),
) -> Candidates:
    """One dict for each memory; what it does not name is as usual. `says` numbers the words of the question that it says."""

    def column(name: str, dtype: Any, usual: Any) -> Any:
        return np.array([each.get(name, usual) for each in memories], dtype)

    nobody = [-1] * len(memories)
    return Candidates(
        rows=np.arange(10, 10 + len(memories), dtype=np.int64),
        words=column("words", np.float32, 0),
        said=np.array(
            [[word in each.get("says", ()) for each in memories] for word in range(len(rarities))],
            np.bool_,
        ).reshape(len(rarities), len(memories)),
        rarity=np.array(rarities, np.float32),
        meaning=column("meaning", np.float32, 0),
        eligible=column("eligible", np.bool_, True),
        columns={name: column(name, dtype, usual) for name, (dtype, usual) in COLUMNS.items()},
        beside={step: np.array((beside or {}).get(step, nobody), np.int64) for step in STEPS},
    )


def reasons(ranked: Ranked) -> list[str]:
    return [reason(ranked, place) for place in range(len(ranked.rows))]
