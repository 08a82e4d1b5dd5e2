"""Four assistants that write at once on a device that syncs, while a backup is made and its key is changed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from sync_service.sealed import frames
from tests.e2e.test_sync import everything, pairs, people, syncs
from tests.people import SUNAIVA, Person

ASSISTANTS = 4
NOTES = 6
NOTES_MAX = 48
"""If the commands take long; a list shows no more than 200."""
PAUSE_SECONDS = 0.3


class Assistants:
    """Each a process of its own over stdio. `stored` is what they were told is stored."""

    def __init__(self, person: Person, folder: Path) -> None:
        self.person = person
        self.folder = folder
        self.stored: set[str] = set()
        self.refusals: list[str] = []
        self.done: dict[str, Any] = {}
        self.begun = anyio.Event()
        self.over = anyio.Event()

    async def work(self) -> None:
        async with anyio.create_task_group() as group:
            for number in range(ASSISTANTS):
                group.start_soon(self._talk, number)
            await self.begun.wait()
            await anyio.to_thread.run_sync(self._commands)
            self.over.set()

    def _commands(self) -> None:
        """What somebody does in a terminal meanwhile."""
        self.person.gets("backup", self.folder / "backup")
        self.done = self.person.gets("rekey")

    async def _talk(self, number: int) -> None:
        server = StdioServerParameters(
            command=str(SUNAIVA), args=["mcp"], env=self.person.device.environ
        )
        with (self.folder / f"mcp-{number}.log").open("w") as errlog:
            async with Client(stdio_client(server, errlog=errlog)) as client:
                each = 0
                while each < NOTES or (not self.over.is_set() and each < NOTES_MAX):
                    await self._remember(client, f"assistant {number} noted fact {each}")
                    each += 1
                    with anyio.move_on_after(PAUSE_SECONDS):
                        await self.over.wait()

    async def _remember(self, client: Client, text: str) -> None:
        """What was refused is tried again, as an assistant would."""
        while True:
            result = await client.call_tool("remember", {"memories": [text]})
            if not result.is_error:
                self.stored.add(text)
                if len(self.stored) >= ASSISTANTS:
                    self.begun.set()
                return
            self.refusals.append(str(result.content))


def test_nothing_that_assistants_stored_side_by_side_is_missing_elsewhere(tmp_path: Path) -> None:
    shared = tmp_path / "stick"
    shared.mkdir()
    with people(tmp_path, 2) as (a, b):
        with ThreadPoolExecutor() as pool:
            typed, _ = pool.map(lambda who: who.gets("init")["recovery_words"].encode(), (a, b))
        a.gets("sync", "folder", shared, "--words-file", "-", stdin=typed)
        b.gets("sync", "folder", shared)
        pairs(a, b, "phone")
        assistants = Assistants(a, tmp_path)
        anyio.run(assistants.work)
        assert assistants.done["recovery_words"].encode() != typed
        assert len(assistants.stored) >= ASSISTANTS * NOTES
        syncs(a, b)
        assert {one["text"] for one in _all(b)} == assistants.stored
        assert everything(a) == everything(b)
        for person in (a, b):
            status = person.asks("sync_status")
            assert (status["alarms"], status["held"]) == ([], 0)
            assert (status["to_send"], status["batches_to_send"]) == (0, 0)
            assert person.gets("doctor")["problems"] == []
        said = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
        assert "locked" not in said + "".join(assistants.refusals)
    for stream in (shared / "sunaiva").glob("*/streams/*"):
        _follows_without_a_gap(stream)


def _all(person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.asks("list", limit=200)["memories"]
    return found


def _follows_without_a_gap(stream: Path) -> None:
    before = frames.NO_HASH
    sent = [
        frame
        for path in sorted(stream.glob("*.batches"))
        for frame in frames.split(path.read_bytes(), most=1_000)
    ]
    assert [frame.header.seq for frame in sent] == list(range(1, len(sent) + 1))
    for frame in sent:
        assert frame.header.prev_hash == before
        before = frame.hash
