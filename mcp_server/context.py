"""What is worth knowing now: the few memories to have in mind when a session, a topic or a project begins.

Standing instructions and preferences share no words with the question of the day, so no search finds them; they have their
own sections here. Reads only.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from mcp_server import search
from mcp_server.device import Device
from mcp_server.model import Kind, Memory
from mcp_server.vault import store
from mcp_server.vault.store import Selection

if TYPE_CHECKING:
    from sqlite_utils import Database

_COMING_DAYS = 30
_RECENT_DAYS = 30
# Shares of the budget; what a section leaves is the next one's.
_SHARES = {"Pinned": 0.3, "Preferences": 0.25, "Coming up": 0.15, "Recent decisions": 0.15}
_SECTION_MAX = 20


class Section(Struct, frozen=True):
    title: str
    memories: tuple[Memory, ...]


def gather(
    device: Device,
    *,
    topic: str | None,
    spaces: tuple[str, ...] | None,
    max_tokens: int,
    client: str,
) -> list[Section]:
    """Sections with something in them, within about `max_tokens`.

    Raises:
        InvalidError: as `search.find` for the topic.
    """
    now = device.clock()
    candidates: dict[str, list[Memory]] = {}
    with device.vault.reading() as db:
        candidates["Pinned"] = [row.memory for row in store.pinned(db, spaces, limit=_SECTION_MAX)]
        candidates["Preferences"] = _page(db, spaces, ("preference",))
        coming = Selection(spaces=spaces, since=now, until=now + timedelta(days=_COMING_DAYS))
        candidates["Coming up"] = sorted(
            (
                row.memory
                for row in store.page(db, coming, before_row=None, limit=_SECTION_MAX)
                if row.memory.occurred_at is not None  # or else it was only just stored
            ),
            key=lambda memory: memory.occurred_at or now,
        )
        recent = Selection(
            spaces=spaces, kinds=("decision",), since=now - timedelta(days=_RECENT_DAYS)
        )
        candidates["Recent decisions"] = [
            row.memory for row in store.page(db, recent, before_row=None, limit=_SECTION_MAX)
        ]
        last = Selection(spaces=spaces)
        candidates["Latest"] = [
            row.memory for row in store.page(db, last, before_row=None, limit=_SECTION_MAX)
        ]
    if topic is not None:
        asked = search.Asked(query=topic, spaces=spaces, max_tokens=max_tokens, limit=_SECTION_MAX)
        answer = search.find(device, asked, client=client)
        candidates["On this topic"] = [found.memory for found in answer.found]
        del candidates["Latest"]
    in_force = {
        title: [memory for memory in memories if memory.valid_to is None or memory.valid_to > now]
        for title, memories in candidates.items()
    }
    sections = _within(in_force, max_tokens)
    with device.vault.writing() as db:
        ids = [memory.id for section in sections for memory in section.memories]
        device.note(db, "recall", ids, client=client)
    return sections


def shown(memory: Memory) -> str:
    text, _ = search.excerpt(memory.text, "")
    return search.line(memory, text)


def _page(db: "Database", spaces: tuple[str, ...] | None, kinds: tuple[Kind, ...]) -> list[Memory]:
    rows = store.page(
        db, Selection(spaces=spaces, kinds=kinds), before_row=None, limit=_SECTION_MAX
    )
    return [row.memory for row in rows]


def _within(candidates: dict[str, list[Memory]], max_tokens: int) -> list[Section]:
    sections: list[Section] = []
    seen: set[str] = set()
    left = float(max_tokens)
    for title, memories in candidates.items():
        allowed = max_tokens * _SHARES.get(title, 1.0)
        kept: list[Memory] = []
        for memory in memories:
            cost = search.tokens(shown(memory)) + 1
            if memory.id in seen or cost > min(allowed, left):
                continue
            seen.add(memory.id)
            kept.append(memory)
            allowed, left = allowed - cost, left - cost
        if kept:
            sections.append(Section(title, tuple(kept)))
    return sections
