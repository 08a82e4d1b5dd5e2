"""What was written here goes into batches: sealed once, kept, and never sealed again in another way.

A batch, the heads it follows and what it takes out of the outbox stand in one transaction, so a crash repeats nothing and drops nothing.
"""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sync_service.changes import ops
from sync_service.changes.clock import Hlc, milliseconds
from sync_service.device import inbox, log, plan, seeding
from sync_service.device.log import OwnFrame, Self
from sync_service.members import control
from sync_service.sealed import frames
from sync_service.steps.step import Run

if TYPE_CHECKING:
    from sqlite_utils import Database

# Batches sealed ahead of what the relay has taken: sealed means kept twice, so no more than a push or two.
UNSENT_MAX = 64


def is_held_up(db: "Database", run: Run, me: Self) -> bool:
    """Whether what is written here waits for something else than time: for the relay, an update, a key, or a stream."""
    return (
        not run.may_push
        or control.demands_newer_writer(run.members)
        or run.members.rotation_due
        or run.members.epoch not in log.epoch_keys(db)
        or me.adopting
        or log.unsent_count(db) >= UNSENT_MAX
    )


def seal(run: Run, *, patiently: bool) -> int:
    """Seal what waits; how many batches."""
    sealed = 0
    while sealed < UNSENT_MAX:
        with run.replica.transaction() as db:
            me = log.read(db)
            if is_held_up(db, run, me):
                return sealed
            seeding.record_earlier(db, run.replica, me, run.now_ms)
            if not _seal_one(db, run, log.read(db), patiently=patiently and not sealed):
                return sealed
        sealed += 1
    return sealed


def _seal_one(db: "Database", run: Run, me: Self, *, patiently: bool) -> bool:
    waiting = log.outbox(db, ops.OPS_PER_BATCH_MAX)
    due = plan.seal_in_ms(
        waiting=len(waiting),
        sealed_ms=me.sealed_ms,
        now_ms=run.now_ms,
        forgot_ms=_last_forgotten_ms(waiting) if patiently else None,
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
        [ops.decode_op(op) for _, op in portion],
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


def _last_forgotten_ms(waiting: Iterable[tuple[int, bytes]]) -> int | None:
    said = [ops.decode_op(op) for _, op in waiting]
    forgot = [Hlc(op.hlc) for op in said if isinstance(op, ops.Forget)]
    return milliseconds(max(forgot)) if forgot else None
