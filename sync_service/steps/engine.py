"""One step of synchronisation: ask how things stand, take in what others wrote, seal and send what was written here.

Synchronous, and safe to be killed anywhere: whatever was decided stands in the vault before anything outside hears of it, and each
step begins from what stands there. Sending never waits for receiving to succeed. Nothing here removes a memory, however the relay
behaves: what is wrong becomes an alarm by its own name, and what is sound goes on.
"""

from shared.clock import to_ms
from shared.errors import CorruptError, ForbiddenError, SunaivaError, UnavailableError
from sync_service.alarms import Kind
from sync_service.changes.ops import MalformedError
from sync_service.device import healing, log, plan, receive, snapshot_joining, snapshots, vouching
from sync_service.members import control
from sync_service.members.control import Members
from sync_service.sealed import manifests, segments, vectors
from sync_service.steps import pulling, sealing, sending
from sync_service.steps.step import Engine, Report, Run
from sync_service.transport import NoSegmentError, RevokedError, VaultDeletedError

HOUSE_MS = 3_600_000
# Snapshots are the large transfers. Where no other line ever comes, they are written and checked all the same, seldom.
HOUSE_SPARING_MS = 7 * 24 * 3_600_000
_DELETED = (
    "The server says that this vault was deleted there by its owner. Nothing is missing here; nothing is sent there any more. To sync it "
    "there again, put it back from this device: `sunaiva sync put-back`. To end sync here: `sunaiva logout`."
)
_AT_ODDS: frozenset[Kind] = frozenset({"diverged", "fork", "gap", "reordered", "rolled_back"})


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
        return report
    run = Run(engine, members, report, now_ms)
    try:
        try:
            pulling.catch_up(run)
        except VaultDeletedError:
            report.deleted = True
            raise
        finally:
            # What stands in the way of receiving does not stand in the way of sending; a dead network would in any case.
            if report.unavailable is None and not report.deleted:
                sending.send(run, patiently=patiently)
        _keep_house_at_times(run)
        pulling.weigh_forgets(run)
    except RevokedError as error:
        run.alarm("revoked_device", "self", str(error))
    except VaultDeletedError:
        report.deleted = True
        run.alarm("deleted", "vault", _DELETED)
    except UnavailableError as error:
        report.unavailable = str(error)
        report.after_seconds = getattr(error, "after_seconds", 0.0)
    except SunaivaError as error:
        run.alarm("malformed", "relay", str(error))
    _look_back(run)
    return report


def keep_house(engine: Engine) -> None:
    """Vouch for others' snapshots, write one when it is due, and let go of what is safe, once the end of the log was reached; a step
    does so now and then. Where devices do not agree, each gives the others what it holds, and joins what they hold."""
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
        snapshot_joining.join_others(
            engine.transport, engine.replica, members, engine.random, now_ms
        )
    if not standing.may_push:
        return
    covered_pos = size = 0
    there = engine.transport.manifests()
    for raw in snapshots.without_removed(there, members)[:1]:
        if _is_refused(engine, members, raw, now_ms):
            break  # as if there were none: one by a device that lies keeps nobody from writing a better one
        manifest = manifests.read(raw)
        covered_pos = segments.covered_pos(manifest, epoch_keys, me.generation)
        size = sum(segment.size for segment in manifest.segments)
    # What was deleted, its writer removed since: who comes now has nothing to start from.
    is_lost = covered_pos < standing.min_pos - 1
    is_due = me.reread_after is None and (
        is_lost
        or snapshots.is_due(
            head_pos=standing.head_pos,
            min_pos=standing.min_pos,
            covered_pos=covered_pos,
            log_bytes=standing.used_bytes - _kept_beside(there, engine.transport.vector_lists()),
            snapshot_bytes=size,
        )
    )
    with engine.replica.transaction() as db:
        has_to_tell = me.snapshot_owed or is_lost or (at_odds and not snapshots.is_told(db, there))
    if is_due or (has_to_tell and is_rested):
        run = Run(engine, members, Report(), now_ms)
        made = snapshots.write(
            engine.transport,
            engine.replica,
            members,
            engine.random,
            now_ms,
            send_rest=lambda: sending.send_all(run),
        )
        if made is not None and len(control.live(members)) == 1:
            for raw in engine.transport.manifests()[:1]:
                _is_refused(engine, members, raw, now_ms)  # who joins next starts from it


