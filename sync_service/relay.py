"""What a server checks before it stores anything: framework-free, and the same for the cloud, a folder and a simulation.

It knows public keys, hashes and lengths only. It must never need, nor be given, anything by which content could be read. Whatever it
refuses leaves no trace: the caller stores all of a push, or nothing.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from sync_service.members.control import Members, counts, floor_at, lasts_named, owner_of
from sync_service.sealed.frames import NO_HASH, ForgedError, Frame, verify

_FOR_TOKENS = b"sunaiva/token/1"

Reason = Literal[
    "wrong_vault",
    "unknown_device",
    "forged",
    "revoked_device",
    "reordered",
    "downgrade",
    "device_list_withheld",
]
"""As the alarms are called that the same thing raises on a device."""


class StreamHead(Struct, frozen=True):
    """The last batch of a stream that is stored."""

    seq: int
    hash: bytes


class Admitted(Struct, frozen=True):
    head: StreamHead
    """Of the stream, once this batch is stored."""


class Duplicate(Struct, frozen=True):
    """It is stored already: an answer was lost, and the sender asks again."""


class Gap(Struct, frozen=True):
    expected: int


class Fork(Struct, frozen=True):
    """Another batch has this place: the device runs twice, or was put back from a backup."""

    stream: bytes
    seq: int


class Refused(Struct, frozen=True):
    reason: Reason


Verdict = Admitted | Duplicate | Gap | Fork | Refused


def admit(
    members: Members, frame: Frame, head: StreamHead | None, *, stored: bytes | None = None
) -> Verdict:
    """Whether to store a batch next. `stored` is the hash of the batch that has its place already, where there is one."""
    refused = authenticate(members, frame)
    return place(members, frame, head, stored=stored) if refused is None else refused


def authenticate(members: Members, frame: Frame) -> Refused | None:
    """The part that takes time, and stays true: a device that a member admitted has made this batch for this vault."""
    if frame.header.vault != members.vault:
        return Refused("wrong_vault")
    owner = owner_of(members, frame.header.stream)
    if owner is None:
        return Refused("unknown_device")
    try:
        verify(frame, owner.sign_public)
    except ForgedError:
        return Refused("forged")
    return None


def place(
    members: Members, frame: Frame, head: StreamHead | None, *, stored: bytes | None = None
) -> Verdict:
    """What becomes of a batch that was authenticated, by how things stand now."""
    header = frame.header
    owner = owner_of(members, header.stream)
    assert owner is not None, "authenticated before"
    if not counts(owner, header.stream, header.seq, frame.hash):
        return Refused("revoked_device")
    if head is not None and header.seq <= head.seq:
        known = head.hash if header.seq == head.seq else stored
        # A place whose batch is compacted away cannot be compared: to say "stored" of what is not would lose it.
        return Duplicate() if known == frame.hash else Fork(header.stream, header.seq)
    expected, before = (1, NO_HASH) if head is None else (head.seq + 1, head.hash)
    if header.seq > expected:
        return Gap(expected)
    if header.prev_hash != before:
        return Refused("reordered")
    if header.suite < floor_at(members, header.control_seq):
        return Refused("downgrade")
    if header.control_seq > members.seq:
        return Refused("device_list_withheld")
    return Admitted(StreamHead(header.seq, frame.hash))


def is_stranding(before: Members, after: Members, heads: Mapping[bytes, StreamHead]) -> bool:
    """Whether an entry removes a device without what is stored of it: some devices would have applied what others never get, and
    what it was told is kept would be lost. Whoever removes it has to read that first.

    To name more than is stored is no harm: so a relay that lost something is given its device list back.
    """
    for stream, (seq, digest) in lasts_named(before, after).items():
        head = heads.get(stream)
        if head is not None and (head.seq > seq or (head.seq == seq and head.hash != digest)):
            return True
    return False


def is_active(members: Members, device: bytes) -> bool:
    """Whether a device belongs to the vault now."""
    member = members.members.get(device)
    return member is not None and member.revoked is None


def may_compact(members: Members, writer: bytes, cosigners: Collection[bytes]) -> bool:
    """Whether enough devices vouch for a snapshot: one beside its writer; where nobody else is left, the writer after reading it back."""
    active = {device for device in cosigners if is_active(members, device)}
    if active - {writer}:
        return True
    others = [each for each in members.members if each != writer and is_active(members, each)]
    return not others and writer in active


def bodies(pages: Sequence[tuple[int, bytes]]) -> Iterator[bytes]:
    """A page of batches as it travels: position (8 bytes) ‖ batch, one after another."""
    for pos, raw in pages:
        yield pos.to_bytes(8, "big")
        yield raw


def token_statement(*, vault: bytes, device: bytes, nonce: bytes, origin: str) -> bytes:
    """What a device signs to be let in: good for this server, this vault and this once."""
    return _FOR_TOKENS + vault + device + len(nonce).to_bytes(2, "big") + nonce + origin.encode()
