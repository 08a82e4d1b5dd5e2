"""From text to terms: a question and a text that say the same become the same terms, in any script."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.index import words
from mcp_server.index.words import beginnings, indexed_terms, question_terms

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200) | st.text(
    st.sampled_from("aeéß 北京ไทй़ि'\"*_-.\x00\n ﬁ가רבע\u064b١1A"), max_size=60
)


def terms(text: str) -> list[str]:
    return indexed_terms(text, speaker=None, when=None)


@given(texts)
def test_every_term_of_a_question_is_one_of_the_same_text(text: str) -> None:
    assert set(question_terms(text)) <= set(terms(text))


@given(texts)
def test_a_term_is_never_empty_nor_longer_than_a_word_may_be(text: str) -> None:
    for term in terms(text):
        assert 1 <= len(term) <= 2 * words.TERM_CHARS_MAX
        assert not any(character.isspace() or character == "\x00" for character in term)


def test_a_date_in_words_and_the_speaker_are_indexed_with_the_text() -> None:
    said = indexed_terms("hello", speaker="Ann", when=datetime(2023, 5, 8, tzinfo=UTC))
    assert said == ["8", "may", "2023", "ann", "hello"]
    assert terms("hello") == ["hello"]


def test_a_name_does_not_grow_together_with_what_follows_it() -> None:
    assert indexed_terms("-ish", speaker="Ann", when=None) == ["ann", "ish"]


def test_only_the_head_of_a_long_text_is_indexed() -> None:
    assert set(terms("x " * (words.HEAD_CHARS // 2) + "tail")) == {"x"}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What did Ann tell you about the harbour?", ["ann", "harbour"]),
        ("who are you", ["who", "are", "you"]),
        ("", []),
        ("?!", []),
        ("___", []),
        ("Where is Tokio", ["tokio"]),
        ("Tea, tea and TEA; milk", ["tea", "milk"]),
        ("What don't we've, I'd, you'll, she's?", ["what", "don", "we", "you", "she"]),
    ],
)
def test_words_that_only_ask_are_left_out_unless_there_are_no_others(
    question: str, expected: list[str]
) -> None:
    assert question_terms(question) == expected


def test_a_pasted_document_is_asked_by_its_first_words() -> None:
    asked = question_terms(" ".join(f"word{number}" for number in range(10_000)))
    assert asked == [f"word{number}" for number in range(words.QUESTION_TERMS_MAX)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("before_migration", {"befor", "migrat", "beforemigr"}),
        ("beforeMigration", {"befor", "migrat", "beforemigr"}),
        ("YouTube", {"you", "tube", "youtub"}),
        ("HTTP", {"http"}),
        ("v1.2.3", {"v1", "2", "3", "v1.2.3"}),
        ("ann.lee@example.com", {"ann", "lee", "exampl", "com", "ann.lee@example.com"}),
        ("e-mail", {"e", "mail", "email"}),
        ("2023-05-08", {"2023", "5", "8", "2023-05-08"}),
        ("10:30", {"10", "30", "10:30"}),
        ("1,000", {"1", "000", "1000"}),
        ("007", {"7"}),
        ("000", {"000"}),
        ("Ann's", {"ann"}),
        ("Ann\u2019s", {"ann"}),
        ("l'hôtel", {"hotel"}),
        ("a, b", {"a", "b"}),
        ("one--two", {"one", "two"}),
        ("it ended.", {"it", "end"}),
        ("a/b", {"a", "b"}),
    ],
)
def test_what_is_put_together_is_found_whole_and_in_parts(said: str, expected: set[str]) -> None:
    assert set(terms(said)) == expected


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("ﬁnal oﬃce", "final office"),
        ("ＡＢＣ１２３", "abc123"),
        ("re\u0301sume\u0301", "résumé"),
        ("Großen Straße", "GROSSEN STRASSE"),
        ("Ёлка", "елка"),
        ("ΟΔΟΣ", "οδος"),
        ("İstanbul ILIK", "istanbul ılık"),
        ("Łódź", "lodz"),
        ("Ærø", "aero"),
        ("مَرحَبـــا", "مرحبا"),
        ("\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", "שלום"),
        ("٢٠٢٣", "2023"),
        ("ｻｰﾊﾞｰ", "サーバー"),
        ("\u1109\u1165\u110b\u116e\u11af", "서울"),
        ("soft\u00adhyphen", "softhyphen"),
        ("می\u200cخواهم", "میخواهم"),
    ],
)
def test_what_only_looks_different_is_the_same(said: str, asked: str) -> None:
    assert terms(said) == terms(asked) != []


def test_letters_that_are_letters_of_their_own_stay_different() -> None:
    assert terms("йод") != terms("иод")


def test_marks_keep_a_word_together() -> None:
    # Cut at its vowel signs, the one word would be found by single consonants of the other.
    assert not set(terms("नमस्ते")) & set(terms("तम नस"))
    assert len(terms("ދިވެހި")) == 1


def test_a_tone_mark_belongs_to_its_letter() -> None:
    assert terms("สวัสดี") == ["สวั", "วัส", "สดี"]


def test_a_long_run_of_letters_is_known_by_its_beginning() -> None:
    assert terms("x" * 5_000) == terms("x" * 900) != terms("x")


def test_where_words_begin_as_those_of_a_question() -> None:
    pattern = beginnings("reminders about 北京")
    assert pattern is not None
    text = "He reminded me: 我在北京 (unreminded)"
    assert [match.group() for match in pattern.finditer(text)] == ["remind", "北", "京"]
    assert beginnings("...") is None
