"""Small codes of normalised vectors: int8 to rescore with, sign bits to scan with. Pure numpy."""

import numpy as np
from numpy.typing import NDArray


def quantise(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Vectors (n, d) as int8 codes (n, d) and scales (n,): `code * scale` is the vector, to within scale / 2."""
    peak = np.abs(vectors).max(axis=1, initial=0.0)
    scale = np.where(peak > 0, peak / 127, 1).astype(np.float32)
    return np.rint(vectors / scale[:, None]).astype(np.int8), scale


def dequantise(codes: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    return codes.astype(np.float32) * scales[:, None]


def signs(vectors: NDArray[np.float32] | NDArray[np.int8]) -> NDArray[np.uint8]:
    """One bit for each dimension: whether it is positive. (n, d) → (n, d / 8)."""
    return np.packbits(vectors > 0, axis=1)


def hamming(codes: NDArray[np.uint8], query: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of differing bits between each of the codes (n, b) and the query (b,)."""
    wide = codes.view(np.uint64) if codes.shape[1] % 8 == 0 else codes
    wide_query = query.view(np.uint64) if codes.shape[1] % 8 == 0 else query
    distance: NDArray[np.int64] = np.bitwise_count(wide ^ wide_query).sum(axis=1, dtype=np.int64)
    return distance
