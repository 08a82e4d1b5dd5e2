"""What of a snapshot only devices read: the states in its segments, and the summary in its manifest; sealed and opened here.

A segment is epoch (4 bytes) ‖ seal under the key derived from the epoch's for "segments", bound to "sunaiva/segment/1" ‖ vault ‖ epoch ‖
name; inside, packed as a batch is, MessagePack: [1, [[memory, state], …]].
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from shared import crypto
from shared.errors import ForbiddenError
from sync_service.changes import merge, ops
from sync_service.changes.merge import State
from sync_service.changes.ops import UNREADABLE, MalformedError
from sync_service.sealed import frames
from sync_service.sealed.frames import UnreadableError
from sync_service.sealed.manifests import Manifest, Segment
from sync_service.transport import POSITION_MAX, Transport

_VERSION = 1
_FOR_SEGMENTS = b"sunaiva/segment/1"
_FOR_SUMS = b"sunaiva/summary/1"
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
    transport: Transport, manifest: Manifest, segment: Segment, epoch_keys: dict[int, bytes]
) -> list[tuple[bytes, State]]:
    sealed = transport.segment(segment.name)
    if len(sealed) != segment.size or hashlib.sha256(sealed).digest() != segment.hash:
        raise MalformedError("A piece of a snapshot is not what its manifest names.")
    epoch = int.from_bytes(sealed[:4], "big")
    content = frames.unpack(
        _open(
            epoch_keys, epoch, "segments", sealed[4:], _bound(manifest.vault, epoch, segment.name)
        )
    )
    try:
        version, rows = _SEGMENT.decode(content)
    except UNREADABLE:
        raise MalformedError("A piece of a snapshot cannot be read.") from None
    if version != _VERSION or any(len(memory) != ops.ID_BYTES for memory, _ in rows):
        raise MalformedError("A piece of a snapshot cannot be read.")
    return [(memory, merge.decode(bytes(state))) for memory, state in rows]


def states(
    transport: Transport, manifest: Manifest, epoch_keys: dict[int, bytes]
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
    return epoch.to_bytes(4, "big") + crypto.seal(
        crypto.derive(key, "segments"), frames.pack(content), bound_to=_bound(vault, epoch, name)
    )


def seal_summary(key: bytes, vault: bytes, epoch: int, summary: Summary) -> bytes:
    return epoch.to_bytes(4, "big") + crypto.seal(
        crypto.derive(key, "summaries"),
        frames.pack(msgspec.msgpack.encode(summary)),
        bound_to=_FOR_SUMS + vault + epoch.to_bytes(4, "big"),
    )


def open_summary(manifest: Manifest, epoch_keys: dict[int, bytes]) -> Summary:
    epoch = int.from_bytes(manifest.sealed[:4], "big")
    bound_to = _FOR_SUMS + manifest.vault + epoch.to_bytes(4, "big")
    content = frames.unpack(_open(epoch_keys, epoch, "summaries", manifest.sealed[4:], bound_to))
    try:
        return _SUMMARY.decode(content)
    except UNREADABLE:
        raise MalformedError("What a snapshot says of itself cannot be read.") from None


def _open(
    epoch_keys: dict[int, bytes], epoch: int, purpose: str, sealed: bytes, bound_to: bytes
) -> bytes:
    if epoch not in epoch_keys:
        raise UnreadableError(
            "A snapshot is encrypted with a key of the vault that this device does not have."
        )
    try:
        return crypto.open_sealed(
            crypto.derive(epoch_keys[epoch], purpose), sealed, bound_to=bound_to
        )
    except ForbiddenError:
        raise UnreadableError("A snapshot cannot be decrypted with the vault's key.") from None


def _bound(vault: bytes, epoch: int, name: str) -> bytes:
    return _FOR_SEGMENTS + vault + epoch.to_bytes(4, "big") + name.encode()


def covered_pos(manifest: Manifest, epoch_keys: dict[int, bytes], generation: str | None) -> int:
    """Up to which position of the relay's log this snapshot holds everything; 0 if that cannot be told."""
    summary = open_summary(manifest, epoch_keys)
    return summary.pos if summary.generation == generation else 0
