"""How a memory reads in an answer: its line, its tokens, the part of a long text that is shown."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server import search
from mcp_server.search import Asked
from shared.ids import short_id
from tests.builders import memory, opened, tell


def test_a_line_reads_as_people_write() -> None:
    said = memory("two\nlines", speaker="Ann", occurred_at=datetime(2023, 5, 8, tzinfo=UTC))
    assert search.line(said, said.text) == f"[{short_id(said.id)}] 2023-05-08 Ann: two\n  lines"
    ended = memory("tea", valid_to=datetime(2026, 1, 2, tzinfo=UTC))
    assert search.line(ended, "tea") == f"[{short_id(ended.id)}] 2026-11-21 (until 2026-01-02) tea"


@given(st.text())
def test_no_text_passes_for_another_memory(text: str) -> None:
    first, *others = search.line(memory("x"), text).splitlines()
    assert first.startswith("[")
    assert all(line.startswith("  ") for line in others)


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("北京大学", 3)]
)
def test_tokens_are_counted_in_every_script(text: str, expected: int) -> None:
    assert search.tokens(text) == expected


@pytest.mark.parametrize("place", [0, 500, 3_333, 9_900], ids=["begin", "early", "middle", "end"])
@pytest.mark.parametrize("needle", ["the harbour master resigned", "港口主管辞职了"])
def test_a_long_text_is_shown_by_the_part_that_answers(place: int, needle: str) -> None:
    filler = "lorem ipsum dolor sit amet " * 400
    text = filler[:place] + f" {needle} " + filler[place:]
    shown, truncated = search.excerpt(text, needle)
    assert truncated
    assert needle in shown
    assert len(shown) <= search.EXCERPT_CHARS + 4
    assert shown.startswith("… ") == (place > search.EXCERPT_CHARS)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=100).map(
        lambda part: part * 30
    ),
    query=st.text(max_size=20),
)
def test_an_excerpt_is_a_piece_of_the_text(text: str, query: str) -> None:
    shown, truncated = search.excerpt(text, query)
    assert truncated == (len(text) > search.EXCERPT_CHARS)
    assert shown.removeprefix("… ").removesuffix(" …") in text
    assert len(shown) <= search.EXCERPT_CHARS + 4


def test_the_longest_memory_is_excerpted_at_once(tmp_path: Path) -> None:
    text = "lorem ipsum dolor " * 55_000
    with opened(tmp_path) as device:
        tell(device, *(f"harbour {number} {text}" for number in range(5)))
        asked = Asked(query="harbour", max_tokens=50_000)
        answer = search.find(device, asked, client="test")
        assert len(answer.found) == 5
        assert all(found.truncated and len(found.text) < 710 for found in answer.found)
