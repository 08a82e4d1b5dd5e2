"""The laws by which devices come to agree: what an operation does to a memory, and what two states become together. Pure.

A state is a join semilattice (Shapiro et al. 2011): `join` commutes, associates and is idempotent, and to apply an operation is to
join with the little state that it stands for. So order, repetition and batching cannot matter. Fields are last-writer-wins by
(clock, stream); of guarded ones every version stays that nobody has knowingly replaced; tags and links are causal-length sets
(Yu and Rostad 2020); forgetting absorbs everything.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from shared.errors import ConflictError
from sync_service.changes.clock import LATEST, Hlc, beating
from sync_service.changes.fields import GUARDED, Field
from sync_service.changes.ops import (
    LENGTH_MAX,
    SETS_MAX,
    UNREADABLE,
    CausalLength,
    Clock,
    FieldNumber,
    Foreign,
    Forget,
    Link,
    MalformedError,
    MemoryId,
    Op,
    Set,
    StreamId,
    Tag,
    is_value,
)

Version = tuple[int, bytes, bytes]
"""(hlc, stream, value). Ordered as they stand: the value last, so that even two values at one clock, which only a liar writes, converge."""


T = TypeVar("T")
V = TypeVar("V", int, Version)


class UnbeatableError(ConflictError):
    """Another device has written the last that can be written there. Only a liar gets so far."""

    code = "unbeatable"

    def __init__(self) -> None:
        super().__init__(
            "Another device has dated this memory so far in the future, or turned a tag so often, that nothing can follow. "
            "Remember its text anew and forget this one; and look at `sunaiva devices`, whether you know all of them."
        )


_KNOWN = frozenset(Field)
_FORGOTTEN = b"\xc0"
_DIGESTS = 1 << 256
_Hlc = Annotated[int, Meta(ge=0, le=LATEST)]
_PARTS: tuple[Any, ...] = (
    list[tuple[_Hlc, StreamId, list[FieldNumber]]],
    dict[str, CausalLength],
    list[tuple[str, MemoryId, CausalLength]],
    list[tuple[FieldNumber, _Hlc, StreamId, bytes]],
    list[tuple[FieldNumber, _Hlc, StreamId]],
    list[tuple[int, _Hlc, StreamId, bytes]],
    dict[FieldNumber, bytes],
)
_ABSENT: tuple[Any, ...] = ((), {}, (), (), (), (), {})
_ENCODER = msgspec.msgpack.Encoder()
_WHOLE = msgspec.msgpack.Decoder(tuple[Raw, dict[FieldNumber, bytes]])


class State(Struct, frozen=True, gc=False):
    """Everything that devices have agreed on about one memory. The dicts are never changed in place."""

    fields: dict[int, Version] = {}
    tags: dict[str, int] = {}
    links: dict[tuple[str, bytes], int] = {}
    rivals: frozenset[tuple[int, Version]] = frozenset()
    """Other versions of guarded fields that nobody has replaced: for a person or an assistant to decide."""
    replaced: frozenset[tuple[int, Clock]] = frozenset()
    """Versions of guarded fields that somebody saw and replaced, lest they come back another way."""
    foreign: frozenset[tuple[int, int, bytes, bytes]] = frozenset()
    """(kind, hlc, stream, payload) of operations that only a newer version knows."""
    forgotten: bool = False


EMPTY = State()
FORGOTTEN = State(forgotten=True)


def apply(state: State, op: Op, stream: bytes) -> State:
    """`state` after an operation that came on `stream`; the same object if that changes nothing."""
    if state is EMPTY and isinstance(op, Set) and not op.replaces:
        return _set(op, stream)  # nearly all operations, and much faster than a join
    return join(state, _state_of(op, stream))


def join(a: State, b: State) -> State:
    """What both say together: their least upper bound; `a` itself if `b` adds nothing."""
    if a.forgotten or b.forgotten:
        return a if a.forgotten else FORGOTTEN
    replaced = a.replaced | b.replaced
    fields = _greatest(a.fields, b.fields)
    rivals = a.rivals | b.rivals
    for field in GUARDED:
        if field in a.fields and field in b.fields:
            rivals |= {(field, a.fields[field]), (field, b.fields[field])}
    if rivals:
        # What is shown is the greatest of all; only smaller ones can have been replaced (`ops` sees to it).
        rivals = frozenset(
            (field, version)
            for field, version in rivals
            if version != fields[field] and (field, version[:2]) not in replaced
        )
    joined = State(
        fields,
        _greatest(a.tags, b.tags),
        _greatest(a.links, b.links),
        rivals,
        replaced,
        a.foreign | b.foreign,
    )
    return a if joined == a else joined


def conflicts(state: State) -> list[tuple[int, Version]]:
    """Versions that lost to one their author did not know of, and say something else; in an order that all devices share."""
    return sorted(
        (field, version) for field, version in state.rivals if version[2] != state.fields[field][2]
    )


def edit(
    state: State,
    memory: bytes,
    hlc: Hlc,
    *,
    fields: Mapping[int, bytes] | None = None,
    tags: Iterable[str] | None = None,
    links: Iterable[tuple[str, bytes]] | None = None,
) -> list[Op]:
    """The operations by which somebody who sees `state` brings it to these fields, tags and links; what is not given stays.

    They win over everything in `state`, however far ahead its clocks are. A field that already says so is not written, unless
    to decide a conflict over it.

    Raises:
        UnbeatableError: nothing can win over it.
    """
    ops: list[Op] = []
    rivals = {field for field, _ in state.rivals}
    changed = {
        field: value
        for field, value in (fields or {}).items()
        if field in rivals or field not in state.fields or state.fields[field][2] != value
    }
    if changed:
        ops.append(_write(state, memory, hlc, changed))
    if tags is not None:
        ops += [Tag(memory, hlc, turned) for turned in _turned(state.tags, set(tags))]
    if links is not None:
        ops += [Link(memory, hlc, turned) for turned in _turned(state.links, set(links))]
    return ops


def present(lengths: Mapping[Any, int]) -> list[Any]:
    """What a causal-length set holds, sorted."""
    return sorted(name for name, length in lengths.items() if length % 2)


# --- one form in bytes, the same on every device -------------------------------------------------------------


def clocks(state: State) -> bytes:
    """The state without the values of known fields: equal on two devices exactly if they agree. A device keeps it beside the values."""
    if state.forgotten:
        return _FORGOTTEN
    if state.fields and not (
        state.tags or state.links or state.rivals or state.replaced or state.foreign
    ):
        numbers = sorted(state.fields)
        hlc, stream, _ = state.fields[numbers[0]]
        # A memory that was written once, as nearly all are: some times as fast as below, and the same.
        for one_hlc, one_stream, _ in state.fields.values():
            if one_hlc != hlc or one_stream != stream:
                break
        else:
            if _KNOWN.issuperset(numbers):
                return _ENCODER.encode((((hlc, stream, numbers),),))
    groups: dict[Clock, list[int]] = {}
    for field in sorted(state.fields):
        groups.setdefault(state.fields[field][:2], []).append(field)
    parts = (
        [(hlc, stream, numbers) for (hlc, stream), numbers in sorted(groups.items())],
        dict(sorted(state.tags.items())),
        [(relation, target, length) for (relation, target), length in sorted(state.links.items())],
        [(field, *version) for field, version in sorted(state.rivals)],
        [(field, *clock) for field, clock in sorted(state.replaced)],
        sorted(state.foreign),
        {field: state.fields[field][2] for field in sorted(state.fields) if field not in _KNOWN},
    )
    used = max((number for number, part in enumerate(parts, 1) if part), default=1)
    return _ENCODER.encode(parts[:used])


def with_values(encoded: bytes, value_of: Callable[[int], bytes]) -> State:
    """The state of which `clocks` made `encoded`; `value_of` gives the value of a known field.

    Raises:
        MalformedError
    """
    if encoded == _FORGOTTEN:
        return FORGOTTEN
    try:
        given = msgspec.msgpack.decode(encoded, type=list[Raw])
        parts = [
            msgspec.msgpack.decode(raw, type=kind) for raw, kind in zip(given, _PARTS, strict=False)
        ]
    except UNREADABLE:
        raise _unreadable() from None
    if not 0 < len(given) <= len(_PARTS):
        raise _unreadable()
    groups, tags, links, rivals, replaced, foreign, unknown = (*parts, *_ABSENT[len(parts) :])
    if any(number not in _KNOWN and number not in unknown for _, _, of in groups for number in of):
        raise _unreadable()
    state = State(
        {
            field: (hlc, stream, value_of(field) if field in _KNOWN else unknown[field])
            for hlc, stream, numbers in groups
            for field in numbers
        },
        tags,
        {(relation, target): length for relation, target, length in links},
        frozenset((field, (hlc, stream, value)) for field, hlc, stream, value in rivals),
        frozenset((field, (hlc, stream)) for field, hlc, stream in replaced),
        frozenset(foreign),
    )
    if any(
        field not in state.fields or state.fields[field] <= lost for field, lost in state.rivals
    ):
        raise _unreadable()
    return state


def encode(state: State) -> bytes:
    """The whole state: what snapshots carry."""
    values = {field: state.fields[field][2] for field in sorted(state.fields) if field in _KNOWN}
    return _ENCODER.encode((Raw(clocks(state)), values))


def decode(encoded: bytes) -> State:
    """What `encode` was given.

    Raises:
        MalformedError
    """
    try:
        history, values = _WHOLE.decode(encoded)
        state = with_values(bytes(history), values.__getitem__)
    except (*UNREADABLE, KeyError):
        raise _unreadable() from None
    # Operations are looked at one by one; a state may come from a snapshot that a liar wrote.
    if not all(map(is_value, _values(state))):
        raise _unreadable()
    return state


def fingerprint(memory: bytes, state: State) -> int:
    """A memory's part of the digest of a whole vault, which is the sum of these: it follows changes one by one."""
    return fingerprint_of(memory, clocks(state))


