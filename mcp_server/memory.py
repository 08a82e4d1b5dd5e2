"""Writing memories: remember, capture, revise, take in an export. Each is one transaction with its line in the access log.

Verbatim in, nothing merged or dropped because it is similar. A repeated call adds nothing: the same key, or the same
words in the same space, is the same memory, so a caller that got no answer can simply ask again.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType
from numpy.typing import NDArray

from mcp_server import noticing
from mcp_server.device import Change, Device
from mcp_server.index import lexical
from mcp_server.index.catalogue import Filter
from mcp_server.index.live import EMBED_AT_ONCE_MAX, memory_text
from mcp_server.model import (
    DRAFTS_PER_CALL_MAX,
    LINKS_MAX,
    NAME_CHARS_MAX,
    TAGS_MAX,
    TEXT_BYTES_MAX,
    Draft,
    Kind,
    Link,
    Memory,
    Source,
)
from mcp_server.noticing import Relation
from mcp_server.vault import audit, names, store
from mcp_server.vault.store import Row
from shared import crypto
from shared.clock import to_ms, whole_milliseconds
from shared.errors import ConflictError, InvalidError, NotFoundError
from shared.ids import MemoryId, is_short_id, parse_memory_id

if TYPE_CHECKING:
    from sqlite_utils import Database

_DIGEST_BYTES = 16
# How many of the nearest memories a new one is compared with; more would only be further away.
_COMPARED = 5
# Turns say the same thing again and again, and rightly so.
_COMPARED_KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "turn")


Added = tuple[Row, NDArray[np.float32] | None]
"""A memory just stored, and its vector if it has one already."""


class Similar(Struct, frozen=True):
    id: MemoryId
    text: str
    relation: Relation


class Stored(Struct, frozen=True):
    id: MemoryId
    status: Literal["stored", "known"]
    similar: tuple[Similar, ...] = ()


class Changes(Struct, frozen=True, kw_only=True):
    """What to change about a memory; what is unset stays."""

    text: str | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    space: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    links: tuple[Link, ...] | UnsetType = UNSET
    importance: float | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    valid_from: datetime | UnsetType | None = UNSET
    valid_to: datetime | UnsetType | None = UNSET


def remember(
    device: Device, drafts: Sequence[Draft], *, client: str, action: audit.Action = "remember"
) -> list[Stored]:
    """Store drafts, all or none, in order.

    Raises:
        InvalidError: one of them cannot be stored as it is; the message says which, and why.
    """
    checked = [
        _checked(draft, f"Memory {number}") for number, draft in enumerate(_bounded(drafts), 1)
    ]
    vectors = _embedded(device, [memory_text(draft.text, draft.speaker) for draft in checked])
    added: list[Added] = []
    stored: list[Stored] = []
    with device.changing() as change:
        db = change.db
        for number, draft in enumerate(checked):
            digest = _digest(device, draft.text)
            known = _known(db, draft, digest)
            if known is not None:
                stored.append(Stored(known.memory.id, "known"))
                continue
            vector = None if vectors is None else vectors[number]
            row = _insert(device, db, _from_draft(device, draft), digest)
            added.append((row, vector))
            similar = _notice(device, db, added) if draft.kind != "turn" else ()
            stored.append(Stored(row.memory.id, "stored", similar))
        _store_vectors(device, change, added)
        device.note(db, action, [item.id for item in stored], client=client)
        change.then(
            lambda: _publish(device, [row for row, _ in added], embedded=vectors is not None)
        )
    return stored


def take_in(device: Device, memories: Sequence[Memory], *, client: str) -> list[Stored]:
    """Store memories of our own export as they were, ids and history included; known ids are left as they are."""
    _bounded(memories)
    stored: list[Stored] = []
    added: list[Row] = []
    with device.changing() as change:
        db = change.db
        for memory in memories:
            there = store.by_id(db, memory.id) or (
                store.by_key(db, memory.source.key) if memory.source.key else None
            )
            if there is None:
                _checked(_as_draft(memory), f"Memory {memory.id}")
                kept = msgspec.structs.replace(memory, source=_kept(memory.source))
                added.append(_insert(device, db, kept, _digest(device, memory.text)))
            stored.append(Stored(memory.id, "known" if there else "stored"))
        device.note(db, "import", [item.id for item in stored], client=client)
        change.then(lambda: _publish(device, added, embedded=False))
    return stored


def capture_drafts(
    device: Device, conversation: str, turns: Sequence[Draft], *, space: str
) -> list[Draft]:
    """Give the turns of one conversation their idempotency keys and positions.

    A hook hands over the whole conversation again and again, or only its end: a turn is the same turn if speaker, words and
    time are the same and it is the same-numbered one of its kind in the call.
    """
    seen: dict[bytes, int] = {}
    keyed = []
    with device.vault.reading() as db:
        position = store.next_position(db, conversation, space)
        for turn in turns:
            said = "\x1f".join(
                [space, conversation, turn.speaker or "", str(turn.occurred_at), turn.text]
            )
            digest = _digest(device, said)
            seen[digest] = seen.get(digest, 0) + 1
            key = turn.source.key or f"{digest.hex()}:{seen[digest]}"
            key = f"capture:{_digest(device, space + chr(31) + conversation).hex()[:12]}:{key}"
            if store.by_key(db, key) is None:
                position += 1
            source = msgspec.structs.replace(turn.source, key=key)
            keyed.append(
                msgspec.structs.replace(
                    turn,
                    source=source,
                    conversation=conversation,
                    space=space,
                    position=position - 1,
                )
            )
    return keyed


def revise(
    device: Device, memory_id: str, version: int, changes: Changes, *, client: str
) -> Memory:
    """Change what is said about a memory; a new text makes a new memory that supersedes it.

    The old text keeps its place in history: out of ordinary recall, in reach of `as_of`. Asking for what is so already changes
    nothing and succeeds, so that a repeated call does no harm.

    Raises:
        NotFoundError: there is no such memory.
        ConflictError: it has changed since `version`, or was superseded; the message says what it is now.
        InvalidError: the changes cannot be made.
    """
    with device.changing() as change:
        db = change.db
        row = present(db, memory_id)
        old = row.memory
        after = _with_changes(device, old, changes)
        if old.superseded_by is not None:
            newer = present(db, old.superseded_by).memory
            if newer.text == after.text:
                return newer
            raise ConflictError(
                f"{old.id} was superseded by {newer.id} (version {newer.version}): {newer.text[:300]!r}. Revise that one."
            )
        if after == msgspec.structs.replace(
            old, updated_at=after.updated_at, version=after.version
        ):
            return old
        if version != old.version:
            raise ConflictError(
                f"{old.id} is at version {old.version}, not {version}; it says now: {old.text[:300]!r}. "
                f"Look at it, then revise with version {old.version}."
            )
        if after.text == old.text:
            store.update(db, row.row, after)
            changed = [Row(row.row, after)]
        else:
            changed = _supersede(device, db, row, after)
        device.note(db, "revise", [item.memory.id for item in changed], client=client)
        change.then(lambda: _publish(device, changed, embedded=len(changed) == 1))
    return changed[-1].memory


def resolve(
    device: Device,
    number: int,
    decision: Literal["keep_both", "keep_first", "keep_second"],
    *,
    client: str,
) -> None:
    """Decide a finding. The one not kept is superseded by the other: out of recall, in reach of `as_of`.

    Raises:
        NotFoundError: there is no open finding of this number.
    """
    changed: list[Row] = []
    with device.changing() as change:
        db = change.db
        first, second = in_finding(db, number)
        if decision != "keep_both":
            kept, dropped = (first, second) if decision == "keep_first" else (second, first)
            now = device.clock()
            ended = msgspec.structs.replace(
                dropped.memory,
                superseded_by=kept.memory.id,
                valid_to=dropped.memory.valid_to or now,
                version=dropped.memory.version + 1,
                updated_at=now,
            )
            store.update(db, dropped.row, ended)
            changed.append(Row(dropped.row, ended))
        db.execute(
            "UPDATE findings SET decision = ?, decided_ms = ? WHERE number = ?",
            [decision, to_ms(device.clock()), number],
        )
        device.note(db, "resolve", [first.memory.id, second.memory.id], client=client)
        change.then(lambda: _publish(device, changed, embedded=True))


def in_finding(db: "Database", number: int) -> tuple[Row, Row]:
    """The two memories of an open finding.

    Raises:
        NotFoundError: there is no open finding of this number.
    """
    finding = db.execute(
        "SELECT first, second FROM findings WHERE number = ? AND decision IS NULL", [number]
    ).fetchone()
    if finding is None:
        raise NotFoundError(
            f"There is no open finding {number}. Call resolve without an id to list them."
        )
    first, second = (present(db, store.as_id(key)) for key in finding)
    return first, second


def _bounded(items: Sequence[Draft] | Sequence[Memory]) -> Sequence[Draft]:
    if not items:
        raise InvalidError("There is nothing to store: give at least one memory.")
    if len(items) > DRAFTS_PER_CALL_MAX:
        raise InvalidError(
            f"{len(items):,} memories in one call; at most {DRAFTS_PER_CALL_MAX:,} are taken. "
            "Nothing was stored: send them in several calls, or as a file with `sunaiva import`."
        )
    return items  # type: ignore[return-value] # callers know which of the two they gave


def _checked(draft: Draft, which: str) -> Draft:
    _text_checked(draft.text, which)
    for what, name in (
        ("space", draft.space),
        ("speaker", draft.speaker),
        ("conversation", draft.conversation),
    ):
        if name is not None:
            _name_checked(name, f"{which}'s {what}")
    for tag in draft.tags:
        _name_checked(tag, f"A tag of {which[0].lower() + which[1:]}")
    if len(draft.tags) > TAGS_MAX or len(draft.links) > LINKS_MAX:
        raise InvalidError(
            f"{which} has too many tags or links: at most {TAGS_MAX} and {LINKS_MAX}."
        )
    if not 0 <= draft.importance <= 1:
        raise InvalidError(f"{which}'s importance is {draft.importance}; it goes from 0 to 1.")
    _span_checked(draft.valid_from, draft.valid_to, which)
    return draft


def _text_checked(text: str, which: str) -> None:
    if not text.strip():
        raise InvalidError(f"{which} is empty. Give it a text.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidError(
            f"{which} is not valid Unicode (a lone surrogate at character {error.start}). Send it as UTF-8."
        ) from error
    if size > TEXT_BYTES_MAX:
        raise InvalidError(
            f"{which} has {size:,} bytes; one memory holds at most {TEXT_BYTES_MAX:,}. "
            "Split it, or import the file with `sunaiva import`, which splits it for you."
        )


def _name_checked(name: str, which: str) -> None:
    if not name.strip() or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise InvalidError(
            f"{which} is {name[:40]!r}; a name has 1 to {NAME_CHARS_MAX} printable characters."
        )


def _span_checked(start: datetime | None, end: datetime | None, which: str) -> None:
    if start is not None and end is not None and end <= start:
        raise InvalidError(
            f"{which} would end being true before it begins ({end} is not after {start})."
        )


def _embedded(device: Device, texts: list[str]) -> NDArray[np.float32] | None:
    """Vectors of a few texts; None if the model is not there yet, or they are too many to wait for."""
    embedder = device.index.embedder
    if embedder is None or len(texts) > EMBED_AT_ONCE_MAX:
        return None
    return embedder.embed(texts)


def _digest(device: Device, text: str) -> bytes:
    return crypto.mac(device.keys.digest, text.encode())[:_DIGEST_BYTES]


def _known(db: "Database", draft: Draft, digest: bytes) -> Row | None:
    if draft.source.key is not None:
        return store.by_key(db, draft.source.key)
    return store.by_digest(db, digest, draft.space)


def _from_draft(device: Device, draft: Draft) -> Memory:
    now = device.clock()
    return Memory(
        id=device.ids.memory_id(),
        text=draft.text,
        source=_kept(draft.source),
        kind=draft.kind,
        space=draft.space,
        tags=tuple(sorted(set(draft.tags))),
        links=tuple(sorted(set(draft.links))),
        occurred_at=_whole(draft.occurred_at),
        valid_from=_whole(draft.valid_from),
        valid_to=_whole(draft.valid_to),
        speaker=draft.speaker,
        conversation=draft.conversation,
        position=draft.position,
        importance=draft.importance,
        pinned=draft.pinned,
        archived=draft.archived,
        superseded_by=None,
        version=1,
        created_at=now,
        updated_at=now,
    )


def _kept(source: Source) -> Source:
    """The source as the vault holds it: of the key, what tells it from others."""
    key = None if source.key is None else names.short_key(source.key)
    return msgspec.structs.replace(source, key=key)


def _whole(moment: datetime | None) -> datetime | None:
    return None if moment is None else whole_milliseconds(moment)


def _insert(device: Device, db: "Database", memory: Memory, digest: bytes) -> Row:
    row = store.insert(db, memory, digest)
    lexical.add(db, row, lexical_text(memory))
    return Row(row, memory)


def lexical_text(memory: Memory) -> str:
    """What the keyword index holds of a memory: made of what never changes, so that it can be taken out again."""
    return lexical.indexed_text(
        memory.text, speaker=memory.speaker, when=memory.occurred_at or memory.created_at
    )


def _store_vectors(device: Device, change: Change, added: Sequence[Added]) -> None:
    ready = [(row.row, vector) for row, vector in added if vector is not None]
    if ready:
        rows, vectors = [row for row, _ in ready], np.stack([vector for _, vector in ready])
        change.then(device.index.store_vectors(change.db, rows, vectors))


def _publish(device: Device, added: Sequence[Row], *, embedded: bool) -> None:
    for item in added:
        device.index.put(item.row, item.memory)
    if added and not embedded:
        device.index.has_more_to_embed(len(added))


def _notice(device: Device, db: "Database", added: Sequence[Added]) -> tuple[Similar, ...]:
    """Compare the memory added last with its nearest, those added with it among them, and note what may be the same or a
    contradiction.
    """
    new, vector = added[-1]
    if vector is None or device.index.vectors is None:
        return ()
    same_space = Filter(spaces=(new.memory.space,), kinds=_COMPARED_KINDS)
    comparable = device.index.catalogue.visible(same_space, now_ms=to_ms(device.clock()))
    rows, cosines = device.index.vectors.search(vector, _COMPARED, comparable)
    near = dict(zip(rows.tolist(), cosines.tolist(), strict=True))
    near |= {row.row: float(other @ vector) for row, other in added[:-1] if other is not None}
    found = []
    for row, other in store.by_rows(db, near).items():
        how = noticing.relation(new.memory.text, other.text, near[row])
        if how is None or other.kind == "turn" or other.space != new.memory.space:
            continue
        db.execute(
            "INSERT OR IGNORE INTO findings (relation, first, second, noticed_ms) VALUES (?, ?, ?, ?)",
            [how, store.as_bytes(other.id), store.as_bytes(new.memory.id), to_ms(device.clock())],
        )
        found.append(Similar(other.id, other.text, how))
    return tuple(found)


def present(db: "Database", said: str) -> Row:
    """The memory of this id, or of this short id (the last ten characters, as lists print it).

    Raises:
        InvalidError: it is no id.
        NotFoundError: there is no such memory.
        ConflictError: a short id that two memories share.
    """
    found = store.by_short_id(db, said) if is_short_id(said) else None
    if found is None:
        row = store.by_id(db, parse_memory_id(said))
        found = [row] if row else []
    if not found:
        raise NotFoundError(
            f"There is no memory {said}: it was forgotten, or never was. `recall` and `browse` give ids that exist."
        )
    if len(found) > 1:
        both = " and ".join(row.memory.id for row in found)
        raise ConflictError(f"{said} is short for {both}. Give the whole id.")
    return found[0]


def exists(db: "Database", said: str) -> bool:
    """Whether `present` would find a memory; a text that is no id at all is still refused.

    Raises:
        InvalidError: it is no id.
    """
    if is_short_id(said):
        return bool(store.by_short_id(db, said))
    return store.by_id(db, parse_memory_id(said)) is not None


def _with_changes(device: Device, old: Memory, changes: Changes) -> Memory:
    fields = {
        name: value
        for name in changes.__struct_fields__
        if (value := getattr(changes, name)) is not UNSET
    }
    if not fields:
        raise InvalidError(
            "There is nothing to change: give a text, or at least one of the other fields."
        )
    for name in ("tags", "links"):
        if name in fields:
            fields[name] = tuple(sorted(set(fields[name])))
    for name in ("valid_from", "valid_to"):
        if name in fields:
            fields[name] = _whole(fields[name])
    after = msgspec.structs.replace(
        old, **fields, version=old.version + 1, updated_at=device.clock()
    )
    # A memory that turned out to be wrong from its first moment may end where it began.
    span = {} if "valid_from" in fields else {"valid_from": None}
    _checked(msgspec.structs.replace(_as_draft(after), **span), "The memory")
    return after


def _as_draft(memory: Memory) -> Draft:
    return Draft(**{name: getattr(memory, name) for name in Draft.__struct_fields__})


def _supersede(device: Device, db: "Database", row: Row, after: Memory) -> list[Row]:
    """End the old memory and store the new one in its place; both rows, the new one last."""
    old, now = row.memory, device.clock()
    since = after.valid_from if after.valid_from != old.valid_from and after.valid_from else now
    new = msgspec.structs.replace(
        after,
        id=device.ids.memory_id(),
        source=msgspec.structs.replace(old.source, key=None),
        links=tuple(sorted({*after.links, Link("supersedes", old.id)})),
        valid_from=since,
        version=1,
        created_at=now,
        updated_at=now,
    )
    ended = msgspec.structs.replace(
        old,
        superseded_by=new.id,
        valid_to=since if old.valid_to is None else min(old.valid_to, since),
        version=old.version + 1,
        updated_at=now,
    )
    store.update(db, row.row, ended)
    added = _insert(device, db, new, _digest(device, new.text))
    return [Row(row.row, ended), added]
