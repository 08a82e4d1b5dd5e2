"""Sealed batches: the only form in which operations leave a device. A server sees a header, a size class and a signature.

Each batch has a key of its own, so that no clone of a device, no restored backup and no broken random source of one day can use a
nonce twice. What is checked, and in which order, is up to whoever receives it: parse, verify, chain, suite, open. Bytes are hashed
and verified as they came. Nothing here trusts a length before it has compared it with a limit.
"""

import hashlib
import struct

import zstandard
from msgspec import Struct

from shared import agreement, crypto
from shared.errors import CorruptError, ForbiddenError
from sync_service.changes.ops import (
    CONTENT_BYTES_MAX,
    HASH_BYTES,
    ID_BYTES,
    SEQ_MAX,
    STREAM_BYTES,
    MalformedError,
    NewerContentError,
)

SUITE = 1  # HKDF-SHA256, AES-256-GCM, SHA-256, Ed25519
HEADER_BYTES = 120
SALT_BYTES = 24
COMMITMENT_BYTES = 16
# The largest operation, padded, as it stands if it cannot be compressed, and others around it.
FRAME_BYTES_MAX = 2 * 1024 * 1024
# What a writer puts into one batch: it fits even if nothing of it can be compressed. Readers take up to CONTENT_BYTES_MAX.
SEALABLE_BYTES_MAX = 1_800_000
# What is sent at once; a relay may refuse more.
PUSH_BYTES_MAX = 4 * 1024 * 1024
PUSH_FRAMES_MAX = 256
NO_HASH = bytes(HASH_BYTES)
"""`prev_hash` of the first batch of a stream."""

_MAGIC = b"SV"
_HEADER = struct.Struct(">2sBB16s8sQII32s24s16sI")
_BEFORE = struct.Struct(">IB")  # length of the payload, codec
_STORED, _ZSTD = 0, 1
_LEVEL = 3
_NONCE_BYTES = 12
_FOR_BATCHES = b"sunaiva/batch/1"
_FOR_SIGNATURES = b"sunaiva/signature/1"


class ForgedError(ForbiddenError):
    """A signature that does not fit its device."""

    code = "forged"


class UnreadableError(CorruptError):
    """A batch that the vault's key does not open."""

    code = "unreadable"


class Header(Struct, frozen=True, kw_only=True):
    suite: int
    flags: int
    vault: bytes
    stream: bytes
    seq: int
    epoch: int
    control_seq: int
    """The last entry of the device list that the author had seen."""
    prev_hash: bytes
    salt: bytes
    commitment: bytes
    ct_len: int


class Frame(Struct, frozen=True):
    """A batch as it travels. That it is there says nothing about who made it: see `verify`."""

    header: Header
    raw: bytes
    hash: bytes


def seal(  # noqa: PLR0913 (what stands in a header, each by its name)
    content: bytes,
    *,
    vault: bytes,
    stream: bytes,
    seq: int,
    epoch: int,
    control_seq: int,
    prev_hash: bytes,
    epoch_key: bytes,
    sign_seed: bytes,
    salt: bytes,
) -> Frame:
    """`salt` is random, and new for each batch. A batch is sealed once and kept: whoever sends it again sends these bytes."""
    assert len(content) <= SEALABLE_BYTES_MAX
    assert (len(vault), len(stream), len(salt)) == (ID_BYTES, STREAM_BYTES, SALT_BYTES)
    assert seq >= 1
    assert epoch >= 1
    assert (prev_hash == NO_HASH) == (seq == 1)
    key, nonce, commitment = _once(epoch_key, salt, vault, stream, seq)
    plaintext = pack(content)
    header = Header(
        suite=SUITE,
        flags=0,
        vault=vault,
        stream=stream,
        seq=seq,
        epoch=epoch,
        control_seq=control_seq,
        prev_hash=prev_hash,
        salt=salt,
        commitment=commitment,
        ct_len=len(plaintext) + crypto.TAG_BYTES,
    )
    head = _header_bytes(header)
    body = head + crypto.seal_once(key, nonce, plaintext, bound_to=head)
    digest = _hash(body)
    return Frame(header, body + agreement.sign(sign_seed, _FOR_SIGNATURES + digest), digest)


def parse(raw: bytes) -> Frame:
    """The batch that `raw` is, whole. Nothing about it is verified.

    Raises:
        MalformedError
    """
    frame = _first(raw, 0)
    if len(frame.raw) != len(raw):
        raise MalformedError("Something follows a batch where nothing should.")
    return frame


def split(body: bytes, *, most: int) -> list[Frame]:
    """The batches that stand one after another in `body`; at most so many.

    Raises:
        MalformedError
    """
    if len(body) > PUSH_BYTES_MAX:
        raise MalformedError("More was sent at once than Sunaiva ever sends.")
    frames: list[Frame] = []
    offset = 0
    while offset < len(body):
        if len(frames) == most:
            raise MalformedError(f"More than {most} batches were sent at once.")
        frame = _first(body, offset)
        frames.append(frame)
        offset += len(frame.raw)
    return frames


