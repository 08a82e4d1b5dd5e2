import hashlib
import random
import struct
import tracemalloc
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared import agreement, crypto
from sync_service.changes.ops import CONTENT_BYTES_MAX, MalformedError, NewerContentError
from sync_service.sealed import frames, keys
from sync_service.sealed.frames import ForgedError, Frame, UnreadableError

VAULT, STREAM = b"V" * 16, b"S" * 8
EPOCH_KEY, SEEDS = b"k" * 32, keys.Seeds(b"s" * 32, b"t" * 32)
SIGN_PUBLIC = keys.sign_public(SEEDS)
SALT = bytes(range(24))


def sealed(content: bytes = b"content", **changed: Any) -> Frame:
    said: dict[str, Any] = {
        "vault": VAULT,
        "stream": STREAM,
        "seq": 1,
        "epoch": 1,
        "control_seq": 3,
        "prev_hash": frames.NO_HASH,
        "epoch_key": EPOCH_KEY,
        "sign_seed": SEEDS.sign,
        "salt": SALT,
    }
    return frames.seal(content, **{**said, **changed})


def received(raw: bytes, key: bytes = EPOCH_KEY) -> bytes:
    frame = frames.parse(raw)
    frames.verify(frame, SIGN_PUBLIC)
    return frames.open_frame(frame, key)


def holding(plaintext: bytes) -> Frame:
    """A frame rightly signed and encrypted around bytes that `seal` would never put there."""
    context = b"sunaiva/batch/1" + VAULT + STREAM + (1).to_bytes(8, "big")
    derived = crypto.derive_once(EPOCH_KEY, salt=SALT, context=context, length=60)
    head = sealed().raw[:100] + derived[44:] + (len(plaintext) + 16).to_bytes(4, "big")
    body = head + crypto.seal_once(derived[:32], derived[32:44], plaintext, bound_to=head)
    digest = hashlib.sha256(b"sunaiva/batch/1" + body).digest()
    return frames.parse(body + agreement.sign(SEEDS.sign, b"sunaiva/signature/1" + digest))


def packed(codec: int, payload: bytes) -> bytes:
    said = struct.pack(">IB", len(payload), codec) + payload
    return said.ljust(frames.padded_length(len(said)), b"\0")


@given(
    content=st.binary(max_size=5_000) | st.binary(max_size=20).map(lambda part: part * 500),
    seq=st.integers(2, 2**64 - 1),
    epoch=st.integers(1, 2**32 - 1),
    control_seq=st.integers(0, 2**32 - 1),
    salt=st.binary(min_size=24, max_size=24),
)
def test_what_was_sealed_opens_and_says_who_and_where(
    content: bytes, seq: int, epoch: int, control_seq: int, salt: bytes
) -> None:
    frame = sealed(
        content, seq=seq, epoch=epoch, control_seq=control_seq, prev_hash=b"p" * 32, salt=salt
    )
    assert frames.parse(frame.raw) == frame
    assert received(frame.raw) == content
    header = frame.header
    assert (header.vault, header.stream, header.seq) == (VAULT, STREAM, seq)
    assert (header.epoch, header.control_seq, header.salt) == (epoch, control_seq, salt)


@given(flip=st.integers(0), content=st.binary(max_size=300))
def test_no_flipped_bit_goes_unnoticed(flip: int, content: bytes) -> None:
    raw = bytearray(sealed(content).raw)
    bit = flip % (len(raw) * 8)
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, ForgedError)):
        received(bytes(raw))


@given(flip=st.integers(0), content=st.binary(max_size=300))
def test_what_was_altered_and_signed_anew_does_not_open(flip: int, content: bytes) -> None:
    frame = sealed(content)
    raw = bytearray(frame.raw[:-64])
    bit = flip % ((len(raw) - 16) * 8)
    raw[16 + bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, UnreadableError)):
        frames.open_frame(frames.parse(bytes(raw) + bytes(64)), EPOCH_KEY)


def test_a_flipped_bit_of_the_signature_is_a_forgery() -> None:
    raw = bytearray(sealed().raw)
    raw[-1] ^= 1
    with pytest.raises(ForgedError):
        received(bytes(raw))


def test_a_batch_of_another_device_is_a_forgery() -> None:
    with pytest.raises(ForgedError):
        received(sealed(sign_seed=b"x" * 32).raw)


def test_another_key_does_not_open_it_and_the_commitment_says_so() -> None:
    with pytest.raises(UnreadableError):
        received(sealed().raw, key=b"K" * 32)


def test_a_wrong_commitment_is_refused_though_everything_else_fits() -> None:
    frame = holding(packed(0, b"content"))
    assert frames.open_frame(frame, EPOCH_KEY) == b"content"
    raw = frame.raw[:100] + bytes(16) + frame.raw[116:]
    with pytest.raises(UnreadableError):
        frames.open_frame(frames.parse(raw), EPOCH_KEY)


@given(length=st.integers(1, 2 * 1024 * 1024))
def test_padding_costs_at_most_twelve_percent_and_leaves_few_sizes(length: int) -> None:
    padded = frames.padded_length(length)
    assert length <= padded <= length * 1.12
    assert frames.padded_length(padded) == padded


