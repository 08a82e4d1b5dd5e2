"""The same memories in less space, readable at every moment, and as they were when it is taken back."""

import random
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server import backup, consolidate, forgetting, health
from mcp_server.consolidate import Outcome, WhenIdle
from mcp_server.device import Device
from mcp_server.memory import Changes, revise
from mcp_server.model import Draft, Memory
from mcp_server.vault import blocks, pages, store, texts
from mcp_server.vault.db import DATABASE_NAME, open_vault
from shared.ids import MemoryId
from tests.builders import KEY, SetClock, draft, embedded, opened, tell, until, vault_at

CLIENT = "test"
WORDS = "harbours ferries granites pears lanterns orchards letters winters bridges trams attics violins".split()

# Enough for several blocks, one of which leads the others.
MANY = 60


def prose(number: int, words: int = 50) -> str:
    rng = random.Random(number)
    return f"Entry {number}: " + " ".join(rng.choice(WORDS) for _ in range(words))


def finish(steps: Generator[Any, None, Outcome]) -> Outcome:
    outcome: list[Outcome] = []

    def through() -> Generator[Any, None, None]:
        outcome.append((yield from steps))

    for _ in through():
        pass
    return outcome[0]


def packing(device: Device, *, dry: bool = False) -> Generator[dict[str, Any], None, Outcome]:
    """Into small blocks, so that a few memories fill several."""
    return consolidate.run(device, block_bytes=4_000, least_bytes=1, dry=dry)


def pack(device: Device) -> Outcome:
    return finish(packing(device))


def everything(device: Device) -> dict[MemoryId, Memory]:
    with device.vault.reading() as db:
        found = store.in_order(db, after=None, limit=100_000)
    return {row.memory.id: row.memory for row in found}


def loose(device: Device) -> int:
    with device.vault.reading() as db:
        return texts.loose_amount(db).memories


def block_count(device: Device) -> int:
    with device.vault.reading() as db:
        return len(texts.block_numbers(db))


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Device]:
    with opened(tmp_path / "vault") as device:
        tell(device, *(draft(prose(number), kind="turn") for number in range(MANY)))
        embedded(device)
        yield device


def test_every_memory_reads_as_before(mine: Device) -> None:
    before = everything(mine)
    outcome = pack(mine)
    assert everything(mine) == before
    assert (loose(mine), outcome.memories) == (0, MANY)
    assert block_count(mine) > 2
    assert outcome.block_bytes < outcome.text_bytes / 2
    assert outcome.file_bytes_after < outcome.file_bytes_before


def test_taken_back_everything_stands_alone_again(mine: Device) -> None:
    before = everything(mine)
    pack(mine)
    assert finish(consolidate.undo(mine)).memories == MANY
    assert (everything(mine), loose(mine), block_count(mine)) == (before, MANY, 0)
    assert pack(mine).memories == MANY


def test_a_dry_run_says_what_would_be_and_changes_nothing(mine: Device) -> None:
    said = finish(packing(mine, dry=True))
    assert (loose(mine), block_count(mine)) == (MANY, 0)
    done = pack(mine)
    assert (said.memories, said.block_bytes) == (done.memories, done.block_bytes)
    assert said.did == "estimated"


def test_interrupted_anywhere_it_goes_on_from_there(mine: Device) -> None:
    before = everything(mine)
    for taken in range(1, 4):
        steps = packing(mine)
        for _ in range(taken):
            next(steps, None)
        steps.close()
        assert everything(mine) == before
    pack(mine)
    assert (everything(mine), loose(mine)) == (before, 0)


def test_little_is_left_alone(mine: Device) -> None:
    pack(mine)
    tell(mine, "One short thought.")
    assert finish(consolidate.run(mine)).memories == 0
    assert loose(mine) == 1


def test_memories_that_say_the_same_share_one_text_and_keep_their_own_story(tmp_path: Path) -> None:
    with opened(tmp_path / "vault") as device:
        said = [
            draft(prose(7), kind="turn", conversation=f"c{number}", speaker=f"Ann {number}")
            for number in range(20)
        ]
        tell(device, *said)
        before = everything(device)
        pack(device)
        assert everything(device) == before
        assert len({each.speaker for each in before.values()}) == 20
        with device.vault.reading() as db:
            (body,) = texts.bodies(db, [1]).values()
        assert len(blocks.opened(blocks.content(body, None)).sizes) == 1


# --- forgetting ----------------------------------------------------------------------------------------------

RARE = "The zyrquonic resonator of the observatory is hidden beneath the third granite step."


def _left(device: Device, wanted: forgetting.Traces) -> list[str]:
    # Of vectors another test looks after; a text hashed into one leaves zeros that stand everywhere.
    return [each for each in forgetting.verify(device, wanted).left if "vector" not in each]


def _forget(device: Device, memory_id: str) -> list[str]:
    rows = forgetting.chosen(device, ids=[memory_id])
    wanted = forgetting.traces(device, rows)
    forgetting.erase(device, rows, client=CLIENT)
    return _left(device, wanted)


