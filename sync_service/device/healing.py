"""When a relay has lost something, or shows less, or other things, than it should: what was lost is given back as far as this device
has it, and what cannot be explained becomes an alarm. Nothing is ever concluded from something not being there.
"""

from typing import TYPE_CHECKING

from sync_service.alarms import Kind, stream_of
from sync_service.changes.ops import Head
from sync_service.device import adopting, agreeing, inbox, log, membership, plan
from sync_service.device.log import Self
from sync_service.device.replica import Replica
from sync_service.members import control
from sync_service.members.control import Members
from sync_service.sealed import frames
from sync_service.sealed.keys import Random
from sync_service.transport import ControlConflictError, SeqGapError, Standing, Transport

if TYPE_CHECKING:
    from sqlite_utils import Database

# Facts, not states: they are shown for so long after they last happened.
_EXPIRE_MS = 7 * 24 * 3_600_000
_FACTS: tuple[Kind, ...] = (
    "cloned",
    "revoked_device",
    "unknown_device",
    "wrong_vault",
    "downgrade",
    "forged",
    "fork",
)
# What is over once the relay's log was read again without it.
_OF_PASSAGE: tuple[Kind, ...] = (
    "forged",
    "unknown_device",
    "wrong_vault",
    "malformed",
    "device_list_withheld",
    "fork",
)
# What batches are set aside for, with their stream as the subject.
_OF_HELD: tuple[Kind, ...] = ("unreadable", "malformed", "newer")


def give_list_back(transport: Transport, replica: Replica, now_ms: int) -> None:
    """The relay does not know the vault, or not this device: it is given what it lacks of the device list."""
    shown = len(membership.read_list(transport))
    with replica.transaction() as db:
        entries = log.control(db)
        if not shown and log.read(db).generation is not None:
            log.raise_alarm(db, "reset", "vault", _RESET, now_ms)
            log.write(db, generation=None)
            _begin_again(db)
    for entry in entries[shown:]:
        try:
            transport.append_control(entry)
        except ControlConflictError:
            return  # it has a list of its own


def put_back(transport: Transport, replica: Replica, now_ms: int) -> None:
    """A person wants the vault to be there again, where it was deleted or is gone: it is given all that is here."""
    transport.put_back()
    with replica.transaction() as db:
        log.settle(db, "deleted")
        log.write(db, generation=None)
        _begin_again(db)
    give_list_back(transport, replica, now_ms)


def follow_generation(db: "Database", standing: Standing, now_ms: int) -> None:
    """Positions count in one life of the relay's log only, and never go back within it."""
    me = log.read(db)
    if me.generation is None:
        log.write(db, generation=standing.generation)
    elif me.generation != standing.generation:
        log.raise_alarm(db, "reset", "vault", _RESET, now_ms)
        log.write(db, generation=standing.generation)
        _begin_again(db)
    elif standing.head_pos < me.cursor:
        log.raise_alarm(db, "rolled_back", "vault", _ROLLED_BACK, now_ms)
        _begin_again(db)


def compare(
    db: "Database",
    replica: Replica,
    members: Members,
    random: Random,
    now_ms: int,
    *,
    reread: bool,
) -> bool:
    """The relay's log was read to its end: does it hold what this device, and what the others, have seen in it? Whether this device
    lacks something, which a snapshot may have: what others have seen, or, put back from a backup, what was deleted meanwhile."""
    me = log.read(db)
    log.write(db, caught_up=1, reached_ms=now_ms)
    agreeing.compare(db, replica, now_ms)
    is_lacking = _compare_claims(db, replica, me, members, random, now_ms)
    _compare_shown(db, now_ms)
    waiting = {stream.hex() for stream in inbox.waiting_streams(db)}
    for alarm in log.alarms(db):
        if alarm.kind == "reordered" and alarm.subject not in waiting:
            log.settle(db, "reordered", alarm.subject)
    if me.reread_after is None:
        _settle_released(db)
    if reread and me.reread_after is None:
        log.write(db, rereads=0)
        for kind in _OF_PASSAGE:
            _settle_older(db, kind, now_ms)
    return is_lacking or bool(waiting)


def send_again(
    db: "Database",
    replica: Replica,
    me: Self,
    members: Members,
    random: Random,
    now_ms: int,
    *,
    gap: SeqGapError,
) -> bool:
    """The relay asks for an earlier batch of an own stream than the one it was sent; whether it can have it."""
    if log.own_frame_hash(db, gap.stream, gap.expected) is not None:
        log.raise_alarm(db, "rolled_back", gap.stream.hex(), _ROLLED_BACK, now_ms)
        return log.resend(db, gap.stream, from_seq=gap.expected) > 0
    log.write(db, snapshot_owed=1)
    # It was given up here because a snapshot holds it. So does this device: a snapshot gives it back, and the stream ends.
    if gap.stream != me.stream:
        log.give_up(db, gap.stream)
    if gap.stream == me.stream and not me.adopting:
        log.raise_alarm(db, "rolled_back", "vault", _ROLLED_BACK, now_ms)
        adopting.begin(db, replica, me, members, random, now_ms, is_copied=False)
        return True
    return False


