"""Joining the snapshots of other devices to what is here, which changes no more than batches would.

A new device starts from a snapshot, a device that was away too long catches up by one, and what a relay has lost comes back by one. That
a snapshot holds all it says to cover is believed only if another device than its writer says so too, or where nothing else is left.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from shared.errors import CorruptError, ForbiddenError, SunaivaError
from sync_service.alarms import Kind
from sync_service.changes import merge
from sync_service.changes.clock import Hlc
from sync_service.changes.merge import State
from sync_service.changes.ops import Forget, Head, MalformedError
from sync_service.device import adopting, inbox, log, receive, snapshots, vouching
from sync_service.device.log import Self
from sync_service.device.replica import Change, Replica, change
from sync_service.members import control
from sync_service.members.control import Members
from sync_service.sealed import manifests, segments
from sync_service.sealed.keys import Random
from sync_service.sealed.manifests import Manifest
from sync_service.transport import NoSegmentError, Transport

if TYPE_CHECKING:
    from sqlite_utils import Database

# Joined in one transaction.
JOINED_AT_ONCE = 2_048
# Snapshots of which it is asked who vouches: older ones than these hold too little to begin with.
_ASKED_MAX = 8


def join_newest(
    transport: Transport,
    replica: Replica,
    members: Members,
    random: Random,
    now_ms: int,
    *,
    min_pos: int = 1,
) -> bool:
    """Join the newest snapshot for which another device than its writer vouches; whether there was one. If the relay has deleted
    batches, one for which nobody does has to do: else those hold everything, and are read. An interrupted one goes on where it stopped.

    Raises:
        CorruptError: the relay deleted what no snapshot holds that this device could read.
    """
    with replica.transaction() as db:
        device = log.read(db).device
    others: list[tuple[bytes, Manifest]] = []
    found = _believed(transport, replica, members, now_ms)
    for number, (manifest_id, manifest) in enumerate(found):
        if number < _ASKED_MAX and vouching.is_vouched(
            transport, members, manifest, manifest_id, device
        ):
            if _joined(transport, replica, members, manifest, manifest_id, random, now_ms):
                break
        else:
            others.append((manifest_id, manifest))
    else:
        if min_pos == 1:
            return False
        for manifest_id, manifest in others:
            if _joined(transport, replica, members, manifest, manifest_id, random, now_ms):
                break
        else:
            raise CorruptError(
                "The server deleted old batches and shows no snapshot that holds them. Nothing is missing here that was here before; "
                "sync any device that has been at it lately, which gives a snapshot."
            )
    with replica.transaction() as db:
        snapshots.settle(db)
        log.write(db, cursor=max(log.read(db).cursor, min_pos - 1))
    return True


def _believed(
    transport: Transport, replica: Replica, members: Members, now_ms: int
) -> Iterator[tuple[bytes, Manifest]]:
    for raw in snapshots.without_removed(transport.manifests(), members):
        try:
            manifest = snapshots.believed(raw, members)
        except (CorruptError, ForbiddenError) as error:
            _alarm(replica, error, now_ms)
        else:
            yield manifests.id_of(raw), manifest


def _joined(
    transport: Transport,
    replica: Replica,
    members: Members,
    manifest: Manifest,
    manifest_id: bytes,
    random: Random,
    now_ms: int,
) -> bool:
    try:
        _join(transport, replica, members, manifest, manifest_id, random, now_ms)
    except (CorruptError, ForbiddenError, NoSegmentError) as error:
        _alarm(replica, error, now_ms)
        return False
    return True


def _alarm(replica: Replica, error: SunaivaError, now_ms: int) -> None:
    kind: Kind = "forged" if isinstance(error, ForbiddenError) else "malformed"
    with replica.transaction() as db:
        log.raise_alarm(db, kind, "snapshot", str(error), now_ms)


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
            me = log.read(db)
            known = snapshots.standing_of(db, manifests.id_of(raw))
            # Not what was refused, not even of this device: a copy of it may have written that.
            is_known = known in ("joined", "written") or (
                manifest.device == me.device and known == "checked"
            )
            is_beyond = _is_beyond(db, me, manifest)
        if manifest.device in looked_at or (is_known and not is_beyond):
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


def _is_beyond(db: "Database", me: Self, manifest: Manifest) -> bool:
    """Whether it covers what is not here: for all that is remembered of it, this device may have given up since what it sent itself
    (`adopting.begin`), and the relay deleted it."""
    heads = inbox.heads(db)
    return any(
        head.stream != me.stream and (head.stream not in heads or heads[head.stream].seq < head.seq)
        for head in manifest.covers
    )


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
    summary = segments.open_summary(manifest, epoch_keys)
    rows = _joined_rows(transport, replica, manifest, manifest_id, epoch_keys, done, now_ms)
    total = sum(merge.fingerprint(memory, state) for memory, state in segments.whole(rows))
    if not done and merge.digest(total) != summary.digest:
        with replica.transaction() as db:
            snapshots.forget_pieces(
                db, manifest_id
            )  # else the next try would find nothing to compare
        raise MalformedError(
            "A snapshot does not hold what its writer says. Batches are read instead."
        )
    with replica.transaction() as db:
        me = log.read(db)
        lost = [
            Head(stream, seq, hash_)
            for stream, seq, hash_ in summary.lost
            if control.owner_of(members, stream) is not None
        ]
        _cover(db, replica, members, manifest, lost, random, now_ms)
        if summary.generation == me.generation:
            log.write(db, cursor=max(log.read(db).cursor, summary.pos))
        snapshots.forget_pieces(db)
        snapshots.remember(db, manifest_id, "joined", now_ms)


def _joined_rows(
    transport: Transport,
    replica: Replica,
    manifest: Manifest,
    manifest_id: bytes,
    epoch_keys: dict[int, bytes],
    done: set[str],
    now_ms: int,
) -> Iterator[tuple[bytes, State]]:
    """What was not joined before; each row once it is."""
    for segment in manifest.segments:
        if segment.name in done:
            continue
        rows = segments.fetch(transport, manifest, segment, epoch_keys)
        for first in range(0, len(rows), JOINED_AT_ONCE):
            with replica.transaction() as db:
                _merge_rows(db, replica, rows[first : first + JOINED_AT_ONCE], manifest, now_ms)
                if first + JOINED_AT_ONCE >= len(rows):
                    snapshots.piece_is_done(db, manifest_id, segment.name)
        yield from rows


def _cover(
    db: "Database",
    replica: Replica,
    members: Members,
    manifest: Manifest,
    lost: Sequence[Head],
    random: Random,
    now_ms: int,
) -> None:
    me = log.read(db)
    others = [head for head in manifest.covers if head.stream != me.stream]
    inbox.cover(db, others, now_ms)
    log.covered(db, manifest.covers)
    for head in others:
        inbox.served(db, head.stream, head.seq, 0)
    others_lost = [head for head in lost if head.stream != me.stream]
    inbox.cover(db, others_lost, now_ms)
    inbox.given(db, others_lost)
    own = next((head for head in (*lost, *manifest.covers) if head.stream == me.stream), None)
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
    changes: dict[bytes, Change] = {}
    latest: list[Hlc] = []
    for memory, state in rows:
        before = changes[memory].after if memory in changes else states[memory]
        after = merge.join(before, state)
        if memory in waiting or after == before:
            continue
        changes[memory] = change(states[memory], after)
        latest += [Hlc(hlc) for hlc, _, _ in state.fields.values()]
    receive.save(db, replica, changes)
    log.hear(db, latest, now_ms)