@pytest.mark.parametrize("place", ["in the head", "in a block that is led"])
def test_nothing_is_left_of_a_memory_that_was_in_a_block(tmp_path: Path, place: str) -> None:
    with opened(tmp_path / "vault") as device:
        first, last = (RARE, "Nothing.") if place == "in the head" else ("Nothing.", RARE)
        (one,) = tell(device, first)
        tell(device, *(draft(prose(number), kind="turn") for number in range(MANY)))
        (other,) = tell(device, last)
        secret = one if first == RARE else other
        embedded(device)
        before = everything(device)
        pack(device)
        with device.vault.reading() as db:
            row = forgetting.chosen(device, ids=[secret.id])[0].row
            bodies = texts.bodies(db, [row])
        assert (len(bodies) > 1) is (place == "in the head")
        assert _forget(device, secret.id) == []
        clear = b"\0".join(pages.decrypted(device.vault.path, device.keys.database))
        assert RARE.encode()[:24] not in clear
        for body in bodies.values():
            assert not any(body[at : at + 16] in clear for at in range(0, len(body) - 16, 64))
        with device.vault.reading() as db:
            assert not any("zyrquonic" in text for _, text in texts.every(db))
        del before[secret.id]
        assert everything(device) == before
        pack(device)
        assert (everything(device), loose(device)) == (before, 0)


def test_a_block_that_was_left_on_a_page_would_be_reported(mine: Device) -> None:
    pack(mine)
    row = forgetting.chosen(mine, ids=list(everything(mine))[:1])[0]
    with mine.vault.reading() as db:
        (body, *_) = texts.bodies(db, [row.row]).values()
    wanted = forgetting.traces(mine, [row])
    forgetting.erase(mine, [row], client=CLIENT)
    with mine.vault.writing() as db:
        db.execute("CREATE TABLE left_over (body BLOB)")
        db.execute("INSERT INTO left_over VALUES (?)", [body])
    (left,) = _left(mine, wanted)
    assert left == f"the block that held {row.memory.id}"


def test_a_text_that_a_block_kept_without_its_memory_would_be_reported(mine: Device) -> None:
    (secret,) = tell(mine, RARE)
    embedded(mine)
    row = forgetting.chosen(mine, ids=[secret.id])[0]
    wanted = forgetting.traces(mine, [row])
    forgetting.erase(mine, [row], client=CLIENT)
    with mine.vault.writing() as db:
        body = blocks.pack(blocks.gather({row.row: RARE}), None)
        db.execute("INSERT INTO blocks (body) VALUES (?)", [body])
    (left,) = _left(mine, wanted)
    assert left == f"text of {secret.id}"


def test_a_name_goes_with_the_last_memory_that_bears_it(tmp_path: Path) -> None:
    with opened(tmp_path / "vault") as device:
        stored = tell(
            device,
            draft("hello", speaker="Zyrquon", conversation="night watch", kind="turn"),
            draft("hello again", speaker="Zyrquon", kind="turn"),
        )
        embedded(device)
        _forget(device, stored[0].id)
        with device.vault.reading() as db:
            names = {name for (name,) in db.execute("SELECT name FROM names")}
        assert "Zyrquon" in names
        assert "night watch" not in names
        _forget(device, stored[1].id)
        assert b"Zyrquon" not in b"".join(pages.decrypted(device.vault.path, device.keys.database))


# --- in any order --------------------------------------------------------------------------------------------


