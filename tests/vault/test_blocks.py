"""Texts go into a block and come out of it as they were."""

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.vault import blocks

texts = st.dictionaries(
    st.integers(1, 2**50), st.text(st.characters(exclude_categories=["Cs"])), min_size=1
)


def _said(content: bytes) -> dict[int, str]:
    opened = blocks.opened(content)
    return opened.of(opened.every_row())


@given(first=texts, second=texts)
def test_a_block_gives_back_every_text_also_with_a_head(
    first: dict[int, str], second: dict[int, str]
) -> None:
    head = blocks.content(blocks.pack(blocks.gather(first), None), None)
    body = blocks.pack(blocks.gather(second), head)
    assert _said(head) == first
    assert _said(blocks.content(body, head)) == second


@given(said=texts, data=st.data())
def test_asked_for_some_it_gives_just_these(said: dict[int, str], data: st.DataObject) -> None:
    asked = data.draw(st.sets(st.sampled_from(sorted(said))))
    opened = blocks.opened(blocks.content(blocks.pack(blocks.gather(said), None), None))
    assert opened.of([*asked, 2**51]) == {row: said[row] for row in asked}


def test_what_is_said_twice_is_there_once() -> None:
    once, twice = (blocks.gather(dict.fromkeys(rows, "the same")) for rows in ([1], [1, 2, 3]))
    assert once.joined == twice.joined == b"the same"
    assert _said(blocks.content(blocks.pack(twice, None), None)) == dict.fromkeys(
        [1, 2, 3], "the same"
    )


def test_without_its_head_a_block_says_nothing() -> None:
    said = "In the garden behind the house stands a pear tree that nobody planted. " * 20
    head = blocks.content(blocks.pack(blocks.gather({1: said}), None), None)
    body = blocks.pack(blocks.gather({2: said}), head)
    assert len(body) < 80
    assert b"garden" not in body
    with pytest.raises(zstandard.ZstdError):
        blocks.content(body, None)
