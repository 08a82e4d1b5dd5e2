"""A memory as the values of its fields in the change log, and back. Pure.

What arrives was written by another device, perhaps a newer or a broken one: a value that this version's tables cannot hold is
put aside whole, and the memory is shown with the field's default meanwhile; a name is shown as far as it is one. Only a text has no
default. What is shown follows from the state alone, so that it is the same on every device.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from mcp_server.model import (
    DEFAULT_SPACE,
    LINKS_MAX,
    TAGS_MAX,
    TEXT_BYTES_MAX,
    Kind,
    Link,
    Memory,
    Source,
    Trust,
)
from mcp_server.naming import as_name, is_name
from mcp_server.vault.store import as_bytes, as_id
from shared.clock import from_ms, to_ms
from shared.ids import MemoryId
from sync_service.changes.clock import Hlc, milliseconds
from sync_service.changes.fields import Field
from sync_service.changes.merge import State, present
from sync_service.changes.ops import UNREADABLE

Fields = dict[int, bytes]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_KINDS: Final = frozenset(get_args(Kind))
_TRUSTS: Final = frozenset(get_args(Trust))
# What a datetime can hold: from the year 1 to the year 9999.
_EARLIEST_MS: Final = -62_135_596_800_000
_LATEST_MS: Final = 253_402_300_799_999
# The next position has to fit as well, into the tables and into JSON.
_POSITION_MAX: Final = 1 << 53
# So short a value is mostly one that thousands of memories share.
_SHARED_BYTES_MAX = 64


class _Unfit:
    """In place of a value that a record cannot hold."""


_UNFIT: Final = _Unfit()
_UNREAD: Final = object()

Value = str | bytes | int | float | bool | None
Values = list[Any]
"""A memory's values by the numbers of their fields, as the vault's columns hold them; the place 0 is empty."""


def _is_time(value: Any) -> bool:
    return type(value) is int and _EARLIEST_MS <= value <= _LATEST_MS


def _is_name(value: Any) -> bool:
    return type(value) is str and is_name(value)


def _is_id(value: Any) -> bool:
    return type(value) is bytes and len(value) == 16


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_text(value: Any) -> bool:
    return (
        type(value) is str
        and value != ""
        and not value.isspace()
        and len(value.encode()) <= TEXT_BYTES_MAX
    )


def _is_flag(value: Any) -> bool:
    return type(value) is bool


_FITS: dict[int, Callable[[Any], bool]] = {
    Field.TEXT: _is_text,
    Field.KIND: lambda value: value in _KINDS if type(value) is str else False,
    Field.SPACE: _is_name,
    Field.OCCURRED: _or_none(_is_time),
    Field.VALID_FROM: _or_none(_is_time),
    Field.VALID_TO: _or_none(_is_time),
    Field.SPEAKER: _or_none(_is_name),
    Field.CONVERSATION: _or_none(_is_name),
    Field.POSITION: _or_none(lambda value: type(value) is int and 0 <= value <= _POSITION_MAX),
    Field.TRUST: lambda value: value in _TRUSTS if type(value) is str else False,
    Field.CLIENT: _or_none(_is_name),
    Field.TOOL: _or_none(_is_name),
    Field.KEY: _or_none(_is_id),
    # The tables know no negative zero.
    Field.IMPORTANCE: lambda value: (
        type(value) is float and 0 <= value <= 1 and str(value) != "-0.0"
    ),
    Field.PINNED: _is_flag,
    Field.ARCHIVED: _is_flag,
    Field.SUPERSEDED_BY: _or_none(_is_id),
    Field.CREATED: _is_time,
}
_NAMED: Final = frozenset(
    (Field.SPACE, Field.SPEAKER, Field.CONVERSATION, Field.CLIENT, Field.TOOL)
)
# What hardly two memories share need not be remembered for the next.
_OWN: Final = frozenset(
    (Field.TEXT, Field.OCCURRED, Field.VALID_FROM, Field.VALID_TO, Field.POSITION, Field.KEY,
     Field.SUPERSEDED_BY, Field.CREATED)
)  # fmt: skip
_LAST: Final = int(max(Field))
_NUMBERS: Final = range(int(Field.TEXT), _LAST + 1)

_DEFAULTS: Values = [None] * (_LAST + 1)
_DEFAULTS[Field.KIND] = "note"
_DEFAULTS[Field.SPACE] = DEFAULT_SPACE
_DEFAULTS[Field.TRUST] = "tool_output"  # what says nothing about itself is trusted least
_DEFAULTS[Field.IMPORTANCE] = 0.5
_DEFAULTS[Field.PINNED] = False
_DEFAULTS[Field.ARCHIVED] = False

Known = dict[tuple[int, bytes], Any]
"""Short values that were read already; for one pass over many memories."""


class Shown(Struct):
    """What of a state the tables hold."""

    values: Values
    links: list[tuple[str, bytes]]
    kept: Fields
    """Values that they do not, as they came."""
    written_ms: int
    """When the youngest of its fields was written, by the clock of who wrote it."""

    def keep(self, field: Field) -> None:
        """Show no value of a field, for a reason of this vault's, and remember what it is."""
        self.kept = self.kept | {int(field): encoded(field, self.values[field])}
        self.values[field] = None

    def targets(self) -> list[bytes]:
        """The memories that this one points to."""
        superseded_by = self.values[Field.SUPERSEDED_BY]
        linked = [target for _, target in self.links]
        return linked if superseded_by is None else [*linked, superseded_by]

    def pass_over(self, dead: AbstractSet[bytes]) -> None:
        """Show nothing that points to these."""
        if self.values[Field.SUPERSEDED_BY] in dead:
            self.keep(Field.SUPERSEDED_BY)
        self.links = [link for link in self.links if link[1] not in dead]


