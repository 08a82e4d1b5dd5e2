"""What others wrote is fetched from the relay, page by page, to the end of its log; then what it showed is compared with what it should.

What a relay shows is believed for nothing but to be looked at: `receive` judges each batch, and `healing` what is missing.
"""

from shared.errors import UnavailableError
from sync_service.device import (
    deciding,
    healing,
    listing,
    log,
    losses,
    plan,
    receive,
    snapshot_joining,
)
from sync_service.members import control
from sync_service.members.control import Members
from sync_service.steps.step import Run
from sync_service.transport import (
    POSITION_MAX,
    CompactedError,
    GenerationChangedError,
    NoVaultError,
    RevokedError,
    Standing,
    UnreadableAnswerError,
)

# A step ends some time: what is left over is for the next one, which begins at once.
PAGES_MAX = 4_096


def catch_up(run: Run) -> None:
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
    if not run.me().caught_up and run.me().cursor == 0:
        _join(run)  # a new device: the newest memories first
    try:
        pull(run)
    except GenerationChangedError:
        run.report.is_behind = True  # the next step begins with it
    if run.report.reached_head:
        with run.replica.transaction() as db:
            is_lacking = healing.compare(
                db, run.replica, run.members, run.engine.random, run.now_ms, reread=run.began_reread
            )
        if is_lacking:
            # Each once: what they do not have either is asked of the relay again and again, but not of them.
            snapshot_joining.join_others(
                run.transport, run.replica, run.members, run.engine.random, run.now_ms
            )
        weigh_forgets(run)
        losses.notice(run.transport, run.replica, run.now_ms)


def weigh_forgets(run: Run) -> None:
    if run.report.reached_head:
        run.weigh_in_ms = deciding.weigh(run.replica, run.now_ms)


def pull(run: Run) -> None:
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
        reached = shown[-1][0] if shown else me.cursor
        if not shown or reached >= page.head_pos:
            run.report.reached_head = reached >= page.head_pos
            return
    run.report.is_behind = True


def _join(run: Run, *, min_pos: int = 1) -> None:
    snapshot_joining.join_newest(
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


def _note(run: Run, standing: Standing) -> None:
    run.may_push = standing.may_push
    run.min_pos = standing.min_pos
    with run.replica.transaction() as db:
        log.settle(db, "revoked_device", "self")
        log.settle(db, "malformed", "relay")
        log.settle(db, "deleted")
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


def _reread(run: Run, min_pos: int) -> None:
    """Go back to where something was wrong, once its time has come."""
    with run.replica.transaction() as db:
        me = log.read(db)
        if me.reread_after is None or not plan.is_reread_due(me.reread_ms, run.now_ms):
            return
        run.began_reread = True
        after = max(0, min_pos - 1, me.reread_after if me.rereads < 2 else 0)
        log.write(db, cursor=min(me.cursor, after), reread_after=None, rereads=me.rereads + 1)


def _count(run: Run, taken: receive.Taken) -> None:
    run.report.pulled += taken.frames
    run.report.applied += taken.ops
