"""The keyword index: sealed or not, merged or not, after a crash or a forgetting, it says what the texts say."""

import contextlib
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mcp_server import search
from mcp_server.device import Device
from mcp_server.forgetting import chosen, erase
from mcp_server.index.lexical import LexicalIndex, terms_of
from mcp_server.search import Asked
from mcp_server.vault import pages, store
from mcp_server.vault.db import DATABASE_NAME, OpenVault
from shared.errors import UnavailableError
from tests.builders import (
    KEY,
    memory,
    opened,
    published_vault,
    seal_early,
    sealed_terms,
    tell,
    until,
    vault_at,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

SEAL_ROWS = 3


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[OpenVault]:
    with vault_at(tmp_path / DATABASE_NAME) as vault:
        yield vault


class Watched(OpenVault):
    """Lets something happen once, as soon as somebody has read."""

    after_reading: Callable[[], None] | None = None

    @contextlib.contextmanager
    def reading(self) -> "Iterator[Database]":
        with super().reading() as db:
            yield db
        happens, self.after_reading = self.after_reading, None
        if happens is not None:
            happens()


class Kept:
    """A vault with its keyword index, changed as the product changes them."""

    def __init__(self, vault: OpenVault) -> None:
        self.vault = vault
        self.texts: dict[int, str] = {}
        self.restart()

    def restart(self) -> None:
        self.index = LexicalIndex(seal_rows=SEAL_ROWS)
        with self.vault.reading() as db:
            self.index.load(db)

    def clear(self) -> None:
        with self.vault.writing() as db:
            self.index.clear(db)
        with self.vault.reading() as db:
            self.index.load(db)

    def put(self, text: str) -> int:
        with self.vault.writing() as db:
            row = store.insert(db, each := memory(text), bytes(16))
        self.index.put(row, terms_of(each))
        self.texts[row] = text
        return row

    def forget(self, row: int) -> None:
        with self.vault.writing() as db:
            each = store.by_rows(db, [row])[row]
            self.index.remove(db, {row: terms_of(each)})
            store.delete(db, row, each.id)
        self.index.drop([row])
        del self.texts[row]

    def tidy(self) -> bool:
        return self.index.tidy(self.vault, threading.RLock())

    def tidy_all(self) -> None:
        while self.tidy():
            pass

    def said(self, *terms: str) -> list[dict[int, int]]:
        with self.vault.reading() as db:
            found = self.index.postings(db, terms)
        return [dict(zip(each.rows.tolist(), each.counts.tolist(), strict=True)) for each in found]

    def segments(self) -> list[tuple[int, int, int, int, int]]:
        with self.vault.reading() as db:
            return db.execute(
                "SELECT first_row, last_row, tier, memories, live FROM segments ORDER BY number"
            ).fetchall()


def expected(kept: Kept, term: str) -> dict[int, int]:
    counts = {row: Counter(terms_of(memory(text)))[term] for row, text in kept.texts.items()}
    return {row: count for row, count in counts.items() if count}


def test_what_was_just_put_is_found(vault: OpenVault) -> None:
    kept = Kept(vault)
    kept.put("tea, tea and milk")
    kept.put("milk")
    assert kept.said("tea", "milk", "coffe") == [{1: 2}, {1: 1, 2: 1}, {}]
    assert len(kept.index) == 2
    assert kept.segments() == []


def test_sealed_and_unsealed_are_one_index(vault: OpenVault) -> None:
    kept = Kept(vault)
    for number in range(SEAL_ROWS + 1):
        kept.put(f"tea {number}")
    assert kept.tidy()
    assert not kept.tidy()
    assert kept.segments() == [(1, SEAL_ROWS, 0, SEAL_ROWS, 1)]
    assert kept.said("tea", "1", str(SEAL_ROWS)) == [
        dict.fromkeys(range(1, SEAL_ROWS + 2), 1),
        {2: 1},
        {SEAL_ROWS + 1: 1},
    ]
    assert len(kept.index) == SEAL_ROWS + 1


def test_a_restart_finds_the_same(vault: OpenVault) -> None:
    kept = Kept(vault)
    for number in range(SEAL_ROWS * 2 + 1):
        kept.put(f"tea {number}")
    kept.tidy_all()
    before = kept.said("tea", "2", "6")
    kept.restart()
    assert kept.said("tea", "2", "6") == before
    assert len(kept.index) == SEAL_ROWS * 2 + 1


def test_an_older_vault_is_found_newest_first_and_read_in_the_background(vault: OpenVault) -> None:
    texts = range(1, 20)
    with vault.writing() as db:
        for number in texts:
            store.insert(db, memory(f"tea {number}"), bytes(16))
    kept = Kept(vault)
    assert kept.said("tea") == [dict.fromkeys(range(14, 20), 1)]
    assert kept.index.waiting == range(1, 14)
    assert len(kept.index) == 6
    kept.put("tea again")
    kept.tidy_all()
    assert len(kept.index.waiting) == 0
    assert kept.said("tea") == [dict.fromkeys(range(1, 21), 1)]
    assert len(kept.index) == 20


def test_very_many_that_another_process_reads_are_found_like_any(vault: OpenVault) -> None:
    kept, row = Kept(vault), 0
    for number in range(10 * SEAL_ROWS):
        with vault.writing() as db:
            row = store.insert(db, memory(text := f"tea {number % 3}"), bytes(16))
        kept.texts[row] = text
    kept.index = LexicalIndex(seal_rows=SEAL_ROWS, elsewhere_rows=SEAL_ROWS)
    kept.index.leave_until(max(kept.texts))
    kept.tidy_all()
    kept.index.close()
    assert not kept.index.waiting
    assert kept.said("tea", "2") == [expected(kept, "tea"), expected(kept, "2")]


def test_many_segments_become_few(vault: OpenVault) -> None:
    kept = Kept(vault)
    for number in range(SEAL_ROWS * 8 * 8):
        kept.put(f"tea {number} {number % 7}")
    kept.tidy_all()
    assert kept.segments() == [(1, SEAL_ROWS * 64, 2, SEAL_ROWS * 64, 1)]
    for term in ("tea", "3", "100"):
        assert kept.said(term) == [expected(kept, term)]


def test_a_reader_of_the_vault_as_it_was_misses_nothing_that_was_sealed_meanwhile(
    vault: OpenVault,
) -> None:
    kept = Kept(vault)
    for _ in range(SEAL_ROWS):
        kept.put("tea")
    with vault.reading() as db:
        kept.tidy_all()
        (found,) = kept.index.postings(db, ["tea"])
    assert found.rows.tolist() == [1, 2, 3]


class Full(OpenVault):
    """A disk that is full after so many transactions."""

    left = 1 << 30

    def writing(self) -> object:  # type: ignore[override]
        self.left -= 1
        if self.left < 0:
            raise UnavailableError("The disk is full.")
        return super().writing()


@pytest.mark.parametrize("transactions", range(5))
def test_a_merge_that_is_broken_off_leaves_the_index_as_it_was(
    tmp_path: Path, transactions: int
) -> None:
    with vault_at(tmp_path / DATABASE_NAME):
        pass
    vault = Full(tmp_path / DATABASE_NAME, KEY)
    kept = Kept(vault)
    for number in range(SEAL_ROWS * 8):
        kept.put(f"tea {number}")
    vault.left = 8 + transactions
    with contextlib.suppress(UnavailableError):
        kept.tidy_all()
    vault.left = 1 << 30
    kept.restart()
    assert kept.said("tea", "5") == [expected(kept, "tea"), {6: 1}]
    kept.tidy_all()
    assert kept.said("tea", "5") == [expected(kept, "tea"), {6: 1}]
    assert kept.segments() == [(1, 24, 1, 24, 1)]
    vault.close()


def test_what_is_forgotten_while_segments_are_merged_is_in_none(vault: OpenVault) -> None:
    kept = Kept(vault)
    for number in range(SEAL_ROWS * 8):
        kept.put(f"tea word{number}")
    for _ in range(8):
        kept.tidy()

    class Forgetting:
        """Whoever has to wait for the others forgets something first."""

        times = 0

        def __enter__(self) -> None:
            self.times += 1
            if self.times == 2:
                kept.forget(5)

        def __exit__(self, *_: object) -> None:
            pass

    kept.index.tidy(vault, Forgetting())
    kept.tidy_all()
    assert kept.segments() == [(1, 24, 1, 23, 1)]
    assert kept.said("word4", "tea") == [{}, expected(kept, "tea")]


def test_a_rebuild_that_begins_when_a_segment_was_just_chosen_misses_nothing(
    tmp_path: Path,
) -> None:
    with vault_at(tmp_path / DATABASE_NAME):
        pass
    vault = Watched(tmp_path / DATABASE_NAME, KEY)
    kept = Kept(vault)
    for number in range(SEAL_ROWS * 3):
        kept.put(f"tea {number}")
    kept.tidy()
    kept.tidy()

    vault.after_reading = kept.clear
    kept.tidy()
    kept.tidy_all()
    assert kept.said("tea") == [expected(kept, "tea")]
    vault.close()


class Life(RuleBasedStateMachine):
    """Anything in any order: the index agrees with the texts, and no word is left that no text has."""

    texts = st.lists(
        st.sampled_from(["tea", "milk", "北京", "saying", "said", "e-mail", "?", "12"]), max_size=5
    ).map(" ".join)

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.vault_context = vault_at(Path(self.folder.name) / DATABASE_NAME)
        self.kept = Kept(self.vault_context.__enter__())

    @rule(text=texts)
    def put(self, text: str) -> None:
        self.kept.put(text)

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        if self.kept.texts:
            self.kept.forget(data.draw(st.sampled_from(sorted(self.kept.texts))))

    @rule()
    def tidy(self) -> None:
        self.kept.tidy()

    @rule()
    def restart(self) -> None:
        self.kept.restart()

    @invariant()
    def the_index_says_what_the_texts_say(self) -> None:
        waiting = self.kept.index.waiting
        known = {row: text for row, text in self.kept.texts.items() if row not in waiting}
        counts = {row: Counter(terms_of(memory(text))) for row, text in known.items()}
        vocabulary = ["tea", "milk", "北京", "say", "said", "email", "mail", "12"]
        found = self.kept.said(*vocabulary)
        for term, there in zip(vocabulary, found, strict=True):
            assert there == {row: said[term] for row, said in counts.items() if said[term]}
        assert len(self.kept.index) == len(known)

    @invariant()
    def no_word_is_left_that_no_text_has(self) -> None:
        with self.kept.vault.reading() as db:
            held = db.execute("SELECT terms FROM postings").fetchall()
        left = {term for (terms,) in held for term in terms.strip("\n").split("\n")}
        assert left <= {
            term for text in self.kept.texts.values() for term in terms_of(memory(text))
        }

    def teardown(self) -> None:
        self.vault_context.__exit__(None, None, None)
        self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=10, stateful_step_count=40, deadline=None)


