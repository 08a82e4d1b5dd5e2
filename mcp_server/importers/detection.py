"""Which product wrote this? Told from what the files hold; names only say where to look first."""

import re
from collections.abc import Iterator

from mcp_server.exporters import archive
from mcp_server.importers.bundle import Bundle, Member
from mcp_server.importers.drafts import FormatName
from mcp_server.importers.records import Shape, shape
from shared.errors import InvalidError

# Beginnings of files looked at in a folder; products name theirs such that the right one is among the first.
_LOOKED_AT_MAX = 50

_CHATS = re.compile(r"(conversations(-\d+)?|projects|memories)\.json")
_JSON = (".json", ".jsonl", ".ndjson")
_NOTES = (".md", ".markdown")


def detect_in(bundle: Bundle) -> FormatName:
    """Raises InvalidError, which lists what was looked for, when nothing is recognised."""
    members = bundle.members
    if bundle.is_zip and any(each.base == archive.MEMORIES for each in members):
        return "zip"
    chats = [each for each in members if _CHATS.fullmatch(each.base)]
    sessions = [each for each in members if each.base.endswith(".jsonl")]
    notes = any(each.base.lower().endswith(_NOTES) for each in members)
    for member in [*chats, *sessions][:_LOOKED_AT_MAX]:
        if found := _format_of(_shape(bundle, member)):
            return found
    if found := _empty_export(members):
        return found
    if notes:
        return "markdown"
    others = [each for each in members if each.base.endswith(_JSON) or len(members) == 1]
    for member in others[:_LOOKED_AT_MAX]:
        if found := _format_of(_shape(bundle, member)):
            return found
    raise InvalidError(
        f"{bundle.label} is nothing that Sunaiva can import. It looked for a ChatGPT or Claude export (conversations.json), "
        "Claude Code sessions (.jsonl), a server-memory graph (.jsonl), mem0 memories (.json), Markdown notes (.md), and "
        "Sunaiva's own exports (.jsonl, .zip, .zip.sealed). Give the file or folder as the product exported it, or name "
        "the format."
    )


def _shape(bundle: Bundle, member: Member) -> Shape:
    with bundle.open(member) as stream:
        return shape(stream)


def _format_of(seen: Shape) -> FormatName | None:
    return next((format for format, holds in _signs(seen) if holds), None)


def _signs(seen: Shape) -> Iterator[tuple[FormatName, bool]]:
    fields, inner = seen.fields, seen.inner
    yield "jsonl", {"sunaiva", "format"} <= fields
    yield "chatgpt", "mapping" in fields
    yield "claude", bool(fields & {"chat_messages", "conversations_memory", "prompt_template"})
    yield "claude", {"uuid", "docs"} <= fields
    yield "claude-code", bool(fields & {"sessionId", "parentUuid"})
    yield "server-memory", {"entityType", "observations"} <= fields or "relationType" in fields
    yield "server-memory", {"entities", "relations"} <= fields
    yield "mem0", "memory" in fields
    yield "mem0", bool(fields & {"results", "memories"}) and "memory" in inner


def _empty_export(members: list[Member]) -> FormatName | None:
    """An account without any conversations exports an empty list, which only its neighbours tell apart."""
    names = {each.base for each in members}
    if "conversations.json" not in names:
        return None
    if names & {"user.json", "chat.html"}:
        return "chatgpt"
    return "claude" if "users.json" in names else None