def _keep_house_at_times(run: Run) -> None:
    """Once an hour, when there is nothing else to do."""
    rest_ms = HOUSE_SPARING_MS if run.engine.sparing else HOUSE_MS
    me = run.me()
    if (
        not run.report.reached_head
        or run.report.is_behind
        or not plan.is_over(me.house_ms, run.now_ms, rest_ms)
    ):
        return
    with run.replica.transaction() as db:
        log.write(db, house_ms=run.now_ms)
    if me.house_ms == 0:
        return  # it has only just arrived
    receive.retry_half_applied(run.replica, run.members, run.engine.random, run.now_ms)
    keep_house(run.engine)


def _kept_beside(manifests_there: list[bytes], lists_there: list[bytes]) -> int:
    """Bytes of segments at the relay, which are no part of its log."""
    named: dict[str, int] = {}
    for raw in (*manifests_there, *lists_there):
        try:
            found = vectors.read(raw) if vectors.is_list(raw) else manifests.read(raw)
        except MalformedError:
            continue
        named |= {segment.name: segment.size for segment in found.segments}
    return sum(named.values())


def _is_refused(engine: Engine, members: Members, raw: bytes, now_ms: int) -> bool:
    with engine.replica.transaction() as db:
        epoch_keys = log.epoch_keys(db)
    try:
        _vouch(engine, members, raw, now_ms)
        # Also where nothing can be vouched for now, because something is on its way.
        segments.open_summary(manifests.read(raw), epoch_keys)
    except (CorruptError, ForbiddenError, NoSegmentError) as error:
        with engine.replica.transaction() as db:
            log.raise_alarm(db, "malformed", "snapshot", str(error), now_ms)
        return True
    with engine.replica.transaction() as db:
        if snapshots.standing_of(db, manifests.id_of(raw)) == "refused":
            return True
        snapshots.settle(db)
        return False


def _vouch(engine: Engine, members: Members, raw: bytes, now_ms: int) -> None:
    with engine.replica.transaction() as db:
        judged = snapshots.standing_of(db, manifests.id_of(raw))
    is_alone = len(control.live(members)) == 1
    if judged in (None, "joined") or (judged == "written" and is_alone):
        vouching.check(engine.transport, engine.replica, members, raw, now_ms)


def _look_back(run: Run) -> None:
    with run.replica.transaction() as db:
        me = log.read(db)
        if run.report.reached_head:
            log.settle(db, "stale")
        elif (
            me.reached_ms and not run.report.deleted and run.now_ms - me.reached_ms > plan.STALE_MS
        ):
            log.raise_alarm(
                db,
                "stale",
                "relay",
                "Nothing new has come through for more than a week. Memories of other devices may be missing here.",
                run.now_ms,
            )
        healing.expire(db, run.now_ms)
        waiting = log.outbox_count(db) + int(me.seeding)
        # What is held up would be due all the time: the next look tells whether it still is.
        if run.report.due_in_ms is None and waiting and not sealing.is_held_up(db, run, me):
            run.report.due_in_ms = plan.seal_in_ms(
                waiting=waiting, sealed_ms=me.sealed_ms, now_ms=run.now_ms
            )
        due_in_ms = [each for each in (run.report.due_in_ms, run.weigh_in_ms) if each is not None]
        run.report.due_in_ms = min(due_in_ms, default=None)
        run.report.alarms = log.alarms(db)
