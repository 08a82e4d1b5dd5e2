"""Products change their formats without notice: whatever their JSON holds, an import says what it cannot use and goes on."""

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server import importers
from mcp_server.importers import FormatName, Item
from mcp_server.model import NAME_CHARS_MAX, Draft
from shared.errors import SunaivaError

RECORDS: dict[FormatName, list[dict[str, Any]]] = {
    "chatgpt": [
        {
            "title": "T",
            "conversation_id": "c",
            "current_node": "a",
            "mapping": {
                "r": {"message": None, "parent": None, "children": ["a"]},
                "a": {
                    "parent": "r",
                    "children": [],
                    "message": {
                        "id": "a",
                        "author": {"role": "user"},
                        "create_time": 1.5,
                        "recipient": "all",
                        "metadata": {},
                        "content": {"content_type": "text", "parts": ["Hi", {"text": "x"}]},
                    },
                },
            },
        }
    ],
    "claude": [
        {
            "uuid": "c",
            "name": "N",
            "created_at": "2025-01-01T00:00:00Z",
            "current_leaf_message_uuid": "m",
            "chat_messages": [
                {
                    "uuid": "m",
                    "sender": "human",
                    "text": "Hi",
                    "created_at": "2025-01-01T00:00:00Z",
                    "parent_message_uuid": "p",
                    "content": [{"type": "text", "text": "Hi"}],
                    "attachments": [{"file_name": "f", "extracted_content": "# A\nb"}],
                }
            ],
        },
        {
            "uuid": "p",
            "name": "P",
            "description": "D",
            "prompt_template": "I",
            "docs": [{"uuid": "d", "filename": "f", "content": "x"}],
        },
        {"conversations_memory": "M", "project_memories": {"p": "M"}},
    ],
    "claude-code": [
        {
            "type": "user",
            "isMeta": False,
            "sessionId": "s",
            "uuid": "u",
            "cwd": "/a/b",
            "timestamp": "2025-01-01T00:00:00Z",
            "message": {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        }
    ],
    "server-memory": [
        {"type": "entity", "name": "E", "entityType": "t", "observations": ["o"]},
        {"type": "relation", "from": "A", "to": "B", "relationType": "r"},
        {"entities": [{"name": "E", "entityType": "t", "observations": ["o"]}], "relations": []},
    ],
    "mem0": [
        {
            "results": [
                {
                    "id": "i",
                    "memory": "m",
                    "categories": ["c"],
                    "metadata": {"k": "v"},
                    "user_id": "u",
                    "created_at": "2025-01-01T00:00:00Z",
                }
            ]
        }
    ],
}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("format", RECORDS)
@given(data=st.data())
def test_no_change_of_a_format_stops_an_import_in_an_unforeseen_way(
    format: FormatName, data: st.DataObject
) -> None:
    records = deepcopy(RECORDS[format])
    for _ in range(data.draw(st.integers(0, 3))):
        holder, name = data.draw(st.sampled_from(list(_places(records))))
        holder[name] = data.draw(anything)
    for item in _read(records, format):
        if isinstance(item, Draft):
            assert item.text.strip()
            assert item.source.key
            for name in (*item.tags, item.conversation, item.speaker):
                assert name is None or 0 < len(name) <= NAME_CHARS_MAX


@pytest.mark.parametrize("format", RECORDS)
def test_the_unchanged_records_give_memories(format: FormatName) -> None:
    items = _read(RECORDS[format], format)
    assert items
    assert all(isinstance(item, Draft) for item in items)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or object in it, with every index or key."""
    if isinstance(value, list | dict):
        for name in range(len(value)) if isinstance(value, list) else list(value):
            yield value, name
            yield from _places(value[name])


def _read(records: list[Any], format: FormatName) -> list[Item]:
    items: list[Item] = []
    with TemporaryDirectory() as folder:
        path = Path(folder, "records.json")
        path.write_text("\n".join(map(json.dumps, records)))
        with suppress(SunaivaError):
            items.extend(
                importers.read(path, format, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
            )
    return items
