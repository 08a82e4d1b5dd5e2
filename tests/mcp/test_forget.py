"""Forgetting through an assistant: the person is asked where the client can ask, a token is needed where it cannot."""

from typing import Any, Literal

import pytest
from mcp.client import ClientRequestContext
from mcp.types import ElicitRequestParams, ElicitResult

from mcp_server.device import Device
from mcp_server.memory import Changes, revise
from tests.builders import draft, tell
from tests.mcp.conftest import Connect, done, refused, said

pytestmark = pytest.mark.anyio


class Asked:
    """A person in front of a client that can ask."""

    def __init__(
        self, action: Literal["accept", "decline", "cancel"], forget: bool | None = None
    ) -> None:
        self.questions: list[str] = []
        self._answer = ElicitResult(
            action=action, content=None if forget is None else {"forget": forget}
        )

    async def __call__(
        self, context: ClientRequestContext, params: ElicitRequestParams
    ) -> ElicitResult:
        self.questions.append(params.message)
        return self._answer


async def _left(client: Any) -> list[str]:
    return [one["text"] for one in (await done(client, "browse"))["memories"]]


async def test_a_person_who_agrees_is_asked_once_and_it_is_gone(
    connect: Connect, mine: Device
) -> None:
    stored, _ = tell(mine, "The combination is 4711", "Water the ferns")
    person = Asked("accept", forget=True)
    async with connect(elicitation_callback=person) as client:
        assert await done(client, "forget", ids=[stored.id]) == {"forgotten": 1}
        assert await _left(client) == ["Water the ferns"]
    assert len(person.questions) == 1
    assert "Forget 1 memories for good?" in person.questions[0]
    assert "The combination is 4711" in person.questions[0]


@pytest.mark.parametrize(
    ("action", "forget"),
    [("decline", None), ("cancel", None), ("accept", False)],
    ids=["declines", "closes the question", "says no"],
)
async def test_a_person_who_does_not_agree_keeps_everything(
    connect: Connect, mine: Device, action: Any, forget: bool | None
) -> None:
    (stored,) = tell(mine, "The combination is 4711")
    async with connect(elicitation_callback=Asked(action, forget)) as client:
        result = await client.call_tool("forget", {"ids": [stored.id]})
        assert said(result) == "The person declined. Nothing was forgotten."
        assert result.structured_content == {"forgotten": 0}
        assert await _left(client) == ["The combination is 4711"]


async def test_a_yes_does_not_reach_what_was_stored_while_the_person_read(
    connect: Connect, mine: Device
) -> None:
    tell(mine, draft("Shown", space="old"))

    class Reads(Asked):
        async def __call__(
            self, context: ClientRequestContext, params: ElicitRequestParams
        ) -> ElicitResult:
            if not self.questions:
                tell(mine, draft("Stored meanwhile", space="old"))
            return await super().__call__(context, params)

    person = Reads("accept", forget=True)
    async with connect(elicitation_callback=person) as client:
        result = await client.call_tool("forget", {"space": "old"})
        left = await _left(client)
    if result.is_error:
        assert sorted(left) == ["Shown", "Stored meanwhile"]
    else:  # without sessions the question is put again, with the new memory in it
        assert "Stored meanwhile" in person.questions[-1]


async def test_without_a_way_to_ask_a_preview_comes_first(connect: Connect, mine: Device) -> None:
    stored, _ = tell(mine, "The combination is 4711", "Water the ferns")
    async with connect() as client:
        preview = await done(client, "forget", ids=[stored.id])
        assert preview["forgotten"] == 0
        assert len(preview["preview"]) == 1
        assert "The combination is 4711" in preview["preview"][0]
        assert len(await _left(client)) == 2
        answer = await done(client, "forget", ids=[stored.id], confirm=preview["confirm"])
        assert answer == {"forgotten": 1}
        assert await _left(client) == ["Water the ferns"]


async def test_forgetting_what_is_gone_is_no_error(connect: Connect, mine: Device) -> None:
    (stored,) = tell(mine, "The combination is 4711")
    async with connect() as client:
        preview = await done(client, "forget", ids=[stored.id])
        for forgotten in (1, 0):
            answer = await done(client, "forget", ids=[stored.id], confirm=preview["confirm"])
            assert answer == {"forgotten": forgotten}


async def test_a_token_is_for_these_memories_only(connect: Connect, mine: Device) -> None:
    one, two = tell(mine, "One", "Two")
    async with connect() as client:
        token = (await done(client, "forget", ids=[one.id]))["confirm"]
        for arguments in ({"ids": [two.id]}, {"ids": [one.id, two.id]}, {"space": "personal"}):
            sentence = await refused(client, "forget", **arguments, confirm=token)
            assert "not for these memories" in sentence
        revise(mine, one.id, 1, Changes(tags=("changed",)), client="somebody else")
        assert "as they are now" in await refused(client, "forget", ids=[one.id], confirm=token)
        assert "not for these" in await refused(client, "forget", ids=[one.id], confirm="yes")
        assert len(await _left(client)) == 2


async def test_a_token_is_enough_also_where_the_person_could_be_asked(
    connect: Connect, mine: Device
) -> None:
    (stored,) = tell(mine, "The combination is 4711")
    async with connect() as client:
        token = (await done(client, "forget", ids=[stored.id]))["confirm"]
    person = Asked("decline")
    async with connect(elicitation_callback=person) as client:
        assert await done(client, "forget", ids=[stored.id], confirm=token) == {"forgotten": 1}
    assert person.questions == []


async def test_a_conversation_or_a_space_goes_as_a_whole(connect: Connect, mine: Device) -> None:
    tell(
        mine,
        draft("hello", kind="turn", conversation="c1"),
        draft("goodbye", kind="turn", conversation="c1"),
        draft("plan", space="work"),
        "Water the ferns",
    )
    async with connect() as client:
        for chosen, number in (({"conversation": "c1"}, 2), ({"space": "work"}, 1)):
            preview = await done(client, "forget", **chosen)
            assert len(preview["preview"]) == number
            answer = await done(client, "forget", **chosen, confirm=preview["confirm"])
            assert answer == {"forgotten": number}
        assert await _left(client) == ["Water the ferns"]


async def test_a_long_preview_is_cut_and_says_so(connect: Connect, mine: Device) -> None:
    tell(mine, *(f"note {number}" for number in range(25)))
    async with connect() as client:
        preview = (await done(client, "forget", space="personal"))["preview"]
        assert len(preview) == 21
        assert preview[-1] == "… and 5 more"
