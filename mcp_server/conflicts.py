"""Where two devices changed a memory without knowing of each other, both versions stay until somebody decides: here.

A conflict looks like a finding: two memories, and which of them holds. Its number says which memory it is about, so nothing needs
to be stored that the devices could disagree on. Of a memory's two successors, the one not kept is superseded by the other; of two
texts of one memory, the one not kept goes, as the person said. Only what was shown is decided on.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from mcp_server import findings
from mcp_server.device import Device
from mcp_server.findings import Decision, Finding
from mcp_server.model import Link, Memory
from mcp_server.naming import as_name
from mcp_server.replica import Replica
from mcp_server.vault import states, store, wire
from shared.clock import from_ms, to_ms
from shared.errors import NotFoundError, SunaivaError
from shared.ids import MemoryId
from sync_service.alarms import Kind
from sync_service.changes import merge
from sync_service.changes.clock import Hlc, milliseconds
from sync_service.changes.fields import Field
from sync_service.changes.merge import EMPTY, State, Version
from sync_service.changes.ops import Op
from sync_service.device import log
from sync_service.device.replica import change
from sync_service.members import control
from sync_service.sealed import keys

if TYPE_CHECKING:
    from sqlite_utils import Database

# A finding's number stays below this; what lies above is the last five bytes of a memory's id, which lists print, too.
_FIRST_NUMBER = 1 << 40
_SHORT_BYTES = 5


_FOR_THE_PERSON: frozenset[Kind] = frozenset({"many_forgotten", "revoked_device", "cloned"})


class Said(Struct, frozen=True):
    """Who wrote a version, and when."""

    device: str
    at: datetime


class Conflict(Struct, frozen=True, kw_only=True):
    """Two versions of one matter; the first is what is shown until somebody decides."""

    number: int
    about: MemoryId
    first: Memory
    second: Memory
    first_said: Said
    second_said: Said

    @property
    def relation(self) -> str:
        first, second = self.first_said, self.second_said
        return (
            f"changed_on_two_devices (first on {first.device} {first.at:%Y-%m-%d %H:%M}, "
            f"second on {second.device} {second.at:%Y-%m-%d %H:%M})"
        )


class _Open(Struct, frozen=True):
    field: Field
    shown: Version
    other: Version
    more: tuple[Version, ...]
    """Still others; they wait for their turn, or stay as memories of their own."""


def undecided(db: "Database", *, limit: int) -> list[Conflict]:
    """Open conflicts, the newest memory first."""
    if not log.is_set_up(db):
        return []
    waiting = log.in_conflict(db, limit)
    found = states.load(db, waiting)
    names = _names(db) if waiting else {}
    listed = [_conflict(db, each, found[each], names) for each in waiting]
    return [conflict for conflict in listed if conflict is not None]


def to_decide(db: "Database", *, limit: int) -> list[Conflict | Finding]:
    """All that waits for a decision: conflicts first, they are about what somebody wrote."""
    return [*undecided(db, limit=limit), *findings.open_findings(db, limit=limit)]


def for_the_person(db: "Database") -> list[str]:
    """What only the person can decide, and may not know of yet."""
    told = log.alarms(db) if log.is_set_up(db) else []
    return [alarm.sentence for alarm in told if alarm.kind in _FOR_THE_PERSON]


def concerned(db: "Database", number: int) -> tuple[Memory, Memory]:
    """The two memories of a conflict or a finding.

    Raises:
        NotFoundError: nothing of this number is open.
    """
    if number < _FIRST_NUMBER:
        first, second = findings.pair(db, number)
        return first.memory, second.memory
    conflict = _by_number(db, number)
    return conflict.first, conflict.second


def decide(device: Device, number: int, decision: Decision, *, client: str) -> None:
    """Decide a conflict or a finding.

    Raises:
        NotFoundError: nothing of this number is open.
    """
    if number < _FIRST_NUMBER:
        findings.resolve(device, number, decision, client=client)
        return
    replica = Replica(device, client=client)
    with replica.transaction() as db:
        conflict = _by_number(db, number)
        key = store.as_bytes(conflict.about)
        waiting = _open(states.load(db, [key])[key])
        assert waiting is not None, "it was just read"
        if waiting.field == Field.TEXT:
            _decide_text(device, replica, db, conflict, waiting, decision)
        else:
            _decide_successor(device, replica, db, conflict, decision)
        device.note(db, "resolve", [conflict.first.id, conflict.second.id], client=client)


def _decide_text(
    device: Device,
    replica: Replica,
    db: "Database",
    conflict: Conflict,
    waiting: _Open,
    decision: Decision,
) -> None:
    kept = waiting.other if decision == "keep_second" else waiting.shown
    apart = [version[2] for version in waiting.more]
    if decision == "keep_both":
        apart.append(waiting.other[2])
    for value in dict.fromkeys(apart):
        if (text := _text(value)) is not None:
            _say(device, replica, db, _apart(device, conflict.first, text))
    _tell(device, replica, db, conflict.about, {Field.TEXT: kept[2]})


def _decide_successor(
    device: Device, replica: Replica, db: "Database", conflict: Conflict, decision: Decision
) -> None:
    kept, dropped = conflict.first, conflict.second
    if decision == "keep_second":
        kept, dropped = dropped, kept
    successor = wire.encoded(Field.SUPERSEDED_BY, store.as_bytes(kept.id))
    _tell(device, replica, db, conflict.about, {Field.SUPERSEDED_BY: successor})
    # Decided the other way before, perhaps on another device: two that supersede each other would both be out of recall.
    _let_stand(device, replica, db, kept, beside=dropped)
    if decision == "keep_both":
        _let_stand(device, replica, db, dropped, beside=kept)
    elif dropped.superseded_by is None:
        ended = {Field.SUPERSEDED_BY: successor}
        if dropped.valid_to is None:
            ended[Field.VALID_TO] = wire.encoded(Field.VALID_TO, to_ms(device.clock()))
        _tell(device, replica, db, dropped.id, ended)


def _let_stand(
    device: Device, replica: Replica, db: "Database", memory: Memory, *, beside: Memory
) -> None:
    """Take back that a memory was superseded by the other, and ended by that."""
    if memory.superseded_by != beside.id:
        return
    key = store.as_bytes(memory.id)
    said = replica.load(db, [key])[key].fields
    fields = [Field.SUPERSEDED_BY]
    if Field.VALID_TO in said and said[Field.VALID_TO][:2] == said[Field.SUPERSEDED_BY][:2]:
        fields.append(Field.VALID_TO)  # of the same write
    _tell(device, replica, db, memory.id, {field: wire.encoded(field, None) for field in fields})


def _apart(device: Device, shown: Memory, text: str) -> Memory:
    """Another version of a memory's text as a memory of its own."""
    now = device.clock()
    return msgspec.structs.replace(
        shown,
        id=device.ids.memory_id(),
        text=text,
        source=msgspec.structs.replace(shown.source, key=None),
        links=tuple(sorted({*shown.links, Link("version_of", shown.id)})),
        version=1,
        created_at=now,
        updated_at=now,
    )


