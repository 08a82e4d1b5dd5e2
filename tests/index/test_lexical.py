"""Keyword search: any script is found by its words, no question breaks it, and what is taken out is out."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlite_utils import Database

from mcp_server.index import lexical
from mcp_server.vault import pages
from mcp_server.vault.db import DATABASE_NAME
from tests.builders import KEY, vault_at

texts = st.text(max_size=200) | st.text(
    st.sampled_from("aeéß 北京ไทй़ि'\"*_-.\x00\n ﬁ"), max_size=60
)
texts = texts.filter(lambda text: not any("\ud800" <= each <= "\udfff" for each in text))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vault") / DATABASE_NAME


class _Undone(Exception):  # noqa: N818 (it is no error)
    pass


@contextmanager
def empty(path: Path) -> Iterator[Database]:
    """A writing connection whose changes are undone in the end."""
    try:
        with vault_at(path) as vault, vault.writing() as db:
            db.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, lexical, 'row')")
            yield db
            raise _Undone
    except _Undone:
        pass


@pytest.fixture
def db(path: Path) -> Iterator[Database]:
    with empty(path) as db:
        yield db


def terms(db: Database) -> set[str]:
    return {term for (term,) in db.execute("SELECT term FROM temp.terms")}


def found(db: Database, question: str, limit: int = 100) -> list[int]:
    expression = lexical.match_expression(question)
    if expression is None:
        return []
    rows, scores = lexical.search(db, expression, limit=limit)
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    assert all(score >= 0 for score in scores)
    return [int(row) for row in rows]


def index(db: Database, *said: str) -> None:
    for row, text in enumerate(said, 1):
        lexical.add(db, row, lexical.indexed_text(text, speaker=None, when=None))


@given(st.lists(texts, max_size=5), st.randoms())
def test_what_is_taken_out_leaves_no_term(path: Path, said: list[str], order: object) -> None:
    with empty(path) as db:
        indexed = [lexical.indexed_text(text, speaker="Ann", when=None) for text in said]
        for row, text in enumerate(indexed, 1):
            lexical.add(db, row, text)
        for row, text in enumerate(indexed, 1):
            lexical.remove(db, row, text)
            assert found(db, "Ann") == list(range(row + 1, len(said) + 1))
        assert terms(db) == set()


@given(texts, texts)
def test_taking_one_out_leaves_the_other_as_if_it_had_been_alone(
    path: Path, kept: str, gone: str
) -> None:
    with empty(path) as db:
        index(db, kept)
        alone = terms(db)
        index_of_gone = lexical.indexed_text(gone, speaker=None, when=None)
        lexical.add(db, 2, index_of_gone)
        lexical.remove(db, 2, index_of_gone)
        assert terms(db) == alone


# Unassigned and private characters are letters to the tokenizer and none to us; young scripts the other way round.
written = st.text(
    st.characters(exclude_categories=["Cn", "Co", "Cs"], max_codepoint=0xFFFF), max_size=60
)


@given(written)
def test_a_text_is_found_by_its_words(path: Path, text: str) -> None:
    with empty(path) as db:
        index(db, text)
        known = [word for word in lexical.words(text) if lexical.has(db, word)]
        assert found(db, text) == ([1] if known else [])
        for word in lexical.words(text):
            if word.isalnum() and max(word) < "\u0530":
                assert lexical.has(db, word), word


def test_texts_of_three_words_have_a_score_for_every_question(db: Database) -> None:
    index(db, "a harmless text")
    assert found(db, "harmless zebra") == [1]


@given(st.text(max_size=300))
def test_no_question_is_an_error(path: Path, question: str) -> None:
    assume(not any("\ud800" <= each <= "\udfff" for each in question))
    with empty(path) as db:
        index(db, "a harmless text")
        assert set(found(db, question)) <= {1}


@pytest.mark.parametrize(
    "question",
    ['"', '""', "tea\"", "NOT tea", "tea AND", "NEAR(tea, 2)", "text:tea", "tea*", "^tea", "-tea", "(tea", "{tea}",
     "tea\x00", "'; DROP TABLE memories; --", "tea OR", "lexical : tea", "+tea"],
)  # fmt: skip
def test_operators_and_quotes_are_words_or_nothing(db: Database, question: str) -> None:
    index(db, "green tea")
    assert found(db, question) == ([1] if "tea" in question else [])


SAID_AND_ASKED = {
    "German, sharp s": ("Wir wohnen in der Großen Straße", ["straße", "STRAßE", "großen"]),
    "French, without accents": ("Le café près de l'hôtel", ["cafe", "CAFÉ", "pres", "hotel"]),
    "accents as marks of their own": ("un re\u0301sume\u0301", ["résumé", "resume"]),
    "asked with marks of their own": ("un résumé", ["re\u0301sume\u0301"]),
    "Turkish": ("İstanbul'da ılık", ["istanbul", "ılık"]),
    "Greek, another sigma": ("η ΟΔΟΣ", ["οδος", "οδοσ"]),
    "Russian": ("Привет, мир", ["привет", "МИР"]),
    "Arabic": ("مرحبا بالعالم", ["مرحبا"]),
    "Arabic, with vowel marks": ("مَرحَبا", ["مَرحَبا"]),
    "Hebrew, with points": ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
    "Hindi": ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
    "Thai": ("สวัสดีครับ", ["สวัสดี", "ครับ"]),
    "Lao": ("ສະບາຍດີ", ["ສະບາຍດີ"]),
    "Chinese": ("我在北京大学学习", ["北京", "大学", "学习"]),
    "Chinese, a rare name": ("他姓\U00020bb7\U0002a6d0", ["\U0002a6d0"]),
    "Japanese": ("東京でラーメンを食べた", ["ラーメン", "東京"]),
    "Japanese, half width": ("ｻｰﾊﾞｰ", ["サーバー"]),
    "Korean": ("서울에서 만나요", ["서울에서"]),
    "Korean, decomposed": ("\u1109\u1165\u110b\u116e\u11af", ["서울"]),
    "full width": ("ＡＢＣ１２３", ["abc123"]),
    "ligatures": ("the ﬁnal oﬃce", ["final", "office"]),
    "English endings": ("she was running and planning", ["run", "plans"]),
    "snake case": ("call the before_migration hook", ["before_migration", "migration"]),
    "numbers": ("version 3.14 of 2023", ["3.14", "2023"]),
    "after a NUL": ("before\x00after", ["after", "before"]),
}


@pytest.mark.parametrize(("said", "questions"), SAID_AND_ASKED.values(), ids=SAID_AND_ASKED)
def test_every_script_is_found_by_its_words(db: Database, said: str, questions: list[str]) -> None:
    index(db, "something else entirely", said)
    for question in questions:
        assert found(db, question) == [2], question


def test_marks_keep_a_word_together(db: Database) -> None:
    # Cut at its vowel signs, the one word would be found by single consonants of the other.
    index(db, "नमस्ते", "तम नस")
    assert found(db, "नमस्ते") == [1]


def test_a_date_in_words_and_the_speaker_are_found_with_the_text() -> None:
    said = lexical.indexed_text("hello", speaker="Ann", when=datetime(2023, 5, 8, tzinfo=UTC))
    assert said == "8 May 2023 Ann: hello"
    assert lexical.indexed_text("hello", speaker=None, when=None) == "hello"


def test_only_the_head_of_a_long_text_is_indexed(db: Database) -> None:
    index(db, "x " * (lexical.HEAD_CHARS // 2) + "tail")
    assert found(db, "x") == [1]
    assert found(db, "tail") == []


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What did Ann tell you about the harbour?", ["Ann", "harbour"]),
        ("who are you", ["who", "are", "you"]),
        ("", []),
        ("?!", []),
        ("___", []),
        ("Where is Tokio", ["Tokio"]),
    ],
)
def test_words_that_only_ask_are_left_out_unless_there_are_no_others(
    question: str, expected: list[str]
) -> None:
    assert lexical.words(question) == expected


def test_a_word_said_twice_is_asked_once() -> None:
    assert lexical.match_expression("Tea, tea and TEA; milk") == '"TEA" OR "milk"'
    assert lexical.match_expression("?") is None


def test_a_pasted_document_is_asked_by_its_first_words() -> None:
    expression = lexical.match_expression(" ".join(f"word{number}" for number in range(10_000)))
    assert expression is not None
    assert expression.count(" OR ") == lexical.QUERY_WORDS_MAX - 1


def test_the_rarer_word_and_the_more_words_score_higher(db: Database) -> None:
    index(db, *["common"] * 20, "common rare", "rare")
    assert found(db, "common rare", limit=2) == [21, 22]
    assert len(found(db, "common", limit=5)) == 5


def test_questions_about_the_index_itself(db: Database) -> None:
    index(db, "shared one", "shared two", "?!")
    assert lexical.holds(db, 1, "shared one")
    assert not lexical.holds(db, 3, "shared one")
    assert lexical.holds(db, 3, "?!")
    assert lexical.has(db, "two")
    assert not lexical.has(db, "three")
    assert lexical.only_in(db, "two", "[2]")
    assert not lexical.only_in(db, "shared", "[2]")
    assert lexical.only_in(db, "shared", "[1, 2]")
    lexical.clear(db)
    assert terms(db) == set()
    assert not lexical.holds(db, 1, "shared one")


def test_where_words_begin_as_those_of_a_question() -> None:
    pattern = lexical.beginnings("reminders about 北京")
    assert pattern is not None
    text = "He reminded me: 我在北京 (unreminded)"
    assert [match.group() for match in pattern.finditer(text)] == ["remind", "北", "京"]
    assert lexical.beginnings("...") is None


def test_a_word_taken_out_stands_on_no_page(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    words = ["quixotic", "zephyrous", "xylography"]
    with vault_at(path) as vault:
        for row, word in enumerate(words, 1):
            with vault.writing() as db:
                lexical.add(db, row, word)
        stems = [b"quixot", b"ephyr", b"xylographi"]
        assert pages.occurrences(pages.decrypted(path, KEY), stems) == set(stems)
        with vault.writing() as db:
            for row, word in enumerate(words, 1):
                lexical.remove(db, row, word)
        vault.truncate_wal()
        assert pages.occurrences(pages.decrypted(path, KEY), stems) == set()
