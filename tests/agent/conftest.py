"""Real processes around a stand-in product: relays, agents, and gates where the stand-in waits for the test."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mcp_server import client, rendezvous, settings
from mcp_server.client import AgentConnection

STAND_IN = Path(__file__).with_name("stand_in.py")
RELAY = Path(__file__).with_name("stand_in_relay.py")
PATIENCE_SECONDS = 30.0  # for a machine that is busy with other things

INTRODUCTION = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"elicitation": {}},
    "clientInfo": {"name": "test", "version": "1"},
}


class Assistant:
    """An assistant at the other end of a relay's stdin and stdout, line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._read = b""
        self._next_id = 0

    def send(self, method: str, params: dict[str, Any] | None = None) -> int:
        self._next_id += 1
        self.write(
            {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params or {}}
        )
        return self._next_id

    def call(self, tool: str, **arguments: Any) -> int:
        return self.send("tools/call", {"name": tool, "arguments": arguments})

    def introduce(self) -> dict[str, Any]:
        self.send("initialize", INTRODUCTION)
        answer = self.read()
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def ping(self) -> None:
        self.send("ping")
        assert self.read()["result"] == {}

    def write(self, message: dict[str, Any] | bytes) -> None:
        assert self.process.stdin is not None
        line = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        parts = [self._read]
        while b"\n" not in parts[-1]:
            assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0], "no answer"
            chunk = os.read(descriptor, 1_000_000)
            assert chunk, "the relay closed its stdout"
            parts.append(chunk)
        line, self._read = b"".join(parts).split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def result(self) -> Any:
        """Of the next answer, a tool's."""
        return self.read()["result"]["structuredContent"]["result"]

    def stderr(self) -> bytes:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def close(self) -> list[dict[str, Any]]:
        """Closes the relay's stdin; what it still said before it ended by itself."""
        rest, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0
        return [json.loads(line) for line in (self._read + rest).splitlines()]


class Stage:
    """One vault, and the processes around it."""

    def __init__(self, home: Path, runtime: Path) -> None:
        self.settings = settings.load({"SUNAIVA_HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)})
        self.home = home
        self.runtime = self.settings.runtime_folder
        self.home.mkdir()
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        self._session = runtime
        self._gates: dict[str, int] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def command(self, role: str = "agent", version: str = "1.0.0", option: str = "") -> list[str]:
        place = [str(self.home), str(self._session)]
        product = [sys.executable, "-P", str(STAND_IN), "agent", *place, version, option]
        if role == "mcp":
            return [sys.executable, "-P", str(RELAY), str(self.home), version, *product]
        return [*product[:3], role, *product[4:]]

    def start(self, role: str, version: str = "1.0.0", option: str = "") -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command(role, version, option),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._started.append(process)
        return process

    def assistant(self, version: str = "1.0.0", option: str = "") -> Assistant:
        return Assistant(self.start("mcp", version, option))

    def terminal(self, version: str = "1.0.0", option: str = "") -> AgentConnection:
        return client.connect(
            self.settings,
            client="test",
            command=self.command("agent", version, option),
            version=version,
        )

    def agent(self) -> rendezvous.AgentInfo:
        info = client.running(self.settings)
        assert info is not None
        return info

    def agents_end(self, pid: int) -> int:
        """The exit code of an agent that a terminal of this test started."""
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def kill_agent(self) -> None:
        os.kill(self.agent().pid, signal.SIGKILL)

    def url(self) -> str:
        url = self.agent().url
        assert url is not None
        return url

    def notes(self) -> list[str]:
        path = self.home / "notes.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self) -> str:
        return (self.home / "logs" / "agent.log").read_text()

    def build_gates(self) -> None:
        for name in ("reached", "go"):
            os.mkfifo(self.home / name)
            self._gates[name] = os.open(self.home / name, os.O_RDWR)

    def wait_until_reached(self) -> None:
        gate = self._gates["reached"]
        assert select.select([gate], [], [], PATIENCE_SECONDS)[0], "nobody came to the gate"
        os.read(gate, 1)

    def open_gate(self) -> None:
        os.write(self._gates["go"], b"!")

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()
        info = rendezvous.agent_info(self.home)
        if info is not None and not rendezvous.lock_is_free(self.home):
            with suppress(ProcessLookupError):
                os.kill(info.pid, signal.SIGKILL)
            with suppress(ChildProcessError):  # only if this very process started it
                os.waitpid(info.pid, 0)
        for gate in self._gates.values():
            os.close(gate)


@pytest.fixture
def stage(device: Any) -> Iterator[Stage]:
    stage = Stage(device.home, device.runtime)
    yield stage
    stage.close()