def shown(memory: bytes, state: State, known: Known) -> Shown | None:
    """A state as the vault's tables hold it; None of one that cannot be shown, for want of a text."""
    values = _DEFAULTS.copy()
    kept: Fields = {}
    written = 0
    value: Any
    for number, (hlc, _, raw) in state.fields.items():
        written = max(written, hlc)
        if number not in _NUMBERS:
            continue  # of a newer version: it stands with the clocks
        if number in _OWN:
            value = _read(number, raw)
        else:
            place = (number, raw)
            value = known.get(place, _UNREAD)
            if value is _UNREAD:
                value = _read(number, raw)
                if len(raw) <= _SHARED_BYTES_MAX:
                    known[place] = value
        if value is _UNFIT:
            kept[number] = raw
        else:
            values[number] = value
    if values[Field.TEXT] is None:
        return None
    if kept:
        _show_names(values, kept)
    if values[Field.CREATED] is None:
        values[Field.CREATED] = _made_ms(memory)
    return Shown(values, _links_of(state), kept, milliseconds(Hlc(written)))


def _show_names(values: Values, kept: Fields) -> None:
    """Of names that nobody could type, what can be shown."""
    for number in _NAMED & kept.keys():
        values[number] = _as_name(kept[number]) or values[number]


def tags_of(state: State) -> list[str]:
    """The tags that are shown: the first ones, by their names."""
    if not state.tags:
        return []
    named = {as_name(tag) for tag in present(state.tags)}
    return sorted(tag for tag in named if tag is not None)[:TAGS_MAX]


def _links_of(state: State) -> list[tuple[str, bytes]]:
    if not state.links:
        return []
    named = {(as_name(relation), target) for relation, target in present(state.links)}
    return sorted((name, target) for name, target in named if name is not None)[:LINKS_MAX]


def encoded(number: int, value: Value) -> bytes:
    """The value of a field from the vault's column."""
    if number in _FLAGS:
        return b"\xc3" if value else b"\xc2"
    return _encode(value)


_FLAGS = frozenset((Field.PINNED, Field.ARCHIVED))


