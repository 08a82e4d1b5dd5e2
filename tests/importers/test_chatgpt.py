import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mcp_server.importers import Item, Problem
from mcp_server.model import Draft, Source

Drafts = Callable[..., list[Draft]]
CONVERSATION = "Trip to Lisbon · ChatGPT/68c13686"
KEY = "chatgpt:68c13686-4a3c-8329-940b-479ccb6a079f"


def test_only_what_the_person_last_saw_comes_in(
    folder: Callable[..., Path], drafts: Drafts, chatgpt_json: str
) -> None:
    found = drafts(folder({"conversations.json": chatgpt_json, "chat.html": "<html>"}))
    assert [(draft.speaker, draft.text) for draft in found] == [
        ("user", "Plan a trip to Lisbon."),
        ("assistant", "Take the tram."),
        ("user", "And the tram?"),
    ]
    assert found[0] == Draft(
        text="Plan a trip to Lisbon.",
        source=Source(
            trust="said_by_user", client="sunaiva import", tool="chatgpt", key=f"{KEY}:q1-edited"
        ),
        kind="turn",
        occurred_at=datetime(2024, 3, 1, 8, 1, 0, 500_000, UTC),
        speaker="user",
        conversation=CONVERSATION,
        position=0,
    )
    assert found[1].source.trust == "said_by_assistant"
    assert found[1].occurred_at is None
    assert [draft.position for draft in found] == [0, 1, 2]


def test_zip_folder_file_and_split_export_say_the_same(
    tmp_path: Path,
    folder: Callable[..., Path],
    zipped: Callable[..., Path],
    drafts: Drafts,
    chatgpt_json: str,
) -> None:
    root = folder({"conversations.json": chatgpt_json, "user.json": "{}"})
    split = {
        "export/conversations-000.json": chatgpt_json,
        "export/conversations-001.json": "[]",
        "__MACOSX/export/._conversations-000.json": b"\0\1junk",
        "export/file-abc.png": b"\x89PNG",
    }
    expected = drafts(root / "conversations.json")
    assert len(expected) == 3
    assert drafts(root) == expected
    assert drafts(zipped(split)) == expected


def test_without_a_current_node_the_latest_branch_is_taken(
    folder: Callable[..., Path], drafts: Drafts, chatgpt_conversation: dict[str, Any]
) -> None:
    del chatgpt_conversation["current_node"]
    found = drafts(folder({"conversations.json": json.dumps([chatgpt_conversation])}))
    assert [draft.text for draft in found][-1] == "And the tram?"


def test_a_tree_that_goes_round_in_a_circle_ends(
    folder: Callable[..., Path], drafts: Drafts, chatgpt_conversation: dict[str, Any]
) -> None:
    chatgpt_conversation["mapping"]["root"]["parent"] = "q2"
    found = drafts(folder({"conversations.json": json.dumps([chatgpt_conversation])}))
    assert len(found) == 3


def test_missing_fields_of_older_and_newer_exports_do_no_harm(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    bare = {
        "mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": ["Hi"]}}}}
    }
    (draft,) = drafts(folder({"conversations.json": json.dumps([bare])}))
    assert draft.text == "Hi"
    assert draft.conversation is not None
    assert draft.conversation.startswith("Untitled · ChatGPT/")


def test_conversations_of_the_same_title_stay_apart(
    folder: Callable[..., Path], drafts: Drafts, chatgpt_conversation: dict[str, Any]
) -> None:
    other = chatgpt_conversation | {"conversation_id": "99999999-0000", "id": "99999999-0000"}
    found = drafts(folder({"conversations.json": json.dumps([chatgpt_conversation, other])}))
    assert len({draft.conversation for draft in found}) == 2
    assert len({draft.source.key for draft in found}) == 6


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b'{"title": "\xff", "mapping": {}}', "not valid UTF-8 at byte 11 of it"),
        (b'{"title": tru, "mapping": {}}', "not valid JSON"),
        (b'{"title": "deep", "mapping": ' + b"[" * 500 + b"]" * 500 + b"}", "nested deeper"),
        (b'{"title": "empty"}', "without any messages"),
        (b'"a string"', "no record"),
    ],
    ids=["utf8", "json", "deep", "empty", "string"],
)
def test_a_bad_conversation_is_a_problem_and_the_next_one_comes_in(
    bad: bytes,
    why: str,
    folder: Callable[..., Path],
    read: Callable[..., list[Item]],
    chatgpt_json: str,
) -> None:
    good = chatgpt_json[1:-1].encode()
    items = read(folder({"conversations.json": b"[" + bad + b", " + good + b"]"}), "chatgpt")
    (problem,) = [item for item in items if isinstance(item, Problem)]
    assert problem.where.startswith("conversations.json")
    assert why in problem.why
    assert len(items) == 4


def test_a_turn_from_the_future_loses_its_date_and_that_is_said(
    folder: Callable[..., Path],
    read: Callable[..., list[Item]],
    chatgpt_conversation: dict[str, Any],
) -> None:
    chatgpt_conversation["mapping"]["q2"]["message"]["create_time"] = 4102444800
    items = read(folder({"conversations.json": json.dumps([chatgpt_conversation])}))
    problem, last = items[-2:]
    assert isinstance(problem, Problem)
    assert "2100-01-01" in problem.why
    assert isinstance(last, Draft)
    assert last.occurred_at is None
