"""Agents that are killed while they seal, send and take in: nothing that was stored is lost, on either side."""

import os
import signal
from pathlib import Path

from mcp_server import client
from mcp_server.settings import load
from tests.e2e.test_sync import everything, pairs, people, syncs
from tests.people import Person

KILLS = 3


def killed(person: Person) -> None:
    given = {
        name: value for name, value in person.device.environ.items() if name.startswith("SUNAIVA")
    }
    info = client.running(load(given | {"XDG_RUNTIME_DIR": str(person.device.runtime)}))
    assert info is not None
    os.kill(info.pid, signal.SIGKILL)


def test_what_was_stored_outlives_its_agent_and_reaches_the_others(tmp_path: Path) -> None:
    shared = tmp_path / "stick"
    shared.mkdir()
    with people(tmp_path, 2) as (a, b):
        typed = a.gets("init")["recovery_words"].encode()
        b.gets("init")
        a.gets("sync", "folder", shared, "--words-file", "-", stdin=typed)
        b.gets("sync", "folder", shared)
        pairs(a, b, "phone")
        stored = set()
        for number in range(KILLS):
            stored |= {a.stores(f"a {number} {each}") for each in range(5)}
            stored |= {b.stores(f"b {number} {each}") for each in range(5)}
            killed(a if number % 2 else b)
        for _ in range(3):
            syncs(a, b)
        assert everything(a).keys() == everything(b).keys() == stored
        assert everything(a) == everything(b)
        for person in (a, b):
            status = person.asks("sync_status")
            assert status["alarms"] == []
            assert (status["to_send"], status["batches_to_send"]) == (0, 0)
