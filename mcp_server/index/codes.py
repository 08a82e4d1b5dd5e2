"""Vectors of length 1 in four bits a dimension, and sign bits to scan with. Pure numpy.

The code is what the vault keeps, so it must mean the same for ever: no part of it may depend on a numpy generator, or on
which other vectors are coded with it. A vector is turned before it is coded, always by the same rotation: then every
model's numbers are spread alike, and sixteen even steps fit all of them.
"""

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Codes = NDArray[np.uint8]

# The width of sixteen even steps that loses least of normally spread numbers, in standard deviations (Max, 1960).
_STEP = np.float32(0.335)
_MIDDLE = 7.5
"""The code 0…15 of a number stands for `code - 7.5` steps; none stands for 0."""
_ROTATION = b"sunaiva: vectors in four bits"
_ROTATIONS_MAX = (
    4  # one for each number of dimensions in use: one, or two while a model is replaced
)
# So many at a time stay within a core's cache.
_BLOCK = 16_384
_SCORED = 1_024


def pack4(vectors: Vectors) -> Codes:
    """Vectors (n, d) as codes (n, d / 2): two dimensions to a byte, those of the first half in the low four bits."""
    assert vectors.shape[1] % 2 == 0, "every model's vectors have an even number of dimensions"
    turned = turn(vectors)
    spread = np.sqrt(np.mean(turned * turned, axis=1, keepdims=True))
    steps = np.floor(turned / np.where(spread > 0, spread * _STEP, 1))
    codes = (np.clip(steps, -8, 7) + 8).astype(np.uint8)
    half = vectors.shape[1] // 2
    packed: Codes = codes[:, :half] | (codes[:, half:] << np.uint8(4))
    return packed


def unpack4(codes: Codes) -> Vectors:
    """The vectors of length 1 that the codes stand for."""
    turned = unpack4_turned(codes)
    vectors: Vectors = turned @ _rotation(turned.shape[1]).T
    return vectors


def unpack4_turned(codes: Codes) -> Vectors:
    """The same, as `turn` gives them: to the last bit alike in any company, because nothing is summed."""
    steps = np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float32)
    turned: Vectors = (steps - np.float32(_MIDDLE)) * scales_of(codes)[:, None]
    return turned


def scales_of(codes: Codes) -> Vectors:
    """What a step is worth in each of these codes, so that the vector has length 1."""
    squares = np.square(np.arange(16, dtype=np.float32) - np.float32(_MIDDLE))
    of_byte = squares[np.arange(256) & 15] + squares[np.arange(256) >> 4]
    lengths: Vectors = np.sqrt(of_byte[codes].sum(axis=1))
    return np.reciprocal(lengths)


def turn(vectors: Vectors) -> Vectors:
    """A vector, or vectors, as the codes see them: a question is turned once and then compared with any number of codes."""
    turned: Vectors = np.asarray(vectors, np.float32) @ _rotation(vectors.shape[-1])
    return turned


def cosines(codes: Codes, scales: Vectors, turned: Vectors) -> Vectors:
    """The cosine of each code with one turned question."""
    half = codes.shape[1]
    low, high = turned[:half], turned[half:]
    found = np.empty(len(codes), np.float32)
    for start in range(0, len(codes), _SCORED):
        part = codes[start : start + _SCORED]
        found[start : start + _SCORED] = (part & 15).astype(np.float32) @ low
        found[start : start + _SCORED] += (part >> 4).astype(np.float32) @ high
    found -= np.float32(_MIDDLE) * turned.sum()
    found *= scales
    return np.clip(found, -1, 1)


def sign_words(codes: Codes) -> NDArray[np.uint64]:
    """One bit for each dimension, whether it is positive: (n, d / 2) → (d / 64 rounded up, n).

    Word by word instead of vector by vector, because a scan over whole rows of words is ten times faster.
    """
    half = codes.shape[1]
    signs = np.zeros((len(codes), words_of(2 * half) * 64), np.bool_)
    signs[:, :half] = codes & 8
    signs[:, half : 2 * half] = codes & 128
    return np.ascontiguousarray(np.packbits(signs, axis=1).view(np.uint64).T)


def words_of(dim: int) -> int:
    return -(-dim // 64)


def hamming(words: NDArray[np.uint64], query: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Number of differing bits between each of the codes (words, n) and the query (words, 1)."""
    count = words.shape[1]
    distance = np.zeros(count, np.uint16)
    differing, bits = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint8)
    for start in range(0, count, _BLOCK):
        part = distance[start : start + _BLOCK]
        for word, wanted in zip(words[:, start : start + _BLOCK], query[:, 0], strict=True):
            np.bitwise_xor(word, wanted, out=differing[: len(part)])
            part += np.bitwise_count(differing[: len(part)], out=bits[: len(part)])
    return distance


@lru_cache(maxsize=_ROTATIONS_MAX)
def _rotation(dim: int) -> Vectors:
    """A rotation drawn evenly from all there are, the same for everybody: (dim, dim), orthogonal."""
    seed = hashlib.shake_256(_ROTATION + dim.to_bytes(4, "big")).digest(16 * dim * dim)
    uniform = (np.frombuffer(seed, "<u8") >> np.uint64(11)).astype(np.float64) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log1p(-uniform[0::2])), 2 * np.pi * uniform[1::2]
    q, r = np.linalg.qr((radius * np.cos(angle)).reshape(dim, dim))
    rotation = np.asarray(q * np.sign(np.diag(r)), np.float32)
    rotation.setflags(write=False)  # it is shared
    return rotation
