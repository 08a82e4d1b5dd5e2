"""Questions with made candidates, for the benches that look inside of the ranking."""

import numpy as np

from bench.evidence import Case
from mcp_server.recall import STEPS, Candidates, Weights

_FIRST_ROW = 100


def case(told, gold, *, scope="one", sessions=None, chars=None, flags=None, eligible=None):
    """`told` gives evidence by name, one value for each candidate; `gold` numbers the candidates that hold the answer."""
    size = len(next(iter(told.values())))
    numbers = np.array(sessions or [0] * size, np.int64)
    return Case(
        scope=scope,
        category="",
        gold=frozenset(_FIRST_ROW + place for place in gold),
        found=Candidates(
            rows=np.arange(_FIRST_ROW, _FIRST_ROW + size, dtype=np.int64),
            words=np.zeros(size, np.float32),
            said=np.zeros((0, size), np.bool_),
            rarity=np.zeros(0, np.float32),
            meaning=np.zeros(size, np.float32),
            eligible=np.array(eligible or [True] * size, np.bool_),
            columns={"flags": np.array(flags or [0] * size, np.uint8)},
            beside={step: np.full(size, -1, np.int64) for step in STEPS},
        ),
        told={
            name: np.array(told.get(name, [0] * size), np.float32)
            for name in Weights.__struct_fields__
        },
        session_of=numbers,
        gold_sessions=frozenset(int(numbers[place]) for place in gold),
        shown_chars=np.array(chars or [100] * size, np.int64),
    )
