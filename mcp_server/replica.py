"""The vault as the sync engine sees it: states in, states out, and memories that look as their states say.

What is new goes in by the thousand and is read by the indexes afterwards; what changed goes through the store's own functions. Nothing
here decides anything: two devices that were given the same states show the same memories, whatever the order.
"""

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from mcp_server import changes as recorded
from mcp_server import forgetting
from mcp_server.device import Change as Transaction
from mcp_server.device import Device
from mcp_server.index.lexical import terms_of
from mcp_server.memory import text_digests
from mcp_server.model import Memory
from mcp_server.vault import audit, bulk, names, states, store, texts, wire
from mcp_server.vault.store import Row, as_bytes, as_id
from shared.clock import to_ms
from shared.errors import UnavailableError
from shared.ids import MemoryId
from sync_service.changes.clock import Hlc, milliseconds
from sync_service.changes.fields import Field
from sync_service.changes.merge import State
from sync_service.device import log
from sync_service.device.replica import Change, Unrecorded, is_new

if TYPE_CHECKING:
    from sqlite_utils import Database

CLIENT = "sync"
"""Who it was, in the access log."""

# Of a memory, what the store can write in its place. Anything else is in the indexes, which know a row as it was first put.
_CHANGEABLE = (
    "kind", "space", "valid_from", "valid_to", "importance", "pinned", "archived", "superseded_by", "tags", "links", "version",
    "updated_at",
)  # fmt: skip


class _Incoming(Struct, frozen=True):
    """A memory that is to be shown."""

    id: bytes
    change: Change
    shown: wire.Shown

    @property
    def written_ms(self) -> int:
        """When it was last written. Nothing keeps when tags and links were put: the operations say it, a snapshot does not."""
        return max(self.shown.written_ms, milliseconds(Hlc(self.change.hlc)))


