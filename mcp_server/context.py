"""What is worth knowing now: the few memories to have in mind when a session, a topic or a project begins.

Standing instructions and preferences share no words with the question of the day, so no search finds them; they have their
own sections here, as have who the person is, what is open, what is coming, what was decided and what changed. Reads only.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, get_args

import numpy as np
from msgspec import Struct

from mcp_server import briefing, cues, search
from mcp_server.briefing import Told
from mcp_server.device import Device
from mcp_server.index.catalogue import Filter
from mcp_server.model import Kind, Memory
from mcp_server.vault import audit, store
from mcp_server.vault.store import Selection
from shared.clock import to_ms
from shared.errors import InvalidError

if TYPE_CHECKING:
    from sqlite_utils import Database

INSTRUCTIONS, ABOUT, PREFERENCES = "Standing instructions", "About the person", "Preferences"
PINNED, PROMISES, COMING, DECISIONS = "Pinned", "Open promises", "Coming up", "Decisions"
CHANGED, TOPIC, LATEST = "Changed since the last session", "On this topic", "Latest"
# Of the budget, in the order in which the sections stand and share what is left; between those that have something to say.
_SHARES = {PINNED: 20, INSTRUCTIONS: 20, ABOUT: 12, PREFERENCES: 14, PROMISES: 10, COMING: 10,
           DECISIONS: 10, CHANGED: 10, TOPIC: 60, LATEST: 10}  # fmt: skip
_SECTION_MAX = 20
# How many memories with a cue are read for a section, the latest; to read all of a large vault would take seconds.
_READ_MAX = 40
# Promises are closed by what was said later, days lie ahead of what was said some time ago: these look further back.
_READ_FURTHER_MAX = 60
# While the catalogue loads, cues are looked for among the memories stored last.
_LAST_ROWS = 20_000
_KINDS: tuple[Kind, ...] = get_args(Kind)
_WANTED: tuple[tuple[int, Kind | None, int], ...] = (
    (cues.STANDING, None, _READ_MAX),
    (cues.PREFERENCE, "preference", _READ_MAX),
    (cues.PROFILE, None, _READ_MAX),
    (cues.PROMISE, None, _READ_MAX),
    (cues.DONE, None, _READ_FURTHER_MAX),
    (cues.DATED, None, _READ_FURTHER_MAX),
    (cues.DECISION, "decision", _SECTION_MAX),
)


class Section(Struct, frozen=True):
    title: str
    told: tuple[Told, ...]


def gather(
    device: Device,
    *,
    topic: str | None,
    spaces: tuple[str, ...] | None,
    max_tokens: int,
    client: str,
) -> list[Section]:
    """Sections with something in them, within `max_tokens`.

    Raises:
        InvalidError: as `search.find` for the topic; the budget holds not one line.
    """
    if not 1 <= max_tokens <= search.TOKENS_MAX:
        raise InvalidError(f"max_tokens goes from 1 to {search.TOKENS_MAX:,}.")
    on_topic: list[Told] = []
    if topic is not None:
        asked = search.Asked(query=topic, spaces=spaces, max_tokens=max_tokens, limit=_SECTION_MAX)
        answer = search.find(device, asked, client=client)
        if not answer.irrelevant:  # unasked, the nearest would pass for something worth knowing
            on_topic = [Told(each.memory, each.text) for each in answer.found if each.about]
    with device.index.precedence.answering(), device.vault.reading() as db:
        candidates = _candidates(device, db, spaces, client=client, with_latest=topic is None)
    candidates[TOPIC] = on_topic
    kept = briefing.fitted(
        {title: candidates[title] for title in _SHARES if title in candidates},
        _SHARES,
        max_tokens,
        lambda told: search.tokens(line(told)) + 1,
        title_cost=lambda title: search.tokens(title) + 2,
    )
    if not kept and any(candidates.values()):
        raise InvalidError(
            f"There is something to know, but not one line of it fits into {max_tokens} tokens. Give more; 1,000 is usual."
        )
    with device.vault.writing() as db:
        ids = list(dict.fromkeys(told.memory.id for section in kept.values() for told in section))
        device.note(db, "recall", ids, client=client)
    return [Section(title, tuple(section)) for title, section in kept.items()]


def line(told: Told) -> str:
    """How it reads in an answer: the day meant or what it replaced stands behind the person's words."""
    text, _ = search.excerpt(told.text, "")
    said = search.line(told.memory, text)
    return said if told.note is None else f"{said} ({told.note})"


