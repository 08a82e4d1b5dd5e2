"""What a memory is: the values that every part of the device speaks about. No behaviour beyond their limits.

A `Draft` is what arrives (from an assistant, a person, an importer); a `Memory` is what the vault holds. Text is
verbatim: nothing here paraphrases, trims or normalises it. Timestamps are aware UTC datetimes, whole milliseconds.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from shared.ids import MemoryId

Kind = Literal["fact", "preference", "decision", "event", "note", "turn", "document", "summary"]
Trust = Literal["said_by_user", "said_by_assistant", "tool_output", "imported"]

DEFAULT_SPACE = "personal"

# A memory is one thing somebody said or noted; a book belongs in chunks (`document`). One megabyte keeps a single
# answer and a single row bounded.
TEXT_BYTES_MAX = 1_000_000
# Bounded so that one call cannot hold the vault for more than some seconds; importers send many calls.
DRAFTS_PER_CALL_MAX = 1_000
TAGS_MAX = 32
LINKS_MAX = 64
NAME_CHARS_MAX = 200  # spaces, tags, speakers, conversations: names, not contents

# Positions and versions: SQLite's integers end at twice this, and the next ones have to fit as well.
COUNT_MAX = 1 << 62


class Link(Struct, frozen=True, order=True):
    """A named relation from one memory to another: `about`, `source`, `supersedes`, …"""

    relation: str
    target: MemoryId


class Source(Struct, frozen=True, kw_only=True):
    """Where a memory came from, and how far its content may be trusted."""

    trust: Trust
    client: str | None = None
    """The program that wrote it, by the name it gave itself: `claude-desktop`, `sunaiva import`, …"""
    tool: str | None = None
    """The tool or importer it came through: `remember`, `capture`, `chatgpt`, …"""
    key: str | None = None
    """Idempotency key: a second draft with the same key in the same vault is the same memory."""


class Draft(Struct, frozen=True, kw_only=True):
    """A memory on its way in. `memory.py` checks it against the limits above before anything is stored."""

    text: str
    source: Source
    kind: Kind = "note"
    space: str = DEFAULT_SPACE
    tags: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    occurred_at: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    speaker: str | None = None
    conversation: str | None = None
    position: int | None = None
    """Order within the conversation, from 0."""
    importance: float = 0.5
    pinned: bool = False
    archived: bool = False


class Memory(Struct, frozen=True, kw_only=True):
    """A memory as the vault holds it. Everything here is canonical: it is exported and imported."""

    id: MemoryId
    text: str
    source: Source
    kind: Kind
    space: str
    tags: tuple[str, ...]
    """Sorted, distinct."""
    links: tuple[Link, ...]
    """Sorted, distinct."""
    occurred_at: datetime | None
    valid_from: datetime | None
    valid_to: datetime | None
    speaker: str | None
    conversation: str | None
    position: int | None
    importance: float
    pinned: bool
    archived: bool
    superseded_by: MemoryId | None
    version: int
    """Counts changes, from 1; `revise` refuses a stale one."""
    created_at: datetime
    updated_at: datetime
