"""Snapshots: the states of all memories in sealed pieces, the newest first, under a manifest that its writer signs.

A snapshot is joined to what is here, never put in its place: an old or a partial one can lose nothing. So a new device starts from it,
a device that was away too long catches up by it, and what a relay has lost comes back by it. Batches are deleted only once another
device has made up from it what it holds itself (`vouching.check`), or the writer has, where there is no other.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from sync_service.changes import merge, parting
from sync_service.changes.merge import State
from sync_service.changes.ops import Head, MalformedError
from sync_service.device import inbox, log
from sync_service.device.replica import Replica
from sync_service.members import control
from sync_service.members.control import Members
from sync_service.sealed import frames, manifests, segments
from sync_service.sealed.keys import Random
from sync_service.sealed.manifests import Manifest
from sync_service.sealed.pieces import Segment
from sync_service.transport import Transport

if TYPE_CHECKING:
    from sqlite_utils import Database

# States read in one transaction, and in one segment if they fit.
SEGMENT_STATES = 4_096
# A snapshot is due after so many batches, or when the log is that much larger than the last snapshot.
BATCHES_DUE = 20_000
LOG_TIMES_DUE = 2
LOG_BYTES_MIN = 16 * 1024 * 1024

_NAME_BYTES = 16


# --- writing -------------------------------------------------------------------------------------------------


def is_due(
    *, head_pos: int, min_pos: int, covered_pos: int, log_bytes: int, snapshot_bytes: int
) -> bool:
    """Whether what was written since the last snapshot (`covered_pos` is its position, 0 without one) is worth another. The log
    keeps for a month what a snapshot covers, so its bytes count as far as its positions lie beyond that."""
    if head_pos - covered_pos > BATCHES_DUE:
        return True
    there = max(1, head_pos - min_pos + 1)
    since = log_bytes * min(there, head_pos - covered_pos) // there
    return since > max(LOG_BYTES_MIN, LOG_TIMES_DUE * snapshot_bytes)


def write(
    transport: Transport,
    replica: Replica,
    members: Members,
    random: Random,
    now_ms: int,
    *,
    states_per_segment: int = SEGMENT_STATES,
    send_rest: Callable[[], bool] = lambda: True,
) -> bytes | None:
    """Write a snapshot of what is here; its id, or `None` while there is nothing that it could cover. `send_rest` sends what was
    written here until then: its pieces may hold that already, and others compare them with what they were shown."""
    with replica.transaction() as db:
        me = log.read(db)
        key = log.epoch_keys(db).get(members.epoch)
        heads, lost = _served(db), _lost(db)
        if me.seq:
            heads.append(Head(me.stream, me.seq, me.head))
        if key is None or me.adopting or me.seeding or not heads or inbox.is_half_applied(db):
            return None
        if log.unsent_count(db):
            return None  # nobody takes a snapshot of what is not there
        # What others know otherwise from some place on is covered by nobody who stands on the one side.
        forked = {alarm.subject.split("/")[0] for alarm in log.alarms(db) if alarm.kind == "fork"}
        heads = [head for head in heads if head.stream.hex() not in forked]
        lost = tuple(head for head in lost if head[0].hex() not in forked)
        if not heads:
            return None
    pieces: list[Segment] = []
    total = 0
    for rows in _pieces(replica, states_per_segment):
        for portion in parting.portions(rows):
            name = random(_NAME_BYTES).hex()
            sealed = segments.seal_segment(key, me.vault, members.epoch, name, portion)
            transport.put_segment(name, sealed)
            pieces.append(Segment(name, len(sealed), hashlib.sha256(sealed).digest()))
        total += sum(merge.fingerprint(memory, state) for memory, state in rows)
    if not send_rest():
        return None
    digest = merge.digest(total)
    # From where something is in doubt, whoever begins with this snapshot looks again.
    pos = me.cursor if me.reread_after is None else min(me.cursor, me.reread_after)
    summary = segments.Summary(digest, me.generation, pos, lost)
    sealed = segments.seal_summary(key, me.vault, members.epoch, summary)
    manifest = Manifest(
        vault=me.vault,
        device=me.device,
        covers=tuple(heads),
        segments=tuple(pieces),
        sealed=sealed,
    )
    raw = manifests.write(manifest, me.sign_seed)
    transport.put_manifest(raw)
    with replica.transaction() as db:
        log.write(db, snapshot_owed=0)
        log.covered(db, heads, only_again=True)
        inbox.given(db, [Head(*head) for head in lost])
        remember(db, manifests.id_of(raw), "written", now_ms)
    return manifests.id_of(raw)


def is_told(db: "Database", shown: Iterable[bytes]) -> bool:
    """Whether the newest of this device's own among the manifests that a relay shows, newest first, holds all that is here, and says the same
    of what is lost there."""
    me = log.read(db)
    for raw in shown:
        try:
            manifest = manifests.read(raw)
            if manifest.device != me.device:
                continue
            summary = segments.open_summary(manifest, log.epoch_keys(db))
        except (MalformedError, frames.UnreadableError):
            continue
        return summary.digest == log.digest(db) and summary.lost == _lost(db)
    return False


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


def _lost(db: "Database") -> tuple[tuple[bytes, int, bytes], ...]:
    """Of which the relay shows less than is here."""
    return tuple((lost.stream, lost.seq, lost.hash) for lost in inbox.not_served(db))


def _pieces(replica: Replica, most: int) -> Iterator[list[tuple[bytes, State]]]:
    """All states in portions. What changes meanwhile is newer than what the snapshot says to cover, and may be in it."""
    after: bytes | None = None
    while True:
        with replica.transaction() as db:
            rows = list(replica.rows(db, after, most))
        if not rows:
            return
        yield rows
        after = rows[-1][0]


# --- bytes ---------------------------------------------------------------------------------------------------


def believed(raw: bytes, members: Members) -> Manifest:
    """A manifest by a device of today, for this vault.

    Raises:
        MalformedError, ForgedError
    """
    manifest = of_a_device(raw, members)
    if members.members[manifest.device].revoked is not None:
        raise _not_ours()
    return manifest


def of_a_device(raw: bytes, members: Members) -> Manifest:
    """A manifest for this vault by a device of it, which may have been removed since: nobody starts from such a one, and it holds what
    batches were deleted for.

    Raises:
        MalformedError, ForgedError
    """
    manifest = manifests.read(raw)
    writer = members.members.get(manifest.device)
    if manifest.vault != members.vault or writer is None:
        raise _not_ours()
    manifests.verify(raw, writer.sign_public)
    for head in manifest.covers:
        if control.owner_of(members, head.stream) is None:
            raise MalformedError("A snapshot covers a stream that nobody has.")
    return manifest


def without_removed(shown: Iterable[bytes], members: Members) -> list[bytes]:
    """What a relay shows as manifests, but for those by devices that were removed: nobody starts from them, however many had vouched
    for one before its writer was removed."""
    gone = {device for device, member in members.members.items() if member.revoked is not None}
    return [raw for raw in shown if _writer_of(raw) not in gone]


def _writer_of(raw: bytes) -> bytes | None:
    try:
        return manifests.read(raw).device
    except MalformedError:
        return None  # who looks at it says so


def _not_ours() -> frames.ForgedError:
    return frames.ForgedError(
        "The server shows a snapshot that no device of this vault has made. It was not used."
    )


# --- tables --------------------------------------------------------------------------------------------------


def standing_of(db: "Database", manifest_id: bytes) -> str | None:
    found = db.execute(
        "SELECT standing FROM sync_snapshots WHERE manifest = ?", [manifest_id]
    ).fetchone()
    return None if found is None else str(found[0])


def settle(db: "Database") -> None:
    """A sound one has taken the place of those that were not."""
    log.settle(db, "forged", "snapshot")
    log.settle(db, "malformed", "snapshot")


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


def forget_pieces(db: "Database", manifest_id: bytes | None = None) -> None:
    """The next try begins anew: with this snapshot, or with any."""
    db.execute("DELETE FROM sync_pieces WHERE manifest = ?1 OR ?1 IS NULL", [manifest_id])
