from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.importers import Item, Problem
from mcp_server.importers.chunks import CHUNK_CHARS_MAX, chunks
from mcp_server.importers.markdown import NOTE_BYTES_MAX
from mcp_server.model import Draft

Drafts = Callable[..., list[Draft]]

BASIC_MEMORY = """---
title: Coffee Brewing
type: note
permalink: coffee/brewing
tags:
- coffee
- '#brewing'
created: 2025-01-02 03:04:05
---

# Coffee Brewing

Notes on filters.

## Observations
- [method] Pour over gives more clarity #technique (tried twice)
- [preference] Light roasts
- [x] buy filters
- [A link](https://example.org)

## Relations
- relates_to [[Tea]]
"""


def test_basic_memorys_observations_become_facts_of_their_own(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    found = drafts(folder({"coffee/brewing.md": BASIC_MEMORY}))
    assert [(draft.kind, draft.text) for draft in found] == [
        ("fact", "Coffee Brewing: Pour over gives more clarity #technique (tried twice)"),
        ("preference", "Coffee Brewing: Light roasts"),
        ("document", "Coffee Brewing\n\nNotes on filters."),
        (
            "document",
            "Coffee Brewing › Observations\n\n- [x] buy filters\n- [A link](https://example.org)",
        ),
        ("document", "Coffee Brewing › Relations\n\n- relates_to [[Tea]]"),
    ]
    assert found[0].tags == ("method", "technique", "coffee", "brewing")
    assert {draft.occurred_at for draft in found} == {datetime(2025, 1, 2, 3, 4, 5, 0, UTC)}


def test_a_plain_note_keeps_its_lists_and_links(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    note = "Saw [[Zoë]] today.\n\n- [idea] plant figs #garden\n"
    (draft,) = drafts(folder({"journal/2025-05-06.md": note, ".obsidian/app.json": "{}"}))
    assert draft.text == f"2025-05-06\n\n{note.strip()}"
    assert draft.occurred_at == datetime(2025, 5, 6, tzinfo=UTC)
    assert draft.source.key is not None
    assert draft.source.key.startswith("markdown:journal/2025-05-06.md#")


def test_a_heading_in_a_code_block_is_not_a_heading(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    (draft,) = drafts(folder({"a.md": "# Setup\n```sh\n# install\nmake\n```\n"}))
    assert draft.text == "Setup\n\n```sh\n# install\nmake\n```"


def test_an_edited_section_changes_only_its_own_key(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    before = {draft.source.key for draft in drafts(folder({"a.md": "# A\none\n## B\ntwo\n"}))}
    after = {draft.source.key for draft in drafts(folder({"a.md": "# A\none\n## B\nthree\n"}))}
    assert len(before & after) == 1


def test_the_same_words_twice_in_a_note_are_two_pieces(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    found = drafts(folder({"a.md": "# A\nsame\n# A\nsame\n"}))
    assert len({draft.source.key for draft in found}) == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"caf\xe9", "not valid UTF-8 at byte 3"),
        (b"---\ntags: [unclosed\n---\ntext", "not valid YAML"),
        (b"---\ndate: 2026-13-45\n---\ntext", "not valid YAML"),
        (b"---\na: " + b"[" * 5_000 + b"\n---\ntext", "not valid YAML"),
        (b"binary \0 note", "NUL"),
        (b"x" * (NOTE_BYTES_MAX + 1), "longer than"),
    ],
    ids=["latin1", "yaml", "date", "deep", "nul", "long"],
)
def test_a_bad_note_is_a_problem_and_the_next_one_comes_in(
    content: bytes, why: str, folder: Callable[..., Path], read: Callable[..., list[Item]]
) -> None:
    items = read(folder({"bad.md": content, "good.md": "Fine."}))
    (problem,) = [item for item in items if isinstance(item, Problem)]
    assert "bad.md" in problem.where
    assert why in problem.why
    assert [item.text for item in items if isinstance(item, Draft)][-1] == "good\n\nFine."


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    note = "\ufeff---\r\ntags: a, b\r\n---\r\n# Title\r\n\r\nBody.\r\n"
    (draft,) = drafts(folder({"a.md": note}))
    assert (draft.text, draft.tags) == ("Title\n\nBody.", ("a", "b"))


def test_front_matter_that_refers_to_itself_is_harmless(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ntags: [*c, *c, fine]"
    (draft,) = drafts(folder({"a.md": f"---\n{bomb}\n---\nText."}))
    assert draft.tags == ("fine",)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=6_000))
def test_chunks_lose_no_word_and_stay_short(text: str) -> None:
    found = list(chunks(text, "Title"))
    assert all(0 < len(chunk.body) <= CHUNK_CHARS_MAX for chunk in found)
    headings = {word for chunk in found for part in chunk.path for word in part.split()}
    kept = {word for chunk in found for word in chunk.body.split()} | headings
    lines_kept = [line for line in text.splitlines() if not line.lstrip(" ").startswith("#")]
    hard_cut = any(len(word) > CHUNK_CHARS_MAX // 2 for word in text.split())
    assert hard_cut or {word for line in lines_kept for word in line.split()} <= kept
