"""One step of synchronisation: ask how things stand, take in what others wrote, seal and send what was written here.

Synchronous, and safe to be killed anywhere: whatever was decided stands in the vault before anything outside hears of it, and each
step begins from what stands there. Sending never waits for receiving to succeed. Nothing here removes a memory, however the relay
behaves: what is wrong becomes an alarm by its own name, and what is sound goes on.
"""

import hashlib
from typing import TYPE_CHECKING

from msgspec import Struct

from shared.clock import Clock, to_ms
from shared.errors import CorruptError, ForbiddenError, SunaivaError, UnavailableError
from sync_service import (
    adopting,
    amend,
    control,
    deciding,
    frames,
    healing,
    inbox,
    listing,
    log,
    manifests,
    merge,
    ops,
    plan,
    receive,
    snapshots,
)
from sync_service.alarms import Alarm, Kind
from sync_service.clock import Hlc, milliseconds
from sync_service.control import Members
from sync_service.keys import Random, Seeds
from sync_service.log import OwnFrame, Self
from sync_service.replica import Change, Replica, change
from sync_service.transport import (
    POSITION_MAX,
    PUSH_BYTES_MAX,
    PUSH_FRAMES_MAX,
    CompactedError,
    ControlConflictError,
    ForkError,
    GenerationChangedError,
    NoSegmentError,
    NotEntitledError,
    NoVaultError,
    QuotaError,
    RevokedError,
    SeqGapError,
    Standing,
    TooLargeError,
    Transport,
    UnreadableAnswerError,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

# A step ends some time: what is left over is for the next one, which begins at once.
PAGES_MAX = 4_096
ROUNDS_MAX = 256
# Batches sealed ahead of what the relay has taken: sealed means kept twice, so no more than a push or two.
UNSENT_MAX = 64
SEEDED_AT_ONCE = 2_048
HOUSE_MS = 3_600_000
_AT_ODDS: frozenset[Kind] = frozenset({"diverged", "fork", "gap", "reordered", "rolled_back"})


class Engine(Struct, frozen=True, kw_only=True):
    replica: Replica
    transport: Transport
    clock: Clock
    random: Random


class Report(Struct, kw_only=True):
    """What one step did."""

    pulled: int = 0
    """Batches applied."""
    applied: int = 0
    """Operations in them."""
    sealed: int = 0
    pushed: int = 0
    reached_head: bool = False
    """Everything that the relay shows was looked at."""
    is_behind: bool = False
    """There is more to do right now."""
    paused: bool = False
    unavailable: str | None = None
    """Why nothing went through, for the person; what was to be done is done later."""
    after_seconds: float = 0.0
    """The relay asked for so much rest."""
    due_in_ms: int | None = None
    """In how long something waits to be sent; `None` if nothing does."""
    head_pos: int = 0
    alarms: list[Alarm] = []


class _Run(Struct):
    engine: Engine
    members: Members
    report: Report
    now_ms: int
    may_push: bool = True
    min_pos: int = 1
    began_reread: bool = False

    @property
    def replica(self) -> Replica:
        return self.engine.replica

    @property
    def transport(self) -> Transport:
        return self.engine.transport


def sync_once(engine: Engine, *, patiently: bool = True) -> Report:
    """One step. `patiently`: writes that follow each other quickly travel together; otherwise everything goes now.

    Raises:
        NotSetUpError
        and whatever the vault itself raises: a full disk, a damaged file.
    """
    now_ms = to_ms(engine.clock())
    report = Report()
    with engine.replica.transaction() as db:
        me = log.read(db)
        members = log.members(db)
    if me.paused:
        report.paused = True
        return report
    run = _Run(engine, members, report, now_ms)
    try:
        try:
            _receive(run)
        finally:
            # What stands in the way of receiving does not stand in the way of sending; a dead network would in any case.
            if report.unavailable is None:
                _send(run, patiently=patiently)
        _keep_house_at_times(run)
        _weigh_forgets(run)
    except RevokedError as error:
        _alarm(run, "revoked_device", "self", str(error))
    except UnavailableError as error:
        report.unavailable = str(error)
        report.after_seconds = getattr(error, "after_seconds", 0.0)
    except SunaivaError as error:
        _alarm(run, "malformed", "relay", str(error))
    _look_back(run)
    return report


def keep_house(engine: Engine) -> None:
    """Now and then (a step does it by itself), when the end was reached: vouch for others' snapshots, write one when it is due, let go of what is safe.
    Where devices are not at one, each gives the others what it holds, and joins what they hold."""
    now_ms = to_ms(engine.clock())
    with engine.replica.transaction() as db:
        me = log.read(db)
        members = log.members(db)
        epoch_keys = log.epoch_keys(db)
        at_odds = any(alarm.kind in _AT_ODDS for alarm in log.alarms(db))
        is_rested = plan.is_over(snapshots.last_written_ms(db), now_ms, plan.BEACON_MS)
    standing = engine.transport.standing()
    if me.generation != standing.generation or not me.caught_up:
        return
    with engine.replica.transaction() as db:
        log.let_go(db, standing.min_pos)
    if at_odds:
        snapshots.join_others(engine.transport, engine.replica, members, engine.random, now_ms)
    if not standing.may_push:
        return
    covered_pos = size = 0
    for raw in engine.transport.manifests()[:1]:
        if _is_refused(engine, members, raw, now_ms):
            break  # as if there were none: one by a device that lies keeps nobody from writing a better one
        manifest = manifests.read(raw)
        covered_pos = snapshots.covered_pos(manifest, epoch_keys, me.generation)
        size = sum(segment.size for segment in manifest.segments)
    is_due = snapshots.is_due(
        head_pos=standing.head_pos,
        covered_pos=covered_pos,
        log_bytes=standing.used_bytes,
        snapshot_bytes=size,
    )
    if is_due or ((me.snapshot_owed or at_odds) and is_rested):
        snapshots.write(engine.transport, engine.replica, members, engine.random, now_ms)


def _keep_house_at_times(run: _Run) -> None:
    """Once an hour, when there is nothing else to do."""
    me = _self(run)
    if (
        not run.report.reached_head
        or run.report.is_behind
        or not plan.is_over(me.house_ms, run.now_ms, HOUSE_MS)
    ):
        return
    with run.replica.transaction() as db:
        log.write(db, house_ms=run.now_ms)
    if me.house_ms == 0:
        return  # it has only just arrived
    receive.retry_half_applied(run.replica, run.members, run.engine.random, run.now_ms)
    keep_house(run.engine)


def _is_refused(engine: Engine, members: Members, raw: bytes, now_ms: int) -> bool:
    try:
        _vouch(engine, members, raw, now_ms)
    except (CorruptError, ForbiddenError, NoSegmentError) as error:
        with engine.replica.transaction() as db:
            log.raise_alarm(db, "malformed", "snapshot", str(error), now_ms)
        return True
    with engine.replica.transaction() as db:
        return snapshots.standing_of(db, manifests.id_of(raw)) == "refused"


def _vouch(engine: Engine, members: Members, raw: bytes, now_ms: int) -> None:
    with engine.replica.transaction() as db:
        judged = snapshots.standing_of(db, manifests.id_of(raw))
    is_alone = len(control.live(members)) == 1
    if judged in (None, "joined") or (judged == "written" and is_alone):
        snapshots.check(engine.transport, engine.replica, members, raw, now_ms)


# --- receiving -----------------------------------------------------------------------------------------------


def _receive(run: _Run) -> None:
    try:
        standing = run.transport.standing()
    except (NoVaultError, RevokedError):
        # It may have lost the list, or the end of it where this device was admitted. If not, it says the same again.
        healing.give_list_back(run.transport, run.replica, run.now_ms)
        standing = run.transport.standing()
    except UnavailableError as error:
        run.report.unavailable = str(error)
        raise
    _note(run, standing)
    with run.replica.transaction() as db:
        healing.follow_generation(db, standing, run.now_ms)
    run.members = listing.follow(
        run.transport, run.replica, run.members, standing.control_seq, run.now_ms
    )
    if control.demands_newer_reader(run.members):
        return
    _reread(run, standing.min_pos)
    _count(run, receive.retry_held(run.replica, run.members, run.engine.random, run.now_ms))
    if not _self(run).caught_up and _self(run).cursor == 0:
        _join(run)  # a new device: the newest memories first
    try:
        _pull(run)
    except GenerationChangedError:
        run.report.is_behind = True  # the next step begins with it
    if run.report.reached_head:
        with run.replica.transaction() as db:
            is_lacking = healing.compare(
                db, run.replica, run.members, run.engine.random, run.now_ms, reread=run.began_reread
            )
        if is_lacking:
            # Each once: what they do not have either is asked of the relay again and again, but not of them.
            snapshots.join_others(
                run.transport, run.replica, run.members, run.engine.random, run.now_ms
            )
        _weigh_forgets(run)


def _weigh_forgets(run: _Run) -> None:
    if run.report.reached_head:
        deciding.weigh(run.replica, run.now_ms)


def _pull(run: _Run) -> None:
    for _ in range(PAGES_MAX):
        with run.replica.transaction() as db:
            me = log.read(db)
        try:
            page = run.transport.pull(me.cursor, generation=me.generation)
        except CompactedError as error:
            _join(run, min_pos=max(error.min_pos, run.min_pos))
            continue
        if not all(pos <= page.head_pos <= POSITION_MAX for pos, _ in page.frames):
            raise UnreadableAnswerError(
                "The server shows batches at places that its log does not have. Nothing of that was used."
            )
        shown = [(pos, raw) for pos, raw in page.frames if pos > me.cursor]
        if _is_ahead(run.members, shown):
            run.members = listing.follow(
                run.transport, run.replica, run.members, run.members.seq, run.now_ms
            )
        _count(
            run,
            receive.take(run.replica, run.members, shown, run.engine.random, run.now_ms),
        )
        run.report.head_pos = page.head_pos
        reached = shown[-1][0] if shown else me.cursor
        if not shown or reached >= page.head_pos:
            run.report.reached_head = reached >= page.head_pos
            return
    run.report.is_behind = True


def _join(run: _Run, *, min_pos: int = 1) -> None:
    snapshots.join_newest(
        run.transport,
        run.replica,
        run.members,
        run.engine.random,
        run.now_ms,
        min_pos=min_pos,
    )


def _is_ahead(members: Members, shown: list[tuple[int, bytes]]) -> bool:
    """Whether something was written under a later device list: while the pages came, it may have grown."""
    return any(plan.control_seq_of(raw) > members.seq for _, raw in shown)


def _note(run: _Run, standing: Standing) -> None:
    run.may_push = standing.may_push
    run.min_pos = standing.min_pos
    with run.replica.transaction() as db:
        log.settle(db, "revoked_device", "self")
        log.settle(db, "malformed", "relay")
        if standing.may_push:
            log.settle(db, "not_entitled")
        else:
            sentence = (
                standing.reason
                or "The server takes nothing new from this account. What is there can still be fetched."
            )
            log.raise_alarm(db, "not_entitled", "vault", sentence, run.now_ms)
        server_ms = standing.server_time_ms
        if server_ms is None or abs(server_ms - run.now_ms) <= plan.CLOCK_OFF_MS:
            log.settle(db, "clock_off")
            return
        minutes = round(abs(server_ms - run.now_ms) / 60_000)
        log.raise_alarm(
            db,
            "clock_off",
            "self",
            f"This device's clock and the server's differ by {minutes} minutes. Sync goes on; correct the clock, or new memories "
            "carry a wrong date.",
            run.now_ms,
        )


def _reread(run: _Run, min_pos: int) -> None:
    """Go back to where something was wrong, once its time has come."""
    with run.replica.transaction() as db:
        me = log.read(db)
        if me.reread_after is None or not plan.is_reread_due(me.reread_ms, run.now_ms):
            return
        run.began_reread = True
        after = max(0, min_pos - 1, me.reread_after if me.rereads < 2 else 0)
        log.write(db, cursor=min(me.cursor, after), reread_after=None, rereads=me.rereads + 1)


def _count(run: _Run, taken: receive.Taken) -> None:
    run.report.pulled += taken.frames
    run.report.applied += taken.ops


# --- sending -------------------------------------------------------------------------------------------------


def _send(run: _Run, *, patiently: bool) -> None:
    me = run.members.members.get(_self(run).device)
    if me is None or me.revoked is not None:
        _alarm(
            run,
            "revoked_device",
            "self",
            "This device was removed from the vault. Its memories are still here; nothing is sent or fetched. Pair it again if that "
            "was a mistake.",
        )
        return
    if not run.may_push or control.demands_newer_writer(run.members):
        return
    try:
        _go_on(run)
        _rotate(run)
        for _ in range(ROUNDS_MAX):
            run.report.sealed += _seal(run, patiently=patiently)
            if not _push(run):
                return
        run.report.is_behind = True
    except ForkError as error:
        _contested(run, error.stream)
    except ControlConflictError:
        run.report.is_behind = True
    except NotEntitledError as error:
        _alarm(run, "not_entitled", "vault", str(error))
    except QuotaError as error:
        _alarm(run, "quota", "vault", str(error))


def _go_on(run: _Run) -> None:
    """After the stream was lost to another copy of this device: begin the next one."""
    me = _self(run)
    if not me.adopting:
        return
    if not adopting.is_admitted(me, run.members):
        if adopting.is_outdated(me, run.members):
            with run.replica.transaction() as db:
                adopting.begin(db, run.replica, me, run.members, run.engine.random, run.now_ms)
            me = _self(run)
        seeds = Seeds(me.sign_seed, me.kem_seed)
        run.transport.append_control(
            amend.new_stream(run.members, seeds, incarnation=me.incarnation)
        )
        run.members = listing.follow(
            run.transport, run.replica, run.members, run.members.seq + 1, run.now_ms
        )
    if adopting.is_admitted(me, run.members):
        with run.replica.transaction() as db:
            log.write(db, adopting=0)


def _rotate(run: _Run) -> None:
    """After a device was removed, what is written from now on has a key that it never had."""
    if run.members.rotation_due and run.report.reached_head:
        run.members = listing.rotate(
            run.transport, run.replica, run.members, run.engine.random, run.now_ms
        )


def _seal(run: _Run, *, patiently: bool) -> int:
    """Seal what waits; how many batches."""
    sealed = 0
    while sealed < UNSENT_MAX:
        with run.replica.transaction() as db:
            me = log.read(db)
            if me.adopting or run.members.epoch == 0 or run.members.rotation_due:
                return sealed
            if log.unsent_count(db) >= UNSENT_MAX:
                return sealed
            _seed(db, run, me)
            if not _seal_one(db, run, log.read(db), patiently=patiently and not sealed):
                return sealed
        sealed += 1
    return sealed


def _seal_one(db: "Database", run: _Run, me: Self, *, patiently: bool) -> bool:
    waiting = log.outbox(db, ops.OPS_PER_BATCH_MAX)
    said = [ops.decode_op(op) for _, op in waiting]
    forgot = [Hlc(op.hlc) for op in said if isinstance(op, ops.Forget)]
    due = plan.seal_in_ms(
        waiting=len(waiting),
        sealed_ms=me.sealed_ms,
        now_ms=run.now_ms,
        forgot_ms=milliseconds(max(forgot)) if forgot else None,
    )
    run.report.due_in_ms = due
    if due is None or (due > 0 and patiently):
        return False
    portion = next(plan.contents(waiting), [])
    is_last = len(portion) == len(waiting) < ops.OPS_PER_BATCH_MAX
    heads = inbox.told(db)
    tag = hashlib.sha256(ops.encode_content((), heads=heads)).digest()
    tells = is_last and (tag != me.heads_told or not portion)
    quiet = not me.seeding and not inbox.is_half_applied(db)
    content = ops.encode_content(
        said[: len(portion)],
        heads=heads if tells else (),
        digest=log.digest(db) if tells and quiet else None,
    )
    epoch = run.members.epoch
    frame = frames.seal(
        content,
        vault=me.vault,
        stream=me.stream,
        seq=me.seq + 1,
        epoch=epoch,
        control_seq=run.members.seq,
        prev_hash=me.head,
        epoch_key=log.epoch_keys(db)[epoch],
        sign_seed=me.sign_seed,
        salt=run.engine.random(frames.SALT_BYTES),
    )
    log.keep_frame(db, OwnFrame(me.stream, me.seq + 1, frame.hash, frame.raw))
    if portion:
        log.take_out(db, portion[-1][0])
    log.write(db, seq=me.seq + 1, head=frame.hash, sealed_ms=run.now_ms)
    if tells:
        log.write(db, heads_told=tag)
    run.report.due_in_ms = None
    return True


def _seed(db: "Database", run: _Run, me: Self) -> None:
    """Record some memories that were stored before sync was set up."""
    if not me.seeding or log.outbox_count(db) >= SEEDED_AT_ONCE:
        return
    earlier = run.replica.unrecorded(db, SEEDED_AT_ONCE)
    if not earlier:
        log.write(db, seeding=0)
        return
    hlc = log.stamp(db, run.now_ms)
    states = run.replica.load(db, [one.memory for one in earlier])
    said: list[ops.Op] = []
    changes: dict[bytes, Change] = {}
    for one in earlier:
        before = after = states[one.memory]
        written = merge.edit(
            before, one.memory, hlc, fields=one.fields, tags=one.tags, links=one.links
        )
        for op in written:
            after = merge.apply(after, op, me.stream)
        said += written
        changes[one.memory] = change(before, after)
    run.replica.save(db, changes)
    log.record(db, said, changes)


def _push(run: _Run) -> bool:
    """Send some of what is sealed; whether there may be more."""
    most = PUSH_FRAMES_MAX
    while True:
        with run.replica.transaction() as db:
            waiting = log.unsent(db, bytes_max=PUSH_BYTES_MAX, most=most)
        if not waiting:
            return False
        stream = waiting[0].stream
        try:
            pushed = run.transport.push([frame.raw for frame in waiting])
        except SeqGapError as error:
            with run.replica.transaction() as db:
                me = log.read(db)
                return healing.send_again(
                    db,
                    run.replica,
                    me,
                    run.members,
                    run.engine.random,
                    run.now_ms,
                    gap=error,
                )
        except TooLargeError:
            if len(waiting) == 1:
                raise
            most = max(1, len(waiting) // 2)
            continue
        with run.replica.transaction() as db:
            log.acknowledge(db, stream, pushed.placed)
            log.settle(db, "quota")
            log.settle(db, "not_entitled")
        run.report.pushed += len(pushed.placed)
        return len(pushed.placed) > 0


def _contested(run: _Run, stream: bytes) -> None:
    """The relay says that something else stands where this device wrote. Only what another copy has signed is believed: it is asked
    to show it."""
    with run.replica.transaction() as db:
        log.write(db, cursor=0)
    try:
        _pull(run)
    except GenerationChangedError:
        run.report.is_behind = True
        return
    if _self(run).adopting:
        run.report.is_behind = True
        return
    with run.replica.transaction() as db:
        me = log.read(db)
        claim = inbox.claims(db).get(me.stream)
        if claim is not None and adopting.believes(
            db, me, ops.Head(claim.stream, claim.seq, claim.hash), "by the relay, too"
        ):
            adopting.begin(db, run.replica, me, run.members, run.engine.random, run.now_ms)
            run.report.is_behind = True
            return
        is_left = stream != me.stream and healing.leave_to_copy(db, stream)
        if is_left or log.give_up_again(db):
            log.write(db, snapshot_owed=1)
            run.report.is_behind = True
            return
    _alarm(
        run,
        "fork",
        "relay",
        "The server says that this device has sent something else before, and cannot show it. What is written here waits.",
    )


# --- what is left --------------------------------------------------------------------------------------------


def _look_back(run: _Run) -> None:
    with run.replica.transaction() as db:
        me = log.read(db)
        if run.report.reached_head:
            log.settle(db, "stale")
        elif me.reached_ms and run.now_ms - me.reached_ms > plan.STALE_MS:
            log.raise_alarm(
                db,
                "stale",
                "relay",
                "Nothing new has come through for more than a week. Memories of other devices may be missing here.",
                run.now_ms,
            )
        healing.expire(db, run.now_ms)
        waiting = log.outbox_count(db) + int(me.seeding)
        if run.report.due_in_ms is None and waiting:
            run.report.due_in_ms = plan.seal_in_ms(
                waiting=waiting, sealed_ms=me.sealed_ms, now_ms=run.now_ms
            )
        run.report.alarms = log.alarms(db)


def _self(run: _Run) -> Self:
    with run.replica.transaction() as db:
        return log.read(db)


def _alarm(run: _Run, kind: Kind, subject: str, sentence: str) -> None:
    with run.replica.transaction() as db:
        log.raise_alarm(db, kind, subject, sentence, run.now_ms)
