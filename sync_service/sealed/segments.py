"""What of a snapshot only devices read: the states in its segments, and the summary in its manifest; sealed and opened here.

A segment is a sealed piece; inside, MessagePack: [1, [[memory, state], …]].
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from sync_service.changes import merge, ops
from sync_service.changes.merge import State
from sync_service.changes.ops import UNREADABLE, MalformedError
from sync_service.sealed import pieces
from sync_service.sealed.manifests import Manifest
from sync_service.sealed.pieces import Purpose, Segment
from sync_service.transport import POSITION_MAX, Transport

_VERSION = 1
SEGMENTS = Purpose("segments", b"sunaiva/segment/1", "A piece of a snapshot")
_SUMMARIES = Purpose("summaries", b"sunaiva/summary/1", "What a snapshot says of itself")
_SEGMENT = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, Raw]]])


_Lost = tuple[
    Annotated[bytes, Meta(min_length=ops.STREAM_BYTES, max_length=ops.STREAM_BYTES)],
    Annotated[int, Meta(ge=1, le=ops.SEQ_MAX)],
    Annotated[bytes, Meta(min_length=ops.HASH_BYTES, max_length=ops.HASH_BYTES)],
]


class Summary(Struct, frozen=True, array_like=True):
    """What only devices read of a manifest."""

    digest: bytes
    """Of exactly the states in the segments."""
    generation: str | None
    pos: Annotated[int, Meta(ge=0, le=POSITION_MAX)]
    """Everything up to this position of the relay's log is covered."""
    lost: Annotated[tuple[_Lost, ...], Meta(max_length=ops.HEADS_MAX)] = ()
    """The heads of streams of which the relay has lost batches: the segments hold what they said, and nobody has to wait for them."""


_SUMMARY = msgspec.msgpack.Decoder(Summary)


def fetch(
    transport: Transport, manifest: Manifest, segment: Segment, epoch_keys: Mapping[int, bytes]
) -> list[tuple[bytes, State]]:
    content = pieces.unseal_segment(
        transport.segment(segment.name),
        SEGMENTS,
        segment,
        vault=manifest.vault,
        epoch_keys=epoch_keys,
    )
    try:
        version, rows = _SEGMENT.decode(content)
    except UNREADABLE:
        raise MalformedError("A piece of a snapshot cannot be read.") from None
    if version != _VERSION or any(len(memory) != ops.ID_BYTES for memory, _ in rows):
        raise MalformedError("A piece of a snapshot cannot be read.")
    return [(memory, merge.decode(bytes(state))) for memory, state in rows]


def states(
    transport: Transport, manifest: Manifest, epoch_keys: Mapping[int, bytes]
) -> Iterator[tuple[bytes, State]]:
    """All that a snapshot holds, piece by piece.

    Raises:
        MalformedError, UnreadableError, NoSegmentError
    """
    return whole(
        row
        for segment in manifest.segments
        for row in fetch(transport, manifest, segment, epoch_keys)
    )


def whole(rows: Iterable[tuple[bytes, State]]) -> Iterator[tuple[bytes, State]]:
    """Rows with what was parted joined again: those of one memory follow each other."""
    last: tuple[bytes, State] | None = None
    for memory, state in rows:
        if last is not None and last[0] == memory:
            last = (memory, merge.join(last[1], state))
            continue
        if last is not None:
            yield last
        last = (memory, state)
    if last is not None:
        yield last


def seal_segment(
    key: bytes, vault: bytes, epoch: int, name: str, rows: Sequence[tuple[bytes, State]]
) -> bytes:
    content = msgspec.msgpack.encode(
        (_VERSION, [(memory, Raw(merge.encode(state))) for memory, state in rows])
    )
    return pieces.seal(content, SEGMENTS, vault=vault, epoch=epoch, epoch_key=key, name=name)


def seal_summary(key: bytes, vault: bytes, epoch: int, summary: Summary) -> bytes:
    content = msgspec.msgpack.encode(summary)
    return pieces.seal(content, _SUMMARIES, vault=vault, epoch=epoch, epoch_key=key)


def open_summary(manifest: Manifest, epoch_keys: Mapping[int, bytes]) -> Summary:
    content = pieces.unseal(
        manifest.sealed, _SUMMARIES, vault=manifest.vault, epoch_keys=epoch_keys
    )
    try:
        return _SUMMARY.decode(content)
    except UNREADABLE:
        raise MalformedError("What a snapshot says of itself cannot be read.") from None


def covered_pos(manifest: Manifest, epoch_keys: Mapping[int, bytes], generation: str | None) -> int:
    """Up to which position of the relay's log this snapshot holds everything; 0 if that cannot be told."""
    summary = open_summary(manifest, epoch_keys)
    return summary.pos if summary.generation == generation else 0
