"""`sunaiva mcp`: carries one assistant's messages to the agent and back. One runs per window, so it is small.

Standard library only. When the agent dies or is replaced, the relay introduces the assistant to the next one and
repeats the requests that wait for an answer; every tool can be repeated. No request is lost silently: each gets its
answer, or an error that says why not.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from mcp_server import launch
from mcp_server.home import refuse_unknown
from mcp_server.rendezvous import LINE_BYTES_MAX
from mcp_server.retelling import Retelling, no_answer
from mcp_server.version import __version__
from shared.errors import SunaivaError

_STDIN = 0
_STDOUT = 1
_CHUNK_BYTES = 65_536
_BUFFER_BYTES_MAX = 1_000_000  # then the reading side waits until the other one has taken something
_DRAIN_SECONDS = 10.0  # an assistant that closed our stdin still reads for some seconds at most
_TOO_LONG = f"One message may have {LINE_BYTES_MAX // 1_000_000} MB. Send several smaller ones."
_RESTARTS_MAX = 5
_RESTART_WINDOW_SECONDS = 60.0
_BACKOFF_SECONDS = 0.1  # doubled with each restart in the window


def main(home: Path, *, command: Sequence[str] | None = None, version: str = __version__) -> int:
    """Relays until stdin ends and what was asked is answered; the exit code of the process."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        _Relay(home, launch.agent_command() if command is None else command, version).run()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads us any more
        return 0
    return 0


class _Relay:
    """Both directions in one thread, by poll: neither side can block the other."""

    def __init__(self, home: Path, command: Sequence[str], version: str) -> None:
        self._home = home
        self._command = command
        self._version = version
        self._retelling = Retelling()
        self._agent: socket.socket | None = None
        self._trouble = ""
        self._deaths: list[float] = []
        self._deadline: float | None = None  # set when stdin has ended
        self._half_closed = False
        self._skipping = False
        self._heard = bytearray()
        self._read = bytearray()
        self._to_agent = bytearray()
        self._to_assistant = bytearray()

    def run(self) -> None:
        while not self._finished():
            for ready, events in self._poll():
                self._move(ready, events)
            self._half_close()

    def _finished(self) -> bool:
        if self._deadline is None:
            return False
        answered = self._agent is None and not self._to_assistant
        return answered or time.monotonic() > self._deadline

    def _poll(self) -> list[tuple[int, int]]:
        poll = select.poll()
        if self._deadline is None and len(self._to_agent) < _BUFFER_BYTES_MAX:
            poll.register(_STDIN, select.POLLIN)
        if self._to_assistant:
            poll.register(_STDOUT, select.POLLOUT)
        wanted = select.POLLIN if len(self._to_assistant) < _BUFFER_BYTES_MAX else 0
        wanted |= select.POLLOUT if self._to_agent else 0
        if self._agent is not None and wanted:
            poll.register(self._agent, wanted)
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        return poll.poll(None if left is None else left * 1000 + 1)

    def _move(self, ready: int, events: int) -> None:
        if ready == _STDIN:
            self._hear()
        elif ready == _STDOUT:
            self._say()
        else:
            if events & select.POLLOUT:
                self._send()
            if events & ~select.POLLOUT:
                self._receive()

    def _say(self) -> None:
        with suppress(BlockingIOError):
            # More than PIPE_BUF could block although the pipe is said to be ready.
            written = os.write(_STDOUT, self._to_assistant[: select.PIPE_BUF])
            del self._to_assistant[:written]

    def _hear(self) -> None:
        try:
            chunk = os.read(_STDIN, _CHUNK_BYTES)
        except BlockingIOError:  # somebody we share it with made it so
            return
        except OSError:  # a terminal that was closed
            chunk = b""
        if not chunk:
            self._deadline = time.monotonic() + _DRAIN_SECONDS
            chunk = b"\n" if self._heard else b""
        _split(self._heard, chunk, self._from_assistant)
        if len(self._heard) > LINE_BYTES_MAX:
            self._skipping = True
            self._heard.clear()

    def _from_assistant(self, line: bytes) -> None:
        if self._skipping:
            self._skipping = False
            self._tell([no_answer(None, _TOO_LONG)])
            return
        if not line.strip():
            return
        if self._agent is None:
            self._connect()
        told = self._retelling.from_assistant(line)
        if self._agent is None:
            self._tell(self._retelling.give_up(self._trouble))
        elif told is not None:
            self._to_agent += told + b"\n"

    def _from_agent(self, line: bytes) -> None:
        told = self._retelling.from_agent(line)
        if told is not None:
            self._tell([told])

    def _tell(self, lines: list[bytes]) -> None:
        for line in lines:
            self._to_assistant += line + b"\n"

    def _connect(self) -> None:
        try:
            refuse_unknown(os.environ)  # noqa: TID251 (the agent's own check does not see our entry)
            connection = launch.connect(
                self._home, "mcp", command=self._command, version=self._version
            )
        except SunaivaError as error:
            self._trouble = str(error)
            return
        self._agent = connection.channel
        self._agent.setblocking(False)
        self._half_closed = False
        for line in self._retelling.retell():
            self._to_agent += line + b"\n"

    def _send(self) -> None:
        assert self._agent is not None
        try:
            sent = self._agent.send(self._to_agent[:_CHUNK_BYTES])
        except BlockingIOError:
            return
        except OSError:
            # It is dead; what it answered before is still to be read, and then its end.
            sent = len(self._to_agent)
        del self._to_agent[:sent]

    def _receive(self) -> None:
        assert self._agent is not None
        try:
            chunk = self._agent.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            _split(self._read, chunk, self._from_agent)
        else:
            self._agent_gone()

    def _half_close(self) -> None:
        """The agent answers what it has and closes; then we are done."""
        if self._deadline is None or self._half_closed or self._to_agent or self._agent is None:
            return
        self._half_closed = True
        with suppress(OSError):
            self._agent.shutdown(socket.SHUT_WR)

    def _agent_gone(self) -> None:
        assert self._agent is not None
        self._agent.close()
        self._agent = None
        self._read.clear()  # half an answer is none
        self._to_agent.clear()
        self._tell(self._retelling.agent_gone())
        wanted = self._retelling.open if self._deadline is None else self._retelling.awaited
        if wanted:
            self._revive()

    def _revive(self) -> None:
        now = time.monotonic()
        self._deaths = [died for died in self._deaths if now - died < _RESTART_WINDOW_SECONDS]
        self._deaths.append(now)
        if len(self._deaths) > _RESTARTS_MAX:
            self._trouble = (
                f"The memory agent stopped {len(self._deaths)} times within a minute; "
                f"{self._home / 'logs' / 'agent.log'} says where it stopped."
            )
        else:
            time.sleep(_BACKOFF_SECONDS * (2 ** (len(self._deaths) - 1) - 1))
            self._connect()
        if self._agent is None:
            self._tell(self._retelling.give_up(self._trouble))


def _split(buffer: bytearray, chunk: bytes, take: Callable[[bytes], None]) -> None:
    """Gives each finished line to `take` and keeps the rest. Long lines are searched once, not once a chunk."""
    end = chunk.find(b"\n")
    start = 0
    while end >= 0:
        line = bytes(buffer + chunk[start:end])
        buffer.clear()
        take(line)
        start = end + 1
        end = chunk.find(b"\n", start)
    buffer += chunk[start:]


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
