"""What this device knows of the other devices' streams: how far each was applied, what others say of it, what is set aside and why.

Functions take the database whose transaction the caller holds. Applied heads never go back, whatever a relay shows: by them it is
found out when it shows less than before.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from sync_service.changes.ops import Forget, Head

if TYPE_CHECKING:
    from sqlite_utils import Database

Reason = Literal["waiting", "withheld", "unreadable", "malformed", "newer"]
"""Why a batch is held: one before it is missing or held; the device list it was made under was not shown; its key is not here; no
implementation writes such a thing; only a newer version reads it."""

# What one stream's hashes are remembered for: to compare with what other devices say, which is at most some batches behind.
CHAIN_KEPT = 1_024
# Batches that wait are as large as the ones that flow, and a relay could show them for ever. What does not fit is asked for again.
HELD_BYTES_MAX = 64 * 1024 * 1024


class Applied(Struct, frozen=True):
    seq: int
    hash: bytes
    pos: int


class Claim(Struct, frozen=True):
    stream: bytes
    seq: int
    hash: bytes
    teller: bytes


class Held(Struct, frozen=True, kw_only=True):
    stream: bytes
    seq: int
    hash: bytes
    pos: int
    reason: Reason
    applied: bool
    raw: bytes


# --- heads ---------------------------------------------------------------------------------------------------


def heads(db: "Database") -> dict[bytes, Applied]:
    found = db.execute("SELECT stream, seq, hash, pos FROM sync_heads WHERE seq > 0")
    return {bytes(stream): Applied(seq, bytes(hash_), pos) for stream, seq, hash_, pos in found}


def told(db: "Database") -> tuple[Head, ...]:
    """The heads as a batch tells them, in an order of their own."""
    return tuple(Head(stream, head.seq, head.hash) for stream, head in sorted(heads(db).items()))


def advance(
    db: "Database", stream: bytes, steps: Sequence[tuple[int, bytes, int]], now_ms: int
) -> None:
    """These batches (seq, hash, position) of a stream were applied, in order."""
    seq, hash_, pos = steps[-1]
    db.execute(
        """INSERT INTO sync_heads (stream, seq, hash, served, pos, heard_ms) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, hash = excluded.hash,
               served = max(served, excluded.served), pos = excluded.pos, heard_ms = excluded.heard_ms
           WHERE excluded.seq > seq""",
        [stream, seq, hash_, seq, pos, now_ms],
    )
    db.conn.executemany(
        "INSERT OR IGNORE INTO sync_chain (stream, seq, hash) VALUES (?, ?, ?)",
        [(stream, seq, hash_) for seq, hash_, _ in steps],
    )
    db.execute("DELETE FROM sync_chain WHERE stream = ? AND seq <= ?", [stream, seq - CHAIN_KEPT])
    db.execute("DELETE FROM sync_held WHERE stream = ? AND seq <= ? AND applied = 0", [stream, seq])


def cover(db: "Database", covers: Iterable[Head], now_ms: int) -> None:
    """Everything up to these heads is here, by a snapshot."""
    known = heads(db)
    for head in covers:
        here = known.get(head.stream)
        if here is None or here.seq < head.seq:
            advance(db, head.stream, [(head.seq, head.hash, 0)], now_ms)


def served(db: "Database", stream: bytes, seq: int, pos: int) -> None:
    """The relay shows a batch that was applied before."""
    db.execute(
        "UPDATE sync_heads SET served = max(served, ?), pos = max(pos, ?) WHERE stream = ?",
        [seq, pos, stream],
    )


def step_back(db: "Database", stream: bytes, seq: int, before: bytes) -> None:
    """From this place on, others know another history of a stream that this device has left: that one is read."""
    db.execute(
        """UPDATE sync_heads SET seq = ?1, hash = ?2, served = min(served, ?1), given = min(given, ?1)
           WHERE stream = ?3 AND seq > ?1""",
        [seq - 1, before, stream],
    )
    db.execute("DELETE FROM sync_chain WHERE stream = ? AND seq >= ?", [stream, seq])


def serve_anew(db: "Database") -> None:
    """What the relay has shown no longer counts: it lost something."""
    db.execute("UPDATE sync_heads SET served = 0, pos = 0, given = 0")


def given(db: "Database", heads: Iterable[Head]) -> None:
    """A snapshot that the relay has holds these streams up to here, which it lost."""
    db.conn.executemany(
        "UPDATE sync_heads SET given = max(given, ?) WHERE stream = ?",
        [(head.seq, head.stream) for head in heads],
    )


def not_served(db: "Database") -> list[Head]:
    """The heads of streams of which the relay shows less than was applied here, be it in a snapshot or not."""
    found = db.execute(
        "SELECT stream, seq, hash FROM sync_heads WHERE served < seq ORDER BY stream"
    )
    return [Head(bytes(stream), seq, bytes(hash_)) for stream, seq, hash_ in found]


def served_heads(db: "Database") -> dict[bytes, int]:
    """How far the relay has shown each stream, of those that it has shown at all."""
    found = db.execute("SELECT stream, served FROM sync_heads WHERE served > 0 AND seq > 0")
    return {bytes(stream): seq for stream, seq in found}


def withheld_streams(db: "Database") -> list[bytes]:
    """Streams of which the relay has less than was applied here, in batches and in snapshots."""
    found = db.execute(
        "SELECT stream FROM sync_heads WHERE max(served, given) < seq ORDER BY stream"
    )
    return [bytes(stream) for (stream,) in found]


def hash_at(db: "Database", stream: bytes, seq: int) -> bytes | None:
    """The hash of an applied batch, as long as it is remembered."""
    found = db.execute(
        "SELECT hash FROM sync_chain WHERE stream = ? AND seq = ?", [stream, seq]
    ).fetchone()
    return None if found is None else bytes(found[0])


def last_heard(db: "Database") -> dict[bytes, int]:
    """When something new came from each stream, for "other devices, last seen"."""
    found = db.execute("SELECT stream, heard_ms FROM sync_heads")
    return {bytes(stream): heard_ms for stream, heard_ms in found}


# --- what others say -----------------------------------------------------------------------------------------


def claim(db: "Database", teller: bytes, told_heads: Iterable[Head]) -> None:
    db.conn.executemany(
        """INSERT INTO sync_claims (stream, seq, hash, teller) VALUES (?, ?, ?, ?)
           ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, teller = excluded.teller
           WHERE excluded.seq > seq""",
        [(head.stream, head.seq, head.hash, teller) for head in told_heads],
    )


def unclaim(db: "Database", teller: bytes) -> None:
    """What a device has said that was removed since."""
    db.execute("DELETE FROM sync_claims WHERE teller = ?", [teller])


def claims(db: "Database") -> dict[bytes, Claim]:
    found = db.execute("SELECT stream, seq, hash, teller FROM sync_claims")
    return {
        bytes(stream): Claim(bytes(stream), seq, bytes(hash_), bytes(teller))
        for stream, seq, hash_, teller in found
    }


# --- held batches --------------------------------------------------------------------------------------------


def room(db: "Database") -> int:
    """How many bytes more may be set aside."""
    (size,) = db.execute("SELECT coalesce(sum(length(frame)), 0) FROM sync_held").fetchone()
    return HELD_BYTES_MAX - int(size)


def hold(db: "Database", held: Held) -> None:
    db.execute(
        """INSERT INTO sync_held (stream, seq, hash, pos, reason, applied, frame) VALUES (?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (stream, seq, hash) DO UPDATE SET pos = excluded.pos, reason = excluded.reason,
               applied = max(applied, excluded.applied)""",
        [held.stream, held.seq, held.hash, held.pos, held.reason, int(held.applied), held.raw],
    )


def drop_held(db: "Database", streams: Iterable[bytes]) -> int:
    """Let go of what is set aside of these streams; how many bytes."""
    before = room(db)
    db.conn.executemany("DELETE FROM sync_held WHERE stream = ?", [(each,) for each in streams])
    return room(db) - before


def release(db: "Database", stream: bytes, seq: int, hash_: bytes) -> None:
    db.execute(
        "DELETE FROM sync_held WHERE stream = ? AND seq = ? AND hash = ?", [stream, seq, hash_]
    )


def held(db: "Database", stream: bytes | None = None, *, most: int = 256) -> list[Held]:
    """Batches set aside and not applied, by stream and place in it."""
    found = db.execute(
        """SELECT stream, seq, hash, pos, reason, applied, frame FROM sync_held
           WHERE applied = 0 AND (? IS NULL OR stream = ?) ORDER BY stream, seq LIMIT ?""",
        [stream, stream, most],
    )
    return [_held(row) for row in found.fetchall()]


def held_count(db: "Database") -> int:
    """How many batches are set aside and not applied."""
    (count,) = db.execute("SELECT count(*) FROM sync_held WHERE applied = 0").fetchone()
    return int(count)


def held_reasons(db: "Database") -> set[tuple[bytes, Reason]]:
    """Why something is set aside of which streams, wholly or in part."""
    found = db.execute("SELECT DISTINCT stream, reason FROM sync_held")
    return {(bytes(stream), reason) for stream, reason in found.fetchall()}


def waiting_streams(db: "Database") -> list[bytes]:
    """Streams of which something waits for what comes before it."""
    found = db.execute("SELECT DISTINCT stream FROM sync_held WHERE reason = 'waiting'")
    return [bytes(stream) for (stream,) in found.fetchall()]


def next_held(db: "Database", stream: bytes, seq: int) -> list[Held]:
    """What is held at one place of a stream."""
    found = db.execute(
        """SELECT stream, seq, hash, pos, reason, applied, frame FROM sync_held
           WHERE applied = 0 AND stream = ? AND seq = ? ORDER BY pos""",
        [stream, seq],
    )
    return [_held(row) for row in found.fetchall()]


def half_applied(
    db: "Database", *, after: tuple[bytes, int] = (b"", 0), most: int = 256
) -> list[Held]:
    """Batches that were applied but for what only a newer version, or none, can read, by stream and place in it."""
    found = db.execute(
        """SELECT stream, seq, hash, pos, reason, applied, frame FROM sync_held
           WHERE applied = 1 AND (stream, seq) > (?, ?) ORDER BY stream, seq LIMIT ?""",
        [*after, most],
    )
    return [_held(row) for row in found.fetchall()]


def release_malformed(db: "Database", stream: bytes, seq: int, hash_: bytes) -> None:
    """Let go of a batch, all of which was applied that any version reads: who wants to look at the rest finds it at the relay."""
    db.execute(
        """DELETE FROM sync_held
           WHERE applied = 1 AND reason = 'malformed' AND stream = ? AND seq = ? AND hash = ?""",
        [stream, seq, hash_],
    )


def furthest_held(db: "Database") -> dict[bytes, int]:
    found = db.execute("SELECT stream, max(seq) FROM sync_held WHERE applied = 0 GROUP BY stream")
    return {bytes(stream): seq for stream, seq in found}


def is_half_applied(db: "Database") -> bool:
    """Whether the applied heads say more than what is held here: a newer version, or a person, has to come first. What is set aside
    whole is beyond the heads, and what is malformed changes nothing on any device."""
    (count,) = db.execute(
        """SELECT (SELECT count(*) FROM sync_held WHERE applied = 1 AND reason = 'newer')
               + (SELECT count(*) FROM sync_forgets)"""
    ).fetchone()
    return bool(count)


def _held(row: tuple[bytes, int, bytes, int, Reason, int, bytes]) -> Held:
    stream, seq, hash_, pos, reason, applied, raw = row
    return Held(
        stream=bytes(stream),
        seq=seq,
        hash=bytes(hash_),
        pos=pos,
        reason=reason,
        applied=bool(applied),
        raw=bytes(raw),
    )


# --- what was forgotten elsewhere, too much at once ----------------------------------------------------------


def hold_forgets(db: "Database", forgets: Iterable[tuple[Forget, bytes]], now_ms: int) -> None:
    db.conn.executemany(
        "INSERT OR IGNORE INTO sync_forgets (memory, stream, hlc, held_ms) VALUES (?, ?, ?, ?)",
        [(forget.memory, stream, forget.hlc, now_ms) for forget, stream in forgets],
    )


def held_forgets(db: "Database", most: int) -> list[bytes]:
    found = db.execute("SELECT memory FROM sync_forgets ORDER BY memory LIMIT ?", [most])
    return [bytes(memory) for (memory,) in found]


def held_forgets_count(db: "Database") -> int:
    (count,) = db.execute("SELECT count(*) FROM sync_forgets").fetchone()
    return int(count)


def forgets_held_ms(db: "Database") -> int:
    """When the last of them came."""
    (held_ms,) = db.execute("SELECT coalesce(max(held_ms), 0) FROM sync_forgets").fetchone()
    return int(held_ms)
