"""The device list: a chain of signed entries that says which devices are members, since when, until which batch, and with which keys.

The server keeps the entries and can neither write nor reorder one: each is signed by a member or by the recovery words and holds the
hash of the one before it, and the vault's id is the hash of the first. `extend` is the whole law; device and server run the same.
Nothing here looks at a clock or keeps a secret.
"""

from collections.abc import Sequence
from typing import NoReturn

from msgspec import Struct
from msgspec.structs import replace

from shared import agreement, crypto
from shared.errors import CorruptError, ForbiddenError
from sync_service.changes.ops import HASH_BYTES, HEADS_MAX, ID_BYTES, MalformedError
from sync_service.members import entries
from sync_service.members.entries import Entry, Newcomer
from sync_service.sealed import keys
from sync_service.sealed.frames import NO_HASH, SUITE
from sync_service.sealed.keys import Seeds

READER = 1
"""What `min_reader` of a vault is compared with: a device below it has to be updated before it reads on."""
# Live at once. Each takes 1.2 kB of every rotation; nobody has so many.
MEMBERS_MAX = 128
NONCE_BYTES = 16
CHECK_BYTES = 16
PREVIOUS_BYTES = 1 + 12 + crypto.KEY_BYTES + crypto.TAG_BYTES
DEMAND_MAX = 255

_WRAP_BYTES = crypto.KEY_BYTES + agreement.SEALED_TO_EXTRA_BYTES


class ForgedListError(ForbiddenError):
    """The device list was altered, or an entry breaks its law."""

    code = "forged_device_list"


class OutOfOrderError(ForgedListError):
    """An entry that does not follow the last one. To a server: somebody was faster, read again; to a device: altered."""


class WrongVaultError(ForbiddenError):
    """An entry or batch of another vault."""

    code = "wrong_vault"


class RevokedDeviceError(ForbiddenError):
    """Something by a device after it was removed."""

    code = "revoked_device"


class DowngradeError(ForbiddenError):
    """A form of encryption below what the vault demands, or an entry that would demand less."""

    code = "downgrade"


class RolledBackError(CorruptError):
    """Less of the device list than was seen before."""

    code = "rolled_back"


class Wrap(Struct, frozen=True):
    """The key of an epoch, sealed to one public key."""

    epoch: int
    sealed: bytes


class Member(Struct, frozen=True, kw_only=True):
    device: bytes
    sign_public: bytes
    kem_public: bytes
    sealed_name: bytes
    incarnation: int
    streams: tuple[bytes, ...]
    """Of all its incarnations, the newest last."""
    added_at_seq: int
    wrap: Wrap | None
    revoked: dict[bytes, tuple[int, bytes]] | None = None
    """Once it was removed: the sequence number and hash of the last batch of each stream that still counts; (0, zeros) for none."""


class Members(Struct, frozen=True, kw_only=True):
    """What the device list says up to an entry."""

    vault: bytes
    seq: int
    hash: bytes
    members: dict[bytes, Member]
    """By device, removed ones too."""
    recovery_sign: bytes
    recovery_kem: bytes
    recovery_wrap: Wrap | None = None
    suite_floor: int
    earlier_floors: tuple[tuple[int, int], ...] = ()
    """(entry, suite): what the vault demanded before this entry, which demands more; in their order."""
    min_reader: int = 1
    epoch: int = 0
    """0 until the first rotation: nothing can be sealed before."""
    checks: tuple[bytes, ...] = ()
    """Of each epoch's key, by which everybody knows that they have the same."""
    previous: tuple[bytes, ...] = ()
    """The key of epoch n sealed under that of n + 1, from n = 1."""
    rotation_due: bool = False
    """Somebody who was removed still knows the key of today: whoever seals next rotates first."""


def begin(entry: bytes) -> Members:
    """The device list of which `entry` is the first: it is signed by the recovery words that it names.

    Raises:
        MalformedError
        NewerListError
        ForgedListError
    """
    said = entries.parse(entry)
    if (said.kind, said.seq, said.prev_hash, said.vault) != (entries.FOUND, 1, NO_HASH, None):
        raise OutOfOrderError("The device list does not begin at its beginning.")
    nonce, recovery_sign, recovery_kem, suite_floor = entries.body(
        said, tuple[bytes, bytes, bytes, int]
    )
    if len(nonce) != NONCE_BYTES or not 1 <= suite_floor <= DEMAND_MAX:
        raise MalformedError("The first entry of the device list is none that Sunaiva writes.")
    _demand_keys(recovery_sign, recovery_kem)
    if (said.signer_kind, said.signer) != (entries.RECOVERY_SIGNER, keys.device_id(recovery_sign)):
        _forged("its first entry is not signed by the recovery words")
    _demand_signature(said, recovery_sign)
    return Members(
        vault=said.hash[:ID_BYTES],
        seq=1,
        hash=said.hash,
        members={},
        recovery_sign=recovery_sign,
        recovery_kem=recovery_kem,
        suite_floor=suite_floor,
    )


