"""`sunaiva mcp` as an assistant meets it: a process that answers, whatever happens to the agent behind it."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from mcp_server import client
from tests.agent.conftest import Stage


def test_four_assistants_talk_to_one_agent_at_once(stage: Stage) -> None:
    assistants = [stage.assistant() for _ in range(4)]

    def session(number: int) -> list[int]:
        assistant = assistants[number]
        assistant.introduce()
        for note in range(25):
            assistant.call("note", id=f"{number}-{note}")
        return [assistant.read()["id"] for _ in range(25)]

    with ThreadPoolExecutor(4) as pool:
        answered = list(pool.map(session, range(4)))

    assert [sorted(ids) for ids in answered] == [list(range(2, 27))] * 4
    assert sorted(stage.notes()) == sorted(
        f"{number}-{note}" for number in range(4) for note in range(25)
    )
    assert stage.log().count("an agent already has this vault") == 0


def test_agent_killed_between_requests_is_not_noticed(stage: Stage) -> None:
    assistant = stage.assistant()
    assistant.introduce()
    assistant.call("note", id="before")
    assert assistant.result() == 1

    stage.kill_agent()
    assistant.call("note", id="after")

    assert assistant.result() == 2
    assert stage.notes() == ["before", "after"]


def test_agent_killed_in_the_middle_of_requests_answers_each_once(stage: Stage) -> None:
    stage.build_gates()
    assistant = stage.assistant()
    assistant.introduce()
    gated = assistant.call("gated", id="gated")
    stage.wait_until_reached()

    stage.kill_agent()
    stage.wait_until_reached()  # the next agent was asked again
    stage.open_gate()

    assert assistant.read()["id"] == gated
    assert stage.notes() == ["gated"]
    assert assistant.close() == []


def test_request_that_kills_every_agent_gets_an_error_and_the_session_goes_on(stage: Stage) -> None:
    assistant = stage.assistant()
    assistant.introduce()
    assistant.call("die")

    answer = assistant.read()
    assert "stopped 6 times within a minute" in answer["error"]["message"]

    assistant.call("echo", text="still here")
    assert assistant.result() == "still here"


def test_question_of_a_dead_agent_is_withdrawn_and_its_answer_meets_nobody(stage: Stage) -> None:
    assistant = stage.assistant()
    assistant.introduce()
    asked = assistant.call("ask", question="Forget this?")
    first = assistant.read()
    assert first["params"]["message"] == "Forget this?"

    stage.kill_agent()
    withdrawn, second = assistant.read(), assistant.read()
    assistant.write({"jsonrpc": "2.0", "id": first["id"], "result": {"action": "decline"}})
    yes = {"action": "accept", "content": {"sure": True}}
    assistant.write({"jsonrpc": "2.0", "id": second["id"], "result": yes})

    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"] == {"requestId": first["id"]}
    answer = assistant.read()
    assert answer["id"] == asked
    assert answer["result"]["structuredContent"] == {"result": "accept sure=True"}


def test_older_agent_is_replaced(stage: Stage) -> None:
    old = stage.assistant("1.9.0")
    old.introduce()
    new = stage.assistant("1.10.0")
    new.introduce()

    assert stage.agent().version == "1.10.0"
    old.call("echo", text="the old window goes on")
    assert old.result() == "the old window goes on"
    assert (stage.home / "closed").exists()


def test_newer_agent_is_used_as_it_is(stage: Stage) -> None:
    stage.assistant("2.0.0").introduce()
    before = stage.agent()

    assert stage.assistant("1.0.0").introduce()["result"]["serverInfo"]["version"] == "2.0.0"
    assert stage.agent() == before


def test_replaced_agent_first_answers_what_it_was_asked(stage: Stage) -> None:
    stage.build_gates()
    old = stage.assistant("1.0.0")
    old.introduce()
    old.call("gated", id="gated")
    stage.wait_until_reached()

    new = stage.assistant("1.1.0")
    new.send("tools/list")
    stage.open_gate()

    assert old.result() == 1
    new.read()
    assert stage.agent().version == "1.1.0"
    assert stage.notes() == ["gated"]


def test_message_of_ten_megabytes_comes_back_whole(stage: Stage) -> None:
    text = "ä€𝄞\\n" * 1_500_000
    assistant = stage.assistant()
    assistant.introduce()
    assistant.call("echo", text=text)

    assert assistant.result() == text


MALFORMED: dict[bytes, tuple[int, str | int | None]] = {
    b'{"jsonrpc": "2.0", "id": 1, "meth\n': (-32700, None),
    b"\xff\xfe\x00\n": (-32700, None),
    b"[" * 100_000 + b"\n": (-32700, None),
    b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]\n': (-32600, None),
    b'{"jsonrpc": "2.0", "id": 7, "method": 5}\n': (-32600, 7),
    b'{"jsonrpc": "1.0", "id": "a", "method": "ping"}\n': (-32600, "a"),
    b'{"jsonrpc": "2.0", "id": 8, "method": "x", "params": {"id": 5, "a": %s}}\n'
    % (b"[" * 50_000 + b"]" * 50_000): (-32700, 8),
    b'{"params": {"id": 5, "a": %s}, "method": "x", "jsonrpc": "2.0", "id": "b"}\n'
    % (b"[" * 50_000 + b"]" * 50_000): (-32700, "b"),
    b'{"jsonrpc": "2.0", "id": 9, "method": "x", "params": {"a": %s}}\n' % (b"7" * 5_000): (
        -32700,
        9,
    ),
    b'{"jsonrpc": "2.0", "id": 10, "result": {"a": %s}}\n' % (b"[" * 50_000 + b"]" * 50_000): (
        -32700,
        None,
    ),
}


def test_malformed_lines_are_answered_and_the_session_goes_on(stage: Stage) -> None:
    assistant = stage.assistant()
    assistant.introduce()
    for line, (code, answered) in MALFORMED.items():
        assistant.write(line)
        answer = assistant.read()
        assert (answer["error"]["code"], answer["id"]) == (code, answered), line[:60]

    assistant.call("echo", text="still here")
    assert assistant.result() == "still here"


@pytest.mark.parametrize("text", [b"a\xffb", rb"a\ud83db"], ids=["bytes", "lone surrogate"])
def test_broken_text_is_refused_to_whoever_waits_for_the_answer(stage: Stage, text: bytes) -> None:
    assistant = stage.assistant()
    assistant.introduce()
    call = b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"echo","arguments":{"text":"%s"}}}\n'
    assistant.write(call % text)

    answer = assistant.read()
    assert (answer["id"], answer["error"]["code"]) == (9, -32700)
    assert "UTF-8" in answer["error"]["message"]


def test_closed_stdin_still_gets_its_answers(stage: Stage) -> None:
    stage.build_gates()
    assistant = stage.assistant()
    assistant.introduce()
    asked = [assistant.call("gated", id="slow"), assistant.call("echo", text="fast")]
    stage.wait_until_reached()
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(assistant.close)
        stage.open_gate()

    assert sorted(answer["id"] for answer in said.result()) == asked


def test_agent_killed_after_stdin_closed_still_answers(stage: Stage) -> None:
    stage.build_gates()
    assistant = stage.assistant()
    assistant.introduce()
    asked = assistant.call("gated", id="slow")
    stage.wait_until_reached()
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(assistant.close)
        stage.kill_agent()
        stage.wait_until_reached()
        stage.open_gate()

    assert [answer["id"] for answer in said.result()] == [asked]


def test_last_line_without_its_end_is_heard(stage: Stage) -> None:
    assistant = stage.assistant()
    assistant.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode())

    assert assistant.close() == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


def test_assistant_that_says_nothing_starts_no_agent(stage: Stage) -> None:
    assert stage.assistant().close() == []
    assert not (stage.home / "agent.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_relay_ends_at_a_signal_and_the_agent_stays(stage: Stage, number: signal.Signals) -> None:
    assistant = stage.assistant()
    assistant.introduce()
    before = stage.agent()
    assistant.process.send_signal(number)

    assert assistant.process.wait(30) == (0 if number == signal.SIGTERM else 130)
    assert assistant.stderr() == b""
    assert stage.agent() == before


def test_relay_ends_when_nobody_reads_it_any_more(stage: Stage) -> None:
    assistant = stage.assistant()
    assistant.introduce()
    assert assistant.process.stdout is not None
    assistant.process.stdout.close()
    assistant.call("echo", text="to nobody")

    assert assistant.process.wait(30) == 0
    assert assistant.stderr() == b""


def test_agent_outlives_the_terminal_session_of_the_window_that_started_it(stage: Stage) -> None:
    assistant = stage.assistant()
    assistant.introduce()

    pid = stage.agent().pid
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")


def test_why_the_agent_cannot_start_is_said_on_each_request(stage: Stage) -> None:
    (stage.home / "agent.lock").mkdir()
    assistant = stage.assistant()
    for _ in range(2):
        assistant.send("ping")
        assert "cannot be used: Is a directory" in assistant.read()["error"]["message"]

    (stage.home / "agent.lock").rmdir()
    assistant.send("ping")
    assert assistant.read()["result"] == {}


def test_vault_that_cannot_be_opened_is_said_and_opened_later(stage: Stage) -> None:
    locked = stage.assistant(option="locked")
    locked.send("initialize", {})

    assert locked.read()["error"]["message"] == "The passphrase is wrong."
    client.leave(stage.settings)
    assert stage.assistant().introduce()["result"]["serverInfo"]["name"] == "stand-in"


def test_agent_that_dies_while_it_starts_is_not_started_forever(stage: Stage) -> None:
    assistant = stage.assistant(option="dies")
    assistant.send("ping")

    assert "does not answer" in assistant.read()["error"]["message"]


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_real_client_of_either_era_survives_the_agent(stage: Stage, mode: Any) -> None:
    role, *arguments = stage.command("mcp")
    server = StdioServerParameters(command=role, args=arguments)

    async def session() -> Any:
        async with Client(server, mode=mode) as assistant:
            await assistant.call_tool("note", {"id": "before"})
            stage.kill_agent()
            await assistant.call_tool("note", {"id": "before"})
            return await assistant.call_tool("note", {"id": "after"})

    assert anyio.run(session).structured_content == {"result": 2}
    assert stage.notes() == ["before", "after"]


def test_relay_is_small(stage: Stage) -> None:
    assistant = stage.assistant()
    assistant.introduce()
    status = Path(f"/proc/{assistant.process.pid}/status").read_text()
    resident_kb = int(status.split("VmRSS:")[1].split()[0])

    assert resident_kb <= 15_000