def leave_to_copy(db: "Database", stream: bytes) -> bool:
    """On a stream that this device has left, the relay lost what it sent, and another copy of it wrote there since. What it sent goes
    into a snapshot, and what the copy wrote is read from there on; whether there was any such."""
    found = db.execute(
        "SELECT frame FROM sync_frames WHERE stream = ? AND pos IS NULL ORDER BY seq LIMIT 1",
        [stream],
    ).fetchone()
    if found is None:
        return False
    first = frames.parse(bytes(found[0])).header
    inbox.step_back(db, stream, first.seq, first.prev_hash)
    log.write(db, cursor=0)
    return log.give_up(db, stream)


def expire(db: "Database", now_ms: int) -> None:
    for kind in _FACTS:
        db.execute(
            "DELETE FROM sync_alarms WHERE kind = ? AND last_ms NOT BETWEEN ? AND ?",
            [kind, now_ms - _EXPIRE_MS, now_ms + _EXPIRE_MS],
        )


def _begin_again(db: "Database") -> None:
    log.write(db, cursor=0)
    log.resend(db)
    inbox.serve_anew(db)
    # What it keeps now is another matter: a snapshot that it had before is not looked for.
    db.execute("DELETE FROM sync_snapshots WHERE standing <> 'refused'")


def _compare_shown(db: "Database", now_ms: int) -> None:
    """Whether the relay shows what it has shown before, and what it said it had taken."""
    short = inbox.withheld_streams(db)
    for stream in short:
        sentence = (
            "The server no longer shows everything that another device sent and this one has. That device gives it back as soon "
            "as it is there again; here nothing is missing."
        )
        log.raise_alarm(db, "rolled_back", stream.hex(), sentence, now_ms)
    lost, is_refused = log.resend_lost(db)
    for stream in lost:
        log.raise_alarm(db, "rolled_back", stream.hex(), _LOST, now_ms)
    if short or is_refused:
        log.write(db, snapshot_owed=1)
    still = {stream.hex() for stream in (*short, *lost)} | {"device list"}
    all_sent = not log.unsent_count(db)
    for alarm in log.alarms(db):
        if alarm.kind == "rolled_back" and all_sent and alarm.subject not in still:
            log.settle(db, "rolled_back", alarm.subject)
    if all_sent:
        log.settle(db, "reset")


def _compare_claims(
    db: "Database", replica: Replica, me: Self, members: Members, random: Random, now_ms: int
) -> bool:
    _disregard_removed(db, members)
    heads = inbox.heads(db)
    held = inbox.furthest_held(db)
    missing: set[str] = set()
    for stream, claim in inbox.claims(db).items():
        owner = control.owner_of(members, stream)
        told = Head(stream, claim.seq, claim.hash)
        if owner is None or not control.counts(owner, stream, claim.seq, claim.hash):
            continue
        if stream == me.stream and (me.adopting or adopting.believes(db, me, told, "in a batch")):
            if not me.adopting:
                adopting.begin(db, replica, me, members, random, now_ms)
            continue
        here = me.seq if stream == me.stream else heads[stream].seq if stream in heads else 0
        reached = max(here, held.get(stream, 0))
        known = inbox.hash_at(db, stream, claim.seq) or log.own_frame_hash(db, stream, claim.seq)
        found = plan.compare_claim(told, reached=reached, known=known)
        if found == "gap":
            missing.add(stream.hex())
            log.raise_alarm(db, "gap", stream.hex(), _GAP, now_ms)
            _ask_again(db, now_ms)
        elif found == "fork":
            log.raise_alarm(db, "fork", f"{stream.hex()}/{claim.seq}", _FORK, now_ms)
    for alarm in log.alarms(db):
        if alarm.kind == "gap" and alarm.subject not in missing:
            log.settle(db, "gap", alarm.subject)
    return bool(missing)


def _disregard_removed(db: "Database", members: Members) -> None:
    for member in members.members.values():
        for stream in member.streams if member.revoked is not None else ():
            inbox.unclaim(db, stream)
            agreeing.forget(db, stream)
            log.settle(db, "diverged", stream.hex())


def _ask_again(db: "Database", now_ms: int) -> None:
    me = log.read(db)
    if me.reread_after is None:
        log.write(db, reread_after=0, reread_ms=now_ms + plan.reread_in_ms(me.rereads))


def _settle_released(db: "Database") -> None:
    """Of what is not set aside any more, the rest was read since, or a snapshot has brought it, or it does not count."""
    held = inbox.held_reasons(db)
    for alarm in log.alarms(db):
        stream = stream_of(alarm)
        if alarm.kind in _OF_HELD and stream is not None and (stream, alarm.kind) not in held:
            log.settle(db, alarm.kind, alarm.subject)


def _settle_older(db: "Database", kind: Kind, now_ms: int) -> None:
    db.execute("DELETE FROM sync_alarms WHERE kind = ? AND last_ms <> ?", [kind, now_ms])


_RESET = "The server began anew and has lost what was there. Nothing is missing here: everything from this device is being sent again."
_ROLLED_BACK = "The server holds less than it did before, as after an old backup. What is missing there is being sent again."
_LOST = (
    "The server said that it has something from this device, and does not show it. Nothing is missing here: it is sent again, and if that "
    "does not help, a snapshot brings it to the other devices."
)
_GAP = (
    "Another device has seen something in this vault that the server does not show to this one. It is asked for again; compare "
    "both devices if this stays."
)
_FORK = "Two devices were shown different things at the same place. The server, or somebody on the way to it, is not to be trusted."