def extend(members: Members, entry: bytes) -> Members:
    """The device list with one entry more.

    Raises:
        MalformedError
        NewerListError
        WrongVaultError
        OutOfOrderError
        RevokedDeviceError: signed by a device that was removed.
        DowngradeError
        ForgedListError: not signed by a member, or against the law.
    """
    said = entries.parse(entry)
    if said.vault is not None and said.vault != members.vault:
        raise WrongVaultError("The server sent an entry of another vault's device list.")
    if said.vault is None or said.kind == entries.FOUND:
        raise OutOfOrderError("The device list begins a second time.")
    if (said.seq, said.prev_hash) != (members.seq + 1, members.hash):
        raise OutOfOrderError(
            "The device list does not go on where it ended: an entry was left out, repeated, reordered or altered, or another "
            "device was faster."
        )
    _demand_signature(said, _public_of_signer(members, said))
    extended = members
    if said.kind < entries.OPTIONAL_KINDS:
        if said.kind not in _LAWS:
            raise entries.NewerListError(
                "A newer Sunaiva wrote something into the device list that this version does not know. Update Sunaiva here; "
                "nothing is lost until then."
            )
        extended = _LAWS[said.kind](members, said)
    return replace(extended, seq=said.seq, hash=said.hash)


def replay(chain: Sequence[bytes], *, through: tuple[int, bytes] | None = None) -> Members:
    """The device list of this chain. `through` is (seq, hash) of one that was seen before or promised: it has to hold it.

    Raises:
        RolledBackError: it ends before it.
        ForgedListError: another entry stands in its place.
        MalformedError, NewerListError, WrongVaultError, RevokedDeviceError, DowngradeError: as `extend`.
    """
    if not chain:
        raise RolledBackError("The server shows no device list at all.")
    members = begin(chain[0])
    seen = {members.seq: members.hash}
    for entry in chain[1:]:
        members = extend(members, entry)
        seen[members.seq] = members.hash
    if through is not None:
        seq, digest = through
        if seq > members.seq:
            raise RolledBackError(
                "The server shows an older device list than it showed before. Nothing is sent or believed until it shows the "
                "whole list again."
            )
        if seen.get(seq) != digest:
            _forged("it is not the one that was seen before")
    return members


def demands_newer_reader(members: Members) -> bool:
    return members.min_reader > READER


def demands_newer_writer(members: Members) -> bool:
    """Whether what this version seals would be refused. It may still read, unless `demands_newer_reader`."""
    return members.suite_floor > SUITE or demands_newer_reader(members)


def floor_at(members: Members, seq: int) -> int:
    """What the vault demanded of whoever had seen the list up to this entry: what was sealed before it demanded more stays readable."""
    earlier = (floor for before, floor in members.earlier_floors if seq < before)
    return next(earlier, members.suite_floor)


def live(members: Members) -> list[Member]:
    """The devices of today, in the order of their ids."""
    return [
        members.members[device]
        for device in sorted(members.members)
        if members.members[device].revoked is None
    ]


def owner_of(members: Members, stream: bytes) -> Member | None:
    """Whose stream this is, be it a removed device's."""
    return next((one for one in members.members.values() if stream in one.streams), None)


def is_removed(members: Members, stream: bytes) -> bool:
    """Whether the device of this stream was removed: what it said counts as before, its word about others does not."""
    owner = owner_of(members, stream)
    return owner is not None and owner.revoked is not None


def removed_streams(members: Members) -> list[bytes]:
    return [
        stream
        for member in members.members.values()
        if member.revoked is not None
        for stream in member.streams
    ]


def counts(member: Member, stream: bytes, seq: int, digest: bytes) -> bool:
    """Whether this batch of the member's stream still counts: of a removed device, nothing after what its removal names."""
    if member.revoked is None:
        return True
    last_seq, last_hash = member.revoked[stream]
    return seq < last_seq or (seq, digest) == (last_seq, last_hash)


def lasts_named(before: Members, after: Members) -> dict[bytes, tuple[int, bytes]]:
    """What the entries in between say is the last batch of streams whose device they remove.

    A server takes them only if it holds nothing after these: else some devices would have applied what others never get.
    """
    return {
        stream: last
        for device, member in after.members.items()
        if device not in before.members or before.members[device].revoked is None
        for stream, last in (member.revoked or {}).items()
    }


