"""A segment made all at once is, to the byte, the one that is made term by term."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcp_server.index import postings, words
from mcp_server.index.inversion import Inversion
from mcp_server.index.postings import REPEATS_MAX, Chunk

WHEN = datetime(2026, 2, 1, tzinfo=UTC)
SAID = [
    "tea", "Tea", "TEA", "running", "beforeMigration", "YouTube", "before_migration", "_", "__init__", "e-mail", "-ish",
    "ann@example.com", "@ann", "3.14", "007", "0", "00", "1,000", "2023-05-08", "(No. 7)", "rock'n'roll", "Ann's", "'tis",
    "don't", "l'hôtel", "œuvre", "Straße", "ΟΔΟΣ", "книги", "красный", "й", "ҭ", "גן", "והספר", "الكتاب", "وبالكتاب", "کتاب",
    "पुस्तकें", "புத்தகம்", "కంప్యూటర్", "北京大学", "我", "東京タワー", "カ", "한국어", "집", "집에", "ภาษาไทย", "ກ", "မြန်မာ", "ភាសា",
    "১২৩", "٣٫١٤", "１２３", "ﬁne", "=\u0338abc", "\u0301x", "a\u0301", "и\u0306", "\u00a8b", "\u200b", "soft\u00adhyphen",
    "x\x00y", "\x7f", "🙂", "a" * 80, "é" * 80, "0" * 80, "[link](https://example.com/a_b?c=1,2)", "C++", "`code`", "…",
]  # fmt: skip
SPACES = st.sampled_from(
    [" ", "", "\n", "\t", "  ", "\x1c", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u3000"]
)
texts = st.lists(st.tuples(st.sampled_from(SAID) | st.text(max_size=8), SPACES), max_size=30).map(
    lambda pairs: "".join(said + space for said, space in pairs)
)
memories = st.lists(
    st.tuples(st.integers(1, 400), texts, st.none() | st.sampled_from(["Ann", "Анна", "-"])),
    max_size=20,
)


def all_at_once(told: list[tuple[int, str, str | None]]) -> list[Chunk]:
    inversion = Inversion()
    for row, text, speaker in told:
        inversion.add_text(row, text, speaker=speaker, when=WHEN)
    assert len(inversion) == len(told)
    return list(inversion.chunks())


def term_by_term(told: list[tuple[int, str, str | None]]) -> list[Chunk]:
    said: dict[str, list[int]] = {}
    for row, text, speaker in told:
        terms = words.indexed_terms(text, speaker=speaker, when=WHEN)
        for term, count in Counter(terms).items():
            said.setdefault(term, []).extend([row] * min(count, REPEATS_MAX))
    packed = ((term, postings.pack(np.array(said[term], np.int64))) for term in sorted(said))
    return list(postings.chunks(packed))


@given(memories)
@example([(3, "tea " * 40, None), (300, "tea " * 15, None), (1, " ".join(SAID), "Ann")])
def test_all_at_once_gives_the_bytes_of_term_by_term(
    given_memories: list[tuple[int, str, str | None]],
) -> None:
    rows = np.cumsum([gap for gap, _, _ in given_memories], dtype=np.int64).tolist()
    told = [(row, *rest) for row, (_, *rest) in zip(rows, given_memories, strict=True)]
    assert all_at_once(told) == term_by_term(told)


@pytest.mark.parametrize(
    "count", [300, 70_000], ids=["few terms", "more terms than two bytes hold"]
)
def test_a_whole_segment_is_the_same(count: int) -> None:
    per_memory = 40
    numbers = np.random.default_rng(1).zipf(1.2, 8_192 * per_memory) % count
    numbers[: min(count, len(numbers))] = np.arange(min(count, len(numbers)))
    told: list[tuple[int, str, str | None]] = [
        (row, " ".join(map(str, each)), None)
        for row, each in enumerate(numbers.reshape(-1, per_memory).tolist())
    ]
    assert all_at_once(told) == term_by_term(told)


@given(memories)
def test_terms_given_as_such_count_like_texts(
    given_memories: list[tuple[int, str, str | None]],
) -> None:
    told = [(row, text, speaker) for row, (_, text, speaker) in enumerate(given_memories)]
    inversion = Inversion()
    for row, text, speaker in told:
        inversion.add(row, words.indexed_terms(text, speaker=speaker, when=WHEN))
    assert list(inversion.chunks()) == all_at_once(told)
