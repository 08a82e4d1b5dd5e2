"""Offering this device's vectors to others that have the same model: sealed, piece by piece, the newest memories first.

Only when all of them are there, never more often than there are snapshots (or twice as many vectors as were offered), and never where
they would take the room that memories need.
"""

import hashlib
import secrets

import msgspec
from msgspec import Struct

from mcp_server.device import Device
from mcp_server.index.entries import memory_text
from mcp_server.index.words import HEAD_CHARS
from mcp_server.syncing import vector_taking
from mcp_server.vault import vector_lists, vector_store
from shared.errors import CorruptError, ForbiddenError
from sync_service.device import log
from sync_service.device.vector_lists import believed
from sync_service.members.control import Members
from sync_service.sealed import manifests, vectors
from sync_service.sealed.pieces import Segment
from sync_service.sealed.vectors import Kind, Summary, Vector, VectorList
from sync_service.transport import Transport

_READ_AT_ONCE = 512
_NAME_BYTES = 16
_BEYOND_EVERY_ID = b"\xff" * 17
# They may take half of what is left of the room.
_SHARE = 2


class Offering(Struct, frozen=True):
    """A list under way."""

    kind: Kind
    epoch: int
    snapshot: bytes | None
    before: bytes = _BEYOND_EVERY_ID
    segments: tuple[Segment, ...] = ()
    count: int = 0


def begin(device: Device, transport: Transport, members: Members, kind: Kind) -> Offering | None:
    """None if it is not possible, or others have what this device would offer."""
    with device.vault.writing() as db:
        epoch_keys = log.epoch_keys(db)
        number = vector_store.model_number(db, kind.model)
        count = vector_store.count(db, "vectors", number)
    if members.epoch not in epoch_keys or members.rotation_due:
        return None
    standing = transport.standing()
    if not standing.may_push:
        return None
    takes = count * kind.code_bytes
    if standing.quota_bytes and takes * _SHARE > standing.quota_bytes - standing.used_bytes:
        return None
    snapshot = next(map(manifests.id_of, transport.manifests()), None)
    for raw in transport.vector_lists():
        summary = _sound_summary(device, raw, members, epoch_keys)
        if (
            summary is not None
            and (summary.kind, summary.snapshot) == (kind, snapshot)
            and summary.count * 2 > count
        ):
            return None
    return Offering(kind, members.epoch, snapshot)


def go_on(
    device: Device, transport: Transport, members: Members, offering: Offering
) -> Offering | None:
    """Send one piece more; None when the list is written, or something else began meanwhile."""
    embedder = device.index.embedder
    if embedder is None or vector_taking.kind_of(embedder) != offering.kind:
        return None
    with device.vault.reading() as db:
        me, key = log.read(db), log.epoch_keys(db).get(offering.epoch)
    if members.epoch != offering.epoch or members.rotation_due or key is None:
        return None
    there = _gather(device, offering)
    if there:
        name = secrets.token_bytes(_NAME_BYTES).hex()
        sealed = vectors.seal_segment(key, me.vault, offering.epoch, name, offering.kind, there)
        transport.put_segment(name, sealed)
        segment = Segment(name, len(sealed), hashlib.sha256(sealed).digest())
        return msgspec.structs.replace(
            offering,
            before=there[-1].memory,
            segments=(*offering.segments, segment),
            count=offering.count + len(there),
        )
    if offering.segments:
        summary = Summary(offering.kind, offering.count, offering.snapshot)
        made = VectorList(
            vault=me.vault,
            device=me.device,
            segments=offering.segments,
            sealed=vectors.seal_summary(key, me.vault, offering.epoch, summary),
        )
        raw = vectors.write(made, me.sign_seed)
        transport.put_vector_list(raw)
        with device.vault.writing() as db:
            vector_lists.is_own(db, vectors.id_of(raw))
            vector_taking.settle(db)
    return None


def _gather(device: Device, offering: Offering) -> list[Vector]:
    found: list[Vector] = []
    most, before = vectors.fitting(offering.kind), offering.before
    while len(found) < most:
        device.index.precedence.give_way()
        with device.vault.writing() as db:
            number = vector_store.model_number(db, offering.kind.model)
        with device.vault.reading() as db:
            rows = vector_store.newest(
                db,
                number,
                before=before,
                chars=HEAD_CHARS,
                limit=min(_READ_AT_ONCE, most - len(found)),
            )
        if not rows:
            break
        found += [
            Vector(one.memory, vectors.digest_of(memory_text(one.head, one.speaker)), one.code)
            for one in rows
        ]
        before = rows[-1].memory
    return found


def _sound_summary(
    device: Device, raw: bytes, members: Members, epoch_keys: dict[int, bytes]
) -> Summary | None:
    """What a list says that others can still use; None of one that had a flaw."""
    with device.vault.reading() as db:
        if vector_lists.standing(db, vectors.id_of(raw)) == "flawed":
            return None
    try:
        listed = believed(raw, members)
        return None if listed is None else vectors.open_summary(listed, epoch_keys)
    except (CorruptError, ForbiddenError):
        return None
