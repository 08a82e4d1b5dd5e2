"""What a relay knows of a session, against every order of requests, answers and deaths."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.retelling import KEPT_BYTES_MAX, Retelling


def line(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


def told(line: bytes | None) -> dict[str, Any]:
    assert line is not None
    message: dict[str, Any] = json.loads(line)
    return message


def ids(lines: list[bytes]) -> list[int]:
    return [json.loads(each)["id"] for each in lines]


INITIALIZE = line(id="hello", method="initialize", params={"clientInfo": {"name": "ä"}})
INITIALIZED = line(method="notifications/initialized")
STEPS = st.lists(st.sampled_from(["ask", "answer", "cancel", "die", "give up"]), max_size=60)


@given(STEPS, st.randoms(use_true_random=False))
def test_every_request_is_answered_once_or_cancelled(steps: list[str], random: Random) -> None:
    """Requests an agent has not answered when it dies are exactly those the next one hears."""
    retelling, at_agent, asked, cancelled, answered = Retelling(), [], 0, [], []
    for step in steps:
        if step == "ask":
            asked += 1
            retelling.from_assistant(line(id=asked, method="tools/call"))
            at_agent.append(asked)
        elif step == "give up":
            answered += ids(retelling.give_up("No."))
            at_agent = []
        elif step == "die":
            assert retelling.agent_gone() == []
            assert ids(retelling.retell()) == at_agent
        elif at_agent:
            chosen = at_agent.pop(random.randrange(len(at_agent)))
            if step == "answer":
                answered.append(told(retelling.from_agent(line(id=chosen, result={})))["id"])
            else:
                retelling.from_assistant(
                    line(method="notifications/cancelled", params={"requestId": chosen})
                )
                cancelled.append(chosen)

    assert sorted(answered + cancelled + at_agent) == list(range(1, asked + 1))
    assert retelling.open == bool(at_agent)


def test_next_agent_is_introduced_silently() -> None:
    retelling = Retelling()
    retelling.from_assistant(INITIALIZE)
    retelling.from_agent(line(id="hello", result={}))
    retelling.from_assistant(INITIALIZED)
    retelling.from_assistant(line(id=1, method="tools/list"))

    introduction, *rest = retelling.retell()
    assert json.loads(introduction)["params"] == json.loads(INITIALIZE)["params"]
    assert rest == [INITIALIZED, line(id=1, method="tools/list")]
    assert retelling.from_agent(line(id=json.loads(introduction)["id"], result={})) is None


def test_introduction_that_was_not_answered_is_repeated_as_it_was() -> None:
    retelling = Retelling()
    retelling.from_assistant(INITIALIZE)

    assert retelling.retell() == [INITIALIZE]
    assert retelling.from_agent(line(id="hello", result={})) == line(id="hello", result={})


def test_answer_to_a_question_finds_the_agent_that_asked_and_no_other() -> None:
    retelling = Retelling()
    retelling.retell()
    first = told(retelling.from_agent(line(id=1, method="elicitation/create")))
    gone = retelling.agent_gone()
    retelling.retell()
    second = told(retelling.from_agent(line(id=1, method="elicitation/create")))

    assert [json.loads(each)["params"]["requestId"] for each in gone] == [first["id"]]
    assert retelling.from_assistant(line(id=first["id"], result={"action": "accept"})) is None
    answer = told(retelling.from_assistant(line(id=second["id"], result={"action": "decline"})))
    assert (answer["id"], answer["result"]) == (1, {"action": "decline"})
    assert retelling.from_assistant(line(id=second["id"], result={"action": "accept"})) is None


def test_agent_that_withdraws_its_question_names_it_as_the_assistant_knows_it() -> None:
    retelling = Retelling()
    question = told(retelling.from_agent(line(id=1, method="elicitation/create")))
    withdrawn = line(method="notifications/cancelled", params={"requestId": 1})

    assert told(retelling.from_agent(withdrawn))["params"]["requestId"] == question["id"]
    assert retelling.from_agent(withdrawn) == withdrawn


def test_endless_request_is_repeated_and_not_awaited() -> None:
    retelling = Retelling()
    listen = line(id=1, method="subscriptions/listen")
    retelling.from_assistant(listen)

    assert (retelling.open, retelling.awaited) == (True, False)
    assert retelling.retell() == [listen]


def test_request_too_large_to_keep_is_said_to_be_lost() -> None:
    retelling = Retelling()
    small = line(id=1, method="tools/call")
    retelling.from_assistant(small)
    retelling.from_assistant(line(id=2, method="tools/call", params={"text": "x" * KEPT_BYTES_MAX}))

    (lost,) = retelling.agent_gone()
    assert "too large to keep" in json.loads(lost)["error"]["message"]
    assert json.loads(lost)["id"] == 2
    assert retelling.retell() == [small]


@pytest.mark.parametrize(
    "odd",
    [
        b"nonsense",
        b"[1]",
        b'"a"',
        b"\xff",
        b"[" * 100_000,
        b'{"id": 5}',
        b'{"id": [1], "method": "x"}',
    ],
)
def test_what_is_no_request_is_left_to_the_agent(odd: bytes) -> None:
    retelling = Retelling()

    assert retelling.from_assistant(odd) == odd
    assert not retelling.open
