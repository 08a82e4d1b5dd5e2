"""The shapes of what tools take and give, as the MCP SDK publishes them. Pydantic's place.

Every field of an answer may be missing, for a reason of thrift: a schema that says so is a third shorter, and every
assistant pays for the schemas in every conversation.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict
from typing_extensions import TypedDict

from mcp_server import search
from mcp_server.model import Kind, Memory


def _not_a_bool(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError("a number is wanted, not true or false")
    return given


def _written_out(given: object) -> object:
    if not isinstance(given, str | datetime):
        raise ValueError("a time is wanted, as in 2023-05-08T14:30:00Z")
    return given


# Pydantic takes true for 1 and 12345 for a moment in 1970; a wrong type is a slip, and guessing would store it.
Count = Annotated[int, BeforeValidator(_not_a_bool)]
Number = Annotated[float, BeforeValidator(_not_a_bool)]
Flag = Annotated[bool, Strict()]
Moment = Annotated[datetime, BeforeValidator(_written_out)]


class NewMemory(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    kind: Kind = "note"
    tags: list[str] = []
    occurred_at: Moment | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    speaker: str | None = None
    importance: Annotated[Number, Field(ge=0, le=1)] = 0.5
    pinned: Flag = False


class TurnIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    speaker: str
    text: str
    role: Literal["user", "assistant", "tool"] = "user"
    at: Moment | None = None
    key: str | None = None


class Item(TypedDict, total=False):
    id: str
    text: str
    when: str
    speaker: str
    conversation: str
    space: str
    kind: str
    tags: list[str]
    version: int
    valid_to: str
    why: str
    score: float
    truncated: bool


class Brief(TypedDict, total=False):
    id: str
    text: str
    when: str


class SimilarOut(TypedDict, total=False):
    id: str
    text: str
    relation: str


class StoredOut(TypedDict, total=False):
    id: str
    status: Literal["stored", "known"]
    similar: list[SimilarOut]
    redacted: str


class RememberOut(TypedDict, total=False):
    stored: list[StoredOut]


class RecallOut(TypedDict, total=False):
    memories: list[Item]
    cursor: str
    searched: Literal["full", "keywords"]
    note: str


class SectionOut(TypedDict, total=False):
    title: str
    memories: list[Brief]


class ContextOut(TypedDict, total=False):
    sections: list[SectionOut]


class CaptureOut(TypedDict, total=False):
    conversation: str
    stored: int
    known: int
    note: str


class ReviseOut(TypedDict, total=False):
    id: str
    version: int
    supersedes: str


class ForgetOut(TypedDict, total=False):
    forgotten: int
    preview: list[str]
    confirm: str


class BrowseOut(TypedDict, total=False):
    memories: list[Item]
    cursor: str


class FindingOut(TypedDict, total=False):
    id: int
    relation: str
    first: Brief
    second: Brief


class ResolveOut(TypedDict, total=False):
    findings: list[FindingOut]


def item(memory: Memory, **more: Any) -> Item:
    """A memory as an answer shows it; what is not there is left out."""
    fields: dict[str, Any] = {
        "id": memory.id,
        "text": memory.text,
        "when": _iso(memory.occurred_at or memory.created_at),
        "speaker": memory.speaker,
        "conversation": memory.conversation,
        "space": memory.space,
        "kind": memory.kind,
        "tags": list(memory.tags) or None,
        "version": memory.version,
        "valid_to": None if memory.valid_to is None else _iso(memory.valid_to),
        **more,
    }
    return cast(Item, {name: value for name, value in fields.items() if value is not None})


def brief(memory: Memory, said: str | None = None, note: str | None = None) -> Brief:
    """A memory in few words: what of it is `said` (or else its beginning), with a note of ours behind it."""
    text, _ = search.excerpt(memory.text if said is None else said, "")
    shown = text if note is None else f"{text} ({note})"
    return Brief(id=memory.id, text=shown, when=_iso(memory.occurred_at or memory.created_at))


def found_item(found: search.Found) -> Item:
    return item(
        found.memory,
        text=found.text,
        why=found.why,
        score=round(found.score, 3),
        truncated=found.truncated or None,
    )


def said(text: str, structured: dict[str, Any] | Any) -> CallToolResult:
    """A result for both readers: a few lines for the model, structure for programs."""
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=dict(structured)
    )


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def more_at(cursor: str | None) -> str:
    """Where the next page begins, for clients that show text only."""
    return "" if cursor is None else f"\n(more: call again with cursor={cursor})"
