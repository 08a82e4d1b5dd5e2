"""What a server may know of a snapshot, and who said it."""

import pytest
from msgspec import structs

from shared import crypto
from shared.agreement import SIGNATURE_BYTES
from sync_service.changes.ops import Head, MalformedError
from sync_service.sealed.frames import ForgedError, UnreadableError
from sync_service.sealed.keys import sign_public
from sync_service.sealed.manifests import (
    MANIFEST_BYTES_MAX,
    Manifest,
    cosign,
    id_of,
    read,
    verify,
    verify_cosignature,
    write,
)
from sync_service.sealed.pieces import Purpose, Segment, unseal
from tests.sync.circle import device_of, seeds_of

ANN, BEN = seeds_of("ann"), seeds_of("ben")
SOUND = Manifest(
    vault=bytes(16),
    device=device_of("ann"),
    covers=(Head(b"stream-1", 7, bytes(32)), Head(b"stream-2", 1, bytes(32))),
    segments=(Segment("0" * 32, 100, bytes(32)), Segment("1" * 32, 4, bytes(32))),
    sealed=b"for devices",
)


def test_a_manifest_says_what_was_written() -> None:
    raw = write(SOUND, ANN.sign)
    assert read(raw) == SOUND
    verify(raw, sign_public(ANN))


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 2},
        {"vault": b"short"},
        {"device": b""},
        {"covers": ()},
        {"covers": (Head(b"stream-1", 7, bytes(32)), Head(b"stream-1", 8, bytes(32)))},
        {"covers": (Head(b"stream-1", 0, bytes(32)),)},
        {"covers": (Head(b"long stream", 1, bytes(32)),)},
        {"segments": (Segment("0" * 32, 0, bytes(32)),)},
        {"segments": (Segment("../../etc/passwd", 1, bytes(32)),)},
        {"segments": (Segment("0" * 32, 1, bytes(31)),)},
        {"segments": SOUND.segments * 2},
        {"sealed": bytes(5_000)},
    ],
    ids=str,
)
def test_what_no_implementation_writes_is_refused(changed: dict[str, object]) -> None:
    raw = write(structs.replace(SOUND, **changed), ANN.sign)
    with pytest.raises(MalformedError):
        read(raw)


@pytest.mark.parametrize(
    "raw", [b"", bytes(SIGNATURE_BYTES), b"\xc1" * 200, bytes(MANIFEST_BYTES_MAX + 1)]
)
def test_bytes_that_are_no_manifest_are_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        read(raw)


def test_a_manifest_is_believed_of_its_own_device_only() -> None:
    raw = write(SOUND, ANN.sign)
    with pytest.raises(ForgedError):
        verify(raw, sign_public(BEN))
    with pytest.raises(ForgedError):
        verify(bytes([raw[0] ^ 1]) + raw[1:], sign_public(ANN))


def test_a_device_vouches_for_one_snapshot_of_one_vault() -> None:
    name = id_of(write(SOUND, ANN.sign))
    signature = cosign(name, SOUND.vault, BEN.sign)
    verify_cosignature(signature, name, SOUND.vault, sign_public(BEN))
    for other in ((bytes(16), SOUND.vault), (name, b"other vault's id")):
        with pytest.raises(ForgedError):
            verify_cosignature(signature, *other, sign_public(BEN))


PURPOSE = Purpose("segments", b"sunaiva/segment/1", "A piece of a snapshot")
KEY = b"k" * 32


@pytest.mark.parametrize("inside", [b"", b"\0", bytes(4)], ids=["nothing", "one byte", "no codec"])
def test_a_piece_with_less_inside_than_any_is_malformed(inside: bytes) -> None:
    number = (1).to_bytes(4, "big")
    key = crypto.derive(KEY, PURPOSE.key)
    sealed = number + crypto.seal(key, inside, bound_to=PURPOSE.context + bytes(16) + number)
    with pytest.raises(MalformedError):
        unseal(sealed, PURPOSE, vault=bytes(16), epoch_keys={1: KEY})


@pytest.mark.parametrize(
    "seal", [b"", b"\x01", b"\x02" + bytes(60)], ids=["nothing", "cut", "later"]
)
def test_a_piece_that_is_no_seal_is_unreadable(seal: bytes) -> None:
    with pytest.raises(UnreadableError):
        unseal((1).to_bytes(4, "big") + seal, PURPOSE, vault=bytes(16), epoch_keys={1: KEY})
