"""Stand-ins at the named ports, for tests of everything behind them."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcp_server.index.embedder import TOKEN_DIMS, Tokens
from mcp_server.recall import RELEVANT_BY

_ENDINGS = ("ing", "ed", "es", "s")
_STEM_CHARS_MIN = 3


class HashEmbedder:
    """Texts that share words are near to each other, always by the same amount, and nothing needs to be loaded."""

    model_id = "hash"

    def __init__(self, dim: int = 384) -> None:
        self.dim = dim

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            # Two words may cancel each other out; a text that says nothing is itself one word.
            for words in (map(_stem, re.findall(r"\w+", text.lower())), [f"\0{text}"]):
                for word in words:
                    number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
                    vectors[row, number % self.dim] += 1 if number >> 63 else -1
                if vectors[row].any():
                    break
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def embed_question(self, question: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.embed([question])[0]
        return vector

    def tokens(self, text: str) -> Tokens:
        spans = tuple(match.span() for match in re.finditer(r"\w+", text))
        words = HashEmbedder(TOKEN_DIMS).embed([text[start:end] for start, end in spans])
        return Tokens(spans, words)

    def question_tokens(self, question: str) -> Tokens:
        return self.tokens(question)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_CHARS_MIN:
            return word.removesuffix(ending)
    return word


class JudgedEmbedder(HashEmbedder):
    """Passes for the model that was looked at when "nothing is about it" was defined."""

    model_id = f"{RELEVANT_BY}made-for-tests"
