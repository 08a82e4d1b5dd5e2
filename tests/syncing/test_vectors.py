"""Vectors that one device made and another does not have to: over a folder, with the vault as it is and a model that counts."""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mcp_server import forgetting, memory
from mcp_server.index.entries import memory_text
from mcp_server.model import Draft
from mcp_server.syncing.places import Ways
from mcp_server.syncing.service import Syncing
from mcp_server.syncing.way import Way
from mcp_server.vault import store, words
from mcp_server.vault.store import as_bytes
from sync_service.alarms import Alarm
from sync_service.device import log, snapshots
from sync_service.sealed import vectors
from sync_service.sealed.pieces import Segment
from tests.builders import USER, SetClock, embedded, opened, until
from tests.fakes import HashEmbedder

WORDS = words.words_of(bytes(range(16)))
WORTH = 5
TEXTS = [f"Note {number} is about the harbour of Hamburg." for number in range(12)]


class CountingEmbedder(HashEmbedder):
    """Remembers what it was asked for."""

    def __init__(self, model_id: str = "hash") -> None:
        super().__init__()
        self.model_id = model_id
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return super().embed(texts)


class Owner:
    """A device whose rounds of sync the test does itself."""

    def __init__(
        self,
        stack: ExitStack,
        home: Path,
        *,
        model: str = "hash",
        worth: int | None = WORTH,
    ) -> None:
        self.embedder = CountingEmbedder(model)
        self.clock = SetClock()
        self.device = stack.enter_context(
            opened(home, clock=self.clock, model=lambda: self.embedder)
        )
        self.device.own_words = lambda given: given == WORDS
        self.syncing = Syncing(self.device, Ways(self.device), vectors_from=worth)

    def stores(self, *texts: str) -> None:
        memory.remember(
            self.device, [Draft(text=text, source=USER) for text in texts], client="test"
        )
        embedded(self.device)

    def forgets(self, text: str) -> None:
        gone = [row for row in self.rows() if row.memory.text == text]
        forgetting.erase(self.device, gone, client="test")

    def writes_a_snapshot(self) -> None:
        self.syncs()
        way = Way(self.device, Ways(self.device))
        with self.device.vault.reading() as db:
            members = log.members(db)
        made = snapshots.write(
            way.transport(), way.replica, members, secrets.token_bytes, way.now_ms()
        )
        assert made is not None

    def offered(self, path: Path) -> list[bytes]:
        """The codes that a list's segments hold."""
        listed = vectors.read(path.read_bytes())
        with self.device.vault.reading() as db:
            epoch_keys = log.epoch_keys(db)
        kind = vectors.open_summary(listed, epoch_keys).kind
        found: list[bytes] = []
        for each in listed.segments:
            sealed = (path.parent.parent / "segments" / each.name).read_bytes()
            there = vectors.open_segment(sealed, listed.vault, each, kind, epoch_keys)
            found += [vector.code for vector in there]
        return found

    def offers_in_pieces(self, folder: Path, most: int) -> None:
        """A list of many small pieces in place of the one that it wrote."""
        (path,) = lists(folder)
        with self.device.vault.reading() as db:
            me, epoch_keys = log.read(db), log.epoch_keys(db)
        ((epoch, key),) = epoch_keys.items()
        kind = vectors.open_summary(vectors.read(path.read_bytes()), epoch_keys).kind
        codes = self.codes()
        there = [
            vectors.Vector(
                as_bytes(row.memory.id),
                vectors.digest_of(memory_text(row.memory.text, row.memory.speaker)),
                codes[row.memory.text],
            )
            for row in self.rows()
        ]
        segments = []
        for first in range(0, len(there), most):
            name = f"{first:032x}"
            part = there[first : first + most]
            sealed = vectors.seal_segment(key, me.vault, epoch, name, kind, part)
            (path.parent.parent / "segments" / name).write_bytes(sealed)
            segments.append(Segment(name, len(sealed), hashlib.sha256(sealed).digest()))
        made = vectors.VectorList(
            vault=me.vault,
            device=me.device,
            segments=tuple(segments),
            sealed=vectors.seal_summary(
                key, me.vault, epoch, vectors.Summary(kind, len(there), None)
            ),
        )
        path.write_bytes(vectors.write(made, me.sign_seed))

    def rows(self) -> list[store.Row]:
        with self.device.vault.reading() as db:
            return store.in_order(db, after=None, limit=100)

    def codes(self) -> dict[str, bytes]:
        """The vector of each text that has one."""
        with self.device.vault.reading() as db:
            found = db.execute("SELECT memory, code FROM vectors").fetchall()
        said = {row.row: row.memory.text for row in self.rows()}
        return {said[row]: code for row, code in found}

    def syncs(self) -> None:
        """Rounds until there is nothing more to do; an hour later, so that it looks for what there is."""
        self.clock.passes(hours=1)
        while self.syncing.round().more:
            pass

    def alarms(self) -> list[Alarm]:
        return [alarm for alarm in self.syncing.status().alarms if alarm.subject == "vectors"]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "stick"
    made.mkdir()
    return made


@pytest.fixture
def first(stack: ExitStack, tmp_path: Path, folder: Path) -> Owner:
    """A device that has told all it knows."""
    owner = Owner(stack, tmp_path / "a")
    owner.stores(*TEXTS)
    owner.syncing.use_folder(folder)
    owner.syncing.found(WORDS, "laptop")
    owner.syncs()
    return owner


