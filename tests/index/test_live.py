"""The indexes of an open vault, while they come, while they follow it, and when they cannot come."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mcp_server import search
from mcp_server.device import Device
from mcp_server.forgetting import chosen, erase
from mcp_server.index.chroma import ChromaIndex, CodesOf
from mcp_server.index.embedder import Embedder
from mcp_server.index.entries import memory_text
from mcp_server.index.lexical import SEAL_ROWS
from mcp_server.index.live import (
    EMBED_AT_ONCE_MAX,
    LiveIndex,
)
from mcp_server.index.models import IndexState
from mcp_server.index.neighbours import GraphOnDisk
from mcp_server.memory import Changes, capture_drafts, revise, take_in, text_digest
from mcp_server.search import Asked
from mcp_server.vault import store
from shared.errors import UnavailableError
from tests.builders import (
    NOON,
    Gate,
    draft,
    embedded,
    make_home,
    memory,
    one_model,
    opened,
    tell,
    until,
)
from tests.fakes import HashEmbedder

MANY = EMBED_AT_ONCE_MAX + 1


class Watched(HashEmbedder):
    """Lets the test see, and hold up, what is embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[str]] = []
        self.before: Callable[[], None] = lambda: None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen.append(list(texts))
        self.before()
        return super().embed(texts)


def found(device: Device, query: str) -> list[str]:
    answer = search.find(device, Asked(query=query), client="test")
    return [each.memory.text for each in answer.found]


def nearest(device: Device, text: str) -> list[int]:
    assert device.index.vectors is not None
    rows, _ = device.index.vectors.search(HashEmbedder().embed([text])[0], 1, None)
    return [int(row) for row in rows]


def vector_rows(device: Device) -> list[int]:
    with device.vault.reading() as db:
        return [row for (row,) in db.execute("SELECT memory FROM vectors ORDER BY memory")]


def send(device: Device, number: int) -> None:
    """Let so many memories come from another device."""
    with device.changing() as change:
        rows = [
            store.insert(change.db, each, text_digest(device, each.text))
            for each in (memory(f"memory {place}") for place in range(number))
        ]
        change.then(device.index.put_many(change.db, range(rows[0], rows[-1] + 1)))


