"""What an entry of the audit log is, how little of a person it holds, and how entries are sealed into a chain.

Pure. The seal is computed by the database when it is made and here when it is verified: two programs, so that a mistake in one is
seen by the other. Nothing here may depend on how JSON or a time happens to be printed: the bytes as they are kept are sealed.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Literal
from uuid import UUID

from msgspec import Struct

from cloud_api.db import AccountId

Actor = Literal["person", "staff", "stranger", "system"]
Value = str | int | bool | None

FIRST = bytes(32)
"""What stands before the first seal."""

_VERSION = b"\x01"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# A provider's block of addresses, not a household: enough to see "another country", too little to find a door.
_PREFIX = {4: 24, 6: 48}


class Entry(Struct, frozen=True, kw_only=True):
    """What happened. `detail` says what the action's name does not, in ids, codes and figures; never in a person's words."""

    action: str
    """Noun and participle: `session.opened`, `password.changed`."""
    account: AccountId | None
    """Whom it concerns."""
    actor: Actor
    staff: AccountId | None = None
    """Who did it, where that was staff."""
    address: str | None = None
    """Where it came from, if not from where the present request did; only its block of addresses is kept."""
    detail: Mapping[str, Value] = {}


class SealedEntry(Struct, frozen=True, kw_only=True):
    """An entry as it lies in the chain; without content where somebody removed it."""

    place: int
    entry_id: UUID
    seal: bytes
    is_there: bool
    subject: UUID | None
    actor: str | None
    staff: UUID | None
    action: str | None
    network: str | None
    detail: str | None
    noted_at: datetime | None


class Head(Struct, frozen=True):
    """The end of the chain at some time. Whoever noted one elsewhere can tell later that nothing before it was changed."""

    place: int
    seal: bytes

    def __str__(self) -> str:
        return f"{self.place}:{self.seal.hex()}"


class Disagreement(Struct, frozen=True):
    """The first place where the log is not what was sealed."""

    place: int | None
    entry_id: UUID | None
    sentence: str


def network_of(address: str | None) -> str | None:
    """The block of an address; None where it is none."""
    try:
        found = ip_address((address or "").partition("%")[0].partition("/")[0])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None) or found
    return str(ip_network((mapped, _PREFIX[mapped.version]), strict=False))


def seal_of(previous: bytes, entry: SealedEntry) -> bytes:
    return hashlib.sha256(_VERSION + previous + canonical(entry)).digest()


def canonical(entry: SealedEntry) -> bytes:
    """Each field with its length before it, so that no two entries have the same bytes."""
    assert entry.noted_at is not None
    fields = (
        str(entry.entry_id),
        None if entry.subject is None else str(entry.subject),
        entry.actor,
        None if entry.staff is None else str(entry.staff),
        entry.action,
        entry.network,
        entry.detail,
        str((entry.noted_at - _EPOCH) // _MICROSECOND),
    )
    return b"".join(_field(each) for each in fields)


def follow(start: Head, page: Iterable[SealedEntry]) -> Iterator[Head | Disagreement]:
    """Goes along the chain from `start`: each place's head, until the first that disagrees, which is the last."""
    head = start
    for entry in page:
        if problem := _problem(head, entry):
            yield Disagreement(entry.place, entry.entry_id, problem)
            return
        head = Head(entry.place, entry.seal)
        yield head


def _problem(head: Head, entry: SealedEntry) -> str | None:
    if entry.place != head.place + 1:
        return f"Seal {head.place + 1} is missing: somebody removed it."
    if not entry.is_there:
        return f"The entry of seal {entry.place} is missing: somebody removed it."
    if seal_of(head.seal, entry) != entry.seal:
        return (
            f"The entry of seal {entry.place} is not what was sealed: it, or its seal, was changed."
        )
    return None


def _field(text: str | None) -> bytes:
    if text is None:
        return struct.pack(">i", -1)
    encoded = text.encode()
    return struct.pack(">i", len(encoded)) + encoded
