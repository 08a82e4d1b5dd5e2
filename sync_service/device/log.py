"""This device's side of the change log: who it is, its clock, its outbox, its own batches, the digest of what it holds, its alarms.

Functions take the database whose transaction the caller holds; none begins or commits anything. Whoever changes a memory calls
`record` in the transaction that changes it, so that no write is ever acknowledged that the other devices would not hear of.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from shared.clock import from_ms
from shared.crypto import signing_public_key
from shared.errors import InvalidError
from sync_service.alarms import Alarm, Kind
from sync_service.changes import clock, merge, ops
from sync_service.changes.clock import Hlc
from sync_service.changes.merge import State
from sync_service.changes.ops import Head, Op
from sync_service.device.replica import Change, is_new
from sync_service.members import control as control_list
from sync_service.members.control import Members
from sync_service.sealed import keys

if TYPE_CHECKING:
    from sqlite_utils import Database

_MEMBERS = msgspec.msgpack.Decoder(Members)


class NotSetUpError(InvalidError):
    """This vault syncs with nothing yet."""

    code = "sync_not_set_up"


class Self(Struct, frozen=True, kw_only=True):
    """This device in its vault. The seeds are secrets: never logged, never shown."""

    vault: bytes
    sign_seed: bytes
    kem_seed: bytes
    device: bytes
    incarnation: int
    stream: bytes
    seq: int
    head: bytes
    generation: str | None
    cursor: int
    paused: bool
    adopting: bool
    copied: bool
    seeding: bool
    sealed_ms: int
    heads_told: bytes
    caught_up: bool
    reached_ms: int
    house_ms: int
    snapshot_owed: bool
    reread_after: int | None
    reread_ms: int
    rereads: int
    forgets_from_ms: int
    """When others last forgot something."""
    forgets: int
    """How much they have, each time less than an hour after the time before."""


class OwnFrame(Struct, frozen=True):
    stream: bytes
    seq: int
    hash: bytes
    raw: bytes


_SELF = ", ".join(Self.__struct_fields__)
_TABLES = (
    *("self", "control", "members", "epochs", "outbox", "frames", "heads", "chain", "claims"),
    *("held", "forgets", "conflicts", "alarms", "pieces", "snapshots", "digests"),
)
_FLAGS = ("paused", "adopting", "copied", "seeding", "caught_up", "snapshot_owed")


# --- this device ---------------------------------------------------------------------------------------------


def is_set_up(db: "Database") -> bool:
    return db.execute("SELECT 1 FROM sync_self").fetchone() is not None


def read(db: "Database") -> Self:
    """
    Raises:
        NotSetUpError
    """
    row = db.execute(f"SELECT {_SELF} FROM sync_self").fetchone()  # noqa: S608 (our own columns)
    if row is None:
        raise NotSetUpError("This vault does not sync yet. Begin with `sunaiva login`.")
    values = dict(zip(Self.__struct_fields__, row, strict=True))
    return Self(**values | {name: bool(values[name]) for name in _FLAGS})


def write(db: "Database", **values: Any) -> None:
    """Change some columns of `Self`."""
    assert values.keys() <= set(Self.__struct_fields__), "no such column"
    columns = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE sync_self SET {columns}", list(values.values()))  # noqa: S608 (checked above)


def set_up(
    db: "Database",
    *,
    sign_seed: bytes,
    kem_seed: bytes,
    incarnation: int,
    entries: Sequence[bytes],
    now: Members,
    epoch_keys: Mapping[int, bytes],
) -> None:
    """Begin to sync: from here on every change is recorded. `entries` is the device list, which has admitted this device, and
    `now` what it says."""
    public = signing_public_key(sign_seed)
    db.execute(
        """INSERT INTO sync_self (number, vault, sign_seed, kem_seed, device, incarnation, stream)
           VALUES (1, ?, ?, ?, ?, ?, ?)""",
        [
            now.vault,
            sign_seed,
            kem_seed,
            keys.device_id(public),
            incarnation,
            keys.stream_id(public, incarnation),
        ],
    )
    add_control(db, entries, now)
    add_epoch_keys(db, epoch_keys)


def mark_copied(db: "Database") -> None:
    """Of a copy that may be put in this device's place one day: it must not go on where the device has gone on meanwhile."""
    db.execute("UPDATE sync_self SET copied = 1")


def leave(db: "Database") -> None:
    """Sync no more, and keep nothing of it; the memories stay."""
    for table in _TABLES:
        db.execute(f"DELETE FROM sync_{table}")  # noqa: S608 (our own names)


