"""What a device does with the snapshots of others: it joins them to what is here, or makes up from them what it holds, and vouches.

Joining changes no more than batches would. A new device starts from a snapshot, a device that was away too long catches up by one, and
what a relay has lost comes back by one.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from shared.errors import CorruptError, ForbiddenError
from sync_service import (
    adopting,
    frames,
    inbox,
    log,
    manifests,
    merge,
    ops,
    receive,
    relay,
    snapshots,
)
from sync_service.alarms import Kind
from sync_service.clock import Hlc
from sync_service.control import Members
from sync_service.keys import Random
from sync_service.log import Self
from sync_service.manifests import Manifest
from sync_service.merge import State
from sync_service.ops import Content, Forget, MalformedError, Op
from sync_service.replica import Replica, change
from sync_service.transport import (
    CompactedError,
    GenerationChangedError,
    NoSegmentError,
    Transport,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

# Joined in one transaction.
JOINED_AT_ONCE = 2_048
# Batches read to check a snapshot: those that came after it. More are never needed if snapshots are written when they are due.
TAIL_BATCHES_MAX = 65_536


def join_newest(
    transport: Transport,
    replica: Replica,
    members: Members,
    random: Random,
    now_ms: int,
    *,
    min_pos: int = 1,
) -> bool:
    """Join the newest snapshot that can be believed; whether there was one. An interrupted one goes on where it stopped.

    Raises:
        CorruptError: the relay deleted what no snapshot holds that this device could read.
    """
    for raw in transport.manifests():
        try:
            manifest = snapshots.believed(raw, members)
            _join(transport, replica, members, manifest, manifests.id_of(raw), random, now_ms)
        except (CorruptError, ForbiddenError, NoSegmentError) as error:
            with replica.transaction() as db:
                kind: Kind = "forged" if isinstance(error, ForbiddenError) else "malformed"
                log.raise_alarm(db, kind, "snapshot", str(error), now_ms)
            continue
        with replica.transaction() as db:
            log.settle(db, "forged", "snapshot")
            log.settle(db, "malformed", "snapshot")
            log.write(db, cursor=max(log.read(db).cursor, min_pos - 1))
        return True
    if min_pos > 1:
        raise CorruptError(
            "The server deleted old batches and shows no snapshot that holds them. Nothing is missing here that was here before; "
            "sync any device that has been at it lately, which gives a snapshot."
        )
    return False


def join_others(
    transport: Transport, replica: Replica, members: Members, random: Random, now_ms: int
) -> None:
    """Join the newest snapshot of every other device, once: what devices do not agree on, or have not all been shown, they have in
    common from then on."""
    looked_at: set[bytes] = set()
    for raw in transport.manifests():
        try:
            manifest = snapshots.believed(raw, members)
        except (CorruptError, ForbiddenError):
            continue
        with replica.transaction() as db:
            is_own = manifest.device == log.read(db).device
            known = snapshots.standing_of(db, manifests.id_of(raw))
        if manifest.device in looked_at or known in ("joined", "written") or (is_own and known):
            continue
        looked_at.add(manifest.device)
        before = _digest(replica)
        try:
            _join(transport, replica, members, manifest, manifests.id_of(raw), random, now_ms)
        except (CorruptError, ForbiddenError, NoSegmentError) as error:
            with replica.transaction() as db:
                log.raise_alarm(db, "malformed", "snapshot", str(error), now_ms)
            continue
        if _digest(replica) != before:
            with replica.transaction() as db:
                log.write(db, snapshot_owed=1)  # what is in two snapshots now is to be in one


def _digest(replica: Replica) -> bytes:
    with replica.transaction() as db:
        return log.digest(db)


def _join(
    transport: Transport,
    replica: Replica,
    members: Members,
    manifest: Manifest,
    manifest_id: bytes,
    random: Random,
    now_ms: int,
) -> None:
    with replica.transaction() as db:
        epoch_keys = log.epoch_keys(db)
        done = snapshots.done_pieces(db, manifest_id)
    summary = snapshots.open_summary(manifest, epoch_keys)
    for segment in manifest.segments:
        if segment.name not in done:
            rows = snapshots.fetch(transport, manifest, segment, epoch_keys)
            for first in range(0, len(rows), JOINED_AT_ONCE):
                with replica.transaction() as db:
                    _merge_rows(db, replica, rows[first : first + JOINED_AT_ONCE], manifest, now_ms)
                    if first + JOINED_AT_ONCE >= len(rows):
                        snapshots.piece_is_done(db, manifest_id, segment.name)
    with replica.transaction() as db:
        me = log.read(db)
        _cover(db, replica, me, members, manifest, random, now_ms)
        if summary.generation == me.generation:
            log.write(db, cursor=max(log.read(db).cursor, summary.pos))
        db.execute("DELETE FROM sync_pieces")
        snapshots.remember(db, manifest_id, "joined", now_ms)


def _cover(
    db: "Database",
    replica: Replica,
    me: Self,
    members: Members,
    manifest: Manifest,
    random: Random,
    now_ms: int,
) -> None:
    others = [head for head in manifest.covers if head.stream != me.stream]
    inbox.cover(db, others, now_ms)
    log.covered(db, manifest.covers)
    for head in others:
        inbox.served(db, head.stream, head.seq, 0)
    own = next((head for head in manifest.covers if head.stream == me.stream), None)
    if own is None or own.seq <= me.seq or me.adopting:
        return
    # The relay deletes what a snapshot holds: there may be no other trace of what a copy of this device has written.
    inbox.claim(db, members.members[manifest.device].streams[-1], [own])
    if adopting.believes(db, me, own, "in a snapshot"):
        adopting.begin(db, replica, me, members, random, now_ms)
        inbox.cover(db, [own], now_ms)
        inbox.served(db, own.stream, own.seq, 0)


def _merge_rows(
    db: "Database",
    replica: Replica,
    rows: Sequence[tuple[bytes, State]],
    manifest: Manifest,
    now_ms: int,
) -> None:
    states = replica.load(db, [memory for memory, _ in rows])
    gone = {
        memory: (Forget(memory, 0), manifest.covers[0].stream)
        for memory, state in rows
        if state.forgotten and receive.is_present(states[memory])
    }
    waiting = receive.held_back(db, gone, now_ms) if gone else frozenset()
    changes = {}
    latest: list[Hlc] = []
    for memory, state in rows:
        before = states[memory]
        after = merge.join(before, state)
        if memory in waiting or after == before:
            continue
        changes[memory] = change(before, after)
        latest += [Hlc(hlc) for hlc, _, _ in state.fields.values()]
    receive.save(db, replica, changes)
    log.hear(db, latest, now_ms)


def check(
    transport: Transport, replica: Replica, members: Members, raw: bytes, now_ms: int
) -> bool | None:
    """Make up from a snapshot and the batches after it what this device should hold, and vouch for the snapshot if it does. `None`
    if that cannot be told now, because something is on its way."""
    manifest = snapshots.believed(raw, members)
    with replica.transaction() as db:
        me = log.read(db)
        epoch_keys = log.epoch_keys(db)
        applied = {stream: head.seq for stream, head in inbox.heads(db).items()}
        if not me.caught_up or not _is_quiet(db, me):
            return None
    try:
        tail = _tail(transport, members, manifest, me, epoch_keys, applied | {me.stream: me.seq})
    except (CompactedError, GenerationChangedError):
        return None  # others have vouched for a later one
    if tail is None:
        return None
    total = 0
    seen: set[bytes] = set()
    for segment in manifest.segments:
        for memory, state in snapshots.fetch(transport, manifest, segment, epoch_keys):
            if memory in seen:
                raise MalformedError("A snapshot holds a memory twice.")
            seen.add(memory)
            total += merge.fingerprint(memory, _applied(state, tail.pop(memory, ())))
    total += sum(
        merge.fingerprint(memory, _applied(merge.EMPTY, said)) for memory, said in tail.items()
    )
    digest = (total % (1 << 256)).to_bytes(32, "big")
    manifest_id = manifests.id_of(raw)
    with replica.transaction() as db:
        if not _is_quiet(db, log.read(db)):
            return None
        same = digest == log.digest(db)
        snapshots.remember(db, manifest_id, "checked" if same else "refused", now_ms)
        if not same:
            sentence = (
                "A snapshot of another device does not hold what this one does. It is not vouched for, so nothing is deleted for it. "
                "Run `sunaiva sync verify` on both."
            )
            log.raise_alarm(db, "diverged", "snapshot", sentence, now_ms)
            return False
        log.settle(db, "diverged", "snapshot")
    transport.cosign(manifest_id, manifests.cosign(manifest_id, me.vault, me.sign_seed))
    return True


def _is_quiet(db: "Database", me: Self) -> bool:
    return not (
        me.adopting
        or me.seeding
        or inbox.is_half_applied(db)
        or log.outbox_count(db)
        or log.unsent_count(db)
    )


_Tail = dict[bytes, list[tuple[bytes, Op]]]


def _tail(
    transport: Transport,
    members: Members,
    manifest: Manifest,
    me: Self,
    epoch_keys: dict[int, bytes],
    applied: dict[bytes, int],
) -> _Tail | None:
    """What came after a snapshot, by memory; `None` if the relay does not show all of it, or shows what is not here yet. What is set
    aside here, of whatever device, is in no state."""
    covered = {head.stream: head.seq for head in manifest.covers}
    summary = snapshots.open_summary(manifest, epoch_keys)
    after = summary.pos if summary.generation == me.generation else 0
    tail: _Tail = {}
    for _ in range(TAIL_BATCHES_MAX):
        page = transport.pull(after, generation=me.generation)
        if not page.frames:
            return tail if after >= page.head_pos and after <= me.cursor else None
        for pos, raw in page.frames:
            after = pos
            frame = frames.parse(raw)
            stream, seq = frame.header.stream, frame.header.seq
            if seq <= covered.get(stream, 0) or seq > applied.get(stream, 0):
                continue
            if relay.authenticate(members, frame) or frame.header.epoch not in epoch_keys:
                return None
            if seq != covered.get(stream, 0) + 1:
                return None
            covered[stream] = seq
            opened = frames.open_frame(frame, epoch_keys[frame.header.epoch])
            content: Content = ops.decode_content(opened)
            for op in content.ops:
                tail.setdefault(op.memory, []).append((stream, op))
    return None


def _applied(state: State, said: Iterable[tuple[bytes, Op]]) -> State:
    for stream, op in said:
        state = merge.apply(state, op, stream)
    return state
