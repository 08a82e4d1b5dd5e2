"""When another copy of this device has written on its stream: its disk was cloned, or put back from a backup.

What the other copy wrote is taken in like any other device's. What this copy wrote and nobody has seen goes on under a new stream of
its own, as if it had been written there: no place of a stream is ever used for two different things, and nothing of either is lost.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

import msgspec

from sync_service.changes import merge, ops
from sync_service.changes.merge import State
from sync_service.changes.ops import Head, Op, Set
from sync_service.device import inbox, log, plan
from sync_service.device.log import Self
from sync_service.device.replica import Change, Replica, change
from sync_service.members.control import Members
from sync_service.sealed import frames, keys
from sync_service.sealed.keys import Random

if TYPE_CHECKING:
    from sqlite_utils import Database

Written = Collection[tuple[int, int]]
"""(field, hlc) of what was written here and nobody has seen."""

Said = Literal["in a batch", "in a snapshot", "by the relay, too"]

_MEMORIES_AT_ONCE = 1_024
# Two copies that find each other out at the same time must not take the same next number.
_SPREAD_BYTES = 2
# How many are tried for one whose stream id is above the last: one in two is, at first; in some milliseconds one is found after seven
# or eight copies of a device, too.
_TRIES_MAX = 4_096


def begin(
    db: "Database",
    replica: Replica,
    me: Self,
    members: Members,
    random: Random,
    now_ms: int,
    *,
    is_copied: bool = True,
) -> None:
    """From here on the present stream is another's. What was not sent goes back to the outbox, written on the next stream, which
    may be used once the device list has it (`is_admitted`). Not `is_copied`: nobody has seen another copy; the relay
    has lost the beginning of the stream, or a backup was put back."""
    incarnation = _next_incarnation(me, members, random)
    stream = keys.stream_id(_public(me), incarnation)
    seq, head = _unseal(db, me)
    _move_all(db, replica, me.stream, stream)
    if seq:
        inbox.advance(db, me.stream, [(seq, head, 0)], now_ms)
    log.write(
        db,
        stream=stream,
        incarnation=incarnation,
        seq=0,
        head=frames.NO_HASH,
        adopting=1,
        copied=0,
        sealed_ms=0,
        heads_told=frames.NO_HASH,
    )
    if is_copied:
        log.raise_alarm(db, "cloned", me.stream.hex(), _CLONED, now_ms)


def believes(db: "Database", me: Self, claim: Head, said: Said) -> bool:
    """Another device says that more, or something else, was written on this device's stream than it knows itself. Whether that is
    enough to go on elsewhere.

    Proof would be a batch with this device's signature: the relay is asked for it, and until then a claim that reaches further is only
    an alarm. If the relay says as well that something stands there, that will do. What contradicts this device, or stands in a snapshot
    in place of batches that are deleted, may be all that is left of it, and is believed once in a while: a member that lies must not
    bring forth a new stream each time.
    """
    known = log.own_frame_hash(db, me.stream, claim.seq)
    found = plan.compare_claim(claim, reached=me.seq, known=known)
    if me.adopting or found is None or (said == "in a batch" and found == "gap"):
        return False
    return said == "by the relay, too" or all(alarm.kind != "cloned" for alarm in log.alarms(db))


def is_admitted(me: Self, members: Members) -> bool:
    """Whether the device list has the stream on which this device goes on."""
    member = members.members.get(me.device)
    return member is not None and me.stream in member.streams


def is_outdated(me: Self, members: Members) -> bool:
    """Whether the number of the next stream can no longer be had: another copy took a greater one."""
    member = members.members.get(me.device)
    return member is not None and member.incarnation >= me.incarnation


def _next_incarnation(me: Self, members: Members, random: Random) -> int:
    """One whose stream id is greater than that of the last: then what was written there wins and loses against everything else as
    it did before. Where none is found, a snapshot puts right what has lost now."""
    member = members.members.get(me.device)
    after = max(me.incarnation, 0 if member is None else member.incarnation)
    incarnation = after + 1
    for _ in range(_TRIES_MAX):
        incarnation = after + 1 + int.from_bytes(random(_SPREAD_BYTES), "big")
        if keys.stream_id(_public(me), incarnation) > me.stream:
            break
    return incarnation


def _public(me: Self) -> bytes:
    return keys.sign_public(keys.Seeds(me.sign_seed, me.kem_seed))


def _unseal(db: "Database", me: Self) -> tuple[int, bytes]:
    """Put back what the relay is not known to have; where the stream ended before it."""
    epoch_keys = log.epoch_keys(db)
    unsent = db.execute(
        "SELECT frame FROM sync_frames WHERE stream = ? AND pos IS NULL ORDER BY seq", [me.stream]
    ).fetchall()
    seq, head = me.seq, me.head
    said: list[Op] = []
    for number, (raw,) in enumerate(unsent):
        frame = frames.parse(bytes(raw))
        if number == 0:
            seq, head = frame.header.seq - 1, frame.header.prev_hash
        said += ops.decode_content(frames.open_frame(frame, epoch_keys[frame.header.epoch])).ops
    db.execute("DELETE FROM sync_frames WHERE stream = ? AND pos IS NULL", [me.stream])
    (first,) = db.execute("SELECT coalesce(min(number), 1) FROM sync_outbox").fetchone()
    db.conn.executemany(
        "INSERT INTO sync_outbox (number, memory, op) VALUES (?, ?, ?)",
        [
            (number, op.memory, ops.encode_op(op))
            for number, op in enumerate(said, first - len(said))
        ],
    )
    return seq, head


def _move_all(db: "Database", replica: Replica, old: bytes, new: bytes) -> None:
    found = db.execute("SELECT DISTINCT memory FROM sync_outbox").fetchall()
    memories = [bytes(memory) for (memory,) in found]
    for first in range(0, len(memories), _MEMORIES_AT_ONCE):
        _move(db, replica, memories[first : first + _MEMORIES_AT_ONCE], old, new)


def moved(state: State, written: Written, old: bytes, new: bytes) -> State:
    """The state as it would be if these fields had been written on another stream."""

    def stream_of(field: int, hlc: int, stream: bytes) -> bytes:
        return new if stream == old and (field, hlc) in written else stream

    fields = {
        field: (hlc, stream_of(field, hlc, stream), value)
        for field, (hlc, stream, value) in state.fields.items()
    }
    rivals = {
        (field, (hlc, stream_of(field, hlc, stream), value))
        for field, (hlc, stream, value) in state.rivals
    }
    for field, version in sorted(rivals):
        if version > fields[field]:  # the new stream's id is a smaller one
            rivals.add((field, fields[field]))
            fields[field] = version
    return msgspec.structs.replace(
        state,
        fields=fields,
        rivals=frozenset(each for each in rivals if each[1] != fields[each[0]]),
        replaced=frozenset(
            (field, (hlc, stream_of(field, hlc, stream))) for field, (hlc, stream) in state.replaced
        ),
    )


def _move(
    db: "Database", replica: Replica, memories: Collection[bytes], old: bytes, new: bytes
) -> None:
    states = replica.load(db, memories)
    changes: dict[bytes, Change] = {}
    for memory in memories:
        rows = db.execute(
            "SELECT number, op FROM sync_outbox WHERE memory = ? ORDER BY number", [memory]
        ).fetchall()
        said = [(number, ops.decode_op(bytes(raw))) for number, raw in rows]
        written = {(field, op.hlc) for _, op in said if isinstance(op, Set) for field in op.fields}
        after = states[memory]
        if not after.forgotten:
            after = moved(after, written, old, new)
        for number, op in said:
            renamed = _renamed(op, written, old, new)
            if renamed is not op:
                db.execute(
                    "UPDATE sync_outbox SET op = ? WHERE number = ?",
                    [ops.encode_op(renamed), number],
                )
            after = merge.apply(after, renamed, new)
        if after != states[memory]:
            changes[memory] = change(states[memory], after)
    replica.save(db, changes)
    log.follow(db, changes)


def _renamed(op: Op, written: Written, old: bytes, new: bytes) -> Op:
    if not isinstance(op, Set) or not op.replaces:
        return op
    replaces = {
        field: tuple(
            sorted(
                (hlc, new if stream == old and (field, hlc) in written else stream)
                for hlc, stream in clocks
            )
        )
        for field, clocks in op.replaces.items()
    }
    return msgspec.structs.replace(op, replaces=replaces)


_CLONED = (
    "This device was copied, or put back from a backup, and the other copy wrote, too. Nothing is lost: this one goes on as if it were "
    "another device."
)
