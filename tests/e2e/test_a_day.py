"""One day of an assistant with one person's memory, through the processes that both really use."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.computer import Device, computer
from tests.mcp.conftest import done, read
from tests.people import SUNAIVA, Person

TURNS: list[dict[str, Any]] = [
    {"speaker": "Ann", "text": "Shall we take the night train?", "at": "2026-11-20T09:00:00Z"},
    {"speaker": "assistant", "role": "assistant", "text": "It leaves at 21:40 from platform 3."},
]


async def _day(server: StdioServerParameters, log: Path, mode: str) -> None:
    with log.open("w") as errlog:
        async with Client(stdio_client(server, errlog=errlog), mode=mode) as client:
            assert (await done(client, "context"))["sections"] == []
            told = await done(
                client,
                "remember",
                memories=[
                    "The gate code is 1234",
                    {"text": "Ann prefers window seats", "kind": "preference", "pinned": True},
                ],
            )
            gate = told["stored"][0]["id"]
            found = await done(client, "recall", query="which gate code?")
            assert found["memories"][0]["text"] == "The gate code is 1234"
            learned = found["memories"][0]["when"]
            revised = await done(client, "revise", id=gate, version=1, text="The gate code is 9876")
            assert revised["supersedes"] == gate
            now = await done(client, "recall", query="gate code")
            assert [one["text"] for one in now["memories"]] == ["The gate code is 9876"]
            then = await done(client, "recall", query="gate code", as_of=learned)
            assert [one["text"] for one in then["memories"]] == ["The gate code is 1234"]
            for stored, known in ((2, 0), (0, 2)):
                captured = await done(client, "capture", conversation="train", turns=TURNS)
                assert (captured["stored"], captured["known"]) == (stored, known)
            assert "window seats" in await read(client, "memory://profile")
            preview = await done(client, "forget", ids=[revised["id"]])
            assert preview["forgotten"] == 0
            assert len(preview["preview"]) == 2
            token = preview["confirm"]
            gone = await done(client, "forget", ids=[revised["id"]], confirm=token)
            assert gone["forgotten"] == 2
            nothing = await done(client, "recall", query="gate code", as_of=learned)
            assert "gate" not in str(nothing)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_day_of_an_assistant(device: Device, tmp_path: Path, mode: str) -> None:
    person = Person(device)
    person.gets("init")
    server = StdioServerParameters(command=str(SUNAIVA), args=["mcp"], env=device.environ)
    anyio.run(_day, server, tmp_path / "mcp.log", mode)
    assert (tmp_path / "mcp.log").read_text() == ""
    exported = tmp_path / "mine.jsonl"
    assert person.gets("export", exported)["memories"] == 3
    (tmp_path / "other").mkdir()
    with computer(tmp_path / "other") as second:
        friend = Person(second)
        friend.gets("init")
        assert friend.gets("import", exported)["stored"] == 3
        friend.gets("export", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == exported.read_bytes()
    assert b"gate" not in exported.read_bytes()
