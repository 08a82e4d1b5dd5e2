"""Snapshots: the states of all memories in sealed pieces, the newest first, under a manifest that its writer signs.

A snapshot is joined to what is here, never put in its place: an old or a partial one can lose nothing. So a new device starts from it,
a device that was away too long catches up by it, and what a relay has lost comes back by it. Batches are deleted only once another
device has made up from it what it holds itself (`check`), or the writer has, where there is no other.

A segment is epoch (4 bytes) ‖ seal under the key derived from the epoch's for "segments", bound to "sunaiva/segment/1" ‖ vault ‖ epoch ‖
name; inside, packed as a batch is, MessagePack: [1, [[memory, state], …]].
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from shared import crypto
from shared.errors import ForbiddenError
from sync_service import (
    control,
    frames,
    inbox,
    log,
    manifests,
    merge,
    ops,
)
from sync_service.control import Members
from sync_service.frames import UnreadableError
from sync_service.keys import Random
from sync_service.manifests import Manifest, Segment
from sync_service.merge import State
from sync_service.ops import UNREADABLE, Head, MalformedError
from sync_service.replica import Replica
from sync_service.transport import (
    POSITION_MAX,
    Transport,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

# States in one segment: with their texts they stay far below the 4 MiB that a segment may have.
SEGMENT_STATES = 4_096
SEGMENT_BYTES = 3 * 1024 * 1024
# A snapshot is due after so many batches, or when the log is that much larger than the last snapshot.
BATCHES_DUE = 20_000
LOG_TIMES_DUE = 2
LOG_BYTES_MIN = 16 * 1024 * 1024

_VERSION = 1
_NAME_BYTES = 16
_FOR_SEGMENTS = b"sunaiva/segment/1"
_FOR_SUMS = b"sunaiva/summary/1"
_SEGMENT = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, Raw]]])


class Summary(Struct, frozen=True, array_like=True):
    """What only devices read of a manifest."""

    digest: bytes
    """Of exactly the states in the segments."""
    generation: str | None
    pos: Annotated[int, Meta(ge=0, le=POSITION_MAX)]
    """Everything up to this position of the relay's log is covered."""


_SUMMARY = msgspec.msgpack.Decoder(Summary)


# --- writing -------------------------------------------------------------------------------------------------


def is_due(*, head_pos: int, covered_pos: int, log_bytes: int, snapshot_bytes: int) -> bool:
    """Whether what was written since the last snapshot (`covered_pos` is its position, 0 without one) is worth another."""
    if head_pos - covered_pos > BATCHES_DUE:
        return True
    return log_bytes - snapshot_bytes > max(LOG_BYTES_MIN, LOG_TIMES_DUE * snapshot_bytes)


def write(
    transport: Transport,
    replica: Replica,
    members: Members,
    random: Random,
    now_ms: int,
    *,
    states_per_segment: int = SEGMENT_STATES,
) -> bytes | None:
    """Write a snapshot of what is here; its id, or `None` while there is nothing that it could cover."""
    with replica.transaction() as db:
        me = log.read(db)
        key = log.epoch_keys(db).get(members.epoch)
        heads = _served(db)
        if me.seq:
            heads.append(Head(me.stream, me.seq, me.head))
        if key is None or me.adopting or me.seeding or not heads or inbox.is_half_applied(db):
            return None
        if log.unsent_count(db) or me.reread_after is not None:
            return None  # nobody takes a snapshot of what is not there, or covers what is in doubt
    segments: list[Segment] = []
    total = 0
    for rows in _pieces(replica, states_per_segment):
        name = random(_NAME_BYTES).hex()
        sealed = _seal_segment(key, me.vault, members.epoch, name, rows)
        transport.put_segment(name, sealed)
        segments.append(Segment(name, len(sealed), hashlib.sha256(sealed).digest()))
        total += sum(merge.fingerprint(memory, state) for memory, state in rows)
    digest = (total % (1 << 256)).to_bytes(32, "big")
    summary = Summary(digest, me.generation, me.cursor)
    sealed = _seal_summary(key, me.vault, members.epoch, summary)
    manifest = Manifest(
        vault=me.vault,
        device=me.device,
        covers=tuple(heads),
        segments=tuple(segments),
        sealed=sealed,
    )
    raw = manifests.write(manifest, me.sign_seed)
    transport.put_manifest(raw)
    with replica.transaction() as db:
        log.write(db, snapshot_owed=0)
        log.covered(db, heads, only_again=True)
        remember(db, manifests.id_of(raw), "written", now_ms)
    return manifests.id_of(raw)