def own_stream(db: "Database") -> bytes:
    (stream,) = db.execute("SELECT stream FROM sync_self").fetchone()
    return bytes(stream)


# --- clock ---------------------------------------------------------------------------------------------------


def stamp(db: "Database", now_ms: int) -> Hlc:
    """The time of something written now; later than everything before."""
    (last,) = db.execute("SELECT hlc FROM sync_self").fetchone()
    hlc = clock.tick(Hlc(last), now_ms)
    db.execute("UPDATE sync_self SET hlc = ?", [hlc])
    return hlc


def hear(db: "Database", remote: Iterable[Hlc], now_ms: int) -> None:
    (last,) = db.execute("SELECT hlc FROM sync_self").fetchone()
    hlc = Hlc(last)
    for each in remote:
        hlc = clock.heard(hlc, each, now_ms)
    if hlc != last:
        db.execute("UPDATE sync_self SET hlc = ?", [hlc])


# --- what changes --------------------------------------------------------------------------------------------


def record(db: "Database", written: Sequence[Op], changes: Mapping[bytes, Change]) -> None:
    """What somebody did here: for the other devices, and for the digest. In the transaction of the change itself."""
    follow(db, changes)
    # After, because a forgotten memory takes along what was to be said of it, but not that it is forgotten.
    db.conn.executemany(
        "INSERT INTO sync_outbox (memory, op) VALUES (?, ?)",
        [(op.memory, ops.encode_op(op)) for op in written],
    )


def follow(db: "Database", changes: Mapping[bytes, Change]) -> None:
    """Digest, conflicts and outbox after memories changed, here or by another device."""
    if not changes:
        return
    moved = 0
    for memory, change in changes.items():
        moved += merge.fingerprint_of(memory, change.clocks)
        if not is_new(change.before):
            moved -= merge.fingerprint(memory, change.before)
        if change.before.rivals or change.after.rivals:
            _note_conflict(db, memory, change.after)
        if change.after.forgotten:
            purge(db, memory)
    total = int.from_bytes(digest(db), "big") + moved
    db.execute("UPDATE sync_self SET digest = ?", [merge.digest(total)])


def purge(db: "Database", memory: bytes) -> None:
    """A forgotten memory leaves the outbox, the conflicts and what waits for a yes."""
    db.execute("DELETE FROM sync_outbox WHERE memory = ?", [memory])
    db.execute("DELETE FROM sync_conflicts WHERE memory = ?", [memory])
    db.execute("DELETE FROM sync_forgets WHERE memory = ?", [memory])


def digest(db: "Database") -> bytes:
    (value,) = db.execute("SELECT digest FROM sync_self").fetchone()
    return bytes(value)


def in_conflict(db: "Database", most: int) -> list[bytes]:
    """Memories of which somebody should choose a version (`merge.conflicts`), the newest first."""
    found = db.execute("SELECT memory FROM sync_conflicts ORDER BY memory DESC LIMIT ?", [most])
    return [bytes(memory) for (memory,) in found]


def _note_conflict(db: "Database", memory: bytes, state: State) -> None:
    if merge.conflicts(state):
        db.execute("INSERT OR IGNORE INTO sync_conflicts (memory) VALUES (?)", [memory])
    else:
        db.execute("DELETE FROM sync_conflicts WHERE memory = ?", [memory])


# --- outbox --------------------------------------------------------------------------------------------------


def outbox(db: "Database", most: int) -> list[tuple[int, bytes]]:
    """(number, operation) of the next that are in no batch yet."""
    found = db.execute("SELECT number, op FROM sync_outbox ORDER BY number LIMIT ?", [most])
    return [(number, bytes(op)) for number, op in found]


def outbox_count(db: "Database") -> int:
    (count,) = db.execute("SELECT count(*) FROM sync_outbox").fetchone()
    return int(count)


def outbox_last(db: "Database") -> int:
    """The number of what was recorded last, of what is in no batch yet; 0 if there is none."""
    (number,) = db.execute("SELECT coalesce(max(number), 0) FROM sync_outbox").fetchone()
    return int(number)


def take_out(db: "Database", up_to: int) -> None:
    db.execute("DELETE FROM sync_outbox WHERE number <= ?", [up_to])


# --- own batches ---------------------------------------------------------------------------------------------


def keep_frame(db: "Database", frame: OwnFrame) -> None:
    db.execute(
        "INSERT INTO sync_frames (stream, seq, hash, frame) VALUES (?, ?, ?, ?)",
        [frame.stream, frame.seq, frame.hash, frame.raw],
    )


