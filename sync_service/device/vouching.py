"""Whether a snapshot is what its writer says: one device makes up from it what it holds itself and signs for it, others look who has.

Nothing is joined here, and no batch is deleted but for what stands here.
"""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from sync_service import relay
from sync_service.changes import merge, ops
from sync_service.changes.merge import State
from sync_service.changes.ops import Content, MalformedError, Op
from sync_service.device import inbox, log, snapshots
from sync_service.device.log import Self
from sync_service.device.replica import Replica
from sync_service.members.control import Members
from sync_service.sealed import frames, manifests, segments
from sync_service.sealed.manifests import Manifest
from sync_service.transport import CompactedError, GenerationChangedError, Transport

if TYPE_CHECKING:
    from sqlite_utils import Database

# Batches read to check a snapshot: those that came after it. More are never needed if snapshots are written when they are due.
TAIL_BATCHES_MAX = 65_536
# Memories whose states are looked up in one transaction.
COMPARED_AT_ONCE = 2_048


def is_vouched(
    transport: Transport, members: Members, manifest: Manifest, manifest_id: bytes, me: bytes
) -> bool:
    """Whether enough devices beside this one do, as a relay asks before it deletes anything."""
    others = {device: member for device, member in members.members.items() if device != me}
    signatures = transport.cosignatures(manifest_id)
    signers = {
        device
        for device, member in others.items()
        if any(
            manifests.is_cosigned(each, manifest_id, members.vault, member.sign_public)
            for each in signatures
        )
    }
    without_me = msgspec.structs.replace(members, members=others)
    return relay.may_compact(without_me, manifest.device, signers)


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
    is_same = True
    seen: set[bytes] = set()
    rows = segments.states(transport, manifest, epoch_keys)
    while some := list(islice(rows, COMPARED_AT_ONCE)):
        with replica.transaction() as db:
            here = replica.load(db, [memory for memory, _ in some])
        for memory, state in some:
            if memory in seen:
                raise MalformedError("A snapshot holds a memory twice.")
            seen.add(memory)
            there = _applied(state, tail.pop(memory, ()))
            total += merge.fingerprint(memory, there)
            # Fingerprints know when something was said, and not what: a liar's snapshot could hold other texts.
            is_same = is_same and there == here[memory]
    total += sum(
        merge.fingerprint(memory, _applied(merge.EMPTY, said)) for memory, said in tail.items()
    )
    digest = merge.digest(total)
    manifest_id = manifests.id_of(raw)
    with replica.transaction() as db:
        if not _is_quiet(db, log.read(db)):
            return None
        if digest != log.digest(db) or not is_same:
            snapshots.remember(db, manifest_id, "refused", now_ms)
            sentence = (
                "A snapshot of another device does not hold what this one does. It is not vouched for, so nothing is deleted for it. "
                "Run `sunaiva sync verify` on both."
            )
            log.raise_alarm(db, "diverged", "snapshot", sentence, now_ms)
            return False
        log.settle(db, "diverged", "snapshot")
        # So the relay holds whatever is here, in this snapshot or after it.
        inbox.given(db, inbox.not_served(db))
    transport.cosign(manifest_id, manifests.cosign(manifest_id, me.vault, me.sign_seed))
    with replica.transaction() as db:  # only now: whoever dies before it vouches again
        snapshots.remember(db, manifest_id, "checked", now_ms)
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
    summary = segments.open_summary(manifest, epoch_keys)
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