def epoch_keys(members: Members, seeds: Seeds) -> dict[int, bytes]:
    """The keys of all epochs, for a device of today or for the recovery words.

    Raises:
        RevokedDeviceError: these seeds belong to no device of today.
        UnreadableError: what the list holds for them does not open, or is not what it holds for the others.
    """
    public = keys.sign_public(seeds)
    member = members.members.get(keys.device_id(public))
    if public == members.recovery_sign:
        wrap = members.recovery_wrap
    elif member is not None and member.revoked is None:
        wrap = member.wrap
    else:
        raise RevokedDeviceError(
            "This device was removed from the vault. Pair it again if that was a mistake; its memories are still here."
        )
    if wrap is None:
        return {}
    key = keys.unwrap_epoch_key(wrap.sealed, seeds, vault=members.vault, epoch=wrap.epoch)
    opened = {wrap.epoch: key}
    for epoch in range(wrap.epoch, 1, -1):
        key = keys.open_previous(members.previous[epoch - 2], key, vault=members.vault, epoch=epoch)
        opened[epoch - 1] = key
    for epoch, held in opened.items():
        if not crypto.equal(keys.check_of(held), members.checks[epoch - 1]):
            raise keys.unreadable()
    return opened


def _add(members: Members, said: Entry) -> Members:
    sign, kem, incarnation, name, proof, wrap = entries.body(
        said, tuple[bytes, bytes, int, bytes, bytes, bytes | None]
    )
    _demand_keys(sign, kem)
    newcomer = Newcomer(sign_public=sign, kem_public=kem, incarnation=incarnation, proof=proof)
    if not 1 <= incarnation <= keys.INCARNATION_MAX:
        raise MalformedError("A device joins under a number that none has.")
    if not entries.is_proven(newcomer, members.vault):
        _forged("a device was added that did not agree to it, or with another key than its own")
    device = keys.device_id(sign)
    if device in members.members or sign == members.recovery_sign:
        _forged("a device was added a second time")
    if len(live(members)) >= MEMBERS_MAX:
        _forged(f"it holds more than {MEMBERS_MAX} devices")
    member = Member(
        device=device,
        sign_public=sign,
        kem_public=kem,
        sealed_name=_name(name),
        incarnation=incarnation,
        streams=(_new_stream(members, sign, incarnation),),
        added_at_seq=said.seq,
        wrap=_wrap_of_today(members, wrap),
    )
    return _with(members, member)


def _revoke(members: Members, said: Entry) -> Members:
    device, given = entries.body(said, tuple[bytes, list[tuple[bytes, int, bytes]]])
    member = _live_member(members, device)
    if [stream for stream, _, _ in given] != sorted(member.streams):
        _forged("a device was removed without saying up to where each of its streams counts")
    for _, seq, digest in given:
        if seq < 0 or len(digest) != HASH_BYTES or (seq == 0) != (digest == NO_HASH):
            raise MalformedError("A device is removed from a place that no stream has.")
    lasts = {stream: (seq, digest) for stream, seq, digest in given}
    removed = replace(member, revoked=lasts, wrap=None)
    return replace(_with(members, removed), rotation_due=members.epoch > 0)


def _rotate(members: Members, said: Entry) -> Members:
    epoch, check, wraps, recovery_wrap, previous = entries.body(
        said, tuple[int, bytes, list[tuple[bytes, bytes]], bytes, bytes | None]
    )
    if epoch != members.epoch + 1:
        _forged("its keys were not changed one after another")
    if [device for device, _ in wraps] != [one.device for one in live(members)]:
        _forged("its key was not given to exactly the devices of today")
    if (previous is None) != (epoch == 1):
        _forged("its new key does not open what was before it")
    sizes = {len(sealed) for _, sealed in wraps} | {len(recovery_wrap)}
    if (
        sizes != {_WRAP_BYTES}
        or len(check) != CHECK_BYTES
        or (previous is not None and len(previous) != PREVIOUS_BYTES)
    ):
        raise MalformedError("The vault's key changes in a form that it never has.")
    renewed = {
        device: replace(members.members[device], wrap=Wrap(epoch, sealed))
        for device, sealed in wraps
    }
    return replace(
        members,
        members={**members.members, **renewed},
        recovery_wrap=Wrap(epoch, recovery_wrap),
        epoch=epoch,
        checks=(*members.checks, check),
        previous=members.previous if previous is None else (*members.previous, previous),
        rotation_due=False,
    )


