"""How a vault begins to sync, how a device joins one, and what a member may do to the device list.

The recovery words are asked for when a vault is first connected: whoever has not written them down learns it then, not on the day when
nothing else is left.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sync_service import relay
from sync_service.changes.merge import EMPTY
from sync_service.changes.ops import Forget, Head, MalformedError
from sync_service.device import agreeing, inbox, listing, log
from sync_service.device.listing import NotSyncedError
from sync_service.device.log import Self
from sync_service.device.replica import Replica, change
from sync_service.members import amend, control, entries
from sync_service.members.control import Member, Members
from sync_service.sealed import frames, keys
from sync_service.sealed.keys import Random, Seeds
from sync_service.transport import CompactedError, NoVaultError, Transport

if TYPE_CHECKING:
    from sqlite_utils import Database

FIRST_INCARNATION = 1
_COUNTED_AT_ONCE = 4_096
# Of the relay's log, to find where somebody's streams end: more than it holds between two snapshots.
_PAGES_MAX = 4_096

Beyond = dict[tuple[bytes, int], list[tuple[bytes, bytes]]]
"""By stream and place: the hash before and the hash of each batch that the relay shows there."""


def found(
    transport: Transport,
    replica: Replica,
    *,
    recovery: Seeds,
    name: str,
    random: Random,
) -> Members:
    """Make this vault one that syncs, with this device as its first member. Everything in it is sent from now on."""
    entry = amend.found(recovery, nonce=random(control.NONCE_BYTES))
    members = control.begin(entry)
    transport.append_control(entry)
    return _enter(transport, replica, members, [entry], recovery=recovery, name=name, random=random)


def join_by_words(
    transport: Transport,
    replica: Replica,
    *,
    recovery: Seeds,
    name: str,
    random: Random,
) -> Members:
    """Join a vault by its recovery words, without any other device.

    Raises:
        NoVaultError: there is none here, or it belongs to other words.
    """
    said = read_list(transport)
    if not said:
        raise NoVaultError("There is no vault here yet. Set sync up instead of recovering.")
    members = control.replay(said)
    if members.recovery_sign != keys.sign_public(recovery):
        raise NoVaultError("These are the recovery words of another vault.")
    return _enter(transport, replica, members, said, recovery=recovery, name=name, random=random)


def enter(
    replica: Replica,
    *,
    seeds: Seeds,
    incarnation: int,
    said: Sequence[bytes],
    through: tuple[int, bytes] | None = None,
    heads: Sequence[Head] = (),
    digest: bytes | None = None,
) -> Members:
    """Begin to sync as a device that the list has admitted. `through` is the entry (seq, hash) that the admitting device vouches for:
    by it nobody in between can have shown another list. `heads` and `digest` are what that device has seen and holds: by them the relay
    cannot leave out anything that was there by then, nor a snapshot hold anything else.

    Raises:
        RevokedDeviceError, UnreadableError: the list admits another device than this one.
    """
    members = control.replay(said, through=through)
    with replica.transaction() as db:
        log.set_up(
            db,
            sign_seed=seeds.sign,
            kem_seed=seeds.kem,
            incarnation=incarnation,
            entries=said,
            now=members,
            epoch_keys=control.epoch_keys(members, seeds),
        )
        _count_what_is_here(db, replica)
        own = log.own_stream(db)  # nobody's word but the one by which it was admitted
        inbox.claim(db, own, heads)
        if digest is not None:
            agreeing.note(db, own, heads, digest)
    return members


def _count_what_is_here(db: "Database", replica: Replica) -> None:
    """States of an earlier time that this vault synced: no batch brings them to the others any more, so a snapshot does. What was
    forgotten is said once more: nobody may have heard of it."""
    after: bytes | None = None
    while rows := list(replica.rows(db, after, _COUNTED_AT_ONCE)):
        forgotten = [Forget(memory, 0) for memory, state in rows if state.forgotten]
        log.record(db, forgotten, {memory: change(EMPTY, state) for memory, state in rows})
        if len(forgotten) < len(rows):
            log.write(db, snapshot_owed=1)
        after = rows[-1][0]


def read_list(transport: Transport) -> list[bytes]:
    """All entries that the relay has."""
    said: list[bytes] = []
    while more := transport.control(len(said)):
        said += more
        if len(said) > listing.ENTRIES_MAX:
            break
    return said


def revoke(
    transport: Transport, replica: Replica, device: bytes, random: Random, now_ms: int
) -> Members:
    """Remove a device: nothing that it writes from now on counts, and it reads nothing that is written from now on.

    What it has written until now counts, also what cannot be read here, or has no room here any more: else such batches would keep it
    in for ever.

    Raises:
        NotSyncedError: there is no such device.
        ControlConflictError: another device was faster, or this one has sent something since; sync, and try again.
    """
    with replica.transaction() as db:
        members = log.members(db)
        me = log.read(db)
        member = members.members.get(device)
        if member is None or (member.revoked is not None and not members.rotation_due):
            raise NotSyncedError("There is no such device in this vault.")
    if member.revoked is None:
        beyond = _beyond(transport, me, members, member)
        with replica.transaction() as db:
            lasts = {stream: _last_genuine(db, stream, beyond) for stream in member.streams}
        entry = amend.revoke(members, listing.signer_of(me), device, lasts)
        members = listing.append(transport, replica, members, entry, now_ms)
    return listing.rotate(transport, replica, members, random, now_ms)


def _beyond(transport: Transport, me: Self, members: Members, member: Member) -> Beyond:
    """What the relay holds of a member's streams and this device has neither applied nor set aside."""
    found: Beyond = {}
    after = me.cursor if me.reread_after is None else min(me.cursor, me.reread_after)
    for _ in range(_PAGES_MAX):
        try:
            page = transport.pull(after, generation=me.generation)
        except CompactedError as error:
            after = error.min_pos - 1
            continue
        shown = [(pos, raw) for pos, raw in page.frames if pos > after]
        for _, raw in shown:
            try:
                frame = frames.parse(raw)
            except MalformedError:
                continue
            stream = frame.header.stream
            if stream in member.streams and relay.authenticate(members, frame) is None:
                place = found.setdefault((stream, frame.header.seq), [])
                place.append((frame.header.prev_hash, frame.hash))
        if not shown or shown[-1][0] >= page.head_pos:
            break
        after = shown[-1][0]
    return found


