"""What was written here reaches the relay: a stream of its own after it was lost, a new key after a removal, then batch by batch.

Nothing is given up because the relay says so: what it refuses stays here, sealed, and goes again.
"""

from sync_service.changes import ops
from sync_service.device import adopting, healing, inbox, listing, log
from sync_service.members import amend, control
from sync_service.sealed.frames import PUSH_BYTES_MAX, PUSH_FRAMES_MAX
from sync_service.sealed.keys import Seeds
from sync_service.steps import pulling, sealing
from sync_service.steps.step import Run
from sync_service.transport import (
    ControlConflictError,
    ForkError,
    GenerationChangedError,
    NotEntitledError,
    QuotaError,
    SeqGapError,
    TooLargeError,
)

# A step ends some time: what is left over is for the next one, which begins at once.
ROUNDS_MAX = 256


def send(run: Run, *, patiently: bool) -> None:
    me = run.members.members.get(run.me().device)
    if me is None or me.revoked is not None:
        run.alarm(
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
            run.report.sealed += sealing.seal(run, patiently=patiently)
            if not _push(run):
                return
        run.report.is_behind = True
    except ForkError as error:
        _contested(run, error.stream)
    except ControlConflictError:
        run.report.is_behind = True
    except NotEntitledError as error:
        run.alarm("not_entitled", "vault", str(error))
    except QuotaError as error:
        run.alarm("quota", "vault", str(error))


def send_all(run: Run) -> bool:
    """Send what was written here until now; whether the relay has all of it."""
    with run.replica.transaction() as db:
        last = log.outbox_last(db)
    send(run, patiently=False)
    with run.replica.transaction() as db:
        left = [number for number, _ in log.outbox(db, 1) if number <= last]
        return not left and not log.unsent_count(db)


def _go_on(run: Run) -> None:
    """After the stream was lost to another copy of this device, or may be lost to it: begin the next one."""
    me = run.me()
    if me.copied and not me.adopting:
        with run.replica.transaction() as db:
            adopting.begin(
                db,
                run.replica,
                me,
                run.members,
                run.engine.random,
                run.now_ms,
                is_copied=False,
            )
        me = run.me()
    if not me.adopting:
        return
    if not adopting.is_admitted(me, run.members):
        if adopting.is_outdated(me, run.members):
            with run.replica.transaction() as db:
                adopting.begin(db, run.replica, me, run.members, run.engine.random, run.now_ms)
            me = run.me()
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


def _rotate(run: Run) -> None:
    """After a device was removed, what is written from now on has a key that it never had."""
    if run.members.rotation_due and run.report.reached_head:
        run.members = listing.rotate(
            run.transport, run.replica, run.members, run.engine.random, run.now_ms
        )


def _push(run: Run) -> bool:
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


def _contested(run: Run, stream: bytes) -> None:
    """The relay says that something else stands where this device wrote. Only what another copy has signed is believed: it is asked
    to show it."""
    with run.replica.transaction() as db:
        log.write(db, cursor=0)
    try:
        pulling.pull(run)
    except GenerationChangedError:
        run.report.is_behind = True
        return
    if run.me().adopting:
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
    run.alarm(
        "fork",
        "relay",
        "The server says that this device has sent something else before, and cannot show it. What is written here waits.",
    )
