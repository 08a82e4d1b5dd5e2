"""What devices tell each other about memories, and its bytes (MessagePack, as docs/protocol.md lays them out).

Values of fields stay as they were encoded: the change log never interprets them, so what a newer version wrote is kept and passed
on byte for byte. Whatever cannot be read is said to be malformed, one operation at a time; nothing here raises anything else.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from shared.errors import CorruptError
from sync_service.changes.clock import LATEST

ID_BYTES = 16
STREAM_BYTES = 8
HASH_BYTES = 32

# A text of a megabyte, the largest there is, and what stands around it.
OP_BYTES_MAX = 1_250_000
OPS_PER_BATCH_MAX = 4_096
# Decompressed; a batch of one largest operation and its neighbours fits.
CONTENT_BYTES_MAX = 4 * 1024 * 1024
FIELDS_MAX = 64
FIELD_NUMBER_MAX = 255
SETS_MAX = 256  # tags or links in one operation; a memory has fewer
NAME_BYTES_MAX = 1_000
LENGTH_MAX = (1 << 32) - 1  # nobody puts a tag on and takes it off again so often
# What the databases of devices and servers count up to. A million batches a second for a quarter of a million years.
SEQ_MAX = (1 << 63) - 1
HEADS_MAX = 1_024  # streams in a vault: dozens of devices, each cloned or restored now and then

CONTENT_VERSION = 1
SET, TAG, LINK, FORGET = 0, 1, 2, 3
# An unknown kind from here on may be passed over, kept and passed on; a lower one has to be understood.
OPTIONAL_KINDS = 64
KINDS_MAX = 127

Clock = tuple[int, bytes]
"""When and on which stream: (hlc, stream id). Total order; ties between streams go to the greater id."""


class MalformedError(CorruptError):
    """Bytes that no implementation writes. What holds them is set aside; everything else goes on."""

    code = "malformed"


# Nothing here can hold itself, so the garbage collector need not look at it: a tenth of the time of reading a batch.
class Set(Struct, frozen=True, gc=False):
    """Fields get values, all at one clock. `replaces` says, of guarded fields, which versions the author saw and replaced."""

    memory: bytes
    hlc: int
    fields: dict[int, bytes]
    replaces: dict[int, tuple[Clock, ...]] = {}


class Tag(Struct, frozen=True, gc=False):
    """Causal lengths: odd is there, even is not; the greater wins."""

    memory: bytes
    hlc: int
    tags: dict[str, int]


class Link(Struct, frozen=True, gc=False):
    memory: bytes
    hlc: int
    links: dict[tuple[str, bytes], int]


class Forget(Struct, frozen=True, gc=False):
    """For ever, against everything concurrent or later."""

    memory: bytes
    hlc: int


class Foreign(Struct, frozen=True, gc=False):
    """Of a kind that only a newer version knows: kept and passed on as it is."""

    memory: bytes
    hlc: int
    kind: int
    payload: bytes


Op = Set | Tag | Link | Forget | Foreign


class Head(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far a stream was applied: the sequence number and hash of its last batch."""

    stream: bytes
    seq: int
    hash: bytes


class Content(Struct, frozen=True):
    """What a batch carries once it is open."""

    heads: tuple[Head, ...]
    """Of all streams its author has applied; empty when nothing changed since the batch before."""
    digest: bytes | None
    """Of the author's whole state at those heads and this batch, when it had nothing else unsent."""
    ops: tuple[Op, ...]
    malformed: tuple[bytes, ...] = ()
    """Operations that could not be read, as they came."""
    newer: tuple[bytes, ...] = ()
    """Operations of a kind that has to be understood, and is not yet."""


class NewerContentError(CorruptError):
    """The whole batch is in a form that only a newer version reads. It waits for the update; nothing is lost."""

    code = "newer_content"