def test_a_megabyte_of_sizes_leaves_a_few_hundred_to_see() -> None:
    assert len({frames.padded_length(length) for length in range(1, 1_000_000, 7)}) < 400


def test_the_same_salt_at_another_place_is_another_key() -> None:
    frame = sealed(seq=2, prev_hash=b"p" * 32)
    assert frame.header.commitment != sealed().header.commitment


def test_what_cannot_be_compressed_stands_as_it_is() -> None:
    noise = random.Random(1).randbytes(frames.SEALABLE_BYTES_MAX)
    frame = sealed(noise)
    assert len(frame.raw) <= frames.FRAME_BYTES_MAX
    assert received(frame.raw) == noise


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SV",
        sealed().raw[:-1],
        sealed().raw[:119],
        sealed().raw + b"\0",
        b"XV" + sealed().raw[2:],
        b"SV\0" + sealed().raw[3:],
        sealed().raw[:28] + bytes(8) + sealed().raw[36:],
        sealed().raw[:36] + bytes(4) + sealed().raw[40:],
        sealed().raw[:44] + b"p" * 32 + sealed().raw[76:],
        sealed().raw[:116] + b"\xff" * 4 + sealed().raw[120:],
        sealed().raw[:116] + bytes(4) + sealed().raw[120:],
    ],
    ids=[
        "nothing",
        "a magic alone",
        "cut by one",
        "cut in the header",
        "extended",
        "another magic",
        "suite 0",
        "seq 0",
        "epoch 0",
        "a first batch with one before it",
        "four gigabytes",
        "no ciphertext",
    ],
)
def test_what_is_no_batch_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        frames.parse(raw)


@given(body=st.binary(max_size=600))
def test_noise_is_malformed_and_nothing_else(body: bytes) -> None:
    for raw in (body, b"SV\1\0" + body):
        with pytest.raises(MalformedError):
            frames.parse(raw)


def test_a_body_is_split_into_its_batches() -> None:
    batches = [sealed(), sealed(b"x" * 700, seq=2, prev_hash=sealed().hash)]
    body = b"".join(batch.raw for batch in batches)
    assert frames.split(body, most=2) == batches
    assert frames.split(b"", most=2) == []
    for broken in (body[:-1], body + b"S", body + body):
        with pytest.raises(MalformedError):
            frames.split(broken, most=3)
    with pytest.raises(MalformedError):
        frames.split(body, most=1)
    with pytest.raises(MalformedError):
        frames.split(bytes(frames.PUSH_BYTES_MAX + 1), most=1)


@pytest.mark.parametrize(("at", "value"), [(2, 2), (3, 1)], ids=["a later suite", "a flag"])
def test_what_a_newer_version_sealed_waits_for_the_update(at: int, value: int) -> None:
    raw = bytearray(sealed().raw)
    raw[at] = value
    with pytest.raises(NewerContentError):
        frames.open_frame(frames.parse(bytes(raw)), EPOCH_KEY)


BOMB = zstandard.ZstdCompressor().compress(bytes(200 * 1024 * 1024))
UNSIZED = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(5_000))
SKIPPABLE = b"\x50\x2a\x4d\x18\4\0\0\0abcd"


@pytest.mark.parametrize(
    "plaintext",
    [
        packed(0, b"content") + b"\0",
        packed(0, b"x" * 128)[:-1] + b"\1",
        struct.pack(">IB", 2**32 - 1, 0) + b"content",
        struct.pack(">IB", 3, 0) + b"content",
        packed(2, b"content"),
        packed(1, b"content"),
        packed(1, b""),
        packed(1, BOMB),
        packed(1, UNSIZED),
        packed(1, SKIPPABLE),
        packed(1, zstandard.ZstdCompressor().compress(b"") * 2),
        packed(1, zstandard.ZstdCompressor().compress(b"abc" * 99) + SKIPPABLE),
        packed(1, zstandard.ZstdCompressor().compress(b"abc" * 99)[:-3]),
    ],
    ids=[
        "more padding",
        "padding that is not zero",
        "a length beyond the end",
        "a length that ends early",
        "an unknown codec",
        "not zstd",
        "empty zstd",
        "a bomb",
        "a bomb that does not say its size",
        "a skippable frame",
        "nothing, twice",
        "something after the end",
        "cut short",
    ],
)
def test_a_signed_batch_around_nonsense_is_malformed_in_little_memory(plaintext: bytes) -> None:
    frame = holding(plaintext)
    tracemalloc.start()
    with pytest.raises(MalformedError):
        frames.open_frame(frame, EPOCH_KEY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * CONTENT_BYTES_MAX


@given(payload=st.binary(max_size=200), codec=st.integers(0, 255))
def test_a_signed_batch_around_noise_opens_or_is_malformed(payload: bytes, codec: int) -> None:
    frame = holding(packed(codec, payload))
    if codec == 0:
        assert frames.open_frame(frame, EPOCH_KEY) == payload
        return
    with pytest.raises(MalformedError):
        frames.open_frame(frame, EPOCH_KEY)
    lying = zstandard.ZstdCompressor().compress(b"a" * 100)
    with pytest.raises(MalformedError):
        frames.open_frame(holding(packed(1, lying[:6] + payload)), EPOCH_KEY)