def unsent(db: "Database", *, bytes_max: int, most: int) -> list[OwnFrame]:
    """Some batches of one own stream that the relay is not known to have, in order."""
    found = db.execute(
        """SELECT stream, seq, hash, frame FROM sync_frames WHERE pos IS NULL AND stream = (
               SELECT stream FROM sync_frames WHERE pos IS NULL ORDER BY stream, seq LIMIT 1) ORDER BY seq LIMIT ?""",
        [most],
    )
    frames: list[OwnFrame] = []
    for stream, seq, hash_, raw in found.fetchall():
        bytes_max -= len(raw)
        if frames and bytes_max < 0:
            break
        frames.append(OwnFrame(bytes(stream), seq, bytes(hash_), bytes(raw)))
    return frames


def unsent_count(db: "Database") -> int:
    (count,) = db.execute("SELECT count(*) FROM sync_frames WHERE pos IS NULL").fetchone()
    return int(count)


def acknowledge(db: "Database", stream: bytes, placed: Iterable[tuple[int, int]]) -> None:
    db.conn.executemany(
        "UPDATE sync_frames SET pos = ? WHERE stream = ? AND seq = ?",
        [(pos, stream, seq) for seq, pos in placed],
    )


def shown(db: "Database", stream: bytes, seq: int, pos: int) -> None:
    """The relay shows an own batch: that it has it is no mere word any more."""
    db.execute(
        "UPDATE sync_frames SET pos = ?, shown = 1, again = 0 WHERE stream = ? AND seq = ?",
        [pos, stream, seq],
    )


def first_not_shown(db: "Database") -> dict[bytes, int]:
    """From where on the relay has yet to show each own stream, of those of which anything is left to show."""
    found = db.execute("SELECT stream, min(seq) FROM sync_frames WHERE shown = 0 GROUP BY stream")
    return {bytes(stream): seq for stream, seq in found}


def covered(db: "Database", covers: Iterable[Head], *, only_again: bool = False) -> None:
    """A snapshot holds own batches up to here, so the relay need not show them. `only_again`: those that it fails to show."""
    db.conn.executemany(
        "UPDATE sync_frames SET shown = 1 WHERE shown = 0 AND stream = ? AND seq <= ? AND again >= ?",
        [(head.stream, head.seq, int(only_again)) for head in covers],
    )


def resend(
    db: "Database", stream: bytes | None = None, *, from_seq: int = 0, to_seq: int = ops.SEQ_MAX
) -> int:
    """Take the relay's word back that it has own batches (of all streams, or of one from some place on); how many."""
    taken_back = "UPDATE sync_frames SET pos = NULL, shown = 0 WHERE pos IS NOT NULL"
    if stream is None:
        return int(db.execute(taken_back).rowcount)
    some = f"{taken_back} AND stream = ? AND seq BETWEEN ? AND ?"
    return int(db.execute(some, [stream, from_seq, to_seq]).rowcount)


def not_shown(db: "Database", stream: bytes, *, from_seq: int, to_seq: int) -> None:
    """The relay has to show these own batches once more before they count as being there."""
    db.execute(
        """UPDATE sync_frames SET shown = 0, again = 0
           WHERE pos IS NOT NULL AND stream = ? AND seq BETWEEN ? AND ?""",
        [stream, from_seq, to_seq],
    )


def taken(db: "Database") -> dict[bytes, tuple[int, int]]:
    """From which own batch of each stream to which the relay has said to have them, of those that are kept here."""
    kept = db.execute("SELECT stream, min(seq), max(seq) FROM sync_frames GROUP BY stream")
    unsent = db.execute(
        "SELECT stream, min(seq) FROM sync_frames WHERE pos IS NULL GROUP BY stream"
    )
    until = {bytes(stream): seq - 1 for stream, seq in unsent}
    found = [(bytes(stream), first, last) for stream, first, last in kept]
    return {
        stream: (first, min(last, until.get(stream, last)))
        for stream, first, last in found
        if until.get(stream, last) >= first
    }


def resend_lost(db: "Database") -> tuple[list[bytes], bool]:
    """The relay was read to its end: the own streams of which it acknowledged what it does not show, and whether sending that again
    has not helped. Each batch is sent again once."""
    found = db.execute(
        "SELECT stream, max(again) FROM sync_frames WHERE shown = 0 AND pos IS NOT NULL GROUP BY stream"
    ).fetchall()
    db.execute(
        "UPDATE sync_frames SET pos = NULL, again = 1 WHERE shown = 0 AND again = 0 AND pos IS NOT NULL"
    )
    return [bytes(stream) for stream, _ in found], any(again for _, again in found)


