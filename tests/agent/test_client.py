"""The terminal's calls, over a real agent."""

import os
import signal
import threading

import pytest

from mcp_server import client, launch, rendezvous
from shared.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from tests.agent.conftest import Stage


def test_call_streams_what_happens_and_returns_the_result(stage: Stage) -> None:
    seen: list[int] = []
    with stage.terminal() as terminal:
        result = terminal.call("count", {"to": 3}, seen.append)

    assert (seen, result) == ([0, 1, 2], {"by": "test"})


def test_error_keeps_its_family_and_the_line_stays_open(stage: Stage) -> None:
    with stage.terminal() as terminal:
        with pytest.raises(NotFoundError, match=r"^There is no such memory\.$"):
            terminal.call("refuse", {})
        assert terminal.call("count", {"to": 0}) == {"by": "test"}


def test_call_the_agent_does_not_know_says_what_to_do(stage: Stage) -> None:
    with stage.terminal() as terminal, pytest.raises(NotFoundError, match="Update Sunaiva"):
        terminal.call("dance", {})


def test_call_that_is_too_large_is_refused_before_it_is_sent(stage: Stage) -> None:
    with stage.terminal() as terminal, pytest.raises(InvalidError, match="64 MB"):
        terminal.call("count", {"to": "x" * 64_000_000})


def test_ten_megabytes_go_through(stage: Stage) -> None:
    with (
        stage.terminal() as terminal,
        pytest.raises(UnavailableError, match="nobody foresaw"),
    ):
        terminal.call("count", {"to": "x" * 10_000_000})


def test_interrupted_terminal_ends_the_call_in_the_agent(stage: Stage) -> None:
    stage.build_gates()

    def interrupt(event: object) -> None:
        stage.wait_until_reached()
        raise KeyboardInterrupt

    with stage.terminal() as terminal, pytest.raises(KeyboardInterrupt):
        terminal.call("gated", {}, interrupt)
    with stage.terminal() as other:  # by its answer, the agent has seen that the first one left
        other.call("count", {"to": 0})
    stage.open_gate()
    client.leave(stage.settings)

    assert stage.notes() == ["closed"]


def test_agent_that_dies_in_a_call_is_said(stage: Stage) -> None:
    stage.build_gates()
    with (
        stage.terminal() as terminal,
        pytest.raises(UnavailableError, match="stopped before it answered"),
    ):
        terminal.call("gated", {}, lambda _: stage.kill_agent())


def test_nobody_runs_where_nobody_was_started(stage: Stage) -> None:
    assert client.running(stage.settings) is None
    client.leave(stage.settings)


def test_killed_agent_does_not_run(stage: Stage) -> None:
    stage.terminal().close()
    stage.kill_agent()

    assert client.running(stage.settings) is None


def test_hanging_agent_is_named(stage: Stage) -> None:
    stage.terminal().close()
    pid = stage.agent().pid
    os.kill(pid, signal.SIGSTOP)

    with pytest.raises(UnavailableError, match=f"kill {pid}"):
        rendezvous.reach(stage.home, "ping", answer_seconds=0.2)


def test_no_agent_starts_while_somebody_is_alone_with_the_vault(stage: Stage) -> None:
    stage.terminal().close()
    answered = threading.Event()

    def ask() -> None:
        stage.terminal().close()
        answered.set()

    with client.alone(stage.settings):
        waiting = threading.Thread(target=ask)
        waiting.start()
        with pytest.raises(ConflictError, match=f"Process {os.getpid()} has the vault"):
            rendezvous.take_lock(stage.home)
        assert not answered.is_set()
    waiting.join(30)

    assert answered.is_set()


def test_program_that_is_not_there_is_said(stage: Stage) -> None:
    with pytest.raises(UnavailableError, match="could not be started with /no/such/program"):
        client.connect(stage.settings, command=["/no/such/program"])


def test_last_words_of_an_agent_that_cannot_start_are_passed_on(stage: Stage) -> None:
    stage.runtime.chmod(0o755)

    with pytest.raises(
        UnavailableError, match=r"could not start: .* can be opened by other people"
    ):
        stage.terminal()
    stage.runtime.chmod(0o700)


def test_agent_is_started_by_its_own_script(stage: Stage) -> None:
    command = launch.agent_command()

    assert command[-1] == "agent"
    assert os.access(command[0], os.X_OK)
