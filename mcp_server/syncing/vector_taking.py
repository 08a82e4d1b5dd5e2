"""Taking over vectors that another device with the same model has made, piece by piece, for the texts that are here.

A piece that is missing or damaged is passed over: its texts are embedded, as all of them would be without it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from mcp_server.device import Device
from mcp_server.index.embedder import Embedder
from mcp_server.index.entries import memory_text
from mcp_server.index.words import HEAD_CHARS
from mcp_server.vault import vector_lists, vector_store
from shared.errors import CorruptError, ForbiddenError
from sync_service.alarms import Kind as AlarmKind
from sync_service.device import log
from sync_service.device.vector_lists import believed
from sync_service.members.control import Members
from sync_service.sealed import vectors
from sync_service.sealed.pieces import Segment
from sync_service.sealed.vectors import FOUR_BITS, Kind, Vector
from sync_service.transport import NoSegmentError, RevokedError, Transport

if TYPE_CHECKING:
    from sqlite_utils import Database

# One transaction: some ten milliseconds, for which a `remember` waits.
_AT_ONCE = 512
_SUBJECT = "vectors"
_ALARMS: tuple[AlarmKind, ...] = ("forged", "malformed")


class Source(Struct, frozen=True):
    """A list that vectors are taken from."""

    id: bytes
    vault: bytes
    segments: tuple[Segment, ...]
    kind: Kind


def kind_of(embedder: Embedder) -> Kind:
    return Kind(embedder.model_id, FOUR_BITS, embedder.dim // 2)


def find(
    device: Device, transport: Transport, members: Members, kind: Kind, now_ms: int
) -> Source | None:
    """The largest list of this kind that was not gone through before."""
    with device.vault.reading() as db:
        epoch_keys, done = log.epoch_keys(db), vector_lists.done(db)
    found: list[tuple[int, Source]] = []
    for raw in transport.vector_lists():
        list_id = vectors.id_of(raw)
        try:
            listed = believed(raw, members)
            if listed is None or list_id in done:
                continue
            summary = vectors.open_summary(listed, epoch_keys)
        except (CorruptError, ForbiddenError) as error:
            _say(device, error, now_ms)
            continue
        if summary.kind == kind:
            source = Source(list_id, listed.vault, listed.segments, kind)
            found.append((summary.count, source))
    return max(found, key=lambda each: each[0])[1] if found else None


def take_piece(device: Device, transport: Transport, source: Source, now_ms: int) -> bool:
    """Take over one piece; whether there may be more."""
    with device.vault.reading() as db:
        epoch_keys, done = log.epoch_keys(db), vector_lists.pieces(db, source.id)
    segment = next((each for each in source.segments if each.name not in done), None)
    if segment is None:
        _finish(device, source)
        return False
    standing: vector_lists.Standing = "taken"
    try:
        there = _fetch(transport, source, segment, epoch_keys)
    except (CorruptError, ForbiddenError, NoSegmentError) as error:
        if isinstance(error, RevokedError):
            raise
        _say(device, error, now_ms)
        there, standing = [], "flawed"
    for first in range(0, len(there), _AT_ONCE):
        device.index.precedence.give_way()
        _place(device, source.kind, there[first : first + _AT_ONCE])
    with device.vault.writing() as db:
        vector_lists.piece_is_done(db, source.id, segment.name, standing=standing)
    return True


def _fetch(
    transport: Transport, source: Source, segment: Segment, epoch_keys: Mapping[int, bytes]
) -> list[Vector]:
    sealed = transport.segment(segment.name)
    return vectors.open_segment(sealed, source.vault, segment, source.kind, epoch_keys)


def _place(device: Device, kind: Kind, part: Sequence[Vector]) -> None:
    offered = {vector.memory: vector for vector in part}
    with device.changing(is_waited_for=False) as change:
        embedder = device.index.embedder
        if embedder is None or kind_of(embedder) != kind:
            return  # another model took over meanwhile
        number = vector_store.model_number(change.db, kind.model)
        lacking = vector_store.lacking(change.db, number, list(offered), chars=HEAD_CHARS)
        rows, found = [], []
        for memory, (row, head, speaker) in lacking.items():
            # Whoever wrote the vector may have read an earlier text.
            if vectors.digest_of(memory_text(head, speaker)) == offered[memory].digest:
                rows.append(row)
                found.append(offered[memory].code)
        if rows:
            codes = np.frombuffer(b"".join(found), np.uint8).reshape(len(rows), kind.code_bytes)
            change.then(device.index.store_codes(change.db, rows, codes))
            change.then(lambda: device.index.has_less_to_embed(rows))


def _finish(device: Device, source: Source) -> None:
    with device.vault.writing() as db:
        vector_lists.is_done(db, source.id)
        if vector_lists.standing(db, source.id) == "taken":
            settle(db)


def settle(db: "Database") -> None:
    """What was wrong with vectors is over."""
    for kind in _ALARMS:
        log.settle(db, kind, _SUBJECT)


def _say(
    device: Device, error: CorruptError | ForbiddenError | NoSegmentError, now_ms: int
) -> None:
    sentence = f"{error} The texts are embedded here instead."
    kind: AlarmKind = "forged" if isinstance(error, ForbiddenError) else "malformed"
    with device.vault.writing() as db:
        log.raise_alarm(db, kind, _SUBJECT, sentence, now_ms)