def _served(db: "Database") -> list[Head]:
    """The heads of other streams as far as the relay has them: of what it lost the snapshot holds the states, and says nothing."""
    known = inbox.heads(db)
    found: list[Head] = []
    for stream, seq in inbox.served_heads(db).items():
        head = known[stream]
        hash_ = head.hash if seq >= head.seq else inbox.hash_at(db, stream, seq)
        if hash_ is not None:
            found.append(Head(stream, min(seq, head.seq), hash_))
    return found


def _pieces(replica: Replica, most: int) -> Iterator[list[tuple[bytes, State]]]:
    """All states in portions. What changes meanwhile is newer than what the snapshot says to cover, and may be in it."""
    after: bytes | None = None
    while True:
        with replica.transaction() as db:
            rows = list(replica.rows(db, after, most))
        if not rows:
            return
        piece: list[tuple[bytes, State]] = []
        size = 0
        for memory, state in rows:
            length = _size(state)
            if piece and size + length > SEGMENT_BYTES:
                yield piece
                piece, size = [], 0
            piece.append((memory, state))
            size += length
        yield piece
        after = rows[-1][0]


def _size(state: State) -> int:
    return 200 + sum(len(value) for _, _, value in state.fields.values())


# --- bytes ---------------------------------------------------------------------------------------------------


def believed(raw: bytes, members: Members) -> Manifest:
    """A manifest by a device of today, for this vault.

    Raises:
        MalformedError, ForgedError
    """
    manifest = manifests.read(raw)
    writer = members.members.get(manifest.device)
    if manifest.vault != members.vault or writer is None or writer.revoked is not None:
        raise frames.ForgedError(
            "The server shows a snapshot that no device of this vault has made. It was not used."
        )
    manifests.verify(raw, writer.sign_public)
    for head in manifest.covers:
        if control.owner_of(members, head.stream) is None:
            raise MalformedError("A snapshot covers a stream that nobody has.")
    return manifest


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


def _seal_segment(
    key: bytes, vault: bytes, epoch: int, name: str, rows: Sequence[tuple[bytes, State]]
) -> bytes:
    content = msgspec.msgpack.encode(
        (_VERSION, [(memory, Raw(merge.encode(state))) for memory, state in rows])
    )
    return epoch.to_bytes(4, "big") + crypto.seal(
        crypto.derive(key, "segments"), frames.pack(content), bound_to=_bound(vault, epoch, name)
    )


def _seal_summary(key: bytes, vault: bytes, epoch: int, summary: Summary) -> bytes:
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


# --- tables --------------------------------------------------------------------------------------------------


def standing_of(db: "Database", manifest_id: bytes) -> str | None:
    found = db.execute(
        "SELECT standing FROM sync_snapshots WHERE manifest = ?", [manifest_id]
    ).fetchone()
    return None if found is None else str(found[0])


def last_written_ms(db: "Database") -> int:
    found = db.execute(
        "SELECT coalesce(max(made_ms), 0) FROM sync_snapshots WHERE standing = 'written'"
    ).fetchone()
    return int(found[0])


def remember(db: "Database", manifest_id: bytes, standing: str, now_ms: int) -> None:
    db.execute(
        """INSERT INTO sync_snapshots (manifest, made_ms, standing) VALUES (?, ?, ?)
           ON CONFLICT (manifest) DO UPDATE SET standing = excluded.standing""",
        [manifest_id, now_ms, standing],
    )


def done_pieces(db: "Database", manifest_id: bytes) -> set[str]:
    found = db.execute("SELECT name FROM sync_pieces WHERE manifest = ?", [manifest_id])
    return {name for (name,) in found}


def piece_is_done(db: "Database", manifest_id: bytes, name: str) -> None:
    db.execute(
        "INSERT OR IGNORE INTO sync_pieces (manifest, name) VALUES (?, ?)", [manifest_id, name]
    )


def covered_pos(manifest: Manifest, epoch_keys: dict[int, bytes], generation: str | None) -> int:
    """Up to which position of the relay's log this snapshot holds everything; 0 if that cannot be told."""
    summary = open_summary(manifest, epoch_keys)
    return summary.pos if summary.generation == generation else 0