def _last_genuine(db: "Database", stream: bytes, beyond: Beyond) -> tuple[int, bytes]:
    """The last batch of a stream that follows the one before it, whether it could be applied or not. What is held was verified."""
    applied = inbox.heads(db).get(stream)
    seq, digest = (0, frames.NO_HASH) if applied is None else (applied.seq, applied.hash)
    while True:
        held = [
            (frames.parse(each.raw).header.prev_hash, each.hash)
            for each in inbox.next_held(db, stream, seq + 1)
        ]
        following = [
            hash_
            for before, hash_ in (*held, *beyond.get((stream, seq + 1), ()))
            if before == digest
        ]
        if not following:
            return seq, digest
        seq, digest = seq + 1, following[0]


def rename(
    transport: Transport, replica: Replica, device: bytes, name: str, now_ms: int
) -> Members:
    with replica.transaction() as db:
        members = log.members(db)
        me = log.read(db)
        key = log.epoch_keys(db)[members.epoch]
    sealed = keys.seal_name(name, key, vault=members.vault, epoch=members.epoch, device=device)
    entry = amend.rename(members, listing.signer_of(me), device, sealed)
    return listing.append(transport, replica, members, entry, now_ms)


def new_words(transport: Transport, replica: Replica, recovery: Seeds, now_ms: int) -> Members:
    """Let other recovery words take the place of those of today."""
    with replica.transaction() as db:
        members = log.members(db)
        me = log.read(db)
        key = log.epoch_keys(db).get(members.epoch)
    entry = amend.recovery(members, listing.signer_of(me), recovery, epoch_key=key)
    return listing.append(transport, replica, members, entry, now_ms)


def _enter(
    transport: Transport,
    replica: Replica,
    members: Members,
    said: list[bytes],
    *,
    recovery: Seeds,
    name: str,
    random: Random,
) -> Members:
    """Admit this device by the recovery words, and give the vault its first key if it has none."""
    signer = listing.recovery_signer(recovery)
    opened = control.epoch_keys(members, recovery)
    seeds = keys.new_seeds(random)
    said = list(said)

    def append(entry: bytes) -> Members:
        after = control.extend(members, entry)
        transport.append_control(entry)
        said.append(entry)
        return after

    newcomer = entries.introduce(seeds, vault=members.vault, incarnation=FIRST_INCARNATION)
    device = keys.device_id(keys.sign_public(seeds))
    if members.epoch == 0:
        members = append(amend.add(members, signer, newcomer, sealed_name=b"", epoch_key=None))
        first = keys.new_epoch_key(random)
        members = append(amend.rotate(members, signer, epoch_key=first, previous_key=None))
        sealed = keys.seal_name(name, first, vault=members.vault, epoch=1, device=device)
        members = append(amend.rename(members, signer, device, sealed))
    else:
        key = opened[members.epoch]
        sealed = keys.seal_name(name, key, vault=members.vault, epoch=members.epoch, device=device)
        members = append(amend.add(members, signer, newcomer, sealed_name=sealed, epoch_key=key))
    return enter(replica, seeds=seeds, incarnation=FIRST_INCARNATION, said=said)