def joins(
    stack: ExitStack, home: Path, folder: Path, *, model: str = "hash", worth: int | None = WORTH
) -> Owner:
    owner = Owner(stack, home, model=model, worth=worth)
    owner.syncing.use_folder(folder)
    owner.syncing.recover(WORDS, "phone")
    owner.syncs()
    embedded(owner.device)
    return owner


def lists(folder: Path) -> list[Path]:
    return sorted(folder.glob("sunaiva/*/manifests/*.vectors"))


def pieces(folder: Path) -> list[Path]:
    """Segments that hold vectors and that a list names."""
    return [
        path.parent.parent / "segments" / each.name
        for path in lists(folder)
        for each in vectors.read(path.read_bytes()).segments
    ]


def test_a_new_device_has_the_vectors_without_asking_its_model(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    first.stores("Written after the vectors were offered.")
    first.syncs()
    second = joins(stack, tmp_path / "b", folder)
    assert second.codes() == first.codes()
    assert second.embedder.asked == ["Written after the vectors were offered."]
    assert second.alarms() == []


def test_what_was_taken_over_is_found_by_meaning(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    second = joins(stack, tmp_path / "b", folder)
    serving = second.device.index.serving()
    assert serving is not None
    assert len(serving[1]) == len(TEXTS)


def test_another_model_reads_everything_itself(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    second = joins(stack, tmp_path / "b", folder, model="another")
    assert sorted(second.embedder.asked) == sorted(TEXTS)


@pytest.mark.parametrize("damage", ["altered", "cut", "gone"])
def test_a_damaged_piece_is_said_once_and_its_texts_are_read_here(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner, damage: str
) -> None:
    (piece,) = pieces(folder)
    whole = piece.read_bytes()
    match damage:
        case "altered":
            piece.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        case "cut":
            piece.write_bytes(whole[:-1])
        case _:
            piece.unlink()
    second = joins(stack, tmp_path / "b", folder)
    assert sorted(second.embedder.asked) == sorted(TEXTS)
    assert [(alarm.kind, alarm.times) for alarm in second.alarms()] == [("malformed", 1)]
    assert second.codes() == first.codes()
    # It offers its own in their place, and then all is well.
    second.syncs()
    assert second.alarms() == []
    assert len(lists(folder)) == 2


def test_a_forged_list_is_said_and_not_used(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    (path,) = lists(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    second = joins(stack, tmp_path / "b", folder)
    assert sorted(second.embedder.asked) == sorted(TEXTS)
    assert [alarm.kind for alarm in second.alarms()] == ["forged"]


def test_a_text_that_changed_since_is_read_anew(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    (row,) = [row for row in first.rows() if row.memory.text == TEXTS[3]]
    with first.device.changing() as change:
        # As if the list had been made from an earlier text under the same id.
        change.db.execute("UPDATE texts SET text = 'An earlier text.' WHERE memory = ?", [row.row])
    for path in lists(folder):
        path.unlink()
    first.syncs()
    with first.device.changing() as change:
        change.db.execute("UPDATE texts SET text = ? WHERE memory = ?", [TEXTS[3], row.row])
    second = joins(stack, tmp_path / "b", folder)
    assert second.embedder.asked == [TEXTS[3]]


def test_vectors_of_forgotten_memories_leave_with_the_next_snapshot(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    gone = first.codes()[TEXTS[0]]
    first.forgets(TEXTS[0])
    before = lists(folder)
    first.writes_a_snapshot()
    first.syncs()
    (new,) = set(lists(folder)) - set(before)
    assert gone not in first.offered(new)
    assert sorted(first.offered(new)) == sorted(first.codes().values())


def test_a_broken_transfer_goes_on_where_it_was(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    first.offers_in_pieces(folder, most=5)
    second = Owner(stack, tmp_path / "b")
    second.syncing.use_folder(folder)
    second.syncing.recover(WORDS, "phone")
    assert second.syncing.round().more
    there = second.codes()
    assert len(there) == 5
    for piece in pieces(folder)[:1]:
        piece.unlink()  # it is not asked for again
    # The agent ends, and another begins.
    second.syncing = Syncing(second.device, Ways(second.device), vectors_from=WORTH)
    second.syncs()
    assert second.embedder.asked == []
    assert second.codes() == first.codes()
    assert second.alarms() == []


def test_of_several_pieces_the_sound_ones_are_used(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    first.offers_in_pieces(folder, most=5)
    pieces(folder)[1].write_bytes(b"noise")
    second = joins(stack, tmp_path / "b", folder)
    assert sorted(second.embedder.asked) == sorted(TEXTS[5:10])
    assert [alarm.times for alarm in second.alarms()] == [1]


def test_few_memories_are_not_worth_it_and_the_switch_turns_it_off(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    few = joins(stack, tmp_path / "b", folder, worth=len(TEXTS) + 1)
    off = joins(stack, tmp_path / "c", folder, worth=None)
    assert sorted(few.embedder.asked) == sorted(off.embedder.asked) == sorted(TEXTS)


def test_nothing_is_offered_twice(first: Owner, folder: Path) -> None:
    assert len(lists(folder)) == 1
    first.syncs()
    first.stores("One more.")
    first.syncs()
    assert len(lists(folder)) == 1


def test_embedding_waits_for_vectors_and_not_for_ever(
    stack: ExitStack, tmp_path: Path, folder: Path, first: Owner
) -> None:
    second = Owner(stack, tmp_path / "b")
    second.device.index.hold.keep(600)
    second.syncing.use_folder(folder)
    second.syncing.recover(WORDS, "phone")
    for path in lists(folder):
        path.unlink()
    second.syncs()
    assert second.device.index.hold.left_seconds() == 0
    until(lambda: second.codes() == first.codes())
