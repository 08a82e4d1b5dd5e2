"""The agent: one of it, for as long as it is needed, and nothing a client does ends it."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from mcp_server import client, rendezvous
from shared.errors import ForbiddenError, UnavailableError
from tests.agent.conftest import Assistant, Stage
from tests.computer import Device


def dial(stage: Stage, kind: str) -> socket.socket:
    """A bare socket to the agent, as a client that misbehaves would have it."""
    connection = rendezvous.reach(stage.home, kind)
    assert connection is not None
    return connection.channel


def finished(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit code and stderr of a process that ends by itself."""
    _, said = process.communicate(timeout=30)
    return process.returncode, said.decode()


def test_two_agents_started_at_once_are_one(stage: Stage) -> None:
    agents = [stage.start("agent") for _ in range(3)]
    stage.terminal().close()

    winner = stage.agent().pid
    losers = [process for process in agents if process.pid != winner]
    assert len(losers) >= 2
    assert {finished(process)[0] for process in losers} == {0}
    assert stage.agent().pid == winner


def test_agent_waits_for_nothing_that_a_killed_one_left_behind(stage: Stage) -> None:
    stage.terminal().close()
    dead = stage.agent()
    stage.kill_agent()
    assert Path(dead.socket).exists()

    with stage.terminal() as terminal:
        assert terminal.call("count", {"to": 0}) == {"by": "test"}
    assert stage.agent().pid != dead.pid


def test_agent_that_leaves_takes_everything_with_it(stage: Stage) -> None:
    stage.terminal().close()
    info = stage.agent()
    client.leave(stage.settings)

    assert client.running(stage.settings) is None
    assert rendezvous.lock_is_free(stage.home)
    assert not Path(info.socket).exists()
    assert not (stage.home / "agent.json").exists()
    assert (stage.home / "closed").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_a_request_to_leave(stage: Stage, number: signal.Signals) -> None:
    stage.terminal().close()
    pid = stage.agent().pid
    os.kill(pid, number)

    assert stage.agents_end(pid) == 0
    assert (stage.home / "closed").exists()


def test_idle_agent_leaves(stage: Stage) -> None:
    with stage.terminal(option="idle"):
        pid = stage.agent().pid

    assert stage.agents_end(pid) == 0


def test_only_the_person_can_open_socket_lock_and_log(stage: Stage) -> None:
    stage.terminal().close()
    info = stage.agent()

    private = [
        Path(info.socket),
        stage.home / "agent.json",
        stage.home / "agent.lock",
        stage.home / "logs" / "agent.log",
    ]
    assert [stat.S_IMODE(path.stat().st_mode) for path in private] == [0o600] * 4
    assert stat.S_IMODE(stage.runtime.stat().st_mode) == 0o700


def test_second_vault_has_its_own_agent(stage: Stage, device: Device, tmp_path: Path) -> None:
    stage.terminal().close()
    other = type(stage)(tmp_path / "other", device.runtime)
    try:
        other.terminal().close()
        assert other.agent().socket != stage.agent().socket
    finally:
        other.close()


def test_a_copied_folder_does_not_lead_to_the_agent_of_the_original(
    stage: Stage, tmp_path: Path
) -> None:
    stage.terminal().close()
    copy = shutil.copytree(stage.home, tmp_path / "copy")
    assert rendezvous.reach(copy, "ping") is None
    rendezvous.dismiss(copy)
    stage.terminal().close()


def test_agent_refuses_to_listen_where_others_can_enter(stage: Stage) -> None:
    stage.runtime.chmod(0o755)
    code, said = finished(stage.start("agent"))

    assert code == 1
    assert (
        said.strip()
        == f"{stage.runtime} can be opened by other people. Close it with: chmod 700 {stage.runtime}"
    )


def test_client_refuses_a_socket_where_others_can_enter(stage: Stage) -> None:
    stage.terminal().close()
    stage.runtime.chmod(0o755)

    with pytest.raises(ForbiddenError, match="can be opened by other people"):
        client.running(stage.settings)
    stage.runtime.chmod(0o700)


def test_write_of_an_assistant_that_left_is_finished(stage: Stage) -> None:
    stage.build_gates()
    assistant = stage.assistant()
    assistant.introduce()
    assistant.call("gated", id="written")
    stage.wait_until_reached()
    assistant.process.kill()
    stage.open_gate()

    client.leave(stage.settings)
    assert stage.notes() == ["written"]