def _stream(members: Members, said: Entry) -> Members:
    device, incarnation = entries.body(said, tuple[bytes, int])
    member = _live_member(members, device)
    if (said.signer_kind, said.signer) != (entries.MEMBER_SIGNER, device):
        _forged("a device was given a stream by another one")
    if not member.incarnation < incarnation <= keys.INCARNATION_MAX:
        _forged("a device went back to an earlier stream of its own")
    stream = _new_stream(members, member.sign_public, incarnation)
    streams = (*member.streams, stream)
    return _with(members, replace(member, incarnation=incarnation, streams=streams))


def _rename(members: Members, said: Entry) -> Members:
    device, name = entries.body(said, tuple[bytes, bytes])
    return _with(members, replace(_live_member(members, device), sealed_name=_name(name)))


def _recovery(members: Members, said: Entry) -> Members:
    sign, kem, proof, wrap = entries.body(said, tuple[bytes, bytes, bytes, bytes | None])
    _demand_keys(sign, kem)
    if not agreement.is_signed(
        sign, entries.of_recovery(members.vault, members.hash, sign, kem), proof
    ):
        _forged("recovery words were set by somebody who does not have them")
    if sign == members.recovery_sign or keys.device_id(sign) in members.members:
        _forged("its recovery words were replaced by what is known already")
    return replace(
        members,
        recovery_sign=sign,
        recovery_kem=kem,
        recovery_wrap=_wrap_of_today(members, wrap),
        rotation_due=members.epoch > 0,
    )


def _policy(members: Members, said: Entry) -> Members:
    suite_floor, min_reader = entries.body(said, tuple[int, int])
    if suite_floor < members.suite_floor or min_reader < members.min_reader:
        raise DowngradeError(
            "Somebody tried to let this vault be encrypted in a weaker way than it was. That was not done."
        )
    if max(suite_floor, min_reader) > DEMAND_MAX:
        raise MalformedError("The vault demands what cannot be.")
    earlier = members.earlier_floors
    if suite_floor > members.suite_floor:
        earlier = (*earlier, (said.seq, members.suite_floor))
    return replace(members, suite_floor=suite_floor, earlier_floors=earlier, min_reader=min_reader)


_LAWS = {
    entries.ADD: _add,
    entries.REVOKE: _revoke,
    entries.ROTATE: _rotate,
    entries.STREAM: _stream,
    entries.RENAME: _rename,
    entries.RECOVERY: _recovery,
    entries.POLICY: _policy,
}


def _public_of_signer(members: Members, said: Entry) -> bytes:
    if said.signer_kind == entries.RECOVERY_SIGNER:
        if said.signer != keys.device_id(members.recovery_sign):
            _forged(
                "an entry is signed with recovery words that are no longer, or never were, those of this vault"
            )
        return members.recovery_sign
    member = members.members.get(said.signer) if said.signer_kind == entries.MEMBER_SIGNER else None
    if member is None:
        _forged("an entry is signed by somebody who is no member")
    if member.revoked is not None:
        raise RevokedDeviceError(
            "A device that was removed from the vault tried to change the device list. That was not done."
        )
    return member.sign_public


def _demand_signature(said: Entry, public: bytes) -> None:
    if not entries.is_signed(said, public):
        _forged("a signature does not fit")


def _demand_keys(sign_public: bytes, kem_public: bytes) -> None:
    if not agreement.is_sign_public(sign_public) or not agreement.is_kem_public(kem_public):
        raise MalformedError("The device list holds a public key that nobody can have.")


def _live_member(members: Members, device: bytes) -> Member:
    member = members.members.get(device)
    if member is None or member.revoked is not None:
        _forged("an entry is about a device that is no member")
    return member


def _wrap_of_today(members: Members, sealed: bytes | None) -> Wrap | None:
    if (sealed is None) != (members.epoch == 0):
        _forged("somebody was admitted without the vault's key")
    if sealed is None:
        return None
    if len(sealed) != _WRAP_BYTES:
        raise MalformedError("The vault's key is given in a form that it never has.")
    return Wrap(members.epoch, sealed)


def _new_stream(members: Members, sign_public: bytes, incarnation: int) -> bytes:
    stream = keys.stream_id(sign_public, incarnation)
    streams = [held for member in members.members.values() for held in member.streams]
    if stream in streams:
        _forged("two streams have the same name")
    if len(streams) >= HEADS_MAX:
        _forged(f"it holds more than {HEADS_MAX} streams")
    return stream


def _name(sealed: bytes) -> bytes:
    if len(sealed) > keys.SEALED_NAME_BYTES_MAX:
        raise MalformedError("A device's name is longer than any.")
    return sealed


def _with(members: Members, member: Member) -> Members:
    return replace(members, members={**members.members, member.device: member})


def _forged(why: str) -> NoReturn:
    raise ForgedListError(
        f"The device list cannot be believed: {why}. Nothing was changed by it. If this stays, compare the list of devices on "
        "a device that you trust."
    )
