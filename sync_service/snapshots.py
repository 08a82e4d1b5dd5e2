"""Snapshots: the states of all memories in sealed pieces, the newest first, under a manifest that its writer signs.

A snapshot is joined to what is here, never put in its place: an old or a partial one can lose nothing. So a new device starts from it,
a device that was away too long catches up by it, and what a relay has lost comes back by it. Batches are deleted only once another
device has made up from it what it holds itself (`check`), or the writer has, where there is no other.

A segment is epoch (4 bytes) ‖ seal under the key derived from the epoch's for "segments", bound to "sunaiva/segment/1" ‖ vault ‖ epoch ‖
name; inside, packed as a batch is, MessagePack: [1, [[memory, state], …]].
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from shared import crypto
from shared.errors import CorruptError, ForbiddenError
from sync_service import (
    adopting,
    control,
    frames,
    inbox,
    log,
    manifests,
    merge,
    ops,
    receive,
    relay,
)
from sync_service.alarms import Kind
from sync_service.clock import Hlc
from sync_service.control import Members
from sync_service.frames import UnreadableError
from sync_service.keys import Random
from sync_service.log import Self
from sync_service.manifests import Manifest, Segment
from sync_service.merge import State
from sync_service.ops import UNREADABLE, Content, Forget, Head, MalformedError, Op
from sync_service.replica import Replica, change
from sync_service.transport import (
    POSITION_MAX,
    CompactedError,
    GenerationChangedError,
    NoSegmentError,
    Transport,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

# States in one segment: with their texts they stay far below the 4 MiB that a segment may have.
SEGMENT_STATES = 4_096
SEGMENT_BYTES = 3 * 1024 * 1024
# Joined in one transaction.
JOINED_AT_ONCE = 2_048
# A snapshot is due after so many batches, or when the log is that much larger than the last snapshot.
BATCHES_DUE = 20_000
LOG_TIMES_DUE = 2
LOG_BYTES_MIN = 16 * 1024 * 1024
# Batches read to check a snapshot: those that came after it. More are never needed if snapshots are written when they are due.
TAIL_BATCHES_MAX = 65_536

_VERSION = 1
_NAME_BYTES = 16
_FOR_SEGMENTS = b"sunaiva/segment/1"
_FOR_SUMS = b"sunaiva/summary/1"
_SEGMENT = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, Raw]]])


class Summary(Struct, frozen=True, array_like=True):
    """What only devices read of a manifest."""

    digest: bytes
    """Of exactly the states in the segments."""
    generation: str | None
    pos: Annotated[int, Meta(ge=0, le=POSITION_MAX)]
    """Everything up to this position of the relay's log is covered."""


_SUMMARY = msgspec.msgpack.Decoder(Summary)


# --- writing -------------------------------------------------------------------------------------------------


def is_due(
    *, head_pos: int, min_pos: int, covered_pos: int, log_bytes: int, snapshot_bytes: int
) -> bool:
    """Whether what was written since the last snapshot (`covered_pos` is its position, 0 without one) is worth another. The log
    keeps for a month what a snapshot covers, so its bytes count as far as its positions lie beyond that."""
    if head_pos - covered_pos > BATCHES_DUE:
        return True
    there = max(1, head_pos - min_pos + 1)
    since = log_bytes * min(there, head_pos - covered_pos) // there
    return since > max(LOG_BYTES_MIN, LOG_TIMES_DUE * snapshot_bytes)


def write(
    transport: Transport,
    replica: Replica,
    members: Members,
    random: Random,
    now_ms: int,
    *,
    states_per_segment: int = SEGMENT_STATES,
) -> bytes | None:
    """Write a snapshot of what is here; its id, or `None` while there is nothing that it could cover."""
    with replica.transaction() as db:
        me = log.read(db)
        key = log.epoch_keys(db).get(members.epoch)
        heads = _served(db)
        if me.seq:
            heads.append(Head(me.stream, me.seq, me.head))
        if key is None or me.adopting or me.seeding or not heads or inbox.is_half_applied(db):
            return None
        if log.unsent_count(db) or me.reread_after is not None:
            return None  # nobody takes a snapshot of what is not there, or covers what is in doubt
    segments: list[Segment] = []
    total = 0
    for rows in _pieces(replica, states_per_segment):
        name = random(_NAME_BYTES).hex()
        sealed = _seal_segment(key, me.vault, members.epoch, name, rows)
        transport.put_segment(name, sealed)
        segments.append(Segment(name, len(sealed), hashlib.sha256(sealed).digest()))
        total += sum(merge.fingerprint(memory, state) for memory, state in rows)
    digest = merge.digest(total)
    summary = Summary(digest, me.generation, me.cursor)
    sealed = _seal_summary(key, me.vault, members.epoch, summary)
    manifest = Manifest(
        vault=me.vault,
        device=me.device,
        covers=tuple(heads),
        segments=tuple(segments),
        sealed=sealed,
    )
    raw = manifests.write(manifest, me.sign_seed)
    transport.put_manifest(raw)
    with replica.transaction() as db:
        log.write(db, snapshot_owed=0)
        log.covered(db, heads, only_again=True)
        _remember(db, manifests.id_of(raw), "written", now_ms)
    return manifests.id_of(raw)