@pytest.mark.parametrize("kind", ["mcp", "calls"])
def test_half_a_line_of_a_client_that_died_is_no_request(stage: Stage, kind: str) -> None:
    stage.terminal().close()
    with dial(stage, kind) as channel:
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "note", "arguments": {"id": "x"}},
        }
        channel.sendall(json.dumps(call).encode()[:-1])

    client.leave(stage.settings)
    assert stage.notes() == []


def test_stranger_on_the_socket_is_shown_out(stage: Stage) -> None:
    stage.terminal().close()
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(stage.agent().socket)
        channel.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert channel.recv(100) == b""

    assert stage.agent()


def test_fifty_idle_windows_hold_no_threads(stage: Stage) -> None:
    stage.terminal().close()
    status = Path(f"/proc/{stage.agent().pid}/status")
    before = int(status.read_text().split("Threads:")[1].split()[0])
    channels = [dial(stage, "mcp") for _ in range(50)]

    assert int(status.read_text().split("Threads:")[1].split()[0]) <= before + 2
    for channel in channels:
        channel.close()


def test_more_connections_than_anybody_needs_are_refused(stage: Stage) -> None:
    stage.terminal().close()
    channels = [dial(stage, "mcp") for _ in range(256)]

    with pytest.raises(UnavailableError, match="256 connections open"):
        dial(stage, "mcp")
    for channel in channels:
        channel.close()


def test_many_requests_at_once_are_all_answered(stage: Stage) -> None:
    assistant = stage.assistant()
    assistant.introduce()
    asked = [assistant.call("echo", text=str(number)) for number in range(2_000)]

    assert sorted(assistant.read()["id"] for _ in asked) == asked


def test_server_without_an_agent_serves_its_one_client(stage: Stage) -> None:
    from_file = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
    from_file += b'"clientInfo":{"name":"t","version":"1"}}}\nnonsense\n'
    from_file += b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"note","arguments":{"id":"x"}}}\n'
    process = stage.start("stdio")
    answers, _ = process.communicate(from_file, timeout=30)

    codes = [
        answer.get("error", {}).get("code") for answer in map(json.loads, answers.splitlines())
    ]
    assert (process.returncode, codes) == (0, [None, -32700, None])
    assert stage.notes() == ["x"]


def test_server_without_an_agent_does_not_share_the_vault(stage: Stage) -> None:
    stage.terminal().close()
    code, said = finished(stage.start("stdio"))

    assert code == 1
    assert "The memory agent of this vault is running." in said.splitlines()[-1]


def test_agent_does_not_share_the_vault_with_a_server_of_its_own(stage: Stage) -> None:
    process = stage.start("stdio")
    Assistant(process).ping()
    code, said = finished(stage.start("agent"))

    assert code == 1
    assert said.startswith(f"Process {process.pid} has the vault in {stage.home} open.")


def test_server_without_an_agent_ends_at_a_signal(stage: Stage) -> None:
    process = stage.start("stdio")
    Assistant(process).ping()
    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0
    assert (stage.home / "closed").exists()


def test_log_never_quotes_a_memory(stage: Stage) -> None:
    with (
        stage.terminal() as terminal,
        pytest.raises(UnavailableError, match="nobody foresaw"),
    ):
        terminal.call("fail", {"text": "the text of a memory"})

    assert "in fail" in stage.log()
    assert "the text of a memory" not in stage.log().replace(
        'raise ValueError("the text of a memory")', ""
    )


def test_log_quotes_no_memory_of_a_thread_that_fails(stage: Stage) -> None:
    with stage.terminal() as terminal:
        terminal.call("fail_apart", {"text": "the text of a memory"})

    assert "in fail" in stage.log()
    assert "ValueError" in stage.log()
    assert "the text of a memory" not in stage.log()


def test_log_starts_anew_when_it_is_long(stage: Stage) -> None:
    (stage.home / "logs").mkdir()
    (stage.home / "logs" / "agent.log").write_bytes(b"x" * 1_000_001)
    stage.terminal().close()

    assert len(stage.log()) < 1_000
    assert (stage.home / "logs" / "agent.log.1").stat().st_size == 1_000_001


def test_hung_request_does_not_keep_a_leaving_agent(stage: Stage) -> None:
    stage.build_gates()
    stage.terminal(option="hasty").close()
    pid = stage.agent().pid
    assistant = stage.assistant()
    assistant.introduce()
    assistant.call("gated", id="never")
    stage.wait_until_reached()
    assistant.process.kill()
    os.kill(pid, signal.SIGTERM)

    assert stage.agents_end(pid) == 1
    assert rendezvous.lock_is_free(stage.home)
