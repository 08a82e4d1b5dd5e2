"""Manifests of snapshots: which segments make one up, which batches it covers, and who vouches for it.

A server deletes batches only after a second device has vouched that the snapshot holds what they say, so what it has to know for that
stands in the clear: heads, names and sizes, which it knows anyway. The digest of the state is sealed beside it, for devices alone.
"""

import hashlib

import msgspec
from msgspec import Struct

from shared import agreement
from sync_service.changes.ops import (
    HEADS_MAX,
    ID_BYTES,
    UNREADABLE,
    Head,
    MalformedError,
    is_head,
)
from sync_service.sealed.frames import ForgedError
from sync_service.sealed.pieces import SEALED_BYTES_MAX, Segment, are_possible

VERSION = 1
MANIFEST_BYTES_MAX = 512 * 1024  # 2,048 segments and 1,024 heads take about 300 KiB

_FOR_MANIFESTS = b"sunaiva/manifest/1"
_FOR_COSIGNATURES = b"sunaiva/cosignature/1"


class Manifest(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    version: int = VERSION
    vault: bytes
    device: bytes
    covers: tuple[Head, ...]
    """Everything up to these heads is in the segments."""
    segments: tuple[Segment, ...]
    sealed: bytes
    """What only devices may read: the digest of the state, sealed under the epoch key."""


_DECODER = msgspec.msgpack.Decoder(Manifest)
_ENCODER = msgspec.msgpack.Encoder()


def write(manifest: Manifest, sign_seed: bytes) -> bytes:
    body = _ENCODER.encode(manifest)
    return body + agreement.sign(sign_seed, _FOR_MANIFESTS + body)


def read(raw: bytes) -> Manifest:
    """What a manifest says. Nothing about it is verified.

    Raises:
        MalformedError
    """
    if not agreement.SIGNATURE_BYTES < len(raw) <= MANIFEST_BYTES_MAX:
        raise MalformedError("A manifest has a size that none has.")
    try:
        found = _DECODER.decode(raw[: -agreement.SIGNATURE_BYTES])
    except UNREADABLE:
        raise MalformedError("A manifest cannot be read.") from None
    if not _is_sound(found):
        raise MalformedError("A manifest says of itself what cannot be.")
    return found


def verify(raw: bytes, sign_public: bytes) -> None:
    """
    Raises:
        ForgedError: the owner of `sign_public` did not write this manifest.
    """
    body, signature = raw[: -agreement.SIGNATURE_BYTES], raw[-agreement.SIGNATURE_BYTES :]
    if not agreement.is_signed(sign_public, _FOR_MANIFESTS + body, signature):
        raise ForgedError(
            "A snapshot is not signed by the device it claims to come from. It was set aside."
        )


def id_of(raw: bytes) -> bytes:
    return hashlib.sha256(_FOR_MANIFESTS + raw).digest()[:ID_BYTES]


def cosign(manifest_id: bytes, vault: bytes, sign_seed: bytes) -> bytes:
    """What a device says once it has read a snapshot back and found in it what it holds itself."""
    return agreement.sign(sign_seed, _cosigned(manifest_id, vault))


def verify_cosignature(
    signature: bytes, manifest_id: bytes, vault: bytes, sign_public: bytes
) -> None:
    """
    Raises:
        ForgedError
    """
    if not is_cosigned(signature, manifest_id, vault, sign_public):
        raise ForgedError("The signature under a snapshot does not fit its device.")


def is_cosigned(signature: bytes, manifest_id: bytes, vault: bytes, sign_public: bytes) -> bool:
    return agreement.is_signed(sign_public, _cosigned(manifest_id, vault), signature)


def _cosigned(manifest_id: bytes, vault: bytes) -> bytes:
    return _FOR_COSIGNATURES + vault + manifest_id


def _is_sound(manifest: Manifest) -> bool:
    streams = {head.stream for head in manifest.covers}
    return (
        manifest.version == VERSION
        and len(manifest.vault) == len(manifest.device) == ID_BYTES
        and 0 < len(manifest.covers) <= HEADS_MAX
        and len(streams) == len(manifest.covers)
        and all(map(is_head, manifest.covers))
        and are_possible(manifest.segments)
        and len(manifest.sealed) <= SEALED_BYTES_MAX
    )