def _served(db: "Database") -> list[Head]:
    """The heads of other streams as far as the relay has them: of what it lost the snapshot holds the states, and says nothing."""
    known = inbox.heads(db)
    found: list[Head] = []
    for stream, seq in inbox.served_heads(db).items():
        head = known[stream]
        hash_ = head.hash if seq >= head.seq else inbox.hash_at(db, stream, seq)
        if hash_ is not None:
            found.append(Head(stream, min(seq, head.seq), hash_))
    return found


def _pieces(replica: Replica, most: int) -> Iterator[list[tuple[bytes, State]]]:
    """All states in portions. What changes meanwhile is newer than what the snapshot says to cover, and may be in it."""
    after: bytes | None = None
    while True:
        with replica.transaction() as db:
            rows = list(replica.rows(db, after, most))
        if not rows:
            return
        piece: list[tuple[bytes, State]] = []
        size = 0
        for memory, state in rows:
            length = _size(state)
            if piece and size + length > SEGMENT_BYTES:
                yield piece
                piece, size = [], 0
            piece.append((memory, state))
            size += length
        yield piece
        after = rows[-1][0]


def _size(state: State) -> int:
    return 200 + sum(len(value) for _, _, value in state.fields.values())


# --- joining -------------------------------------------------------------------------------------------------


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
            manifest = _believed(raw, members)
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
            manifest = _believed(raw, members)
        except (CorruptError, ForbiddenError):
            continue
        with replica.transaction() as db:
            is_own = manifest.device == log.read(db).device
            known = standing_of(db, manifests.id_of(raw))
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
        done = _done(db, manifest_id)
    summary = _open_summary(manifest, epoch_keys)
    for segment in manifest.segments:
        if segment.name not in done:
            rows = _fetch(transport, manifest, segment, epoch_keys)
            for first in range(0, len(rows), JOINED_AT_ONCE):
                with replica.transaction() as db:
                    _merge_rows(db, replica, rows[first : first + JOINED_AT_ONCE], manifest, now_ms)
                    if first + JOINED_AT_ONCE >= len(rows):
                        _is_done(db, manifest_id, segment.name)
    with replica.transaction() as db:
        me = log.read(db)
        _cover(db, replica, me, members, manifest, random, now_ms)
        if summary.generation == me.generation:
            log.write(db, cursor=max(log.read(db).cursor, summary.pos))
        db.execute("DELETE FROM sync_pieces")
        _remember(db, manifest_id, "joined", now_ms)


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


# --- checking ------------------------------------------------------------------------------------------------


def check(
    transport: Transport, replica: Replica, members: Members, raw: bytes, now_ms: int
) -> bool | None:
    """Make up from a snapshot and the batches after it what this device should hold, and vouch for the snapshot if it does. `None`
    if that cannot be told now, because something is on its way."""
    manifest = _believed(raw, members)
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
        for memory, state in _fetch(transport, manifest, segment, epoch_keys):
            if memory in seen:
                raise MalformedError("A snapshot holds a memory twice.")
            seen.add(memory)
            total += merge.fingerprint(memory, _applied(state, tail.pop(memory, ())))
    total += sum(
        merge.fingerprint(memory, _applied(merge.EMPTY, said)) for memory, said in tail.items()
    )
    digest = merge.digest(total)
    manifest_id = manifests.id_of(raw)
    with replica.transaction() as db:
        if not _is_quiet(db, log.read(db)):
            return None
        same = digest == log.digest(db)
        _remember(db, manifest_id, "checked" if same else "refused", now_ms)
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
    summary = _open_summary(manifest, epoch_keys)
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


# --- bytes ---------------------------------------------------------------------------------------------------


def _believed(raw: bytes, members: Members) -> Manifest:
    """A manifest by a device of today, for this vault.

    Raises:
        MalformedError, ForgedError
    """
    manifest = manifests.read(raw)
    writer = members.members.get(manifest.device)
    if manifest.vault != members.vault or writer is None or writer.revoked is not None:
        raise frames.ForgedError(
            "The server shows a snapshot that no device of this vault has made. It was not used."
        )
    manifests.verify(raw, writer.sign_public)
    for head in manifest.covers:
        if control.owner_of(members, head.stream) is None:
            raise MalformedError("A snapshot covers a stream that nobody has.")
    return manifest