def shown(memory: Memory) -> str:
    return line(Told(memory, memory.text))


def _candidates(
    device: Device,
    db: "Database",
    spaces: tuple[str, ...] | None,
    *,
    client: str,
    with_latest: bool,
) -> dict[str, list[Told]]:
    now = device.clock()
    soon = now + timedelta(days=briefing.COMING_DAYS)
    happening = store.happening(db, spaces, since=now, until=soon, limit=_SECTION_MAX)
    with_cues = {each.id: (each, flags) for each, flags in _with_cues(device, db, spaces)}
    everything = {row.memory.id: (row.memory, 0) for row in happening} | with_cues
    found = briefing.read(pair for pair in everything.values() if _in_force(pair[0], now))
    candidates = {
        PINNED: _whole(store.pinned(db, spaces, limit=_SECTION_MAX)),
        INSTRUCTIONS: briefing.saying(found, cues.STANDING),
        ABOUT: briefing.profile(found),
        PREFERENCES: briefing.saying(found, cues.PREFERENCE, "preference"),
        PROMISES: briefing.promises(found, now),
        COMING: briefing.coming_up(found, now),
        DECISIONS: briefing.saying(found, cues.DECISION, "decision"),
        CHANGED: _changed(device, db, spaces, client),
    }
    if with_latest:
        last = store.page(db, Selection(spaces=spaces), before=None, limit=_SECTION_MAX)
        candidates[LATEST] = _whole(last)
    return {
        title: [told for told in section if _in_force(told.memory, now)]
        for title, section in candidates.items()
    }


def _in_force(memory: Memory, now: datetime) -> bool:
    return memory.valid_to is None or memory.valid_to > now


def _whole(rows: list[store.Row]) -> list[Told]:
    return [Told(row.memory, row.memory.text) for row in rows]


def _with_cues(
    device: Device, db: "Database", spaces: tuple[str, ...] | None
) -> list[tuple[Memory, int]]:
    """Of each cue, the latest memories that carry it, and the cues for which each was chosen."""
    listed = device.index.state().listed
    rows = _listed(device, spaces) if listed else _among_the_last(db, spaces)
    # Since the catalogue was asked, a memory may have moved to another space or been superseded.
    return [
        (memory, rows[row])
        for row, memory in store.by_rows(db, rows).items()
        if (spaces is None or memory.space in spaces)
        and memory.superseded_by is None
        and not memory.archived
    ]


def _listed(device: Device, spaces: tuple[str, ...] | None) -> dict[int, int]:
    catalogue = device.index.catalogue
    visible = catalogue.visible(Filter(spaces=spaces), now_ms=to_ms(device.clock()))
    flags, kinds, when = (
        catalogue.columns[name][: len(visible)] for name in ("flags", "kind", "when_ms")
    )
    rows: dict[int, int] = {}
    for flag, kind, most in _WANTED:
        carrying = (flags & flag) != 0
        if kind is not None:
            carrying |= kinds == _KINDS.index(kind)
        chosen = np.flatnonzero(carrying & visible)
        if len(chosen) > most:
            chosen = chosen[np.argpartition(when[chosen], -most)[-most:]]
        for row in chosen.tolist():
            rows[row] = rows.get(row, 0) | flag
    return rows


def _among_the_last(db: "Database", spaces: tuple[str, ...] | None) -> dict[int, int]:
    rows: dict[int, int] = {}
    for flag, kind, most in _WANTED:
        for row in store.rows_with_cues(db, flag, kind, spaces, among=_LAST_ROWS)[:most]:
            rows[row] = rows.get(row, 0) | flag
    return rows


def _changed(
    device: Device, db: "Database", spaces: tuple[str, ...] | None, client: str
) -> list[Told]:
    seq = audit.session_before(db, client, now=device.clock())
    if seq is None:
        return []
    ids = audit.written_since(db, seq, by_others_than=client, limit=2 * _SECTION_MAX)
    found = [row.memory for each in ids if (row := store.by_id(db, each)) is not None]
    allowed = [each for each in found if spaces is None or each.space in spaces]
    replaced = {each.superseded_by: each for each in allowed if each.superseded_by is not None}
    present = [each for each in allowed if each.superseded_by is None and not each.archived]
    return briefing.changed(present, replaced)
