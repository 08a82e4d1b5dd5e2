"""Another model takes over: while it reads, when it has read everything, and when it cannot."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mcp_server import health, search
from mcp_server.device import Device, open_device
from mcp_server.forgetting import chosen, erase
from mcp_server.index.embedder import Embedder
from mcp_server.index.models import Models
from mcp_server.search import Asked
from shared.errors import UnavailableError
from tests.builders import ROOT, SetClock, embedded, make_home, tell, until
from tests.fakes import HashEmbedder

NEW = Path("/models/new")


class Held(HashEmbedder):
    """A model that reads nothing before the test lets it."""

    model_id = "new"

    def __init__(self) -> None:
        super().__init__(dim=64)
        self.may = threading.Event()
        self.began = threading.Event()
        self.read: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.began.set()
        assert self.may.wait(60)
        self.read += texts
        return super().embed(texts)


class Computer:
    """The usual model and a new one, both exported, and a vault."""

    def __init__(self, folder: Path) -> None:
        self.home = make_home(folder)
        self.new = Held()
        self.models: dict[str, Callable[[], Embedder]] = {
            "hash": HashEmbedder,
            "new": lambda: self.new,
        }

    def opened(self) -> Device:
        def prepare(folder: Path | None) -> str:
            if folder not in (None, NEW):
                raise UnavailableError(f"{folder} holds no model that can be used.")
            return "hash" if folder is None else "new"

        models = Models(prepare, lambda model_id: self.models[model_id]())
        return open_device(self.home, ROOT, clock=SetClock(), models=models)


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path)


def model_of(device: Device) -> str | None:
    return None if device.index.embedder is None else device.index.embedder.model_id


def stored_models(device: Device) -> set[str]:
    with device.vault.reading() as db:
        return {
            name
            for table in ("vectors", "vectors_coming")
            for (name,) in db.execute(f"SELECT name FROM {table} JOIN models ON number = model")
        }


def full_answer(device: Device, query: str) -> list[str]:
    answer = search.find(device, Asked(query=query), client="test")
    assert answer.searched == "full"
    return [each.memory.text for each in answer.found]


def test_recall_keeps_its_model_until_the_new_one_has_read_everything(computer: Computer) -> None:
    device = computer.opened()
    embedded(device)
    tell(device, *(f"memory {number}" for number in range(4)))
    device.index.reindex(NEW)
    assert computer.new.began.wait(60)
    assert model_of(device) == "hash"
    assert full_answer(device, "memory 2")[0] == "memory 2"
    tell(device, "stored meanwhile")
    assert full_answer(device, "stored meanwhile")[0] == "stored meanwhile"
    found = health.examine(device)
    assert found.reindexing is not None
    assert (found.reindexing.model, found.reindexing.done, found.reindexing.total) == ("new", 0, 5)
    computer.new.may.set()
    until(lambda: device.index.state().reindexing is None)
    assert model_of(device) == "new"
    assert stored_models(device) == {"new"}
    assert full_answer(device, "stored meanwhile")[0] == "stored meanwhile"
    assert full_answer(device, "memory 2")[0] == "memory 2"
    device.close()


def test_a_reindex_goes_on_after_a_restart_and_reads_nothing_twice(computer: Computer) -> None:
    device = computer.opened()
    embedded(device)
    for number in range(40):
        tell(device, f"memory {number}")
    embedded(device)
    device.index.reindex(NEW)
    assert computer.new.began.wait(60)
    closing = threading.Thread(target=device.close)
    closing.start()
    computer.new.may.set()  # the batch under way is kept
    closing.join()
    before = len(computer.new.read)
    assert 0 < before < 40

    device = computer.opened()
    until(lambda: model_of(device) == "new")
    assert sorted(computer.new.read) == sorted(f"memory {number}" for number in range(40))
    device.close()


def test_asking_for_the_present_model_again_ends_a_reindex(computer: Computer) -> None:
    device = computer.opened()
    embedded(device)
    tell(device, "the harbour at dusk")
    device.index.reindex(NEW)
    assert computer.new.began.wait(60)
    device.index.reindex(None)
    computer.new.may.set()
    until(lambda: device.index.state().reindexing is None)
    assert model_of(device) == "hash"
    assert stored_models(device) == {"hash"}
    device.close()


def test_the_way_back_is_another_reindex(computer: Computer) -> None:
    computer.new.may.set()
    device = computer.opened()
    embedded(device)
    tell(device, "the harbour at dusk")
    for folder, expected in ((NEW, "new"), (None, "hash")):
        device.index.reindex(folder)
        until(lambda: device.index.state().reindexing is None)
        assert (model_of(device), stored_models(device)) == (expected, {expected})
    device.close()


def test_a_model_that_was_chosen_stays_after_a_restart(computer: Computer) -> None:
    computer.new.may.set()
    device = computer.opened()
    embedded(device)
    device.index.reindex(NEW)
    until(lambda: device.index.state().reindexing is None)
    device.close()
    device = computer.opened()
    embedded(device)
    assert model_of(device) == "new"
    device.close()


def test_a_model_that_cannot_be_used_changes_nothing_and_says_why(computer: Computer) -> None:
    device = computer.opened()
    embedded(device)
    tell(device, "the harbour at dusk")
    device.index.reindex(Path("/nowhere"))
    with pytest.raises(UnavailableError, match=r"/nowhere holds no model .* Nothing was changed"):
        list(health.reindexed(device))
    assert model_of(device) == "hash"
    assert full_answer(device, "harbour") == ["the harbour at dusk"]
    device.close()


def test_what_is_forgotten_during_a_reindex_is_gone_from_both_models(computer: Computer) -> None:
    device = computer.opened()
    embedded(device)
    stored = tell(device, "one", "two")
    device.index.reindex(NEW)
    assert computer.new.began.wait(60)
    erase(device, chosen(device, ids=[stored[0].id]), client="test")
    computer.new.may.set()
    until(lambda: device.index.state().reindexing is None)
    with device.vault.reading() as db:
        assert db.execute("SELECT memory FROM vectors").fetchall() == [(2,)]
    device.close()
