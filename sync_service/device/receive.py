"""What a relay shows, taken in: each batch is judged, opened, merged and counted in the transaction that moves the cursor past it.

One bad batch stops its own stream at most, and nothing else; nothing that is not genuine ever reaches a memory. Whatever was wrong
leaves an alarm of its own, and is asked for again if another time may show something better.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from sync_service.alarms import Kind
from sync_service.changes import merge, ops
from sync_service.changes.clock import Hlc
from sync_service.changes.merge import State
from sync_service.changes.ops import Content, Forget, Head, MalformedError, NewerContentError, Op
from sync_service.device import adopting, agreeing, inbox, log, plan
from sync_service.device.inbox import Applied, Held
from sync_service.device.log import Self
from sync_service.device.plan import Elsewhere, Fits, Seen, Waits
from sync_service.device.replica import Change, Replica, change, is_new
from sync_service.members import control
from sync_service.members.control import Members
from sync_service.sealed import frames
from sync_service.sealed.frames import Frame, UnreadableError
from sync_service.sealed.keys import Random

if TYPE_CHECKING:
    from sqlite_utils import Database

# Verifying so many takes a twentieth of a second; a local write waits no longer than that and the merge.
FRAMES_PER_TRANSACTION = 256
HELD_TRIED = 64

_Flaw = Literal["unreadable", "malformed", "newer"]
"""Why a batch is set aside, and how the alarm is called that is raised for it."""


class Opened(Struct, frozen=True):
    frame: Frame
    pos: int
    content: Content


class Taken(Struct):
    """What was done, over however many transactions."""

    frames: int = 0
    ops: int = 0


class _Work(Struct):
    """What one transaction gathers."""

    db: "Database"
    replica: Replica
    members: Members
    random: Random
    me: Self
    now_ms: int
    keys: dict[int, bytes]
    heads: dict[bytes, Applied]
    furthest_held: dict[bytes, int]
    room: int
    opened: list[Opened] = []
    steps: dict[bytes, list[tuple[int, bytes, int]]] = {}
    released: list[tuple[int, bytes]] = []
    troubled_pos: int | None = None
    ops: int = 0
    bytes: int = 0


def take(
    replica: Replica,
    members: Members,
    shown: Iterable[tuple[int, bytes]],
    random: Random,
    now_ms: int,
    *,
    cursor_moves: bool = True,
) -> Taken:
    """Apply what can be applied of these batches (position, bytes), in transactions of a bounded size."""
    queue = deque(shown)
    taken = Taken()
    while queue:
        with replica.transaction() as db:
            work = _begin(db, replica, members, random, now_ms)
            last = None
            count = 0
            while (queue or work.released) and not _is_full(work, count):
                count += 1
                if work.released:
                    _judge(work, *work.released.pop())
                    continue
                last, raw = queue.popleft()
                _judge(work, last, raw)
            while (
                work.released
            ):  # what a transaction lets loose is bounded by what is held, and belongs to it
                _judge(work, *work.released.pop())
            _finish(work, last if cursor_moves else None)
            taken.frames += sum(len(steps) for steps in work.steps.values())
            taken.ops += work.ops
    return taken


def retry_held(replica: Replica, members: Members, random: Random, now_ms: int) -> Taken:
    """Try what is set aside once more: a key may have come, or the batch before it, or a newer version of this program."""
    with replica.transaction() as db:
        heads = inbox.heads(db)
        ready = [
            (each.pos, each.raw)
            for stream, seq in _first_held(db)
            if seq <= (heads[stream].seq if stream in heads else 0) + 1
            for each in inbox.next_held(db, stream, seq)
        ]
    return take(replica, members, ready[:HELD_TRIED], random, now_ms, cursor_moves=False)


def retry_half_applied(replica: Replica, members: Members, random: Random, now_ms: int) -> None:
    """After an update: apply what only a newer version could read of batches that were applied otherwise."""
    after = (b"", 0)
    while True:
        with replica.transaction() as db:
            work = _begin(db, replica, members, random, now_ms)
            tried = inbox.half_applied(db, after=after, most=HELD_TRIED)
            for held in tried:
                if held.reason == "newer":
                    _understand(work, held)
            merge_in(db, replica, _said(work), now_ms)
        if not tried:
            return
        after = (tried[-1].stream, tried[-1].seq)


def merge_in(
    db: "Database", replica: Replica, batches: Sequence[tuple[bytes, Sequence[Op]]], now_ms: int
) -> None:
    """Apply operations, each with the stream it came on, and hold back what others forget."""
    states = replica.load(db, {op.memory for _, said in batches for op in said})
    forgets = {
        op.memory: (op, stream)
        for stream, said in batches
        for op in said
        if isinstance(op, Forget) and is_present(states[op.memory])
    }
    waiting = held_back(db, forgets, now_ms) if forgets else frozenset()
    after: dict[bytes, State] = {}
    latest: dict[bytes, int] = {}
    for stream, said in batches:
        for op in said:
            memory = op.memory
            if memory in waiting and isinstance(op, Forget):
                continue
            state = after.get(memory)
            if state is None:
                state = states[memory]
            merged = merge.apply(state, op, stream)
            if merged is not state:
                after[memory] = merged
                latest[memory] = max(op.hlc, latest.get(memory, 0))
    changes = {
        memory: change(states[memory], state, hlc=latest[memory]) for memory, state in after.items()
    }
    save(db, replica, changes)
    log.hear(db, (Hlc(op.hlc) for _, said in batches for op in said), now_ms)


def save(db: "Database", replica: Replica, changes: Mapping[bytes, Change]) -> None:
    replica.save(db, changes)
    log.follow(db, changes)


# --- one transaction -----------------------------------------------------------------------------------------


def _begin(
    db: "Database", replica: Replica, members: Members, random: Random, now_ms: int
) -> _Work:
    return _Work(
        db,
        replica,
        members,
        random,
        log.read(db),
        now_ms,
        log.epoch_keys(db),
        inbox.heads(db),
        inbox.furthest_held(db),
        inbox.room(db),
    )


def _is_full(work: _Work, count: int) -> bool:
    is_history = work.me.cursor and not work.me.caught_up
    return (
        count >= FRAMES_PER_TRANSACTION
        or work.ops >= (plan.APPLY_OPS_OF_HISTORY if is_history else plan.APPLY_OPS)
        or work.bytes >= plan.APPLY_BYTES
    )


def _judge(work: _Work, pos: int, raw: bytes) -> None:
    try:
        frame = frames.parse(raw)
    except MalformedError as error:
        _trouble(work, "malformed", f"position {pos}", str(error), pos, again=True)
        return
    stream, seq = frame.header.stream, frame.header.seq
    is_own = stream == work.me.stream
    head = Applied(work.me.seq, work.me.head, 0) if is_own else work.heads.get(stream)
    verdict = plan.judge(work.members, frame, head, _known(work, stream, seq), is_own=is_own)
    if isinstance(verdict, Elsewhere):
        adopting.begin(work.db, work.replica, work.me, work.members, work.random, work.now_ms)
        work.me = log.read(work.db)
        work.heads = inbox.heads(work.db)
        _judge(work, pos, raw)
    elif isinstance(verdict, Fits):
        _open(work, frame, pos)
    elif isinstance(verdict, Seen):
        inbox.served(work.db, stream, seq, pos)
        log.shown(work.db, stream, seq, pos)
        inbox.release_malformed(work.db, stream, seq, frame.hash)
    elif isinstance(verdict, Waits):
        _wait(work, frame, pos)
    else:
        if not verdict.again:
            inbox.release(work.db, stream, seq, frame.hash)  # it may have waited for this
        subject = f"{stream.hex()}/{seq}" if verdict.kind == "fork" else stream.hex()
        _trouble(work, verdict.kind, subject, verdict.sentence, pos, again=verdict.again)


def _open(work: _Work, frame: Frame, pos: int) -> None:
    content = _content(work, frame, pos)
    if content is None:
        return
    stream, seq = frame.header.stream, frame.header.seq
    if content.malformed or content.newer:
        reason: _Flaw = "newer" if content.newer else "malformed"
        is_kept = _hold(work, frame, pos, reason, applied=True)
        log.raise_alarm(work.db, reason, stream.hex(), _PARTLY[reason], work.now_ms)
        if content.newer and not is_kept:
            return  # once it counts as applied, nobody would ask for the rest of it again
    work.opened.append(Opened(frame, pos, content))
    work.steps.setdefault(stream, []).append((seq, frame.hash, pos))
    work.heads[stream] = Applied(seq, frame.hash, pos)
    work.ops += len(content.ops)
    work.bytes += len(frame.raw) + 64 * len(content.ops)
    if work.furthest_held.get(stream, 0) > seq:
        # Whatever claims the next place; judging tells which is genuine.
        following = inbox.next_held(work.db, stream, seq + 1)
        work.released.extend((held.pos, held.raw) for held in following)


def _content(work: _Work, frame: Frame, pos: int) -> Content | None:
    """What the batch says; `None` if that cannot be read, and it is set aside."""
    key = work.keys.get(frame.header.epoch)
    try:
        if key is None:
            raise UnreadableError(
                "A batch is encrypted with a key of the vault that this device does not have. It is kept until the key comes."
            )
        return ops.decode_content(frames.open_frame(frame, key))
    except (UnreadableError, MalformedError, NewerContentError) as error:
        reason: _Flaw = (
            "unreadable"
            if isinstance(error, UnreadableError)
            else "malformed"
            if isinstance(error, MalformedError)
            else "newer"
        )
        _hold(work, frame, pos, reason)
        stream = frame.header.stream.hex()
        log.raise_alarm(work.db, reason, stream, str(error), work.now_ms)
        return None


def _wait(work: _Work, frame: Frame, pos: int) -> None:
    stream = frame.header.stream
    at = work.heads[stream].seq if stream in work.heads else 0
    if not inbox.next_held(work.db, stream, at + 1):
        sentence = "The server shows what a device wrote in another order, or without a part of it. What came too early waits."
        _trouble(work, "reordered", stream.hex(), sentence, pos, again=True)
    _hold(work, frame, pos, "waiting")


def _hold(
    work: _Work, frame: Frame, pos: int, reason: inbox.Reason, *, applied: bool = False
) -> bool:
    """Set a batch aside; whether there was room. If not, it is asked for again, unless its device was removed."""
    stream, seq = frame.header.stream, frame.header.seq
    if len(frame.raw) > work.room:
        # What removed devices have left behind gives way, and is not asked for again.
        work.room += inbox.drop_held(work.db, control.removed_streams(work.members))
    if len(frame.raw) > work.room:
        if not control.is_removed(work.members, stream):
            work.troubled_pos = pos if work.troubled_pos is None else min(pos, work.troubled_pos)
        return False
    work.room -= len(frame.raw)
    held = Held(
        stream=stream,
        seq=seq,
        hash=frame.hash,
        pos=pos,
        reason=reason,
        applied=applied,
        raw=frame.raw,
    )
    inbox.hold(work.db, held)
    if not applied:
        work.furthest_held[stream] = max(seq, work.furthest_held.get(stream, 0))
    return True


def _trouble(
    work: _Work, kind: Kind, subject: str, sentence: str, pos: int, *, again: bool
) -> None:
    log.raise_alarm(work.db, kind, subject, sentence, work.now_ms)
    if again and pos:
        work.troubled_pos = pos if work.troubled_pos is None else min(pos, work.troubled_pos)


def _known(work: _Work, stream: bytes, seq: int) -> bytes | None:
    """The hash of what was applied at this place, as far as it is remembered."""
    for applied_seq, hash_, _ in work.steps.get(stream, ()):
        if applied_seq == seq:
            return hash_
    return inbox.hash_at(work.db, stream, seq) or log.own_frame_hash(work.db, stream, seq)


def _understand(work: _Work, held: Held) -> None:
    """Apply a batch once more, if this version reads what an earlier one did not."""
    frame = frames.parse(held.raw)
    content = _content(work, frame, held.pos)
    if content is None or content.newer:
        return
    work.opened.append(Opened(frame, held.pos, content))
    inbox.release(work.db, held.stream, held.seq, held.hash)


def _said(work: _Work) -> list[tuple[bytes, Sequence[Op]]]:
    return [(one.frame.header.stream, one.content.ops) for one in work.opened]


def _finish(work: _Work, cursor: int | None) -> None:
    db = work.db
    if work.opened:
        merge_in(db, work.replica, _said(work), work.now_ms)
        for stream, steps in work.steps.items():
            inbox.advance(db, stream, steps, work.now_ms)
            log.settle(db, "device_list_withheld", stream.hex())
        for one in work.opened:
            if not control.is_removed(work.members, one.frame.header.stream):
                _hear(work, one)
    if cursor is not None:
        log.write(db, cursor=cursor)
    if work.troubled_pos is not None:
        _ask_again(work, work.troubled_pos - 1)


def _hear(work: _Work, one: Opened) -> None:
    """What a batch tells of its author: what it has seen of others, and what it holds by that."""
    stream, said = one.frame.header.stream, one.content
    inbox.claim(work.db, stream, said.heads)
    if said.digest is not None:
        here = Head(stream, one.frame.header.seq, one.frame.hash)
        agreeing.note(work.db, stream, (*said.heads, here), said.digest)


def _ask_again(work: _Work, after: int) -> None:
    earlier = work.me.reread_after
    if earlier is None:
        wait_ms = plan.reread_in_ms(work.me.rereads)
        log.write(work.db, reread_after=after, reread_ms=work.now_ms + wait_ms)
    else:
        log.write(work.db, reread_after=min(after, earlier))


def held_back(
    db: "Database", forgets: dict[bytes, tuple[Forget, bytes]], now_ms: int
) -> frozenset[bytes]:
    """Which of these wait until all that came with them is known (`deciding.weigh`)."""
    me = log.read(db)
    if not me.caught_up:
        return (
            frozenset()
        )  # a device that is still reading its history learns of old decisions, not of new ones
    inbox.hold_forgets(db, forgets.values(), now_ms)
    return frozenset(forgets)


def is_present(state: State) -> bool:
    return not state.forgotten and not is_new(state)


def _first_held(db: "Database") -> list[tuple[bytes, int]]:
    found = db.execute("SELECT stream, min(seq) FROM sync_held WHERE applied = 0 GROUP BY stream")
    return [(bytes(stream), seq) for stream, seq in found.fetchall()]


_PARTLY: dict[_Flaw, str] = {
    "newer": "A device with a newer Sunaiva did something that this version does not know. It is kept until Sunaiva is updated here.",
    "malformed": "A device sent something that no version of Sunaiva writes. It is kept aside; everything else was applied.",
}