class Person:
    """Does things to a vault, and knows what must be in it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._number = 0
        self._held: dict[MemoryId, str] = {}
        self._open()

    def _open(self) -> None:
        self._opened = opened(self._home, ready=False)
        self.device = self._opened.__enter__()

    def close(self) -> None:
        self._opened.__exit__(None, None, None)

    def reopen(self, _: int) -> None:
        self.close()
        self._open()

    def store(self, _: int) -> None:
        self._number += 1
        self._tell([prose(100 * self._number + each, 100) for each in range(10)])

    def repeat(self, _: int) -> None:
        self._tell([prose(0, 100)] * 2)

    def _tell(self, said: list[str]) -> None:
        new = tell(self.device, *(draft(each, kind="turn", conversation="c") for each in said))
        # The same words in one call are one memory only outside of conversations; here each is its own.
        self._held |= {one.id: text for one, text in zip(new, said, strict=True)}

    def revise(self, choice: int) -> None:
        for old in self._chosen(choice):
            if old.superseded_by is None:
                text = f"Corrected {choice}: {old.text}"
                changes = Changes(text=text)
                newer = revise(self.device, old.id, old.version, changes, client=CLIENT)
                self._held[newer.id] = text

    def forget(self, choice: int) -> None:
        for doomed in self._chosen(choice):
            rows = forgetting.chosen(self.device, ids=[doomed.id])
            forgetting.erase(self.device, rows, client=CLIENT)
            for row in rows:
                del self._held[row.memory.id]

    def pack(self, _: int) -> None:
        pack(self.device)

    def undo(self, _: int) -> None:
        finish(consolidate.undo(self.device))

    def begin(self, choice: int) -> None:
        """Begin to pack or to take apart, and be ended between two transactions."""
        cut = (consolidate.undo if choice % 2 else packing)(self.device)
        for _ in range(choice % 4):
            next(cut, None)
        cut.close()

    def _chosen(self, choice: int) -> list[Memory]:
        ids = sorted(self._held)
        return [everything(self.device)[ids[choice % len(ids)]]] if ids else []

    def looks(self) -> None:
        """Every memory that must be there is, with its words, and no other text is stored anywhere."""
        found = {key: each.text for key, each in everything(self.device).items()}
        assert found == self._held
        with self.device.vault.reading() as db:
            assert sorted(text for _, text in texts.every(db)) == sorted(found.values())


acts = st.sampled_from(
    [
        *(Person.store, Person.repeat, Person.revise, Person.forget),
        *(Person.pack, Person.undo, Person.begin, Person.reopen),
    ]
)


@given(acts=st.lists(st.tuples(acts, st.integers(0, 1_000)), max_size=12))
@settings(max_examples=20)
def test_no_memory_becomes_unreadable_whatever_is_done_in_whatever_order(
    acts: list[tuple[Callable[[Person, int], None], int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        person = Person(Path(folder) / "vault")
        try:
            person.store(0)
            for act, choice in acts:
                act(person, choice)
                person.looks()
        finally:
            person.close()


# --- by itself -----------------------------------------------------------------------------------------------


def a_blocks_worth() -> list[Draft]:
    long = (prose(number, 2_000) for number in range(1_000, 1_005))
    return [draft(text, kind="turn") for text in long]


def test_it_happens_by_itself_when_nobody_uses_the_vault(mine: Device) -> None:
    tell(mine, *a_blocks_worth())
    before = everything(mine)
    idle = WhenIdle(mine, idle_seconds=0.05)
    idle.start()
    try:
        until(lambda: block_count(mine) > 0)
    finally:
        idle.close()
    assert everything(mine) == before


def test_it_does_not_happen_while_the_vault_is_used_or_after_it_was_undone(mine: Device) -> None:
    busy = WhenIdle(mine, idle_seconds=3600)
    busy.start()
    busy.close()
    assert block_count(mine) == 0
    pack(mine)
    finish(consolidate.undo(mine))
    idle = WhenIdle(mine, idle_seconds=0.01)
    idle.start()
    tell(mine, *a_blocks_worth())
    embedded(mine)
    idle.close()
    assert block_count(mine) == 0


def test_it_waits_while_the_battery_is_low(mine: Device) -> None:
    tell(mine, *a_blocks_worth())
    asked: list[bool] = []

    def rests() -> bool:
        asked.append(True)
        return True

    idle = WhenIdle(mine, idle_seconds=0.01, rests=rests)
    idle.start()
    try:
        until(lambda: len(asked) > 1)
    finally:
        idle.close()
    assert block_count(mine) == 0


# --- the rest of the product on a consolidated vault ---------------------------------------------------------


def test_a_backup_of_a_consolidated_vault_holds_every_text(mine: Device, tmp_path: Path) -> None:
    pack(mine)
    before = everything(mine)
    mine.vault.path.with_name("vault.json").touch()  # a backup takes the wrapped keys along
    backup.write(mine, tmp_path / "backup")
    zipfile.ZipFile(tmp_path / "backup").extract(DATABASE_NAME, tmp_path / "copy")
    with vault_at(tmp_path / "copy" / DATABASE_NAME) as vault, vault.reading() as db:
        copied = store.in_order(db, after=None, limit=1_000)
    assert {row.memory.id: row.memory for row in copied} == before


def test_a_rekeyed_vault_stays_consolidated(tmp_path: Path) -> None:
    new_key = bytes(reversed(range(32)))
    with opened(tmp_path / "vault") as device:
        tell(device, *(draft(prose(number), kind="turn") for number in range(100)))
        pack(device)
        before = everything(device)
    vault = open_vault(tmp_path / "vault" / DATABASE_NAME, KEY)
    vault.rekey(new_key)
    with vault_at(tmp_path / "vault" / DATABASE_NAME, new_key) as vault, vault.reading() as db:
        rows = store.in_order(db, after=None, limit=1_000)
        assert texts.loose_amount(db).memories == 0
    assert {row.memory.id: row.memory for row in rows} == before


def test_the_indexes_are_made_anew_from_blocks(mine: Device) -> None:
    pack(mine)
    list(health.rebuild(mine))
    embedded(mine)
    found = health.examine(mine)
    assert (found.problems, found.embedded, found.packed) == ([], MANY, MANY)
    assert found.consolidated is not None
    assert found.consolidated.did == "packed"


def test_what_it_did_is_remembered(tmp_path: Path) -> None:
    clock = SetClock()
    with opened(tmp_path / "vault", clock=clock) as device:
        assert consolidate.last(device) is None
        tell(device, *(draft(prose(number), kind="turn") for number in range(100)))
        pack(device)
        first = consolidate.last(device)
        clock.passes(days=1)
        finish(consolidate.undo(device))
        second = consolidate.last(device)
    assert first is not None
    assert second is not None
    assert (first.did, first.memories, second.did) == ("packed", 100, "undone")
    assert second.at > first.at
