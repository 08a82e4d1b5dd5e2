"""ChatGPT's data export: a zip or its folder with `conversations.json`, or with `conversations-000.json` and so on.

A conversation is a tree, because answers can be regenerated and questions edited; only the branch that the person last
saw is imported. What they never saw (system messages, tool calls and results, hidden context, reasoning) is not.
"""

import re
from collections.abc import Iterator
from typing import Any

from mcp_server.importers import fields
from mcp_server.importers.bundle import Bundle, Member
from mcp_server.importers.drafts import (
    SPEAKERS,
    Item,
    Problem,
    Turn,
    conversation_name,
    digest,
    moment,
    turn_drafts,
)
from mcp_server.importers.records import records_in

_CONVERSATIONS = re.compile(r"conversations(-\d+)?\.json")

# `code` is what the assistant sends to its tools, unless it is addressed to the person.
_SEEN = ("text", "multimodal_text", "code")


def read(bundle: Bundle) -> Iterator[Item]:
    for where, record in records_in(bundle, members(bundle)):
        if isinstance(record, Problem):
            yield record
        elif not fields.mapping(record, "mapping"):
            yield Problem(where, "a conversation without any messages")
        else:
            yield from _conversation(record)


def members(bundle: Bundle) -> list[Member]:
    if len(bundle.members) == 1:
        return bundle.members
    return [each for each in bundle.members if _CONVERSATIONS.fullmatch(each.base)]


def _conversation(record: dict[str, Any]) -> Iterator[Item]:
    title = fields.text(record, "title")
    conversation_id = (
        fields.text(record, "conversation_id")
        or fields.text(record, "id")
        or digest(title or "", str(record.get("create_time")))
    )
    conversation = conversation_name(title, "ChatGPT", conversation_id)
    position = 0
    for node_id, message in _branch(record):
        turn = _turn(message, f"{conversation_id}:{fields.text(message, 'id') or node_id}")
        if turn is not None:
            drafts = turn_drafts(turn, "chatgpt", conversation=conversation, position=position)
            position += len(drafts)
            yield from drafts


def _branch(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Node ids and messages from the root to the present leaf."""
    mapping = fields.mapping(record, "mapping")
    node_id = fields.text(record, "current_node")
    if node_id not in mapping:
        node_id = _latest_leaf(mapping)
    branch: list[tuple[str, dict[str, Any]]] = []
    seen: set[str] = set()
    while node_id is not None and node_id in mapping and node_id not in seen:
        seen.add(node_id)
        branch.append((node_id, fields.mapping(mapping[node_id], "message")))
        node_id = fields.text(mapping[node_id], "parent")
    return branch[::-1]


def _latest_leaf(mapping: dict[str, Any]) -> str | None:
    leaves = [node_id for node_id, node in mapping.items() if not fields.items(node, "children")]
    return max(leaves, key=lambda node_id: _seconds(mapping[node_id]), default=None)


def _seconds(node: object) -> float:
    value = fields.mapping(node, "message").get("create_time")
    return value if isinstance(value, int | float) else 0.0


def _turn(message: dict[str, Any], key: str) -> Turn | None:
    speaker = SPEAKERS.get(fields.text(fields.mapping(message, "author"), "role"))
    content = fields.mapping(message, "content")
    if speaker is None or content.get("content_type", "text") not in _SEEN:
        return None
    if message.get("recipient") not in (None, "all") or _is_hidden(message):
        return None
    text = _text(content)
    if not text.strip():
        return None
    return Turn(key=key, speaker=speaker, text=text, at=moment(message.get("create_time")))


def _is_hidden(message: dict[str, Any]) -> bool:
    metadata = fields.mapping(message, "metadata")
    return bool(
        metadata.get("is_visually_hidden_from_conversation")
        or metadata.get("is_user_system_message")
    )


def _text(content: dict[str, Any]) -> str:
    """The written parts; pictures and sounds have none, but what was heard in a sound is written beside it."""
    parts = [
        part if isinstance(part, str) else fields.text(part, "text") or ""
        for part in fields.items(content, "parts")
    ]
    written = "\n".join(part for part in parts if part.strip())
    return written or fields.text(content, "text") or ""
