"""Small codes of normalised vectors: int8 to score with, sign bits to scan with. Pure numpy."""

import numpy as np
from numpy.typing import NDArray


def quantise(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Vectors (n, d) as int8 codes (n, d) and scales (n,): `code * scale` is the vector, to within scale / 2."""
    peak = np.abs(vectors).max(axis=1, initial=0.0)
    scale = np.where(peak > 0, peak / 127, 1).astype(np.float32)
    return np.rint(vectors / scale[:, None]).astype(np.int8), scale


def dequantise(codes: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    return codes.astype(np.float32) * scales[:, None]


def sign_words(vectors: NDArray[np.float32] | NDArray[np.int8]) -> NDArray[np.uint64]:
    """One bit for each dimension, whether it is positive: (n, d) → (d / 64 rounded up, n).

    Word by word instead of vector by vector, because a scan over whole rows of words is ten times faster.
    """
    count, dim = vectors.shape
    packed = np.zeros((count, words_of(dim) * 8), np.uint8)
    packed[:, : -(-dim // 8)] = np.packbits(vectors > 0, axis=1)
    return np.ascontiguousarray(packed.view(np.uint64).T)


def words_of(dim: int) -> int:
    return -(-dim // 64)


def hamming(words: NDArray[np.uint64], query: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Number of differing bits between each of the codes (words, n) and the query (words, 1)."""
    distance: NDArray[np.uint16] = np.bitwise_count(words ^ query).sum(axis=0, dtype=np.uint16)
    return distance