def test_while_it_rests_words_are_found_and_the_model_reads_nothing_until_it_may_again(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as device:
        is_low, asked = True, 0

        def rests() -> bool:
            nonlocal asked
            asked += 1
            return is_low

        device.index.rests = rests
        tell(device, *(f"the harbour at dusk, {number}" for number in range(MANY)))
        until(lambda: asked > 0)
        assert len(found(device, "harbour")) == MANY
        assert vector_rows(device) == []
        is_low = False
        device.index.has_more_to_embed(0)
        embedded(device)
        assert len(vector_rows(device)) == MANY


def test_keywords_answer_before_the_model_is_there_and_the_answer_says_so(tmp_path: Path) -> None:
    gate = Gate()
    with opened(tmp_path, model=gate, ready=False) as device:
        tell(device, "the harbour at dusk")
        answer = search.find(device, Asked(query="harbour"), client="test")
        assert [each.memory.text for each in answer.found] == ["the harbour at dusk"]
        assert answer.searched == "keywords"
        assert "still loading" in (answer.note or "")
        gate.open()
        embedded(device)
        answer = search.find(device, Asked(query="harbour"), client="test")
        assert answer.searched == "full"
        assert answer.note is None
        assert nearest(device, "the harbour at dusk") == [1]


def test_the_words_of_many_that_came_at_once_do_not_wait_for_the_model(tmp_path: Path) -> None:
    gate = Gate()
    with opened(tmp_path, model=gate, ready=False) as device:
        send(device, SEAL_ROWS + 200)
        until(lambda: device.index.state().unread == 0)
        assert found(device, "7") == ["memory 7"]
        assert not device.index.state().meaning
        gate.open()
        embedded(device)


def test_the_words_of_many_do_not_wait_for_another_model(tmp_path: Path) -> None:
    gate = Gate()
    coming: Iterator[Callable[[], Embedder]] = iter([HashEmbedder, gate])

    def model() -> Embedder:
        return next(coming)()

    with opened(tmp_path, model=model) as device:
        device.index.reindex(tmp_path / "another")
        send(device, SEAL_ROWS + 200)
        until(lambda: device.index.state().unread == 0)
        assert device.index.state().reindexing is not None
        gate.open()
        embedded(device)


def test_what_was_stored_before_is_listed_and_embedded_after_a_start(tmp_path: Path) -> None:
    gate = Gate()
    with opened(tmp_path, model=gate, ready=False) as device:
        tell(device, *(f"memory {number}" for number in range(100)))
        gate.open()
    with opened(tmp_path) as device:
        assert len(device.index.catalogue) == 100
        assert vector_rows(device) == list(range(1, 101))
        assert nearest(device, "memory 57") == [58]


def test_a_start_embeds_nothing_twice(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, *(f"memory {number}" for number in range(MANY)))
        embedded(device)
    watched = Watched()
    with opened(tmp_path, model=lambda: watched) as device:
        assert watched.seen == []
        assert device.index.state() == IndexState(True, True, 0, None)


def test_another_model_embeds_everything_again_and_compares_with_its_own_only(
    tmp_path: Path,
) -> None:
    class Other(HashEmbedder):
        model_id = "other"

    with opened(tmp_path) as device:
        tell(device, "one", "two")
    with opened(tmp_path, model=lambda: Other(dim=8)) as device:
        assert device.index.vectors is not None
        assert len(device.index.vectors) == 2
        with device.vault.reading() as db:
            names = db.execute(
                "SELECT DISTINCT name FROM vectors JOIN models ON number = model"
            ).fetchall()
        assert names == [("other",)]


def test_the_newest_are_embedded_first_though_older_ones_came_after_them(
    tmp_path: Path,
) -> None:
    watched = Watched()
    gate = Gate(watched)
    made = [memory(f"memory {number}") for number in range(1_072)]
    with opened(tmp_path, model=gate, ready=False) as device:
        for part in (made[524:], made[48:524], made[:48]):
            take_in(device, part, client="test")
        gate.open()
        embedded(device)
    texts = [text for batch in watched.seen for text in batch]
    assert len(texts) == 1_072
    assert set(texts[-48:]) == {f"memory {number}" for number in range(48)}


def test_a_few_are_embedded_at_once_and_many_in_the_background(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, *(f"few {number}" for number in range(EMBED_AT_ONCE_MAX)))
        assert len(vector_rows(device)) == EMBED_AT_ONCE_MAX
        tell(device, *(f"many {number}" for number in range(MANY)))
        until(lambda: len(vector_rows(device)) == EMBED_AT_ONCE_MAX + MANY)


def test_while_some_wait_the_answer_says_how_many(tmp_path: Path) -> None:
    watched, inside, go_on = Watched(), threading.Event(), threading.Event()
    with opened(tmp_path, model=lambda: watched) as device:

        def hold() -> None:
            inside.set()
            assert go_on.wait(60)

        watched.before = hold
        tell(device, *(f"memory {number}" for number in range(MANY)))
        assert inside.wait(60)
        watched.before = lambda: None
        answer = search.find(device, Asked(query="memory"), client="test")
        assert answer.searched == "keywords"
        assert f"{MANY} memories are not searchable by meaning yet" in (answer.note or "")
        assert len(answer.found) == MANY
        go_on.set()
        embedded(device)


def test_what_is_forgotten_while_it_is_embedded_gets_no_vector(tmp_path: Path) -> None:
    watched, inside, go_on = Watched(), threading.Event(), threading.Event()
    with opened(tmp_path, model=lambda: watched) as device:

        def hold() -> None:
            inside.set()
            assert go_on.wait(60)

        watched.before = hold
        stored = tell(device, *(f"memory {number}" for number in range(MANY)))
        assert inside.wait(60)
        watched.before = lambda: None
        erase(device, chosen(device, ids=[stored[2].id]), client="test")
        go_on.set()
        embedded(device)
        assert vector_rows(device) == [1, 2, 4, 5]
        assert device.index.vectors is not None
        assert len(device.index.vectors) == 4


def test_starting_over_while_a_batch_is_embedded_forgets_nobody(tmp_path: Path) -> None:
    watched, inside, go_on = Watched(), threading.Event(), threading.Event()
    with opened(tmp_path, model=lambda: watched) as device:
        tell(device, *(f"old {number}" for number in range(EMBED_AT_ONCE_MAX)))

        def hold() -> None:
            inside.set()
            assert go_on.wait(60)

        watched.before = hold
        tell(device, *(f"new {number}" for number in range(MANY)))
        assert inside.wait(60)
        watched.before = lambda: None
        with device.changing() as change:
            change.db.execute("DELETE FROM vectors")
            change.then(device.index.start_over)
        go_on.set()
        until(lambda: len(vector_rows(device)) == EMBED_AT_ONCE_MAX + MANY)
        embedded(device)
        assert device.index.vectors is not None
        assert len(device.index.vectors) == EMBED_AT_ONCE_MAX + MANY


def test_a_model_that_cannot_load_is_told_and_keywords_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> Embedder:
        raise UnavailableError("The model is not there. Install it again.")

    with opened(tmp_path, model=missing, ready=False) as device, caplog.at_level(logging.ERROR):
        until(lambda: device.index.state().trouble is not None)
        tell(device, "the harbour", *(f"memory {number}" for number in range(MANY)))
        answer = search.find(device, Asked(query="harbour"), client="test")
        assert [each.memory.text for each in answer.found] == ["the harbour"]
        assert answer.searched == "keywords"
        assert answer.note == "Searched by keyword only. The model is not there. Install it again."
        device.index.start_over()


def test_embedding_goes_on_when_a_passing_trouble_is_over(tmp_path: Path) -> None:
    watched = Watched()
    with opened(tmp_path, model=lambda: watched) as device:
        failed = threading.Event()

        def fail() -> None:
            watched.before = lambda: None
            failed.set()
            raise UnavailableError("The disk is full.")

        watched.before = fail
        tell(device, *(f"memory {number}" for number in range(MANY)))
        assert failed.wait(60)
        tell(device, *(f"more {number}" for number in range(MANY)))  # wakes it before its time
        until(lambda: len(vector_rows(device)) == 2 * MANY)
        embedded(device)
        assert device.index.state().trouble is None


def no_graph(folder: Path) -> GraphOnDisk:
    def never(dim: int, codes_of: CodesOf) -> ChromaIndex:
        raise AssertionError("no graph is wanted")

    return GraphOnDisk(folder / "chroma", never)


def test_an_index_that_was_never_started_closes(tmp_path: Path) -> None:
    with opened(make_home(tmp_path)) as device:
        LiveIndex(
            device.vault, one_model(HashEmbedder), no_graph(tmp_path), graph_from=None
        ).close()


def test_filters_follow_a_revision_and_a_forgetting(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        (stored,) = tell(device, draft("the harbour", space="home"))
        revise(device, stored.id, 1, Changes(space="work"), client="test")
        assert found_in(device, "work") == ["the harbour"]
        assert found_in(device, "home") == []
        erase(device, chosen(device, ids=[stored.id]), client="test")
        assert found_in(device, "work") == []
        assert len(device.index.catalogue) == 0


def found_in(device: Device, space: str) -> list[str]:
    answer = search.find(device, Asked(query="harbour", spaces=(space,)), client="test")
    return [each.memory.text for each in answer.found]


def test_the_catalogue_that_followed_is_the_one_a_start_makes(tmp_path: Path) -> None:
    turns = [draft(f"turn {number}?", kind="turn", speaker="Ann") for number in range(6)]
    with opened(tmp_path) as device:
        tell(device, *capture_drafts(device, "talk", turns, space="personal"))
        promised = draft("I'll be there in May 2021?", speaker="Bo", valid_to=NOON)
        stored = tell(device, draft("a fact", pinned=True, importance=0.9), "a note", promised)
        revise(device, stored[0].id, 1, Changes(text="another fact"), client="test")
        rows = [1, 2, 3, 4, 5, 6]
        third = store_id(device, 3)
        revise(device, third, 1, Changes(space="work"), client="test")
        erase(device, chosen(device, ids=[store_id(device, 5)]), client="test")
        followed = {name: values.copy() for name, values in device.index.catalogue.columns.items()}
        ways = device.index.catalogue.around(np.array(rows), 1, 1)
    with opened(tmp_path) as device:
        catalogue = device.index.catalogue
        for step, reached in catalogue.around(np.array(rows), 1, 1).items():
            assert reached.tolist() == ways[step].tolist()
        for name in followed.keys() - {"conversation"}:  # whose numbers may differ
            assert np.array_equal(catalogue.columns[name], followed[name]), name


def store_id(device: Device, row: int) -> str:
    with device.vault.reading() as db:
        return store.by_rows(db, [row])[row].id


def test_what_is_embedded_of_a_memory_is_its_speaker_and_its_head() -> None:
    assert memory_text("hello", "Ann") == "Ann: hello"
    assert memory_text("x" * 5_000, None) == "x" * 900


@pytest.mark.parametrize("attempt", range(3))
def test_what_changes_while_the_indexes_load_is_in_them(tmp_path: Path, attempt: int) -> None:
    with opened(tmp_path) as device:
        stored = tell(device, *(f"memory {number}" for number in range(300)))
        embedded(device)
    with opened(tmp_path, ready=False) as device:
        for number in range(attempt, 12):
            erase(device, chosen(device, ids=[stored[number].id]), client="test")
            tell(device, f"new {number}")
        embedded(device)
        with device.vault.reading() as db:
            rows = [row for (row,) in db.execute("SELECT row FROM memories ORDER BY row")]
        assert np.flatnonzero(device.index.catalogue.columns["live"]).tolist() == rows
        assert vector_rows(device) == rows
        assert device.index.vectors is not None
        assert np.flatnonzero(device.index.vectors.has(np.arange(rows[-1] + 9))).tolist() == rows
        assert device.index.state() == IndexState(True, True, 0, None)


def test_work_that_nobody_waits_for_does_not_hold_up_the_words(tmp_path: Path) -> None:
    with opened(tmp_path) as device, device.changing(is_waited_for=False):
        began = time.monotonic()
        list(device.index.precedence.in_between(range(100)))
        assert time.monotonic() - began < 1
