"""Writing memories: remember, capture, revise, take in an export. Each is one transaction with its line in the access log.

Verbatim in, nothing merged or dropped because it is similar. A repeated call adds nothing: the same key, or the same
words in the same space, is the same memory, so a caller that got no answer can simply ask again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType
from numpy.typing import NDArray

from mcp_server import changes as recorded
from mcp_server import echoes, findings, screening
from mcp_server.checks import bounded, checked
from mcp_server.device import Change, Device
from mcp_server.findings import Added, Similar
from mcp_server.index.embedder import Embedder
from mcp_server.index.entries import memory_text
from mcp_server.index.live import EMBED_AT_ONCE_MAX
from mcp_server.model import LINKS_MAX, Draft, Kind, Link, Memory, Source
from mcp_server.naming import as_name
from mcp_server.sensitive import Policy
from mcp_server.vault import audit, names, store
from mcp_server.vault.store import Row
from shared import crypto
from shared.clock import whole_milliseconds
from shared.errors import ConflictError, InvalidError, NotFoundError
from shared.ids import MemoryId, is_short_id, parse_memory_id

if TYPE_CHECKING:
    from sqlite_utils import Database

_DIGEST_BYTES = 16
_SUPERSEDES = "supersedes"


class Stored(Struct, frozen=True):
    id: MemoryId
    status: Literal["stored", "known"]
    similar: tuple[Similar, ...] = ()
    redacted: tuple[str, ...] = ()
    """What was taken out before storing, by its label."""


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
    device: Device,
    drafts: Sequence[Draft],
    *,
    client: str,
    action: audit.Action = "remember",
    policy: Policy | None = None,
) -> list[Stored]:
    """Store drafts, all or none, in order; without what `policy` (or else the device's) takes out.

    Raises:
        InvalidError: one of them cannot be stored as it is; the message says which, and why.
    """
    sent = [checked(draft, f"Memory {number}") for number, draft in enumerate(bounded(drafts), 1)]
    screened = [
        screening.let_in(
            draft,
            policy or device.policy,
            own_words=device.own_words,
            which=f"Memory {number}",
        )
        for number, draft in enumerate(sent, 1)
    ]
    embedder = device.index.embedder
    vectors = _embedded(
        embedder,
        [memory_text(kept.text, kept.speaker) for kept, _ in screened],
    )
    added: list[Added] = []
    stored: list[Stored] = []
    with device.changing() as change:
        db = change.db
        if device.index.embedder is not embedder:
            vectors = None  # another model took over meanwhile, and will read them
        for number, draft in enumerate(sent):
            # Of what was sent, so that the same again is known again, whatever was taken out of it.
            digest = text_digest(device, draft.text)
            known = _known(db, draft, digest)
            if known is not None:
                stored.append(Stored(known.memory.id, "known"))
                continue
            vector = None if vectors is None else vectors[number]
            kept, redacted = screened[number]
            heard = echoes.of_draft(db, device.shown, kept)
            if heard is not None and heard.whole:
                original = present(db, heard.originals[0])
                if draft.source.key is not None:
                    store.note_echo(db, draft.source.key, original.row)
                stored.append(Stored(original.memory.id, "known"))
                continue
            if heard is not None:
                kept = echoes.with_sources(kept, heard)
            memory = _from_draft(device, kept)
            row = recorded.insert(device.clock, db, memory, digest)
            added.append((row, vector))
            similar = findings.notice(device, db, added)
            stored.append(Stored(row.memory.id, "stored", similar, redacted))
        _store_vectors(device, change, added)
        device.note(db, action, [item.id for item in stored], client=client)
        _publish(device, change, [row for row, _ in added], embedded=vectors is not None)
    return stored


def acceptable(device: Device, drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts that `remember` would not refuse for what they hold. For conversations and files, where the rest must not be
    lost because of one of them."""
    return [
        draft
        for draft in drafts
        if not screening.refused(draft, device.policy, own_words=device.own_words)
    ]


def take_in(device: Device, memories: Sequence[Memory], *, client: str) -> list[Stored]:
    """Store memories of our own export as they were, ids and history included; known ids are left as they are, and so are those
    that were forgotten on a device of a vault that syncs.

    Not screened: what was in a vault was let in there, by a person who may have wanted it.
    """
    bounded(memories)
    stored: list[Stored] = []
    added: list[Row] = []
    with device.changing() as change:
        db = change.db
        for memory in memories:
            there = store.by_id(db, memory.id) or (
                store.by_key(db, memory.source.key) if memory.source.key else None
            )
            known = there is not None or recorded.is_dead(db, memory.id)
            if not known:
                # It may have ended before it began: two devices may have said so, and so does what was superseded early.
                checked(msgspec.structs.replace(memory, valid_from=None), f"Memory {memory.id}")
                kept = msgspec.structs.replace(memory, source=_kept(memory.source))
                digest = text_digest(device, kept.text)
                added.append(recorded.insert(device.clock, db, kept, digest))
            stored.append(Stored(memory.id, "known" if known else "stored"))
        device.note(db, "import", [item.id for item in stored], client=client)
        _publish(device, change, added, embedded=False)
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
    kept_as = screening.name_kept(conversation, device.policy, own_words=device.own_words)
    with device.vault.reading() as db:
        position = store.next_position(db, kept_as, space)
        for turn in turns:
            said = "\x1f".join(
                [space, conversation, turn.speaker or "", str(turn.occurred_at), turn.text]
            )
            digest = text_digest(device, said)
            seen[digest] = seen.get(digest, 0) + 1
            key = turn.source.key or f"{digest.hex()}:{seen[digest]}"
            key = f"capture:{text_digest(device, space + chr(31) + conversation).hex()[:12]}:{key}"
            is_new = store.by_key(db, key) is None and store.by_echo(db, key) is None
            source = msgspec.structs.replace(turn.source, key=key)
            keyed.append(
                msgspec.structs.replace(
                    turn,
                    source=source,
                    conversation=conversation,
                    space=space,
                    position=position if is_new else None,
                )
            )
            position += is_new
    return keyed


def revise(
    device: Device,
    memory_id: str,
    version: int,
    changes: Changes,
    *,
    client: str,
    policy: Policy | None = None,
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
        after, _ = screening.let_in(
            after,
            policy or device.policy,
            own_words=device.own_words,
            which="The new memory",
            fields=[
                name for name in old.__struct_fields__ if getattr(old, name) != getattr(after, name)
            ],
        )
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
            changed, embedded = [recorded.update(device.clock, db, row, after)], True
        else:
            changed = _supersede(device, db, row, after)
            vectors = _embedded(device.index.embedder, [memory_text(after.text, after.speaker)])
            added: list[Added] = [(changed[-1], None if vectors is None else vectors[0])]
            findings.notice(device, db, added, besides=row.row)
            _store_vectors(device, change, added)
            embedded = vectors is not None
        device.note(db, "revise", [item.memory.id for item in changed], client=client)
        _publish(device, change, changed, embedded=embedded)
    return changed[-1].memory


def _embedded(embedder: Embedder | None, texts: list[str]) -> NDArray[np.float32] | None:
    """Vectors of a few texts; None if the model is not there yet, or they are too many to wait for."""
    if embedder is None or len(texts) > EMBED_AT_ONCE_MAX:
        return None
    return embedder.embed(texts)


def text_digest(device: Device, text: str) -> bytes:
    (digest,) = text_digests(device, [text])
    return digest


def text_digests(device: Device, texts: Iterable[str]) -> list[bytes]:
    found = crypto.macs(device.keys.digest, map(str.encode, texts))
    return [digest[:_DIGEST_BYTES] for digest in found]


def _known(db: "Database", draft: Draft, digest: bytes) -> Row | None:
    if draft.source.key is not None:
        return store.by_key(db, draft.source.key) or store.by_echo(db, draft.source.key)
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
    """The source as the vault holds it: of the key, what tells it from others; of a program's name, what is one."""
    return msgspec.structs.replace(
        source,
        key=None if source.key is None else names.short_key(source.key),
        client=None if source.client is None else as_name(source.client),
        tool=None if source.tool is None else as_name(source.tool),
    )


def _whole(moment: datetime | None) -> datetime | None:
    return None if moment is None else whole_milliseconds(moment)


def _store_vectors(device: Device, change: Change, added: Sequence[Added]) -> None:
    ready = [(row.row, vector) for row, vector in added if vector is not None]
    if ready:
        rows, vectors = [row for row, _ in ready], np.stack([vector for _, vector in ready])
        change.then(device.index.store_vectors(change.db, rows, vectors))


def _publish(device: Device, change: Change, stored: Sequence[Row], *, embedded: bool) -> None:
    """Have the indexes follow what this change wrote."""
    if not stored:
        return
    change.then(device.index.put(change.db, stored))
    if not embedded:
        change.then(lambda: device.index.has_more_to_embed(len(stored)))


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
        raise absent(said)
    if len(found) > 1:
        both = " and ".join(row.memory.id for row in found)
        raise ConflictError(f"{said} is short for {both}. Give the whole id.")
    return found[0]


def absent(said: str) -> NotFoundError:
    """What is also said of a memory that whoever asks may not know of."""
    return NotFoundError(
        f"There is no memory {said}: it was forgotten, or never was. `recall` and `browse` give ids that exist."
    )


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
    checked(msgspec.structs.replace(after, **span), "The memory")
    return after


def _supersede(device: Device, db: "Database", row: Row, after: Memory) -> list[Row]:
    """End the old memory and store the new one in its place; both rows, the new one last."""
    old, now = row.memory, device.clock()
    since = after.valid_from if after.valid_from != old.valid_from and after.valid_from else now
    # Each version names the one before it. With those of all before, there would one day be no room.
    others = {link for link in after.links if link.relation != _SUPERSEDES}
    # Without room for it, the old one says which is its successor all the same.
    back = {Link(_SUPERSEDES, old.id)} if len(others) < LINKS_MAX else set()
    new = msgspec.structs.replace(
        after,
        id=device.ids.memory_id(),
        source=msgspec.structs.replace(old.source, key=None),
        links=tuple(sorted(others | back)),
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
    return [
        recorded.update(device.clock, db, row, ended),
        recorded.insert(device.clock, db, new, text_digest(device, new.text)),
    ]
