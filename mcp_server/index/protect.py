"""What a vector may show of itself on a disk that we do not encrypt: rotated by a secret matrix, blurred by secret noise.

This is approximate distance-comparison-preserving encryption, "scale and perturb", after Fuchsbauer, Ghosal, Hauke and
O'Neill, *Approximate Distance-Comparison-Preserving Symmetric Encryption* (SCN 2022), with a keyed rotation before it. It
keeps who is roughly near to whom, which is what an index needs and all that it hides least: it is not encryption in the
usual sense. Pure. It must never be handed to anything but an index, and what comes out is never turned back.
"""

import hashlib

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from shared import crypto

Vectors = NDArray[np.float32]

# Enough noise that a published inversion finds little, and none that the hybrid ranking notices, as measured.
BETA = 1.0

_ROTATION = "vectors: rotation"
_NOISE = "vectors: noise"
_MARK = "vectors: made for"
_UNIT = 2.0**-53  # one step between the doubles of [0, 1)


class Protection(Struct, frozen=True, eq=False):
    """A vector key, ready for use. Deriving one takes 0.1 s; keep it."""

    rotation: Vectors
    """A rotation drawn evenly from all there are: (dim, dim), orthogonal."""
    noise_key: bytes
    beta: float
    """How much is blurred: noise has a length of at most beta / 4, where a vector has a length of 1."""
    mark: str
    """Says which key, dimension and beta these are, and nothing else about them."""

    def __repr__(self) -> str:
        return "Protection(…)"

    def __rich_repr__(self) -> tuple[()]:  # type: ignore[override] # msgspec's would show the fields
        return ()


def protection(key: bytes, dim: int, beta: float) -> Protection:
    assert dim > 0
    assert beta >= 0
    # Signs are settled by the diagonal, or else QR would favour some rotations over others (Mezzadri, 2007).
    q, r = np.linalg.qr(_normals(crypto.derive(key, _ROTATION), dim * dim).reshape(dim, dim))
    rotation = np.asarray(q * np.sign(np.diag(r)), np.float32)
    mark = crypto.derive(key, f"{_MARK} {dim} {beta:g}", 16).hex()
    return Protection(rotation, crypto.derive(key, _NOISE), beta, mark)


def protect(protection: Protection, rows: NDArray[np.int64], vectors: Vectors) -> Vectors:
    """The vectors (n, dim) of these rows as they may be written to the disk.

    The same vector in the same row always comes out the same, so writing it again shows nothing new. Another vector gets
    other noise, or else the difference of what was and what is would lie there without any.
    """
    turned = rotate(protection, vectors)
    if protection.beta == 0:
        return turned
    for number, row in enumerate(rows.tolist()):
        turned[number] += _noise(protection, row, vectors[number])
    return turned


def rotate(protection: Protection, vectors: Vectors) -> Vectors:
    """Rotated only: for a question, which is never written anywhere and needs no noise."""
    turned: Vectors = np.asarray(vectors, np.float32) @ protection.rotation
    return turned


def _noise(protection: Protection, row: int, vector: Vectors) -> Vectors:
    """Evenly from the ball of radius beta / 4 (the paper's algorithm, for scale 1)."""
    about = row.to_bytes(8, "big", signed=True) + np.ascontiguousarray(vector, "<f4").tobytes()
    seed = hashlib.blake2b(about, key=protection.noise_key, digest_size=32).digest()
    direction = _normals(seed + b"direction", len(vector))
    share = float(_uniforms(seed + b"radius", 1)[0])
    radius = protection.beta / 4 * share ** (1 / len(vector))
    return np.asarray(direction * (radius / np.linalg.norm(direction)), np.float32)


def _normals(seed: bytes, count: int) -> NDArray[np.float64]:
    """Standard normal numbers by Box and Muller.

    Not numpy's generator, which may draw others after an upgrade and would make all that lies on the disk useless, and
    which was not made to keep a secret.
    """
    pairs = (count + 1) // 2
    uniform = _uniforms(seed, 2 * pairs)
    radius = np.sqrt(-2 * np.log(uniform[:pairs]))
    angle = 2 * np.pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def _uniforms(seed: bytes, count: int) -> NDArray[np.float64]:
    """Numbers in (0, 1], from SHAKE-256 over the seed."""
    words = np.frombuffer(hashlib.shake_256(seed).digest(8 * count), "<u8")
    return ((words >> np.uint64(11)).astype(np.float64) + 1) * _UNIT
