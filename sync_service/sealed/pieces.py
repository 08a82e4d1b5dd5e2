"""What stands at a relay beside the log: pieces sealed under an epoch's key, each known to a signed list by name, size and digest.

A piece begins with the number of its epoch, so that whoever holds the vault's keys knows which one to take; inside, it is packed as a
batch is. What it is for goes into its key and into what it is bound to, so that none can stand in another's place.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from shared import crypto
from shared.errors import CorruptError, ForbiddenError
from sync_service.changes.ops import HASH_BYTES, MalformedError
from sync_service.sealed import frames
from sync_service.sealed.frames import UnreadableError

SEGMENTS_MAX = 2_048
SEGMENT_BYTES_MAX = 4 * 1024 * 1024
# What a list says of itself to devices alone.
SEALED_BYTES_MAX = 4 * 1024
_EPOCH_BYTES = 4

SegmentName = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
"""Random, in hexadecimal: a name says nothing about what is inside."""


class Segment(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A piece as a list names it."""

    name: SegmentName
    size: int
    hash: bytes


class Purpose(Struct, frozen=True):
    key: str
    """For what the epoch's key derives this one."""
    context: bytes
    called: str
    """In the sentences that people read."""


def are_possible(segments: tuple[Segment, ...]) -> bool:
    """Whether a list may name these: none twice, none too large, not too many."""
    return len({segment.name for segment in segments}) == len(segments) <= SEGMENTS_MAX and all(
        0 < segment.size <= SEGMENT_BYTES_MAX and len(segment.hash) == HASH_BYTES
        for segment in segments
    )


def seal(
    content: bytes, purpose: Purpose, *, vault: bytes, epoch: int, epoch_key: bytes, name: str = ""
) -> bytes:
    number = epoch.to_bytes(_EPOCH_BYTES, "big")
    return number + crypto.seal(
        crypto.derive(epoch_key, purpose.key),
        frames.pack(content),
        bound_to=purpose.context + vault + number + name.encode(),
    )


def unseal(
    sealed: bytes,
    purpose: Purpose,
    *,
    vault: bytes,
    epoch_keys: Mapping[int, bytes],
    name: str = "",
) -> bytes:
    """
    Raises:
        UnreadableError: no key of the vault's opens it.
        MalformedError: one does, and nonsense is inside.
    """
    number = sealed[:_EPOCH_BYTES]
    key = epoch_keys.get(int.from_bytes(number, "big"))
    if key is None:
        raise UnreadableError(
            f"{purpose.called} is encrypted with a key of the vault that this device does not have."
        )
    try:
        packed = crypto.open_sealed(
            crypto.derive(key, purpose.key),
            sealed[_EPOCH_BYTES:],
            bound_to=purpose.context + vault + number + name.encode(),
        )
    except (ForbiddenError, CorruptError):
        raise UnreadableError(
            f"{purpose.called} cannot be decrypted with the vault's key."
        ) from None
    return frames.unpack(packed)


def unseal_segment(
    sealed: bytes,
    purpose: Purpose,
    segment: Segment,
    *,
    vault: bytes,
    epoch_keys: Mapping[int, bytes],
) -> bytes:
    """What is in the segment that a list names, if this is it.

    Raises:
        MalformedError, UnreadableError
    """
    if len(sealed) != segment.size or hashlib.sha256(sealed).digest() != segment.hash:
        raise MalformedError(f"{purpose.called} is not what its list names.")
    return unseal(sealed, purpose, vault=vault, epoch_keys=epoch_keys, name=segment.name)
