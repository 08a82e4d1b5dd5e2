"""The truth about a vault: said when all is well, when something is not, and after the repair."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mcp_server import health, search
from mcp_server.device import Device
from mcp_server.index.embedder import Embedder
from mcp_server.search import Asked
from mcp_server.vault import pages
from mcp_server.vault.db import DATABASE_NAME
from shared.errors import CorruptError, UnavailableError
from tests.builders import Gate, draft, embedded, opened, tell, until


def ask(device: Device, query: str) -> list[str]:
    answer = search.find(device, Asked(query=query), client="test")
    return [found.memory.text for found in answer.found]


def fill(device: Device) -> None:
    tell(device, *(draft(f"harbour {n}", space="work" if n % 2 else "home") for n in range(20)))
    embedded(device)


def test_a_sound_vault_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        fill(device)
        found = health.examine(device)
        assert found.file_bytes == (tmp_path / DATABASE_NAME).stat().st_size
        assert (found.memories, found.spaces, found.embedded) == (20, 2, 20)
        assert (found.model, found.searched, found.trouble) == ("hash", "full", None)
        assert found.problems == []


def test_an_empty_vault_is_sound(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        assert health.examine(device).problems == []


def test_while_the_model_loads_there_is_none(tmp_path: Path) -> None:
    gate = Gate()
    with opened(tmp_path, model=gate, ready=False) as device:
        found = health.examine(device)
        assert (found.model, found.searched, found.problems) == (None, "keywords", [])
        gate.open()


def test_a_model_that_cannot_load_is_told(tmp_path: Path) -> None:
    def missing() -> Embedder:
        raise UnavailableError("The model is not there.")

    with opened(tmp_path, model=missing, ready=False) as device:
        until(lambda: device.index.state().trouble is not None)
        assert health.examine(device).trouble == "The model is not there."


def test_looking_changes_no_memory_and_no_line_of_the_log(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        fill(device)
        with device.vault.reading() as db:
            before = [db.execute(f"SELECT count(*) FROM {table}").fetchone() for table in TABLES]
        health.examine(device)
        with device.vault.reading() as db:
            after = [db.execute(f"SELECT count(*) FROM {table}").fetchone() for table in TABLES]
        assert before == after


TABLES = ("memories", "vectors", "access_log", "postings")


def test_a_changed_access_log_is_told_with_its_line(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        fill(device)
        ask(device, "harbour")
        with device.vault.writing() as db:
            db.execute("UPDATE access_log SET client = 'nobody' WHERE seq = 2")
        (problem,) = health.examine(device).problems
        assert "line 2" in problem


def test_a_keyword_index_that_lost_its_words_is_told_and_repaired(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        fill(device)
        with device.vault.writing() as db:
            device.index.lexical.clear(db)
        with device.vault.reading() as db:
            device.index.lexical.drop(range(1, 21))
        (problem,) = health.examine(device).problems
        assert "misses 20 of 20" in problem
        assert "--rebuild" in problem
        steps = list(health.rebuild(device))
        assert steps[-1] == {
            "doing": "Rebuilding the keyword index",
            "done": 20,
            "total": 20,
        }
        embedded(device)
        found = health.examine(device)
        assert (found.problems, found.embedded) == ([], 20)
        assert len(ask(device, "harbour")) == 20


def test_a_repair_that_is_broken_off_goes_on_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        fill(device)
        steps = health.rebuild(device)
        next(steps)
        steps.close()  # type: ignore[attr-defined] # a generator
        embedded(device)
        found = health.examine(device)
        assert (found.problems, found.embedded) == ([], 20)
        assert len(ask(device, "harbour")) == 20
        tell(device, "and the next write works")


def test_an_empty_vault_is_rebuilt_in_no_step(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        steps: Sequence[dict[str, Any]] = list(health.rebuild(device))
        assert steps == []


def test_a_damaged_file_is_told_instead_of_an_error(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, *(f"harbour {n} " + "x" * 3_000 for n in range(300)))
        embedded(device)
    path = tmp_path / DATABASE_NAME
    content = bytearray(path.read_bytes())
    whole = len(content) // 4096
    for page in range(whole // 3, whole // 2):
        content[page * 4096 + 100] ^= 1
    path.write_bytes(content)
    with opened(tmp_path, ready=False) as device:
        found = health.examine(device)
        assert any("HMAC" in problem for problem in found.problems)
        assert found.damage is not None
        assert "sunaiva restore" in found.damage
        assert found.memories != 0


def test_of_a_damaged_page_what_stands_on_others_is_counted_and_nothing_more_is_stored(
    tmp_path: Path,
) -> None:
    texts = [f"harbour {number} " + f"{number:>4}" * 500 for number in range(300)]
    with opened(tmp_path) as device:
        tell(device, *texts)
        embedded(device)
        device.vault.truncate_wal()
        path = device.vault.path
        clear = pages.decrypted(path, device.keys.database)
        (bad, *_) = [at for at, page in enumerate(clear) if texts[150][100:150].encode() in page]
    content = bytearray(path.read_bytes())
    content[bad * 4096 + 100] ^= 1
    path.write_bytes(content)
    with opened(tmp_path, ready=False) as device:
        found = health.examine(device)
        assert found.damage is not None
        assert found.problems == [f"HMAC verification failed for page {bad + 1}"]
        counted = re.search(r"(\d+) of 300 memories can be read", found.damage)
        assert counted is not None
        assert 290 < int(counted[1]) < 300
        with pytest.raises(CorruptError, match="sunaiva restore"):
            tell(device, "one more")
        assert health.examine(device).damage == found.damage


@pytest.mark.parametrize("number", [1, 501])
def test_a_repair_reaches_every_memory(tmp_path: Path, number: int) -> None:
    with opened(tmp_path) as device:
        tell(device, *(f"harbour {n}" for n in range(number)))
        embedded(device)
        assert list(health.rebuild(device))[-1]["done"] == number
        embedded(device)
        assert health.examine(device).embedded == number