class Replica:
    """Owns nothing but the transaction under way."""

    def __init__(self, device: Device, *, client: str = CLIENT) -> None:
        self._device = device
        self._client = client
        self._under_way: Transaction | None = None
        self._erased = False

    @contextmanager
    def transaction(self) -> "Iterator[Database]":
        device, self._erased = self._device, False
        device.index.precedence.give_way()
        with device.changing(is_waited_for=False) as transaction, _uncollected():
            self._under_way = transaction
            try:
                yield transaction.db
            finally:
                self._under_way = None
        if self._erased:
            # Somebody is reading: the agent clears the rest away when it is not used for some minutes.
            with suppress(UnavailableError):
                device.vault.truncate_wal()

    def load(self, db: "Database", memories: Collection[bytes]) -> dict[bytes, State]:
        if log.read(db).seeding and (rows := states.unrecorded(db, len(memories), among=memories)):
            # From before sync was set up, and known elsewhere, too: what is here counts as much.
            self._seed(db, rows)
        return states.load(db, memories)

    def save(self, db: "Database", changes: Mapping[bytes, Change]) -> None:
        forgotten = [memory for memory, change in changes.items() if change.after.forgotten]
        if forgotten:
            self._forget(db, forgotten)
        known: wire.Known = {}
        incoming: list[_Incoming] = []
        hidden: dict[bytes, State] = {}
        for memory, change in changes.items():
            if change.after.forgotten:
                continue
            shown = wire.shown(memory, change.after, known)
            if shown is None:
                hidden[memory] = change.after
            else:
                incoming.append(_Incoming(memory, change, shown))
        self._hide(db, hidden)
        given_up = _given_up(db, incoming)
        _settle(db, incoming, given_up.keys())
        self._show(db, incoming)
        for key in given_up.values():
            states.hand_on(db, key)

    def count(self, db: "Database") -> int:
        return store.count(db)

    def unrecorded(self, db: "Database", most: int) -> Sequence[Unrecorded]:
        there = store.by_rows(db, states.unrecorded(db, most))
        return [
            Unrecorded(
                memory=as_bytes(memory.id),
                fields=wire.fields(memory),
                tags=memory.tags,
                links=wire.links(memory),
            )
            for memory in there.values()
        ]

    def rows(self, db: "Database", after: bytes | None, most: int) -> Iterable[tuple[bytes, State]]:
        return states.newest(db, after, most)

    def _seed(self, db: "Database", rows: Collection[int]) -> None:
        there = store.by_rows(db, rows)
        recorded.seed(db, [Row(row, memory) for row, memory in there.items()])

    def _forget(self, db: "Database", memories: Sequence[bytes]) -> None:
        self._device.vault.plan_rewrite()
        self._erased = True
        there = {row.row: row.memory for row in store.by_ids(db, map(as_id, memories))}
        states.bury(db, memories)
        assert self._under_way is not None
        if absent := set(memories) - {as_bytes(memory.id) for memory in there.values()}:
            forgetting.turn_from(self._device, self._under_way, absent)
        if there:
            forgetting.take_out(self._device, self._under_way, there)
            self._note(db, "forget", [memory.id for memory in there.values()])

    def _hide(self, db: "Database", hidden: Mapping[bytes, State]) -> None:
        """Keep states that cannot be shown: their text is on the way, or none that this version can read."""
        there = store.by_ids(db, [as_id(memory) for memory in hidden])
        self._take_out_to_return(db, there)
        for row in there:
            states.hand_on(db, row.memory.source.key)
        for memory, state in hidden.items():
            states.put_partial(db, memory, state)

    def _show(self, db: "Database", incoming: Sequence[_Incoming]) -> None:
        there = {as_bytes(row.memory.id): row for row in _there(db, incoming)}
        new: list[tuple[_Incoming, Memory | None]] = []
        changed: list[Row] = []
        kept = []
        for each in incoming:
            row = there.get(each.id)
            if row is None:
                new.append((each, None))
                continue
            after = self._changed(each, row.memory)
            if after is None or _is_changeable(row.memory, after):
                kept.append((row.row, each.change, each.shown.kept))
                if after is not None:
                    store.update(db, row.row, after)
                    changed.append(Row(row.row, after))
                    self._decided(db, row.memory, after)
            else:
                new.append((each, after))
        states.put(db, kept)
        if changed:
            assert self._under_way is not None
            self._under_way.then(self._device.index.put(db, changed))
            self._note(db, "revise", [row.memory.id for row in changed])
        self._insert(db, new, there)

    def _changed(self, incoming: _Incoming, before: Memory) -> Memory | None:
        """The memory as it is to be; None if it looks as it did."""
        after = _memory(incoming, before)
        if after == before:
            return None
        told = msgspec.structs.replace(after, tags=before.tags, links=before.links) != before
        updated_ms = incoming.written_ms if told else milliseconds(Hlc(incoming.change.hlc))
        return _memory(
            incoming,
            before,
            version=before.version + 1,
            updated_ms=max(to_ms(before.updated_at), updated_ms),
        )

    def _insert(
        self,
        db: "Database",
        new: Sequence[tuple[_Incoming, Memory | None]],
        there: Mapping[bytes, Row],
    ) -> None:
        """Store what is new, and once more what is in the indexes otherwise than it is now."""
        if not new:
            return
        echoes = self._take_out_to_return(
            db, [there[each.id] for each, after in new if after is not None]
        )
        # In the order in which they were made: in any other, the index of ids takes twice the space.
        ordered = sorted(new, key=lambda pair: pair[0].id)
        digests = text_digests(self._device, (each.shown.values[Field.TEXT] for each, _ in ordered))
        rows = bulk.insert(
            db,
            [
                _as_new(each, after, digest)
                for (each, after), digest in zip(ordered, digests, strict=True)
            ],
        )
        states.drop_partial(db, [each.id for each, _ in ordered])
        placed = list(zip(rows, (each for each, _ in ordered), strict=True))
        states.put(db, [(row, each.change, each.shown.kept) for row, each in placed])
        for row, each in placed:
            for key in echoes.get(each.id, ()):
                db.execute("INSERT INTO echoes (key, memory) VALUES (?, ?)", [key, row])
        assert self._under_way is not None
        self._under_way.then(self._device.index.put_many(db, rows))
        self._note(db, "remember", [as_id(each.id) for each, _ in ordered])

    def _take_out_to_return(self, db: "Database", rows: Sequence[Row]) -> dict[bytes, list[bytes]]:
        """Erase memories that come back under other rows, and leave what points to them; by id, the keys of what only repeated them."""
        if not rows:
            return {}
        index = self._device.index
        # All at once: each piece of the keyword index is then written once, however many of them it names.
        index.lexical.remove(db, {row.row: terms_of(row.memory) for row in rows})
        numbers = [row.row for row in rows]
        borne = names.of(db, numbers)
        echoes: dict[bytes, list[bytes]] = {}
        for row in rows:
            key = as_bytes(row.memory.id)
            found = db.execute("SELECT key FROM echoes WHERE memory = ?", [row.row])
            echoes[key] = [each for (each,) in found]
            texts.loosen_of(db, row.row)
            db.execute("DELETE FROM records WHERE row = ?", [row.row])
            # What was noticed was about other words.
            db.execute(
                "DELETE FROM findings WHERE decision IS NULL AND (first = ? OR second = ?)",
                [key, key],
            )
        names.erase_unused(db, borne)
        assert self._under_way is not None
        self._under_way.then(lambda: index.remove(numbers))
        return echoes

    def _decided(self, db: "Database", before: Memory, after: Memory) -> None:
        """A memory that was superseded by another elsewhere needs no deciding between the two any more."""
        if after.superseded_by is None or after.superseded_by == before.superseded_by:
            return
        kept, dropped = as_bytes(after.superseded_by), as_bytes(after.id)
        db.execute(
            """UPDATE findings SET decision = iif(first = ?1, 'keep_first', 'keep_second'), decided_ms = ?3
               WHERE decision IS NULL AND first IN (?1, ?2) AND second IN (?1, ?2)""",
            [kept, dropped, to_ms(self._device.clock())],
        )

    def _note(self, db: "Database", action: audit.Action, memories: Sequence[MemoryId]) -> None:
        self._device.note(db, action, memories, client=self._client)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector: it would look again and again at thousands of states of which none is garbage yet, for a quarter
    of the time. Only one transaction at a time gets here, and it is of a bounded size."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def leave(db: "Database") -> None:
    """Nothing is agreed on with other devices any more; the memories stay. `sync_service.device.log.leave` does the rest."""
    states.clear(db)