def test_forgotten_words_stand_on_no_page_in_however_many_segments(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        seal_early(device, rows=16)
        stored = [
            tell(device, *(f"word{block}x{number} tea" for number in range(20)))
            for block in range(16)
        ]
        until(lambda: device.index.lexical.sealed == 320 and not device.index.tidy_words())
        doomed = [(block, number) for block in range(16) for number in range(block % 3, 20, 3)]
        needles = [f"word{block}x{number}" for block, number in doomed]
        assert set(needles) <= sealed_terms(device)
        for one in doomed:
            erase(device, chosen(device, ids=[stored[one[0]][one[1]].id]), client="test")
        said = {needle.encode() + end for needle in needles for end in (b"\n", b" ")}
        assert pages.occurrences(pages.decrypted(device.vault.path, KEY), said) == set()
        assert len(device.index.lexical) == 320 - len(doomed)


@pytest.mark.parametrize("text", ["?!", "...", "\x00"])
def test_a_memory_without_words_is_counted_and_in_nobodys_way(vault: OpenVault, text: str) -> None:
    kept = Kept(vault)
    for _ in range(SEAL_ROWS):
        kept.put(text)
    kept.tidy_all()
    kept.forget(2)
    assert len(kept.index) == SEAL_ROWS - 1


def by_words(device: Device, question: str) -> list[int]:
    """The rows that say anything of it, by their keyword scores."""
    asked = Asked(query=question)
    with device.vault.reading() as db:
        found = search.candidates(device, db, asked, search.understood(device, asked))
    scored = zip(found.words.tolist(), found.rows.tolist(), strict=True)
    return [row for score, row in sorted(scored, reverse=True) if score > 0]


def test_the_rarer_word_the_more_words_and_the_more_often_score_higher(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        often = [f"common {number}" for number in range(20)]
        tell(device, *often, "common rare", "rare", "common common")
        assert by_words(device, "common rare")[:3] == [21, 22, 23]
        assert by_words(device, "zebra") == []
        assert by_words(device, "?") == []


def test_a_question_of_operators_is_a_question(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, "green tea")
        for question in (
            '"tea"',
            "tea*",
            "NOT tea",
            "text:tea",
            "tea\x00",
            "'; DROP TABLE postings; --",
        ):
            search.find(device, Asked(query=question), client="test")
        assert found(device, "NEAR(tea, 2)") == ["green tea"]


def found(device: Device, query: str) -> list[str]:
    answer = search.find(device, Asked(query=query), client="test")
    return [each.memory.text for each in answer.found]


def test_a_vault_with_the_former_keyword_index_is_found_by_words_again(tmp_path: Path) -> None:
    said = [*(f"harbour {number}" for number in range(20)), "北京 at dusk"]
    with published_vault(
        tmp_path / DATABASE_NAME, {row: memory(text) for row, text in enumerate(said, 1)}
    ):
        pass
    with opened(tmp_path) as device:
        seal_early(device)
        answer = search.find(device, Asked(query="harbour 7"), client="test")
        assert answer.found[0].memory.text == "harbour 7"
        assert answer.note is None
        assert found(device, "北京")[0] == "北京 at dusk"
        with device.vault.reading() as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        assert not any(name.startswith("lexical") for name in tables)


def test_while_an_older_vault_is_read_the_answer_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, *(f"harbour {number}" for number in range(20)))
        with device.index.changing(), device.vault.reading() as db:
            index = LexicalIndex(seal_rows=4)
            index.load(db)
            device.index.lexical = index
            answer = search.find(device, Asked(query="harbour"), client="test")
        assert "12 older memories are not found by their words yet" in (answer.note or "")
