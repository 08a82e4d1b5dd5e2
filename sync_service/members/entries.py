"""Entries of the device list as bytes: how they are put together, signed and read. What they may say is the law of `control`."""

import functools
import hashlib
from typing import Any

import msgspec
from msgspec import Raw, Struct

from shared import agreement
from shared.errors import CorruptError
from sync_service.changes.ops import UNREADABLE, MalformedError
from sync_service.sealed import keys
from sync_service.sealed.keys import Seeds

ENTRY_VERSION = 1
FOUND, ADD, REVOKE, ROTATE, STREAM, RENAME, RECOVERY, POLICY = range(8)
# A kind from here on changes nothing that an older version has to know: it is chained and passed over.
OPTIONAL_KINDS = 64
KINDS_MAX = 127
RECOVERY_SIGNER, MEMBER_SIGNER = 0, 1

ENTRY_BYTES_MAX = 256 * 1024

_ENTRY = b"sunaiva/control/1"
_DEVICE_PROOF = b"sunaiva/device/1"
_RECOVERY_PROOF = b"sunaiva/recovery/1"
_ENCODE = msgspec.msgpack.encode
_DECODE_ENTRY = msgspec.msgpack.Decoder(tuple[int, int, bytes, bytes | None, int, Raw, int, bytes])
_DECODE_VERSION = msgspec.msgpack.Decoder(list[Raw])


class NewerListError(CorruptError):
    """An entry that only a newer version understands. Nothing can be decided without it."""

    code = "newer"


class Signer(Struct, frozen=True):
    kind: int
    seeds: Seeds


class Newcomer(Struct, frozen=True, kw_only=True):
    """What a device says of itself to be admitted."""

    sign_public: bytes
    kem_public: bytes
    incarnation: int
    proof: bytes
    """Its signature over all this and the vault: nobody adds it elsewhere, or with another key to seal to."""


class Entry(Struct, frozen=True, kw_only=True):
    """An entry, read. That it is there says nothing about who signed it."""

    seq: int
    prev_hash: bytes
    vault: bytes | None
    kind: int
    body: Raw
    signer_kind: int
    signer: bytes
    signed: bytes
    signature: bytes
    hash: bytes


def parse(entry: bytes) -> Entry:
    """
    Raises:
        MalformedError
        NewerListError: in a form that only a newer version reads.
    """
    if not agreement.SIGNATURE_BYTES < len(entry) <= ENTRY_BYTES_MAX:
        raise MalformedError("An entry of the device list has a size that none has.")
    signed = entry[: -agreement.SIGNATURE_BYTES]
    try:
        version = msgspec.msgpack.decode(_DECODE_VERSION.decode(signed)[0], type=int)
        if version > ENTRY_VERSION:
            raise NewerListError(
                "A newer Sunaiva wrote the device list in a form that this version cannot read. Update Sunaiva here; nothing is "
                "lost until then."
            )
        _, seq, prev_hash, vault, kind, body, signer_kind, signer = _DECODE_ENTRY.decode(signed)
    except (*UNREADABLE, IndexError):
        raise MalformedError("An entry of the device list cannot be read.") from None
    if version != ENTRY_VERSION or not 0 <= kind <= KINDS_MAX or not 0 <= seq < 1 << 32:
        raise MalformedError("An entry of the device list says of itself what cannot be.")
    return Entry(
        seq=seq,
        prev_hash=prev_hash,
        vault=vault,
        kind=kind,
        body=body,
        signer_kind=signer_kind,
        signer=signer,
        signed=signed,
        signature=entry[-agreement.SIGNATURE_BYTES :],
        hash=entry_hash(entry),
    )


def body(said: Entry, shape: Any) -> Any:
    """What the entry says, in the shape of its kind.

    Raises:
        MalformedError
    """
    try:
        return _decoder(shape).decode(said.body)
    except UNREADABLE:
        raise MalformedError(
            "An entry of the device list holds what its kind never holds."
        ) from None


@functools.cache
def _decoder(shape: Any) -> Any:
    return msgspec.msgpack.Decoder(shape)


def sign(
    seq: int, prev_hash: bytes, vault: bytes | None, kind: int, said: object, *, by: Signer
) -> bytes:
    """The bytes of an entry."""
    signer = keys.device_id(keys.sign_public(by.seeds))
    signed = _ENCODE((ENTRY_VERSION, seq, prev_hash, vault, kind, said, by.kind, signer))
    return signed + agreement.sign(by.seeds.sign, _ENTRY + signed)


def is_signed(said: Entry, public: bytes) -> bool:
    return agreement.is_signed(public, _ENTRY + said.signed, said.signature)


def entry_hash(entry: bytes) -> bytes:
    return hashlib.sha256(_ENTRY + entry).digest()


def introduce(seeds: Seeds, *, vault: bytes, incarnation: int = 1) -> Newcomer:
    sign_public, kem_public = keys.sign_public(seeds), keys.kem_public(seeds)
    said = of_device(vault, sign_public, kem_public, incarnation)
    return Newcomer(
        sign_public=sign_public,
        kem_public=kem_public,
        incarnation=incarnation,
        proof=agreement.sign(seeds.sign, said),
    )


def is_proven(newcomer: Newcomer, vault: bytes) -> bool:
    said = of_device(vault, newcomer.sign_public, newcomer.kem_public, newcomer.incarnation)
    return agreement.is_signed(newcomer.sign_public, said, newcomer.proof)


def of_device(vault: bytes, sign_public: bytes, kem_public: bytes, incarnation: int) -> bytes:
    """What a device signs to be admitted."""
    return _DEVICE_PROOF + vault + sign_public + kem_public + incarnation.to_bytes(4, "big")


def of_recovery(vault: bytes, prev_hash: bytes, sign_public: bytes, kem_public: bytes) -> bytes:
    """What new recovery words sign, for this one place in this one list."""
    return _RECOVERY_PROOF + vault + prev_hash + sign_public + kem_public