def verify(frame: Frame, sign_public: bytes) -> None:
    """
    Raises:
        ForgedError: the owner of `sign_public` did not make this batch.
    """
    signature = frame.raw[-agreement.SIGNATURE_BYTES :]
    if not agreement.is_signed(sign_public, _FOR_SIGNATURES + frame.hash, signature):
        raise ForgedError(
            "A batch is not signed by the device it claims to come from. It was set aside; nothing was changed by it."
        )


def open_frame(frame: Frame, epoch_key: bytes) -> bytes:
    """The content of a batch that was verified.

    Raises:
        UnreadableError: another key, or altered; who signed it sealed it wrongly.
        MalformedError: it opens, and holds no content.
        NewerContentError: sealed in a way that only a newer version knows.
    """
    header = frame.header
    if header.suite != SUITE or header.flags:
        raise NewerContentError(
            "A device with a newer Sunaiva encrypted something in a way that this version cannot read. Update Sunaiva here; "
            "it is kept until then."
        )
    key, nonce, commitment = _once(epoch_key, header.salt, header.vault, header.stream, header.seq)
    if not crypto.equal(commitment, header.commitment):
        raise _unreadable()
    body = frame.raw[: -agreement.SIGNATURE_BYTES]
    try:
        plaintext = crypto.open_once(key, nonce, body[HEADER_BYTES:], bound_to=body[:HEADER_BYTES])
    except ForbiddenError:
        raise _unreadable() from None
    return unpack(plaintext)


def padded_length(length: int) -> int:
    """Padmé (Nikitin et al. 2019): at most 12 % more, and only O(log log) bits of the length are left to see."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    unseen = exponent - exponent.bit_length()
    return (length + (1 << unseen) - 1) >> unseen << unseen


def _first(body: bytes, offset: int) -> Frame:
    if len(body) - offset < HEADER_BYTES:
        raise MalformedError("A batch is cut short.")
    magic, *values = _HEADER.unpack_from(body, offset)
    header = Header(**dict(zip(Header.__struct_fields__, values, strict=True)))
    length = HEADER_BYTES + header.ct_len + agreement.SIGNATURE_BYTES
    is_placed = 1 <= header.seq <= SEQ_MAX
    if magic != _MAGIC or not header.suite or not is_placed or not header.epoch:
        raise MalformedError("What should be a batch begins like none.")
    if (header.prev_hash == NO_HASH) != (header.seq == 1):
        raise MalformedError("Only the first batch of a stream has none before it.")
    if header.ct_len < _BEFORE.size + crypto.TAG_BYTES or length > FRAME_BYTES_MAX:
        raise MalformedError("A batch has a size that none has.")
    raw = body[offset : offset + length]
    if len(raw) != length:
        raise MalformedError("A batch is cut short.")
    return Frame(header, raw, _hash(raw[: -agreement.SIGNATURE_BYTES]))


def _header_bytes(header: Header) -> bytes:
    return _HEADER.pack(_MAGIC, *(getattr(header, name) for name in Header.__struct_fields__))


def _hash(body: bytes) -> bytes:
    return hashlib.sha256(_FOR_BATCHES + body).digest()


def _once(
    epoch_key: bytes, salt: bytes, vault: bytes, stream: bytes, seq: int
) -> tuple[bytes, bytes, bytes]:
    assert len(epoch_key) == crypto.KEY_BYTES
    derived = crypto.derive_once(
        epoch_key,
        salt=salt,
        context=_FOR_BATCHES + vault + stream + seq.to_bytes(8, "big"),
        length=crypto.KEY_BYTES + _NONCE_BYTES + COMMITMENT_BYTES,
    )
    rest = derived[crypto.KEY_BYTES :]
    return derived[: crypto.KEY_BYTES], rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]


def pack(content: bytes) -> bytes:
    """Compressed if that is shorter, and padded: what batches and segments encrypt."""
    compressed = zstandard.ZstdCompressor(level=_LEVEL).compress(content)
    codec, payload = (_ZSTD, compressed) if len(compressed) < len(content) else (_STORED, content)
    packed = _BEFORE.pack(len(payload), codec) + payload
    return packed.ljust(padded_length(len(packed)), b"\0")


def unpack(plaintext: bytes) -> bytes:
    """
    Raises:
        MalformedError
    """
    if len(plaintext) < _BEFORE.size:
        raise MalformedError("A batch has nothing inside.")
    length, codec = _BEFORE.unpack_from(plaintext)
    end = _BEFORE.size + length
    if len(plaintext) != padded_length(end) or plaintext[end:].strip(b"\0"):
        raise MalformedError("A batch is not padded as it should be.")
    payload = plaintext[_BEFORE.size : end]
    if codec == _STORED:
        return payload
    if codec != _ZSTD:
        raise MalformedError("A batch is compressed in a way that its form does not know.")
    return _decompressed(payload)


def _decompressed(payload: bytes) -> bytes:
    """The size is said beforehand, or it is refused: nothing can unfold to more than the limit."""
    try:
        said = zstandard.get_frame_parameters(payload)
        if said.dict_id or not 0 < said.content_size <= CONTENT_BYTES_MAX:
            raise MalformedError("A batch unfolds to more than Sunaiva ever writes.")
        return zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError:
        raise MalformedError("A batch cannot be decompressed.") from None


def _unreadable() -> UnreadableError:
    return UnreadableError(
        "A batch cannot be decrypted with the vault's key. It is kept aside; everything else goes on."
    )
