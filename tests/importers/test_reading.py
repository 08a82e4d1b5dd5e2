import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server import importers
from mcp_server.importers import FORMATS, drafts
from mcp_server.importers.drafts import PART_CHARS_MAX, cut, in_parts, source
from mcp_server.model import NAME_CHARS_MAX, TEXT_BYTES_MAX, Draft

Drafts = Callable[..., list[Draft]]


@given(
    st.text(st.sampled_from(["a", " ", "\n", ".", "ü", "👋", "\u202e"]), max_size=400),
    st.integers(1, 50),
)
def test_parts_join_to_the_text_and_are_not_too_long(text: str, size: int) -> None:
    parts = cut(text, size)
    assert "".join(parts) == text
    assert all(0 < len(part) <= size for part in parts) or parts == [""]


@pytest.mark.parametrize("character", ["x", "ü", "👋"])
def test_a_text_too_long_for_one_memory_becomes_several(character: str) -> None:
    text = character * (2 * PART_CHARS_MAX + 7)
    whole = Draft(text=text, source=source("mem0", "1", "imported"))
    parts = list(in_parts(whole))
    assert "".join(part.text for part in parts) == text
    assert [part.source.key for part in parts] == ["mem0:1:1", "mem0:1:2", "mem0:1:3"]
    assert all(len(part.text.encode()) <= TEXT_BYTES_MAX for part in parts)


def test_parts_of_a_long_turn_take_consecutive_positions(
    folder: Callable[..., Path], drafts: Drafts, chatgpt_conversation: dict[str, Any]
) -> None:
    long = "word " * 100_000
    chatgpt_conversation["mapping"]["a2"]["message"]["content"]["parts"] = [long]
    found = drafts(folder({"conversations.json": json.dumps([chatgpt_conversation])}))
    assert [draft.position for draft in found] == [0, 1, 2, 3]
    assert found[1].text + found[2].text == long
    assert [str(draft.source.key)[-4:] for draft in found[1:3]] == ["a2:1", "a2:2"]


@given(st.text(), st.text(max_size=60), st.text(max_size=40))
def test_names_are_always_what_a_vault_takes(title: str, tag: str, conversation_id: str) -> None:
    named = drafts.conversation_name(title, "ChatGPT", conversation_id)
    for name in (named, *drafts.tags(tag, title)):
        assert name.strip()
        assert name.isprintable()
        assert len(name) <= NAME_CHARS_MAX


MARCH = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (1772357400, MARCH),
        (1772357400.0004, MARCH),
        (1772357400000, MARCH),
        (1772357400000000, MARCH),
        ("2026-03-01T09:30:00Z", MARCH),
        ("2026-03-01T10:30:00+01:00", MARCH),
        ("2026-03-01 09:30:00", MARCH),
        ("2026-03-01T09:30:00.123456789Z", MARCH),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (-1e300, None),
        ([], None),
        ("0001-01-01T00:00:00+14:00", None),
        ("2026-99-99 99:99:99", None),
    ],
    ids=str,
)
def test_instants_are_understood_however_they_are_written(
    written: object, meant: datetime | None
) -> None:
    found = drafts.moment(written)
    assert (found and found.replace(microsecond=0)) == meant


@given(st.integers() | st.floats() | st.text() | st.datetimes())
def test_no_instant_makes_an_import_fail(written: object) -> None:
    found = drafts.moment(written)
    assert found is None or found.tzinfo is UTC


def test_reading_again_gives_the_same_keys_and_each_only_once(
    folder: Callable[..., Path], drafts: Drafts, chatgpt_json: str
) -> None:
    root = folder({"conversations.json": chatgpt_json})
    first = [draft.source.key for draft in drafts(root)]
    assert [draft.source.key for draft in drafts(root)] == first
    assert len(set(first)) == len(first)


def test_a_re_export_with_new_turns_keeps_the_old_keys(
    folder: Callable[..., Path], drafts: Drafts, chatgpt_conversation: dict[str, Any]
) -> None:
    before = drafts(folder({"conversations.json": json.dumps([chatgpt_conversation])}))
    mapping = chatgpt_conversation["mapping"]
    mapping["q2"]["children"] = ["a3"]
    mapping["a3"] = {
        "id": "a3",
        "parent": "q2",
        "children": [],
        "message": {
            "id": "a3",
            "author": {"role": "assistant"},
            "content": {"content_type": "text", "parts": ["Line 28."]},
        },
    }
    chatgpt_conversation["current_node"] = "a3"
    after = drafts(folder({"conversations.json": json.dumps([chatgpt_conversation])}))
    assert after[: len(before)] == before
    assert [draft.text for draft in after[len(before) :]] == ["Line 28."]


def test_counting_gives_a_progress_bar_something_to_go_by(
    folder: Callable[..., Path], zipped: Callable[..., Path], chatgpt_json: str
) -> None:
    root = folder({"conversations.json": chatgpt_json, "notes.txt": '"author":'})
    assert importers.count(root, "chatgpt") == 10
    assert importers.count(zipped({"conversations.json": chatgpt_json}), "chatgpt") == 10
    notes = folder({"notes/a.md": "# A\none\n## B\ntwo\n"})
    assert importers.count(notes / "notes", "markdown") == 2


def test_every_format_is_described_in_one_sentence() -> None:
    assert all(sentence.endswith(".") for sentence in FORMATS.values())