_ENCODER = msgspec.msgpack.Encoder()
_CONTENT = msgspec.msgpack.Decoder(tuple[int, int, list[Head], bytes | None, list[Raw]])
_VERSION = msgspec.msgpack.Decoder(list[Raw])
_VALUE = msgspec.msgpack.Decoder(Raw)

MemoryId = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
StreamId = Annotated[bytes, Meta(min_length=STREAM_BYTES, max_length=STREAM_BYTES)]
FieldNumber = Annotated[int, Meta(ge=1, le=FIELD_NUMBER_MAX)]
CausalLength = Annotated[int, Meta(ge=1, le=LENGTH_MAX)]
_Seen = Annotated[
    list[tuple[Annotated[int, Meta(ge=0)], StreamId]], Meta(min_length=1, max_length=SETS_MAX)
]
_Fields = Annotated[dict[FieldNumber, Raw], Meta(min_length=1, max_length=FIELDS_MAX)]
_OP = msgspec.msgpack.Decoder(tuple[Annotated[int, Meta(ge=0, le=KINDS_MAX)], MemoryId, int, Raw])
_SET = msgspec.msgpack.Decoder(
    tuple[_Fields, Annotated[dict[FieldNumber, _Seen], Meta(max_length=FIELDS_MAX)]]
)
_TAG = msgspec.msgpack.Decoder(
    Annotated[dict[str, CausalLength], Meta(min_length=1, max_length=SETS_MAX)]
)
_LINK = msgspec.msgpack.Decoder(
    Annotated[list[tuple[str, MemoryId, CausalLength]], Meta(min_length=1, max_length=SETS_MAX)]
)

# What decoding raises for bytes that are not what they should be.
UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, OverflowError)


def encode_content(
    ops: Sequence[Op], *, heads: Sequence[Head] = (), digest: bytes | None = None
) -> bytes:
    """The bytes that a batch seals."""
    base = min((op.hlc for op in ops), default=0)
    return _ENCODER.encode(
        (CONTENT_VERSION, base, list(heads), digest, [Raw(encode_op(op, base)) for op in ops])
    )


def encode_op(op: Op, base: int = 0) -> bytes:
    kind, payload = _payload(op)
    return _ENCODER.encode((kind, op.memory, op.hlc - base, payload))


def decode_content(content: bytes) -> Content:
    """
    Raises:
        MalformedError: it is no content at all.
        NewerContentError: a newer version wrote it.
    """
    if len(content) > CONTENT_BYTES_MAX:
        raise MalformedError("A batch is larger than any that Sunaiva writes.")
    try:
        _, base, heads, digest, raws = _CONTENT.decode(content)
    except UNREADABLE:
        raise _unreadable(content) from None
    if content[1] != CONTENT_VERSION:
        raise _unreadable(content)
    if (
        len(raws) > OPS_PER_BATCH_MAX
        or len(heads) > HEADS_MAX
        or not 0 <= base <= LATEST
        or not all(map(is_head, heads))
        or len({head.stream for head in heads}) != len(heads)
        or (digest is not None and len(digest) != HASH_BYTES)
    ):
        raise MalformedError("A batch says of itself what cannot be.")
    ops: list[Op] = []
    malformed: list[bytes] = []
    newer: list[bytes] = []
    for raw in raws:
        op = _decoded(raw, base)
        if op is None:
            malformed.append(bytes(raw))
        elif isinstance(op, _Newer):
            newer.append(bytes(raw))
        else:
            ops.append(op)
    return Content(tuple(heads), digest, tuple(ops), tuple(malformed), tuple(newer))


def decode_op(raw: bytes, base: int = 0) -> Op:
    """
    Raises:
        MalformedError: it is none, or of a kind that has to be understood and is not.
    """
    op = _decoded(Raw(raw), base)
    if op is None or isinstance(op, _Newer):
        raise MalformedError("Something in the change log is no operation that this version knows.")
    return op


def is_head(head: Head) -> bool:
    """Whether a stream can be so far."""
    return (
        len(head.stream) == STREAM_BYTES
        and len(head.hash) == HASH_BYTES
        and 1 <= head.seq <= SEQ_MAX
    )


