"""Exports as the products write them, and how to read them."""

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mcp_server import importers
from mcp_server.importers import FormatName, Item, Problem
from mcp_server.model import Draft

NOW = datetime(2026, 11, 1, tzinfo=UTC)

Files = dict[str, str | bytes]


@pytest.fixture
def read() -> Callable[..., list[Item]]:
    def run(path: Path, format: FormatName | None = None, **options: Any) -> list[Item]:
        return list(importers.read(path, format, clock=lambda: NOW, **options))

    return run


@pytest.fixture
def drafts(read: Callable[..., list[Item]]) -> Callable[..., list[Draft]]:
    """The drafts of an export in which there is no problem."""

    def run(path: Path, format: FormatName | None = None) -> list[Draft]:
        items = read(path, format)
        assert [item for item in items if isinstance(item, Problem)] == []
        return [item for item in items if isinstance(item, Draft)]

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Files], Path]:
    def make(files: Files) -> Path:
        root = tmp_path / "export"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return make


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[[Files], Path]:
    def make(files: Files) -> Path:
        path = tmp_path / "export.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path

    return make


@pytest.fixture
def chatgpt_conversation() -> dict[str, Any]:
    """A question that was edited, an answer that was regenerated, a tool call, a picture and a voice message."""
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-abc"}
    heard = {"content_type": "audio_transcription", "text": "And the tram?", "direction": "in"}
    code = {"content_type": "code", "language": "python", "text": "print(1)"}
    hidden = {"is_visually_hidden_from_conversation": True}
    mapping = _tree(
        ("root", None, None),
        ("sys", "root", _message("system", [""], None)),
        ("q1", "sys", _message("user", ["Plan a trip."], 1709280000.25)),
        ("a1", "q1", _message("assistant", ["To where?"], 1709280001.0)),
        ("q1-edited", "sys", _message("user", [picture, "Plan a trip to Lisbon."], 1709280060.5)),
        (
            "call",
            "q1-edited",
            _message("assistant", [], 1709280061.0, recipient="python", content=code),
        ),
        ("result", "call", _message("tool", ["1"], 1709280062.0)),
        (
            "thoughts",
            "result",
            _message("assistant", [], 1709280062.5, content={"content_type": "thoughts"}),
        ),
        ("a2", "thoughts", _message("assistant", ["Take the tram."], None)),
        ("hidden", "a2", _message("user", ["My custom instructions"], None, metadata=hidden)),
        ("q2", "hidden", _message("user", [heard], 1709280120.0)),
    )
    return {
        "title": "Trip to Lisbon",
        "create_time": 1709280000.0,
        "update_time": 1709280120.0,
        "mapping": mapping,
        "moderation_results": [],
        "current_node": "q2",
        "conversation_id": "68c13686-4a3c-8329-940b-479ccb6a079f",
        "is_archived": False,
        "id": "68c13686-4a3c-8329-940b-479ccb6a079f",
    }


def _tree(*nodes: tuple[str, str | None, dict[str, Any] | None]) -> dict[str, Any]:
    return {
        node_id: {
            "id": node_id,
            "message": message and {"id": node_id, **message},
            "parent": parent,
            "children": [child for child, its_parent, _ in nodes if its_parent == node_id],
        }
        for node_id, parent, message in nodes
    }


def _message(role: str, parts: list[Any], at: float | None, **more: Any) -> dict[str, Any]:
    kind = "text" if all(isinstance(part, str) for part in parts) else "multimodal_text"
    return {
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": at,
        "update_time": None,
        "content": {"content_type": kind, "parts": parts},
        "status": "finished_successfully",
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        "channel": None,
        **more,
    }


@pytest.fixture
def chatgpt_json(chatgpt_conversation: dict[str, Any]) -> str:
    return json.dumps([chatgpt_conversation])
