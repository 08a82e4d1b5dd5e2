"""What an assistant may do is decided by the name it gives itself, space by space."""

import pytest
from mcp.shared.exceptions import MCPError

from mcp_server.device import Device
from mcp_server.memory import Changes, revise
from mcp_server.permissions import permit
from tests.builders import draft, new_id, tell
from tests.mcp.conftest import Connect, done, read, refused

pytestmark = pytest.mark.anyio


async def test_without_a_rule_everything_is_allowed(connect: Connect, mine: Device) -> None:
    tell(mine, draft("tea", space="work"))
    async with connect("anybody") as client:
        assert len((await done(client, "recall", query="tea"))["memories"]) == 1
        await done(client, "remember", memories=["more"], space="work")


async def test_a_closed_space_is_neither_read_nor_written_nor_named(
    connect: Connect, mine: Device
) -> None:
    secret, _ = tell(mine, draft("tea with the doctor", space="health"), "tea with Ann")
    permit(mine, "nosy", "health", "none", by="terminal")
    async with connect("nosy") as client:
        found = await done(client, "recall", query="tea")
        assert [one["text"] for one in found["memories"]] == ["tea with Ann"]
        listed = await done(client, "browse")
        assert [one["text"] for one in listed["memories"]] == ["tea with Ann"]
        for tool, arguments in (
            ("recall", {"query": "tea", "space": "health"}),
            ("browse", {"space": "health"}),
            ("context", {"space": "health"}),
            ("remember", {"memories": ["x"], "space": "health"}),
            ("capture", {"conversation": "c", "turns": [{"speaker": "a", "text": "b"}], "space": "health"}),
            ("revise", {"id": secret.id, "version": 1, "pinned": True}),
            ("forget", {"ids": [secret.id]}),
        ):  # fmt: skip
            sentence = await refused(client, tool, **arguments)
            access = "read" if tool in ("recall", "browse", "context") else "write"
            assert f"sunaiva permit 'nosy' 'health' {access}" in sentence
            assert "doctor" not in sentence
        with pytest.raises(MCPError) as hidden:
            await client.read_resource(f"memory://{secret.id}")
        never_was = new_id()
        with pytest.raises(MCPError) as absent:
            await client.read_resource(f"memory://{never_was}")
        assert str(hidden.value).replace(secret.id, never_was) == str(absent.value)
        for uri in ("memory://recent", "memory://profile", "memory://spaces"):
            text = await read(client, uri)
            assert "doctor" not in text
            assert "health" not in text
    async with connect("trusted") as client:
        assert len((await done(client, "recall", query="tea"))["memories"]) == 2


async def test_a_reader_changes_nothing(connect: Connect, mine: Device) -> None:
    tell(mine, "Ann's favourite tea is oolong")
    (stored,) = tell(mine, "Ann's favourite tea is sencha")
    permit(mine, "reader", "*", "read", by="terminal")
    async with connect("reader") as client:
        assert len((await done(client, "recall", query="tea"))["memories"]) == 2
        (finding,) = (await done(client, "resolve"))["findings"]
        for tool, arguments in (
            ("remember", {"memories": ["x"]}),
            ("revise", {"id": stored.id, "version": 1, "archived": True}),
            ("forget", {"ids": [stored.id]}),
            ("resolve", {"id": finding["id"], "decision": "keep_first"}),
        ):
            assert "may not write to 'personal'" in await refused(client, tool, **arguments)
        assert len((await done(client, "recall", query="tea"))["memories"]) == 2


async def test_nothing_moves_into_a_space_that_is_only_read(connect: Connect, mine: Device) -> None:
    (stored,) = tell(mine, "tea")
    permit(mine, "mover", "work", "read", by="terminal")
    async with connect("mover") as client:
        sentence = await refused(client, "revise", id=stored.id, version=1, space="work")
        assert "may not write to 'work'" in sentence


async def test_a_rule_of_one_space_goes_before_the_rule_for_all(
    connect: Connect, mine: Device
) -> None:
    tell(mine, draft("tea at work", space="work"), "tea at home")
    permit(mine, "guest", "*", "none", by="terminal")
    async with connect("guest") as client:
        assert "may not read anything" in await refused(client, "recall", query="tea")
        permit(mine, "guest", "work", "write", by="terminal")
        found = await done(client, "recall", query="tea")
        assert [one["text"] for one in found["memories"]] == ["tea at work"]
        await done(client, "remember", memories=["more tea"], space="work")
        assert "may not write" in await refused(client, "remember", memories=["more tea"])


async def test_a_refusal_quotes_nothing_of_a_space_that_is_shut(
    connect: Connect, mine: Device
) -> None:
    (stored,) = tell(mine, draft("see the doctor", space="work"))
    moved = Changes(text="the diagnosis is private", space="private")
    revise(mine, stored.id, 1, moved, client="terminal")
    permit(mine, "guest", "private", "none", by="terminal")
    async with connect("guest") as client:
        sentence = await refused(client, "revise", id=stored.id, version=1, text="x")
    assert "may not" in sentence
    assert "diagnosis" not in sentence