def _say(device: Device, replica: Replica, db: "Database", new: Memory) -> None:
    key = store.as_bytes(new.id)
    stamp = log.stamp(db, to_ms(device.clock()))
    said = merge.edit(
        EMPTY, key, stamp, fields=wire.fields(new), tags=new.tags, links=wire.links(new)
    )
    _apply(replica, db, key, EMPTY, said)


def _tell(
    device: Device,
    replica: Replica,
    db: "Database",
    memory_id: MemoryId,
    fields: dict[Field, bytes],
) -> None:
    key = store.as_bytes(memory_id)
    state = replica.load(db, [key])[key]
    stamp = log.stamp(db, to_ms(device.clock()))
    said = merge.edit(
        state, key, stamp, fields={int(field): value for field, value in fields.items()}
    )
    _apply(replica, db, key, state, said)


def _apply(replica: Replica, db: "Database", key: bytes, before: State, said: list[Op]) -> None:
    stream, after = log.own_stream(db), before
    for op in said:
        after = merge.apply(after, op, stream)
    changes = {key: change(before, after)}
    replica.save(db, changes)
    log.record(db, said, changes)


def _by_number(db: "Database", number: int) -> Conflict:
    short = (number - _FIRST_NUMBER).to_bytes(_SHORT_BYTES, "big") if _is_ours(number) else b""
    if short and log.is_set_up(db):
        for row in store.by_short_id(db, short.hex()):
            key = store.as_bytes(row.memory.id)
            conflict = _conflict(db, key, states.load(db, [key])[key], _names(db))
            if conflict is not None:
                return conflict
    raise NotFoundError(
        f"There is no open conflict {number}. Call resolve without an id to list them."
    )


def _is_ours(number: int) -> bool:
    return _FIRST_NUMBER <= number < 2 * _FIRST_NUMBER


def _conflict(db: "Database", key: bytes, state: State, names: dict[bytes, str]) -> Conflict | None:
    """What there is to decide about a memory; None while one of the versions cannot be shown."""
    waiting, row = _open(state), store.by_id(db, store.as_id(key))
    if waiting is None or row is None:
        return None
    both = [
        _version(db, row.memory, waiting.field, each) for each in (waiting.shown, waiting.other)
    ]
    first, second = both
    if first is None or second is None:
        return None
    return Conflict(
        number=_FIRST_NUMBER + int.from_bytes(key[-_SHORT_BYTES:], "big"),
        about=row.memory.id,
        first=first,
        second=second,
        first_said=_said(waiting.shown, names),
        second_said=_said(waiting.other, names),
    )


def _open(state: State) -> _Open | None:
    """The first field in conflict, its text before anything else; of several other versions, the youngest."""
    if state.forgotten:
        return None
    for field in (Field.TEXT, Field.SUPERSEDED_BY):
        others = [version for of, version in merge.conflicts(state) if of == field]
        if others:
            *more, other = others
            return _Open(field, state.fields[field], other, tuple(more))
    return None


def _version(db: "Database", shown: Memory, field: Field, version: Version) -> Memory | None:
    if field == Field.TEXT:
        text = _text(version[2])
        return None if text is None else msgspec.structs.replace(shown, text=text)
    try:
        target = msgspec.msgpack.decode(version[2], type=bytes)
    except msgspec.DecodeError:
        return None
    row = store.by_id(db, store.as_id(target)) if len(target) == len(version[2]) - 2 == 16 else None
    return None if row is None else row.memory


def _text(value: bytes) -> str | None:
    try:
        return msgspec.msgpack.decode(value, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _said(version: Version, names: dict[bytes, str]) -> Said:
    hlc, stream, _ = version
    return Said(names.get(stream, "another device"), from_ms(milliseconds(Hlc(hlc))))


def _names(db: "Database") -> dict[bytes, str]:
    """What the devices of this vault are called, by each of their streams."""
    own, epochs = log.own_stream(db), log.epoch_keys(db)
    named = {own: "this device"}
    members = control.replay(log.control(db))
    for member in members.members.values():
        try:
            key = epochs[keys.epoch_of_name(member.sealed_name)]
            name = keys.open_name(
                member.sealed_name, key, vault=members.vault, device=member.device
            )
        except (SunaivaError, KeyError):
            continue  # named under a key that is still on the way
        name = as_name(name) or "a device without a name"
        for stream in member.streams:
            named[stream] = f"this device ({name})" if stream == own else name
    return named
