"""Late interaction: a question's tokens against a memory's, each with the one that is nearest in meaning. A tier, off by default.

The states are those of the model that makes the vectors, so nothing else is loaded. Of a memory they are kept as two bits a
dimension (8 bytes a token), in the vault alone. The mathematics are pure; `scores` reads the codes and is all that touches the vault.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mcp_server.index.embedder import TOKEN_DIMS, Tokens
from mcp_server.index.words import names_something
from mcp_server.vault import vector_store

if TYPE_CHECKING:
    from sqlite_utils import Database

States = NDArray[np.float32]
Scores = NDArray[np.float32]

_CODE_BYTES = TOKEN_DIMS // 4
_SHIFTS = np.arange(0, 8, 2, dtype=np.uint8)
# The middles of the four steps from one end to the other.
_LEVELS = np.array([-0.75, -0.25, 0.25, 0.75], np.float32)


def encode(states: States) -> bytes:
    """Token states (n, TOKEN_DIMS) as n · 8 bytes."""
    peak = np.abs(states).max(axis=1, keepdims=True, initial=1e-9)
    steps = np.clip(np.floor(states / peak * 2), -2, 1).astype(np.int8) + 2
    packed = (steps.astype(np.uint8).reshape(-1, _CODE_BYTES, 4) << _SHIFTS).sum(axis=2)
    return bytes(packed.astype(np.uint8).tobytes())


def decode(code: bytes) -> States:
    """The states again, normalised."""
    packed = np.frombuffer(code, np.uint8).reshape(-1, _CODE_BYTES)
    steps = (packed[:, :, None] >> _SHIFTS) & 3
    states = _LEVELS[steps].reshape(-1, TOKEN_DIMS)
    unit: States = states / np.linalg.norm(states, axis=1, keepdims=True)
    return unit


def best_matches(question: States, memories: Sequence[bytes]) -> Scores:
    """For each memory's code: the mean over the question's tokens of the cosine with the memory's nearest token; 0 for none."""
    found = np.zeros(len(memories), np.float32)
    there = [place for place, code in enumerate(memories) if code]
    if not there or not len(question):
        return found
    cosines = question @ decode(b"".join(memories[place] for place in there)).T
    lengths = [len(memories[place]) // _CODE_BYTES for place in there]
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    found[there] = np.maximum.reduceat(cosines, starts, axis=1).mean(axis=0)
    return found


def naming(text: str, tokens: Tokens) -> States:
    """The states of a question's tokens that belong to words which name something; of all, if none does."""
    spans = [match.span() for match in re.finditer(r"\w+", text) if names_something(match[0])]
    kept = [
        any(start < end and first < last for start, end in spans if start <= first < end)
        for first, last in tokens.spans
    ]
    return tokens.states[kept] if any(kept) else tokens.states


def scores(question: States, db: "Database", rows: NDArray[np.int64]) -> Scores:
    """How well the tokens of each of these memories match the question's, 0 to 1; 0 where none are kept."""
    codes = vector_store.tokens_of(db, rows.tolist())
    return best_matches(question, [codes.get(row, b"") for row in rows.tolist()])