def fields(memory: Memory, *, besides: Iterable[int] = ()) -> Fields:
    """All of a memory's values that are not the default; and `besides`, whatever they are."""
    values, wanted = _values(memory), frozenset(besides)
    usual = [*_DEFAULTS[:-1], _made_ms(as_bytes(memory.id))]
    return {
        number: encoded(number, values[number])
        for number in _NUMBERS
        if number in wanted or values[number] != usual[number]
    }


def kept(memory: Memory, state: State) -> Fields:
    """What a state says of a memory that the memory itself does not."""
    values = _values(memory)
    return {
        number: version[2]
        for number, version in state.fields.items()
        if number in _NUMBERS and encoded(number, values[number]) != version[2]
    }


def changed_fields(before: Memory, after: Memory) -> Fields:
    """What another memory of the same id says otherwise."""
    was, now = _values(before), _values(after)
    return {
        number: encoded(number, now[number]) for number in _NUMBERS if was[number] != now[number]
    }


def links(memory: Memory) -> list[tuple[str, bytes]]:
    return [(link.relation, as_bytes(link.target)) for link in memory.links]


def memory(
    memory_id: MemoryId, told: Shown, *, tags: Iterable[str], version: int, updated_ms: int
) -> Memory:
    """The memory that is shown."""
    values = told.values
    key, superseded_by = values[Field.KEY], values[Field.SUPERSEDED_BY]
    return Memory(
        id=memory_id,
        text=values[Field.TEXT],
        source=Source(
            trust=values[Field.TRUST],
            client=values[Field.CLIENT],
            tool=values[Field.TOOL],
            key=None if key is None else key.hex(),
        ),
        kind=values[Field.KIND],
        space=values[Field.SPACE],
        tags=tuple(tags),
        links=tuple(Link(relation, as_id(target)) for relation, target in told.links),
        occurred_at=_moment(values[Field.OCCURRED]),
        valid_from=_moment(values[Field.VALID_FROM]),
        valid_to=_moment(values[Field.VALID_TO]),
        speaker=values[Field.SPEAKER],
        conversation=values[Field.CONVERSATION],
        position=values[Field.POSITION],
        importance=values[Field.IMPORTANCE],
        pinned=values[Field.PINNED],
        archived=values[Field.ARCHIVED],
        superseded_by=None if superseded_by is None else as_id(superseded_by),
        version=version,
        created_at=from_ms(values[Field.CREATED]),
        updated_at=from_ms(updated_ms),
    )


def _read(number: int, raw: bytes) -> Value | _Unfit:
    try:
        value = _decode(raw)
    except UNREADABLE:
        return _UNFIT
    # Written in another way than ours, it would not come out again as it came.
    return value if _FITS[number](value) and _encode(value) == raw else _UNFIT


def _as_name(raw: bytes) -> str | None:
    try:
        said = _decode(raw)
    except UNREADABLE:
        return None
    return as_name(said) if isinstance(said, str) else None


def _values(memory: Memory) -> Values:
    source, superseded_by = memory.source, memory.superseded_by
    return [
        None,
        memory.text,
        memory.kind,
        memory.space,
        _ms(memory.occurred_at),
        _ms(memory.valid_from),
        _ms(memory.valid_to),
        memory.speaker,
        memory.conversation,
        memory.position,
        source.trust,
        source.client,
        source.tool,
        None if source.key is None else bytes.fromhex(source.key),
        memory.importance + 0.0,  # as the tables hold it: no negative zero
        memory.pinned,
        memory.archived,
        None if superseded_by is None else as_bytes(superseded_by),
        to_ms(memory.created_at),
    ]


def _made_ms(memory: bytes) -> int:
    """The time that a UUIDv7 begins with: nearly always when the memory was made."""
    return min(int.from_bytes(memory[:6]), _LATEST_MS)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)


def _moment(milliseconds_: int | None) -> datetime | None:
    return None if milliseconds_ is None else from_ms(milliseconds_)
