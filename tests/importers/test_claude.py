import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mcp_server.importers import Item, Problem
from mcp_server.model import Draft, Source

Drafts = Callable[..., list[Draft]]
ROOT = "00000000-0000-4000-8000-000000000000"


def message(
    uuid: str, sender: str, text: str, *, parent: str | None = None, **more: Any
) -> dict[str, Any]:
    written = {
        "uuid": uuid,
        "text": text,
        "content": [{"type": "text", "text": text, "citations": []}],
        "sender": sender,
        "created_at": "2025-05-06T07:08:09.123456Z",
        "updated_at": "2025-05-06T07:08:09.123456Z",
        "attachments": [],
        "files": [],
    }
    if parent is not None:
        written["parent_message_uuid"] = parent
    return written | more


def conversation(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "uuid": "6f7b5e59-4af2-4bea-ba21-02e1b523ce5d",
        "name": "Garden",
        "summary": "",
        "created_at": "2025-05-06T07:08:00.000000Z",
        "updated_at": "2025-05-06T07:09:00.000000Z",
        "account": {"uuid": "acct"},
        "chat_messages": list(messages),
    } | more


def test_turns_come_in_with_who_said_them_and_when(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    chat = conversation(message("m1", "human", "Which soil?"), message("m2", "assistant", "Loam."))
    found = drafts(folder({"conversations.json": json.dumps([chat]), "users.json": "[{}]"}))
    assert found[0] == Draft(
        text="Which soil?",
        source=Source(
            trust="said_by_user",
            client="sunaiva import",
            tool="claude",
            key="claude:6f7b5e59-4af2-4bea-ba21-02e1b523ce5d:m1",
        ),
        kind="turn",
        occurred_at=datetime(2025, 5, 6, 7, 8, 9, 123_000, UTC),
        speaker="user",
        conversation="Garden · Claude/6f7b5e59",
        position=0,
    )
    assert (found[1].speaker, found[1].source.trust, found[1].position) == (
        "assistant",
        "said_by_assistant",
        1,
    )


def test_blocks_win_over_the_stand_in_text_and_tools_stay_out(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm."},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "name": "web_search", "input": {}},
        {"type": "tool_result", "content": [{"type": "text", "text": "a page"}]},
        {"type": "text", "text": "It is loam."},
    ]
    answer = message("m2", "assistant", "This block is not supported", content=blocks)
    old = message("m3", "assistant", "From an old export.", content=[])
    found = drafts(folder({"conversations.json": json.dumps([conversation(answer, old)])}))
    assert [draft.text for draft in found] == [
        "Let me look.\n\nIt is loam.",
        "From an old export.",
    ]


def test_an_edited_question_leaves_its_first_version_behind(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    chat = conversation(
        message("m1", "human", "Which soli?", parent=ROOT),
        message("m2", "assistant", "Soli?", parent="m1"),
        message("m3", "human", "Which soil?", parent=ROOT),
        message("m4", "assistant", "Loam.", parent="m3"),
    )
    found = drafts(folder({"conversations.json": json.dumps([chat])}))
    assert [draft.text for draft in found] == ["Which soil?", "Loam."]


def test_a_torn_tree_keeps_everything(folder: Callable[..., Path], drafts: Drafts) -> None:
    chat = conversation(
        message("m1", "human", "One.", parent=ROOT),
        message("m2", "assistant", "Two.", parent="lost"),
    )
    found = drafts(folder({"conversations.json": json.dumps([chat])}))
    assert [draft.text for draft in found] == ["One.", "Two."]


def test_pasted_files_projects_and_claudes_memory_come_in(
    zipped: Callable[..., Path], drafts: Drafts
) -> None:
    pasted = {
        "file_name": "plan.md",
        "file_type": "md",
        "file_size": 10,
        "extracted_content": "# Beds\nTomatoes.",
    }
    chat = conversation(message("m1", "human", "", content=[], attachments=[pasted]))
    project = {
        "uuid": "p1",
        "name": "Allotment",
        "description": "Our plot",
        "prompt_template": "Answer in metric units.",
        "created_at": "2025-01-01T00:00:00Z",
        "docs": [{"uuid": "d1", "filename": "soil.txt", "content": "Clay.", "created_at": None}],
    }
    noted = {
        "conversations_memory": "**Work**\n\nGardens.",
        "project_memories": {"p1": "Has clay."},
    }
    found = drafts(
        zipped(
            {
                "conversations.json": json.dumps([chat]),
                "projects/p1.json": json.dumps(project),
                "memories.json": json.dumps([noted]),
                "users.json": "[]",
            }
        )
    )
    assert [(draft.kind, draft.source.trust, draft.text, draft.tags) for draft in found] == [
        ("document", "imported", "plan.md › Beds\n\nTomatoes.", ("plan.md",)),
        (
            "note",
            "said_by_assistant",
            "Claude's memory\n\n**Work**\n\nGardens.",
            ("claude memory",),
        ),
        ("note", "said_by_assistant", "Claude's memory\n\nHas clay.", ("claude memory",)),
        ("note", "said_by_user", "Allotment: Our plot", ("Allotment",)),
        ("preference", "said_by_user", "Answer in metric units.", ("Allotment",)),
        ("document", "imported", "soil.txt\n\nClay.", ("Allotment", "soil.txt")),
    ]
    assert len({draft.source.key for draft in found}) == len(found)


def test_an_unknown_kind_of_record_is_said(
    folder: Callable[..., Path], read: Callable[..., list[Item]]
) -> None:
    root = folder(
        {
            "conversations.json": json.dumps([conversation(message("m1", "human", "Hi"))]),
            "design_chats.json": json.dumps([{"canvas": 1}]),
        }
    )
    (problem,) = [item for item in read(root) if isinstance(item, Problem)]
    assert problem.where == "design_chats.json"
    assert "canvas" in problem.why


@pytest.mark.parametrize(
    ("neighbour", "format"), [("users.json", "claude"), ("user.json", "chatgpt")]
)
def test_an_account_without_conversations_is_recognised(
    neighbour: str, format: str, folder: Callable[..., Path], drafts: Drafts
) -> None:
    assert drafts(folder({"conversations.json": "[]", neighbour: "[]"})) == []
