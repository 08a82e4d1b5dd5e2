"""What is noticed when a memory comes in: likenesses, contradictions, updates. Noted for a person to decide, never acted on."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server import changes as recorded
from mcp_server import noticing
from mcp_server.device import Device
from mcp_server.index.catalogue import Filter
from mcp_server.model import Kind, Memory
from mcp_server.noticing import Relation
from mcp_server.vault import store
from mcp_server.vault.store import Row
from shared.clock import to_ms
from shared.errors import ConflictError, NotFoundError
from shared.ids import MemoryId

if TYPE_CHECKING:
    from sqlite_utils import Database

# How many of the nearest memories a new one is compared with; more would only be further away.
_COMPARED = 5
# What contradicts more than this many of its nearest is one of a series of like things, and a person who has these open about one matter
# has enough to decide.
_CONTRADICTED_MAX = 2
# What is noted on purpose is not compared with what was only said; a turn is compared with both.
_COMPARED_KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "turn")

Decision = Literal["keep_both", "keep_first", "keep_second"]

Added = tuple[Row, NDArray[np.float32] | None]
"""A memory just stored, and its vector if it has one already."""


class Finding(Struct, frozen=True):
    number: int
    relation: Relation
    first: Memory
    second: Memory


class Similar(Struct, frozen=True):
    id: MemoryId
    text: str
    relation: Relation


def notice(
    device: Device, db: "Database", added: Sequence[Added], *, besides: int | None = None
) -> tuple[Similar, ...]:
    """Compare the memory added last with its nearest, those added with it among them, and note what may be the same, a
    contradiction or an update. `besides` is the row of one that it supersedes anyway.
    """
    new, vector = added[-1]
    if vector is None or device.index.vectors is None or not _compared(new.memory):
        return ()
    kinds = None if new.memory.kind == "turn" else _COMPARED_KINDS
    same_space = Filter(spaces=(new.memory.space,), kinds=kinds)
    comparable = device.index.catalogue.visible(same_space, now_ms=to_ms(device.clock()))
    rows, cosines = device.index.vectors.search(vector, _COMPARED, comparable)
    near = dict(zip(rows.tolist(), cosines.tolist(), strict=True))
    near |= {row.row: float(other @ vector) for row, other in added[:-1] if other is not None}
    near.pop(besides, None)
    others = [
        (near[row], other)
        for row, other in store.by_rows(db, near).items()
        if other.space == new.memory.space and _compared(other)
    ]
    pairs = [_related(new.memory, other, cosine) for cosine, other in others]
    related = [pair for pair in pairs if pair is not None]
    if sum(how == "may_contradict" for how, *_ in related) > _CONTRADICTED_MAX:
        related = [pair for pair in related if pair[0] != "may_contradict"]
    for how, first, second in related:
        db.execute(
            "INSERT OR IGNORE INTO findings (relation, first, second, noticed_ms) VALUES (?, ?, ?, ?)",
            [how, store.as_bytes(first.id), store.as_bytes(second.id), to_ms(device.clock())],
        )
    return tuple(
        Similar(other.id, other.text, how)
        for how, *both in related
        for other in both
        if other.id != new.memory.id
    )


def open_findings(db: "Database", *, limit: int, about: MemoryId | None = None) -> list[Finding]:
    """Likenesses, contradictions and updates that nobody has decided, the newest first; of one memory, or all."""
    key = None if about is None else store.as_bytes(about)
    found = db.execute(
        """SELECT number, relation, (SELECT row FROM records WHERE id = first), (SELECT row FROM records WHERE id = second)
           FROM findings WHERE decision IS NULL AND (? IS NULL OR first = ? OR second = ?) ORDER BY number DESC LIMIT ?""",
        [key, key, key, limit],
    ).fetchall()
    memories = store.by_rows(db, {row for _, _, *pair in found for row in pair})
    return [
        Finding(number, relation, memories[first], memories[second])
        for number, relation, first, second in found
    ]


def updates(db: "Database", rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Of these rows, each older one with the newer one that seems to replace it; undecided ones, the longest known first."""
    among = json.dumps(rows.tolist())
    return db.execute(
        """SELECT older.row, newer.row FROM findings
               JOIN records AS older ON older.id = first JOIN records AS newer ON newer.id = second
           WHERE decision IS NULL AND relation = 'may_supersede'
               AND first IN (SELECT id FROM records WHERE row IN (SELECT value FROM json_each(?1)))
               AND second IN (SELECT id FROM records WHERE row IN (SELECT value FROM json_each(?1)))
           ORDER BY number""",
        [among],
    ).fetchall()


