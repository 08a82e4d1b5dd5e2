"""Claude's data export: conversations, projects with their documents, and what Claude noted about the person.

The export comes as one zip or as several, as a folder, or as single JSON files; a record is known by its fields,
not by the name of its file, because the names have changed over time.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from mcp_server.importers import fields
from mcp_server.importers.bundle import Bundle, Member
from mcp_server.importers.chunks import chunks
from mcp_server.importers.drafts import (
    SPEAKERS,
    Item,
    Problem,
    Turn,
    conversation_name,
    digest,
    in_parts,
    moment,
    source,
    tags,
    turn_drafts,
)
from mcp_server.importers.records import records_in
from mcp_server.model import Draft, Trust

# About the account, not about anything said.
_NOT_MEMORIES = frozenset({"users.json", "user.json", "manifest.json"})


def read(bundle: Bundle) -> Iterator[Item]:
    for where, record in records_in(bundle, members(bundle)):
        yield from _record(record, where)


def members(bundle: Bundle) -> list[Member]:
    return [
        each
        for each in bundle.members
        if each.base.endswith(".json") and each.base not in _NOT_MEMORIES
    ]


def _record(record: object, where: str) -> Iterator[Item]:
    if isinstance(record, Problem):
        yield record
    elif not isinstance(record, dict):
        yield Problem(where, "a record that is no object")
    elif "chat_messages" in record:
        yield from _conversation(record)
    elif "docs" in record or "prompt_template" in record:
        yield from _project(record)
    elif "conversations_memory" in record or "project_memories" in record:
        yield from _noted_by_claude(record)
    else:
        found = ", ".join(sorted(map(str, record))[:5])
        yield Problem(where, f"a record of a kind that is not known here (it holds: {found})")


def _conversation(record: dict[str, Any]) -> Iterator[Item]:
    title = fields.text(record, "name")
    conversation_id = fields.text(record, "uuid") or digest(
        title or "", str(record.get("created_at"))
    )
    conversation = conversation_name(title, "Claude", conversation_id)
    position = 0
    for index, message in enumerate(_branch(record)):
        key = f"{conversation_id}:{fields.text(message, 'uuid') or index}"
        at = moment(message.get("created_at"))
        text = _said(message)
        speaker = SPEAKERS.get(fields.text(message, "sender"))
        if text and speaker is not None:
            turn = Turn(key=key, speaker=speaker, text=text, at=at)
            drafts = turn_drafts(turn, "claude", conversation=conversation, position=position)
            position += len(drafts)
            yield from drafts
        for attachment in fields.items(message, "attachments"):
            pasted = fields.text(attachment, "extracted_content")
            if pasted is not None:
                called = fields.text(attachment, "file_name") or "Pasted text"
                yield from _document(called, pasted, key, at=at, conversation=conversation)


def _branch(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages up to the present one; where parents are given, edited and abandoned ones are left out."""
    messages = [each for each in fields.items(record, "chat_messages") if isinstance(each, dict)]
    by_id = {fields.text(each, "uuid"): each for each in messages}
    leaf = fields.text(record, "current_leaf_message_uuid")
    message = by_id.get(leaf) or (messages[-1] if messages else None)
    branch: list[dict[str, Any]] = []
    while message is not None and len(branch) < len(messages):
        branch.append(message)
        parent = fields.text(message, "parent_message_uuid")
        if parent not in by_id and not _is_root(parent, message, messages):
            return messages  # no tree, or a torn one: rather too much than too little
        message = by_id.get(parent) if parent else None
    return branch[::-1]


def _is_root(parent: str | None, message: dict[str, Any], messages: list[dict[str, Any]]) -> bool:
    if parent is None:
        return message is messages[0]
    return parent.startswith("00000000-0000-")


def _said(message: dict[str, Any]) -> str:
    blocks = [
        fields.text(block, "text") or ""
        for block in fields.items(message, "content")
        if isinstance(block, dict) and block.get("type") == "text"
    ]
    # `text` also holds stand-ins for what its writer could not show, so the blocks come first.
    return "\n\n".join(block for block in blocks if block) or fields.text(message, "text") or ""


def _project(record: dict[str, Any]) -> Iterator[Item]:
    called = fields.text(record, "name") or "Untitled project"
    project_id = fields.text(record, "uuid") or digest(called)
    at = moment(record.get("created_at"))
    described = fields.text(record, "description")
    if described is not None:
        yield from _note(
            f"{called}: {described}", f"{project_id}:description", "said_by_user", called, at
        )
    instructions = fields.text(record, "prompt_template")
    if instructions is not None:
        for draft in _note(instructions, f"{project_id}:instructions", "said_by_user", called, at):
            yield replace(draft, kind="preference")
    for document in fields.items(record, "docs"):
        content = fields.text(document, "content")
        if content is not None:
            title = fields.text(document, "filename") or "Untitled document"
            key = f"{project_id}:{fields.text(document, 'uuid') or digest(title)}"
            added_at = moment(document.get("created_at")) or at
            yield from _document(title, content, key, at=added_at, tag=called)


def _noted_by_claude(record: dict[str, Any]) -> Iterator[Item]:
    """Claude's own summary of the person: its words, not theirs."""
    noted = [("memory", fields.text(record, "conversations_memory"))]
    noted += [
        (f"project memory {project_id}", text)
        for project_id, text in fields.mapping(record, "project_memories").items()
        if isinstance(text, str) and text.strip()
    ]
    for key, text in noted:
        if text is not None:
            for chunk in chunks(text, "Claude's memory"):
                key_of_chunk = f"{key}:{digest(chunk.whole)}"
                yield from _note(
                    chunk.whole, key_of_chunk, "said_by_assistant", "claude memory", None
                )


def _note(text: str, key: str, trust: Trust, tag: str, at: datetime | None) -> Iterator[Draft]:
    return in_parts(
        Draft(text=text, source=source("claude", key, trust), tags=tags(tag), occurred_at=at)
    )


def _document(
    title: str,
    content: str,
    key: str,
    *,
    at: datetime | None,
    tag: str | None = None,
    conversation: str | None = None,
) -> Iterator[Draft]:
    for chunk in chunks(content, title):
        yield Draft(
            text=chunk.whole,
            source=source("claude", f"{key}:{chunk.key}", "imported"),
            kind="document",
            tags=tags(tag, title),
            occurred_at=at,
            conversation=conversation,
        )