def _given_up(db: "Database", incoming: Sequence[_Incoming]) -> dict[bytes, str]:
    """Idempotency keys that their bearers change for others, by their ids. No Sunaiva does that; a liar may."""
    changing = [
        each.id
        for each in incoming
        if (was := each.change.before.fields.get(Field.KEY)) is not None
        and was[2] != each.change.after.fields[Field.KEY][2]
    ]
    return states.borne(db, changing) if changing else {}


def _settle(db: "Database", incoming: Sequence[_Incoming], giving_up: AbstractSet[bytes]) -> None:
    """Let nothing be shown that points to a forgotten memory, and no idempotency key twice."""
    pointed = {target for each in incoming for target in each.shown.targets()}
    dead = states.dead(db, pointed) if pointed else set()
    if dead:
        for each in incoming:
            each.shown.pass_over(dead)
    keyed = [each for each in incoming if each.shown.values[Field.KEY] is not None]
    if not keyed:
        return
    bearers = {
        key: memory
        for key, memory in states.bearers(
            db, {each.shown.values[Field.KEY] for each in keyed}
        ).items()
        if memory not in giving_up
    }
    for each in sorted(keyed, key=lambda each: each.id):
        key = each.shown.values[Field.KEY]
        bearer = bearers.get(key, each.id)
        if bearer < each.id:
            each.shown.keep(Field.KEY)
        elif bearer > each.id:
            _seed_one(db, bearer)
            states.take_key(db, bearer)
        bearers[key] = min(bearer, each.id)


def _as_new(incoming: _Incoming, after: Memory | None, digest: bytes) -> bulk.New:
    state = incoming.change.after
    return bulk.New(
        id=incoming.id,
        values=incoming.shown.values,
        tags=wire.tags_of(state),
        links=incoming.shown.links,
        digest=digest,
        updated_ms=incoming.written_ms if after is None else to_ms(after.updated_at),
        version=1 if after is None else after.version,
    )


def _seed_one(db: "Database", memory: bytes) -> None:
    for row in states.unrecorded(db, 1, among=[memory]):
        recorded.seed(db, [Row(row, store.by_rows(db, [row])[row])])


def _there(db: "Database", incoming: Sequence[_Incoming]) -> list[Row]:
    """Those of these memories that are in the vault."""
    # `load` has recorded what was there before, so whatever has no state is not there: of what comes in by the thousand, nearly all.
    known = [each.id for each in incoming if not is_new(each.change.before)]
    return store.by_ids(db, [as_id(memory) for memory in known]) if known else []


def _memory(
    incoming: _Incoming,
    before: Memory,
    *,
    version: int | None = None,
    updated_ms: int | None = None,
) -> Memory:
    return wire.memory(
        before.id,
        incoming.shown,
        tags=wire.tags_of(incoming.change.after),
        version=before.version if version is None else version,
        updated_ms=to_ms(before.updated_at) if updated_ms is None else updated_ms,
    )


def _is_changeable(before: Memory, after: Memory) -> bool:
    taken_over = {name: getattr(after, name) for name in _CHANGEABLE}
    return msgspec.structs.replace(before, **taken_over) == after