def is_value(raw: bytes) -> bool:
    """Whether an operation can carry this as the value of a field: one whole value, and not too large."""
    try:
        _VALUE.decode(raw)
    except UNREADABLE:
        return False
    return len(raw) <= OP_BYTES_MAX


class _Newer(Struct, frozen=True):
    pass


def _decoded(raw: Raw, base: int) -> Op | _Newer | None:
    if len(raw) > OP_BYTES_MAX:
        return None
    try:
        kind, memory, delta, payload = _OP.decode(raw)
        hlc = base + delta
        if not 0 <= hlc <= LATEST:
            return None
        if kind == SET:
            return _set(memory, hlc, payload)
        if kind == TAG:
            return _tag(memory, hlc, payload)
        if kind == LINK:
            return _link(memory, hlc, payload)
        if kind == FORGET:
            return Forget(memory, hlc) if bytes(payload) == b"\xc0" else None
        return Foreign(memory, hlc, kind, bytes(payload)) if kind >= OPTIONAL_KINDS else _Newer()
    except UNREADABLE:
        return None


def _set(memory: bytes, hlc: int, payload: Raw) -> Set | None:
    fields, replaces = _SET.decode(payload)
    said = bytes(payload)
    if not _is_distinct(said, len(fields), at=1):
        return None
    given = {field: bytes(value) for field, value in fields.items()}
    if not replaces:
        return Set(memory, hlc, given)
    if not replaces.keys() <= fields.keys():
        return None
    if any(seen >= hlc for clocks in replaces.values() for seen, _ in clocks):
        return None  # only what is earlier can have been seen and replaced
    op = Set(memory, hlc, given, {field: tuple(clocks) for field, clocks in replaces.items()})
    return op if _ENCODER.encode(_payload(op)[1]) == said else None


def _tag(memory: bytes, hlc: int, payload: Raw) -> Tag | None:
    tags = _TAG.decode(payload)
    fits = _is_distinct(bytes(payload), len(tags), at=0) and all(map(_is_name, tags))
    return Tag(memory, hlc, tags) if fits else None


def _link(memory: bytes, hlc: int, payload: Raw) -> Link | None:
    given = _LINK.decode(payload)
    links = {(relation, target): length for relation, target, length in given}
    fits = len(given) == len(links) and all(_is_name(relation) for relation, _ in links)
    return Link(memory, hlc, links) if fits else None


def _payload(op: Op) -> tuple[int, object]:
    match op:
        case Set():
            fields = {field: Raw(op.fields[field]) for field in sorted(op.fields)}
            replaces = {field: sorted(set(op.replaces[field])) for field in sorted(op.replaces)}
            return SET, (fields, replaces)
        case Tag():
            return TAG, dict(sorted(op.tags.items()))
        case Link():
            return LINK, [
                (relation, target, n) for (relation, target), n in sorted(op.links.items())
            ]
        case Forget():
            return FORGET, None
        case Foreign():
            return op.kind, Raw(op.payload)


def _is_distinct(said: bytes, count: int, *, at: int) -> bool:
    """Whether the map at `at` was written with `count` keys: more were there if one is there twice."""
    if count < 16:
        return said[at] == 0x80 | count
    return said[at] == 0xDE and int.from_bytes(said[at + 1 : at + 3], "big") == count


def _is_name(name: str) -> bool:
    return 0 < len(name.encode()) <= NAME_BYTES_MAX


def _unreadable(content: bytes) -> MalformedError | NewerContentError:
    try:
        version = msgspec.msgpack.decode(_VERSION.decode(content)[0], type=int)
    except (*UNREADABLE, IndexError):
        version = CONTENT_VERSION
    if version > CONTENT_VERSION:
        return NewerContentError(
            "A device with a newer Sunaiva wrote something that this version cannot read. Update Sunaiva here; it is kept until then."
        )
    return MalformedError("A batch holds bytes that are no content.")
