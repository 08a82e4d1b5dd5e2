"""Postings as bytes: whatever goes in comes out, and it is small."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.index import postings

# Mostly near to each other, sometimes far, sometimes the same again.
gaps = st.lists(
    st.integers(0, 3) | st.integers(250, 260) | st.integers(65_530, 65_540) | st.integers(0, 2**33),
    max_size=50,
)
rows = gaps.map(lambda each: np.cumsum(np.array(each, np.int64)))
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@given(rows)
def test_what_is_packed_is_unpacked(given_rows: np.ndarray) -> None:
    packed = postings.pack(given_rows)
    assert (
        postings.unpack(b"before" + packed + b"after", 6, 6 + len(packed)).tolist()
        == given_rows.tolist()
    )


@given(rows)
def test_rows_are_counted_as_often_as_they_come(given_rows: np.ndarray) -> None:
    found = postings.counted(given_rows)
    assert np.repeat(found.rows, found.counts).tolist() == given_rows.tolist()
    assert len(set(found.rows.tolist())) == len(found.rows)


@given(st.dictionaries(words, rows.filter(len), max_size=80))
def test_every_term_is_found_in_its_chunk_and_no_other(said: dict[str, np.ndarray]) -> None:
    made = list(postings.chunks((term, postings.pack(said[term])) for term in sorted(said)))
    assert [term for each in made for term, _ in postings.entries(each)] == sorted(said)
    for each in made:
        for term, there in said.items():
            found = postings.look_up(each, term)
            if found is not None:
                assert found.tolist() == there.tolist()
    for term in said:
        assert sum(postings.look_up(each, term) is not None for each in made) == 1
        assert max(each.first for each in made if each.first <= term)


@pytest.mark.parametrize(
    ("every", "bytes_each"), [(1, 1.1), (10, 1.1), (200, 1.1), (5_000, 2.1), (300_000, 4.1)]
)
def test_a_row_takes_as_few_bytes_as_its_gap_needs(every: int, bytes_each: float) -> None:
    assert len(postings.pack(np.arange(0, 1_000 * every, every))) <= 1_000 * bytes_each


def test_chunks_are_of_one_size_unless_a_term_alone_is_larger() -> None:
    common = postings.pack(np.arange(5_000))
    said = [(f"term{number:05}", postings.pack(np.array([number]))) for number in range(2_000)]
    made = list(postings.chunks([*said[:1_000], ("term00999z", common), *said[1_000:]]))
    sizes = [len(each.terms) + len(each.ends) + len(each.body) for each in made]
    assert sum(size > postings.CHUNK_BYTES + 20 for size in sizes) == 1
    assert sorted(sizes)[3] > postings.CHUNK_BYTES * 0.9


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=70).map(sorted))
def test_a_handful_packed_at_once_is_the_same_to_who_reads_it(rows: list[int]) -> None:
    packed = postings.pack_few(rows)
    assert postings.unpack(packed).tolist() == rows
    assert len(packed) <= len(postings.pack(np.array(rows, np.int64)))
