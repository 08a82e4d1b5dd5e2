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
    return _chatgpt_conversation()


def _node(
    node_id: str, parent: str | None, children: list[str], message: dict[str, Any] | None
) -> dict[str, Any]:
    return {"id": node_id, "message": message, "parent": parent, "children": children}


def _message(
    message_id: str,
    role: str,
    parts: list[Any],
    at: float | None,
    *,
    content_type: str = "text",
    **more: Any,
) -> dict[str, Any]:
    return {
        "id": message_id,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": at,
        "update_time": None,
        "content": {"content_type": content_type, "parts": parts},
        "status": "finished_successfully",
        "end_turn": None,
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        "channel": None,
        **more,
    }


def _chatgpt_conversation() -> dict[str, Any]:
    picture = {
        "content_type": "image_asset_pointer",
        "asset_pointer": "file-service://file-abc",
        "size_bytes": 100,
        "width": 10,
        "height": 10,
    }
    heard = {
        "content_type": "audio_transcription",
        "text": "And the tram?",
        "direction": "in",
        "decoding_id": None,
    }
    code = {"content_type": "code", "language": "python", "text": "print(1)"}
    mapping = {
        "root": _node("root", None, ["sys"], None),
        "sys": _node("sys", "root", ["q1", "q1-edited"], _message("sys", "system", [""], None)),
        "q1": _node("q1", "sys", ["a1"], _message("q1", "user", ["Plan a trip."], 1709280000.25)),
        "a1": _node("a1", "q1", [], _message("a1", "assistant", ["To where?"], 1709280001.0)),
        "q1-edited": _node(
            "q1-edited",
            "sys",
            ["call"],
            _message(
                "q1-edited",
                "user",
                [picture, "Plan a trip to Lisbon."],
                1709280060.5,
                content_type="multimodal_text",
            ),
        ),
        "call": _node(
            "call",
            "q1-edited",
            ["result"],
            _message("call", "assistant", [], 1709280061.0, recipient="python", content=code),
        ),
        "result": _node(
            "result",
            "call",
            ["thoughts"],
            _message("result", "tool", ["1"], 1709280062.0, content_type="execution_output"),
        ),
        "thoughts": _node(
            "thoughts",
            "result",
            ["a2"],
            _message("thoughts", "assistant", [], 1709280062.5, content_type="thoughts"),
        ),
        "a2": _node(
            "a2", "thoughts", ["hidden"], _message("a2", "assistant", ["Take the tram."], None)
        ),
        "hidden": _node(
            "hidden",
            "a2",
            ["q2"],
            _message(
                "hidden",
                "user",
                ["Original custom instructions"],
                None,
                metadata={"is_visually_hidden_from_conversation": True},
            ),
        ),
        "q2": _node(
            "q2",
            "hidden",
            [],
            _message("q2", "user", [heard], 1709280120.0, content_type="multimodal_text"),
        ),
    }
    return {
        "title": "Trip to Lisbon",
        "create_time": 1709280000.0,
        "update_time": 1709280120.0,
        "mapping": mapping,
        "moderation_results": [],
        "current_node": "q2",
        "plugin_ids": None,
        "conversation_id": "68c13686-4a3c-8329-940b-479ccb6a079f",
        "conversation_template_id": None,
        "gizmo_id": None,
        "is_archived": False,
        "id": "68c13686-4a3c-8329-940b-479ccb6a079f",
    }


@pytest.fixture
def chatgpt_json(chatgpt_conversation: dict[str, Any]) -> str:
    return json.dumps([chatgpt_conversation])