def fingerprint_of(memory: bytes, encoded: bytes) -> int:
    """The same of a state by what `clocks` says of it."""
    return int.from_bytes(hashlib.sha256(memory + encoded).digest(), "big")


def digest(total: int) -> bytes:
    """The digest of the vault whose memories' fingerprints come to `total`."""
    return (total % _DIGESTS).to_bytes(32, "big")


def _state_of(op: Op, stream: bytes) -> State:
    match op:
        case Set():
            replaced = frozenset(
                (field, clock) for field, clocks in op.replaces.items() for clock in clocks
            )
            return msgspec.structs.replace(_set(op, stream), replaced=replaced)
        case Tag():
            return State(tags=op.tags)
        case Link():
            return State(links=op.links)
        case Forget():
            return FORGOTTEN
        case Foreign():
            return State(foreign=frozenset({(op.kind, op.hlc, stream, op.payload)}))


def _set(op: Set, stream: bytes) -> State:
    hlc = op.hlc
    return State({field: (hlc, stream, value) for field, value in op.fields.items()})


def _values(state: State) -> Iterator[bytes]:
    yield from (value for _, _, value in state.fields.values())
    yield from (value for _, (_, _, value) in state.rivals)
    yield from (payload for _, _, _, payload in state.foreign)


def _write(state: State, memory: bytes, hlc: Hlc, fields: dict[int, bytes]) -> Set:
    replaces: dict[int, tuple[Clock, ...]] = {}
    for field in fields:
        seen = [version for of, version in state.rivals if of == field]
        if field in state.fields:
            seen.append(state.fields[field])
        for version in seen:
            hlc = beating(hlc, Hlc(version[0]))
        if hlc > LATEST:
            raise UnbeatableError
        if field in GUARDED and seen:
            replaces[field] = tuple(sorted({version[:2] for version in seen})[-SETS_MAX:])
    return Set(memory, hlc, fields, replaces)


def _turned(lengths: Mapping[T, int], wanted: set[T]) -> Iterator[dict[T, int]]:
    """The lengths that make exactly `wanted` present, as many as one operation may hold at a time."""
    held = {name for name, length in lengths.items() if length % 2}
    turned = [(name, lengths.get(name, 0) + 1) for name in held ^ wanted]
    if any(length > LENGTH_MAX for _, length in turned):
        raise UnbeatableError
    for at in range(0, len(turned), SETS_MAX):
        yield dict(turned[at : at + SETS_MAX])


def _greatest(a: dict[T, V], b: dict[T, V]) -> dict[T, V]:
    if not b:
        return a
    merged = dict(a)
    for name, value in b.items():
        if name not in merged or value > merged[name]:
            merged[name] = value
    return merged


def _unreadable() -> MalformedError:
    return MalformedError("What is kept about a memory's history cannot be read.")
