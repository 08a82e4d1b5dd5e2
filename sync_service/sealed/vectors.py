"""Vectors in sealed pieces under a list that their writer signs: so that another device with the same model need not read everything.

They are made from the texts and can be made again, so nothing here is ever needed: what is missing, damaged or of another model is
made on the spot as if it had never been offered. A piece of them stands beside snapshots, never in one, so that a snapshot is whole without it. A
vector goes with the digest of what the model read, so that it is never taken for that of another text.

A list says to the relay which segments to keep, and nothing else. A segment is a sealed piece; inside, a `_Content` in MessagePack.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from shared import agreement
from sync_service.changes.ops import ID_BYTES, UNREADABLE, MalformedError
from sync_service.sealed import pieces
from sync_service.sealed.frames import ForgedError
from sync_service.sealed.pieces import SEALED_BYTES_MAX, Purpose, Segment, are_possible

LIST_BYTES_MAX = 256 * 1024  # 2,048 segments take about 150 KiB
DIGEST_BYTES = 16
MODEL_CHARS_MAX = 500
# A vector of 8,192 dimensions; models that people run at home have a tenth of that.
CODE_BYTES_MAX = 4_096
# Both sides hold one segment in memory: some two megabytes of a usual model's.
VECTORS_PER_SEGMENT = 8_192
_CONTENT_BYTES = 3 * 1024 * 1024

FOUR_BITS = 1
"""Form of a code: four bits a dimension, turned (`mcp_server.index.codes`)."""

_FOR_LISTS = b"sunaiva/vector-list/1"
_FOR_DIGESTS = b"sunaiva/embedded/1"
_SEGMENTS = Purpose("vectors", b"sunaiva/vectors/1", "A piece of the vectors")
_SUMMARIES = Purpose(
    "vector-lists", b"sunaiva/vector-summary/1", "What a list of vectors says of itself"
)
# How every list begins, after the byte that says how many elements it has; no manifest does.
MARK = b"\xa9vectors/1"


class Kind(Struct, frozen=True, array_like=True):
    """What vectors must have in common to be compared."""

    model: Annotated[str, Meta(min_length=1, max_length=MODEL_CHARS_MAX)]
    """Names weights, revision, pooling and quantisation."""
    form: Annotated[int, Meta(ge=1, le=255)]
    code_bytes: Annotated[int, Meta(ge=1, le=CODE_BYTES_MAX)]


class Summary(Struct, frozen=True, array_like=True):
    """What only devices read of a list."""

    kind: Kind
    count: Annotated[int, Meta(ge=0)]
    """How many vectors there are."""
    snapshot: bytes | None
    """The newest snapshot when they were gathered: they go when it goes."""


class VectorList(Struct, frozen=True, array_like=True, kw_only=True):
    mark: Literal["vectors/1"] = "vectors/1"
    vault: bytes
    device: bytes
    segments: tuple[Segment, ...]
    sealed: bytes


class Vector(Struct, frozen=True):
    memory: bytes
    digest: bytes
    """Of what the model read (`digest_of`)."""
    code: bytes


class _Content(Struct, frozen=True, array_like=True):
    version: Literal[1]
    kind: Kind
    memories: bytes
    digests: bytes
    codes: bytes
    """One after another, each as many as there are memories."""


_LIST = msgspec.msgpack.Decoder(VectorList)
_SUMMARY = msgspec.msgpack.Decoder(Summary)
_CONTENT = msgspec.msgpack.Decoder(_Content)
_encode = msgspec.msgpack.Encoder().encode


def digest_of(read: str) -> bytes:
    """By what a vector is known to belong to what a model read."""
    return hashlib.sha256(_FOR_DIGESTS + read.encode()).digest()[:DIGEST_BYTES]


def fitting(kind: Kind) -> int:
    """How many vectors go into a segment."""
    each = ID_BYTES + DIGEST_BYTES + kind.code_bytes
    return min(VECTORS_PER_SEGMENT, _CONTENT_BYTES // each)


# --- lists ---------------------------------------------------------------------------------------------------


def is_list(raw: bytes) -> bool:
    """Whether this is meant to be a list of vectors, and no manifest of a snapshot."""
    return raw[1 : 1 + len(MARK)] == MARK


def write(made: VectorList, sign_seed: bytes) -> bytes:
    body = _encode(made)
    return body + agreement.sign(sign_seed, _FOR_LISTS + body)


def read(raw: bytes) -> VectorList:
    """What a list says. Nothing about it is verified. What a later version adds at its end is passed over.

    Raises:
        MalformedError
    """
    if not agreement.SIGNATURE_BYTES < len(raw) <= LIST_BYTES_MAX:
        raise MalformedError("A list of vectors has a size that none has.")
    try:
        found = _LIST.decode(raw[: -agreement.SIGNATURE_BYTES])
    except UNREADABLE:
        raise MalformedError("A list of vectors cannot be read.") from None
    if not (
        len(found.vault) == len(found.device) == ID_BYTES
        and found.segments
        and are_possible(found.segments)
        and len(found.sealed) <= SEALED_BYTES_MAX
    ):
        raise MalformedError("A list of vectors says of itself what cannot be.")
    return found


def verify(raw: bytes, sign_public: bytes) -> None:
    """
    Raises:
        ForgedError: the owner of `sign_public` did not write this list.
    """
    body, signature = raw[: -agreement.SIGNATURE_BYTES], raw[-agreement.SIGNATURE_BYTES :]
    if not agreement.is_signed(sign_public, _FOR_LISTS + body, signature):
        raise ForgedError(
            "A list of vectors is not signed by the device it claims to come from. It was not used."
        )


def id_of(raw: bytes) -> bytes:
    return hashlib.sha256(_FOR_LISTS + raw).digest()[:ID_BYTES]


# --- what is sealed ------------------------------------------------------------------------------------------


def seal_summary(key: bytes, vault: bytes, epoch: int, summary: Summary) -> bytes:
    return pieces.seal(_encode(summary), _SUMMARIES, vault=vault, epoch=epoch, epoch_key=key)


def open_summary(found: VectorList, epoch_keys: Mapping[int, bytes]) -> Summary:
    """
    Raises:
        MalformedError, UnreadableError
    """
    content = pieces.unseal(found.sealed, _SUMMARIES, vault=found.vault, epoch_keys=epoch_keys)
    try:
        return _SUMMARY.decode(content)
    except UNREADABLE:
        raise MalformedError("What a list of vectors says of itself cannot be read.") from None


def seal_segment(
    key: bytes, vault: bytes, epoch: int, name: str, kind: Kind, vectors: Sequence[Vector]
) -> bytes:
    assert all(len(vector.code) == kind.code_bytes for vector in vectors)
    content = _Content(
        1,
        kind,
        b"".join(vector.memory for vector in vectors),
        b"".join(vector.digest for vector in vectors),
        b"".join(vector.code for vector in vectors),
    )
    return pieces.seal(
        _encode(content), _SEGMENTS, vault=vault, epoch=epoch, epoch_key=key, name=name
    )


def open_segment(
    sealed: bytes, vault: bytes, segment: Segment, kind: Kind, epoch_keys: Mapping[int, bytes]
) -> list[Vector]:
    """The vectors in the segment that a list names, all of this kind.

    Raises:
        MalformedError, UnreadableError
    """
    content = pieces.unseal_segment(sealed, _SEGMENTS, segment, vault=vault, epoch_keys=epoch_keys)
    try:
        found = _CONTENT.decode(content)
    except UNREADABLE:
        raise MalformedError("A piece of the vectors cannot be read.") from None
    memories = _split(found.memories, ID_BYTES)
    digests = _split(found.digests, DIGEST_BYTES)
    codes = _split(found.codes, kind.code_bytes)
    if found.kind != kind or not 0 < len(memories) == len(digests) == len(codes):
        raise MalformedError("A piece of the vectors holds something else than their list says.")
    return [Vector(*each) for each in zip(memories, digests, codes, strict=True)]


def _split(joined: bytes, size: int) -> list[bytes]:
    if len(joined) % size:
        raise MalformedError("A piece of the vectors is cut short.")
    return [joined[at : at + size] for at in range(0, len(joined), size)]