def about(db: "Database", memory_id: MemoryId) -> tuple[Similar, ...]:
    """What is noticed about a memory and not decided."""
    return tuple(
        Similar(other.id, other.text, finding.relation)
        for finding in open_findings(db, limit=_COMPARED, about=memory_id)
        for other in (finding.first, finding.second)
        if other.id != memory_id
    )


def resolve(
    device: Device,
    number: int,
    decision: Decision,
    *,
    client: str,
) -> None:
    """Decide a finding. The one not kept is superseded by the other: out of recall, in reach of `as_of`.

    Raises:
        NotFoundError: there is no open finding of this number.
        ConflictError: the other has superseded the one to keep since; ending it, too, would leave neither.
    """
    with device.changing() as change:
        db = change.db
        first, second = pair(db, number)
        if decision != "keep_both":
            kept, dropped = (first, second) if decision == "keep_first" else (second, first)
            if dropped.memory.id in _successors(db, kept.memory):
                raise ConflictError(
                    f"{dropped.memory.id} has superseded {kept.memory.id} since. Nothing was decided: keep the newer one, or both, "
                    "or revise it."
                )
            now = device.clock()
            ended = msgspec.structs.replace(
                dropped.memory,
                superseded_by=kept.memory.id,
                valid_to=dropped.memory.valid_to or _ended(dropped.memory, kept.memory, now),
                version=dropped.memory.version + 1,
                updated_at=now,
            )
            changed = recorded.update(device.clock, db, dropped, ended)
            change.then(device.index.put(db, [changed]))
        db.execute(
            "UPDATE findings SET decision = ?, decided_ms = ? WHERE number = ?",
            [decision, to_ms(device.clock()), number],
        )
        device.note(db, "resolve", [first.memory.id, second.memory.id], client=client)


def pair(db: "Database", number: int) -> tuple[Row, Row]:
    """The two memories of an open finding.

    Raises:
        NotFoundError: there is no open finding of this number.
    """
    finding = None
    if number > 0:  # SQLite does not take every number
        finding = db.execute(
            "SELECT first, second FROM findings WHERE number = ? AND decision IS NULL", [number]
        ).fetchone()
    if finding is None:
        raise NotFoundError(
            f"There is no open finding {number}. Call resolve without an id to list them."
        )
    first, second = (store.by_ids(db, [store.as_id(key)]) for key in finding)
    return first[0], second[0]


def _successors(db: "Database", memory: Memory) -> set[MemoryId]:
    """What superseded a memory, and what superseded that."""
    found: set[MemoryId] = set()
    following = memory.superseded_by
    while following is not None and following not in found:
        found.add(following)
        row = store.by_id(db, following)
        following = None if row is None else row.memory.superseded_by
    return found


def _ended(dropped: Memory, kept: Memory, now: datetime) -> datetime:
    """When the one kept became true, if that is known and lies after the other's beginning."""
    since = kept.valid_from or kept.occurred_at
    began = dropped.valid_from or dropped.occurred_at or dropped.created_at
    return since if since is not None and began < since < now else now


def _compared(memory: Memory) -> bool:
    """Turns only if the person says something about themself: the rest of what is said needs no deciding."""
    return memory.kind != "turn" or (
        memory.source.trust == "said_by_user" and noticing.may_be_stated(memory.text)
    )


def _related(new: Memory, other: Memory, cosine: float) -> tuple[Relation, Memory, Memory] | None:
    # What happened later comes second, also if it was told first.
    first, second = sorted((other, new), key=lambda memory: memory.occurred_at or memory.created_at)
    how = noticing.relation(second.text, first.text, cosine)
    repeated = how == "near_duplicate" and "turn" in (new.kind, other.kind)
    if how is None or repeated:  # turns say the same thing again and again, and rightly so
        return None
    return how, first, second