def give_up_again(db: "Database") -> bool:
    """What the relay says it has, does not show, and does not take again, is left to a snapshot; whether there is any such."""
    given_up = db.execute(
        "UPDATE sync_frames SET pos = 0 WHERE shown = 0 AND again = 1 AND pos IS NULL"
    ).rowcount
    return bool(given_up)


def give_up(db: "Database", stream: bytes) -> bool:
    """What was not taken of an own stream is left to a snapshot; whether there is any such."""
    given_up = db.execute(
        "UPDATE sync_frames SET pos = 0, shown = 1 WHERE stream = ? AND pos IS NULL", [stream]
    ).rowcount
    return bool(given_up)


def let_go(db: "Database", before_pos: int) -> None:
    """Own batches that the relay deleted because a snapshot holds them, which enough devices vouch for."""
    db.execute("DELETE FROM sync_frames WHERE pos > 0 AND pos < ? AND shown = 1", [before_pos])


def own_frame_hash(db: "Database", stream: bytes, seq: int) -> bytes | None:
    found = db.execute(
        "SELECT hash FROM sync_frames WHERE stream = ? AND seq = ?", [stream, seq]
    ).fetchone()
    return None if found is None else bytes(found[0])


# --- device list and keys ------------------------------------------------------------------------------------


def control(db: "Database") -> list[bytes]:
    found = db.execute("SELECT entry FROM sync_control ORDER BY seq")
    return [bytes(entry) for (entry,) in found]


def control_seq(db: "Database") -> int:
    (seq,) = db.execute("SELECT coalesce(max(seq), 0) FROM sync_control").fetchone()
    return int(seq)


def members(db: "Database") -> Members:
    """What the device list says."""
    found = db.execute("SELECT members FROM sync_members").fetchone()
    try:
        return _MEMBERS.decode(found[0]) if found else control_list.replay(control(db))
    except msgspec.DecodeError:
        return control_list.replay(control(db))


def add_control(db: "Database", entries: Sequence[bytes], now: Members) -> None:
    """Entries that were checked, and what the list says with them."""
    first = control_seq(db) + 1
    db.conn.executemany(
        "INSERT INTO sync_control (seq, entry) VALUES (?, ?)", list(enumerate(entries, first))
    )
    db.execute(
        """INSERT INTO sync_members (number, members) VALUES (1, ?)
           ON CONFLICT (number) DO UPDATE SET members = excluded.members""",
        [msgspec.msgpack.encode(now)],
    )


def epoch_keys(db: "Database") -> dict[int, bytes]:
    found = db.execute("SELECT epoch, key FROM sync_epochs ORDER BY epoch")
    return {epoch: bytes(key) for epoch, key in found}


def add_epoch_keys(db: "Database", epochs: Mapping[int, bytes]) -> None:
    db.conn.executemany(
        "INSERT OR IGNORE INTO sync_epochs (epoch, key) VALUES (?, ?)", list(epochs.items())
    )


# --- alarms --------------------------------------------------------------------------------------------------


def raise_alarm(db: "Database", kind: Kind, subject: str, sentence: str, now_ms: int) -> None:
    db.execute(
        """INSERT INTO sync_alarms (kind, subject, sentence, first_ms, last_ms, times) VALUES (?, ?, ?, ?, ?, 1)
           ON CONFLICT (kind, subject) DO UPDATE SET
               sentence = excluded.sentence, last_ms = excluded.last_ms, times = times + 1""",
        [kind, subject, sentence, now_ms, now_ms],
    )


def reword(db: "Database", kind: Kind, subject: str, sentence: str) -> None:
    """The same alarm, of which there is something else to say."""
    db.execute(
        "UPDATE sync_alarms SET sentence = ? WHERE kind = ? AND subject = ?",
        [sentence, kind, subject],
    )


def settle(db: "Database", kind: Kind, subject: str | None = None) -> None:
    """It is over: of this subject, or of all."""
    db.execute(
        "DELETE FROM sync_alarms WHERE kind = ? AND (? IS NULL OR subject = ?)",
        [kind, subject, subject],
    )


def alarms(db: "Database") -> list[Alarm]:
    found = db.execute(
        "SELECT kind, subject, sentence, first_ms, last_ms, times FROM sync_alarms ORDER BY first_ms, kind, subject"
    )
    return [
        Alarm(
            kind=kind,
            subject=subject,
            sentence=sentence,
            first_at=from_ms(first_ms),
            last_at=from_ms(last_ms),
            times=times,
        )
        for kind, subject, sentence, first_ms, last_ms, times in found
    ]