def _fetch(
    transport: Transport, manifest: Manifest, segment: Segment, epoch_keys: dict[int, bytes]
) -> list[tuple[bytes, State]]:
    sealed = transport.segment(segment.name)
    if len(sealed) != segment.size or hashlib.sha256(sealed).digest() != segment.hash:
        raise MalformedError("A piece of a snapshot is not what its manifest names.")
    epoch = int.from_bytes(sealed[:4], "big")
    content = frames.unpack(
        _open(
            epoch_keys, epoch, "segments", sealed[4:], _bound(manifest.vault, epoch, segment.name)
        )
    )
    try:
        version, rows = _SEGMENT.decode(content)
    except UNREADABLE:
        raise MalformedError("A piece of a snapshot cannot be read.") from None
    if version != _VERSION or any(len(memory) != ops.ID_BYTES for memory, _ in rows):
        raise MalformedError("A piece of a snapshot cannot be read.")
    return [(memory, merge.decode(bytes(state))) for memory, state in rows]


def _seal_segment(
    key: bytes, vault: bytes, epoch: int, name: str, rows: Sequence[tuple[bytes, State]]
) -> bytes:
    content = msgspec.msgpack.encode(
        (_VERSION, [(memory, Raw(merge.encode(state))) for memory, state in rows])
    )
    return epoch.to_bytes(4, "big") + crypto.seal(
        crypto.derive(key, "segments"), frames.pack(content), bound_to=_bound(vault, epoch, name)
    )


def _seal_summary(key: bytes, vault: bytes, epoch: int, summary: Summary) -> bytes:
    return epoch.to_bytes(4, "big") + crypto.seal(
        crypto.derive(key, "summaries"),
        frames.pack(msgspec.msgpack.encode(summary)),
        bound_to=_FOR_SUMS + vault + epoch.to_bytes(4, "big"),
    )


def _open_summary(manifest: Manifest, epoch_keys: dict[int, bytes]) -> Summary:
    epoch = int.from_bytes(manifest.sealed[:4], "big")
    bound_to = _FOR_SUMS + manifest.vault + epoch.to_bytes(4, "big")
    content = frames.unpack(_open(epoch_keys, epoch, "summaries", manifest.sealed[4:], bound_to))
    try:
        return _SUMMARY.decode(content)
    except UNREADABLE:
        raise MalformedError("What a snapshot says of itself cannot be read.") from None


def _open(
    epoch_keys: dict[int, bytes], epoch: int, purpose: str, sealed: bytes, bound_to: bytes
) -> bytes:
    if epoch not in epoch_keys:
        raise UnreadableError(
            "A snapshot is encrypted with a key of the vault that this device does not have."
        )
    try:
        return crypto.open_sealed(
            crypto.derive(epoch_keys[epoch], purpose), sealed, bound_to=bound_to
        )
    except ForbiddenError:
        raise UnreadableError("A snapshot cannot be decrypted with the vault's key.") from None


def _bound(vault: bytes, epoch: int, name: str) -> bytes:
    return _FOR_SEGMENTS + vault + epoch.to_bytes(4, "big") + name.encode()


# --- tables --------------------------------------------------------------------------------------------------


def standing_of(db: "Database", manifest_id: bytes) -> str | None:
    found = db.execute(
        "SELECT standing FROM sync_snapshots WHERE manifest = ?", [manifest_id]
    ).fetchone()
    return None if found is None else str(found[0])


def last_written_ms(db: "Database") -> int:
    found = db.execute(
        "SELECT coalesce(max(made_ms), 0) FROM sync_snapshots WHERE standing = 'written'"
    ).fetchone()
    return int(found[0])


def _remember(db: "Database", manifest_id: bytes, standing: str, now_ms: int) -> None:
    db.execute(
        """INSERT INTO sync_snapshots (manifest, made_ms, standing) VALUES (?, ?, ?)
           ON CONFLICT (manifest) DO UPDATE SET standing = excluded.standing""",
        [manifest_id, now_ms, standing],
    )


def _done(db: "Database", manifest_id: bytes) -> set[str]:
    found = db.execute("SELECT name FROM sync_pieces WHERE manifest = ?", [manifest_id])
    return {name for (name,) in found}


def _is_done(db: "Database", manifest_id: bytes, name: str) -> None:
    db.execute(
        "INSERT OR IGNORE INTO sync_pieces (manifest, name) VALUES (?, ?)", [manifest_id, name]
    )


def covered_pos(manifest: Manifest, epoch_keys: dict[int, bytes], generation: str | None) -> int:
    """Up to which position of the relay's log this snapshot holds everything; 0 if that cannot be told."""
    summary = _open_summary(manifest, epoch_keys)
    return summary.pos if summary.generation == generation else 0
