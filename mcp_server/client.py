"""The terminal's side of the agent: blocking calls, for a person who waits. Opens no vault itself."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import msgspec

from mcp_server import launch, rendezvous
from mcp_server.rendezvous import LINE_BYTES_MAX, AgentInfo, Connection
from mcp_server.settings import Settings
from mcp_server.version import __version__
from shared.errors import ConflictError, InvalidError, SunaivaError, UnavailableError

_CHUNK_BYTES = 262_144
_REFUSING_SECONDS_MAX = 5.0  # an agent that could not open the vault says so for half a second
_POLL_SECONDS = 0.05
_ALONE_TRIES = 5  # an assistant with an open request starts a new agent the moment the old one left


class AgentConnection:
    """A line to the agent. Anything that interrupts a call, Ctrl-C too, closes it, and the agent ends the call."""

    def __init__(self, connection: Connection) -> None:
        self.agent_version = connection.version
        self._channel = connection.channel
        self._buffer = bytearray()

    def call(
        self, name: str, args: dict[str, Any], on_event: Callable[[Any], None] = lambda _: None
    ) -> Any:
        """The result of the call; `on_event` gets what it reports meanwhile.

        Raises:
            SunaivaError: of the family the agent answered with.
            UnavailableError: the agent stopped meanwhile.
        """
        request = msgspec.json.encode({"call": name, "args": args}) + b"\n"
        if len(request) > LINE_BYTES_MAX:
            raise InvalidError(
                f"One call may have {LINE_BYTES_MAX // 1_000_000} MB. Send it in parts."
            )
        finished = False
        try:
            self._channel.sendall(request)
            while "event" in (answer := msgspec.json.decode(self._line())):
                on_event(answer["event"])
            finished = True
        except ConnectionError as error:
            raise UnavailableError(
                "The memory agent stopped before it answered. What it had acknowledged is stored; try again."
            ) from error
        finally:
            if not finished:
                self.close()
        if "error" in answer:
            raise rendezvous.error_of(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _line(self) -> bytes:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            chunk = self._channel.recv(_CHUNK_BYTES)
            if not chunk:
                raise ConnectionResetError("the agent closed the connection")
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line


def connect(
    settings: Settings,
    *,
    client: str = "sunaiva",
    command: Sequence[str] | None = None,
    version: str = __version__,
) -> AgentConnection:
    """A line to the agent, which is started if none runs and replaced if it is older than we are.

    Raises:
        SunaivaError: there is no agent that serves; the sentence says why.
    """
    command = launch.agent_command() if command is None else command
    return AgentConnection(
        launch.connect(settings.home, "calls", command=command, client=client, version=version)
    )


def running(settings: Settings) -> AgentInfo | None:
    """The agent of this vault, if one serves. Starts none; one that refuses is about to leave, and is waited for.

    Raises:
        SunaivaError: an agent is there that neither serves nor leaves.
    """
    try:
        connection = rendezvous.reach(settings.home, "ping")
    except SunaivaError:
        deadline = time.monotonic() + _REFUSING_SECONDS_MAX
        while not rendezvous.lock_is_free(settings.home):
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        return None
    if connection is None:
        return None
    connection.channel.close()
    return rendezvous.agent_info(settings.home)


def leave(settings: Settings) -> None:
    """Returns when no agent runs. The next assistant's request starts one: to work on the files, use `alone`.

    Raises:
        UnavailableError: the vault is still held by somebody.
    """
    rendezvous.ask_to_leave(settings.home)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """No agent opens the vault inside this block; assistants' requests wait for its end.

    Raises:
        UnavailableError: the vault is still held by somebody.
        ConflictError: somebody else took it first.
    """
    for _ in range(_ALONE_TRIES):
        leave(settings)
        lock = rendezvous.take_lock(settings.home)
        if lock is not None:
            break
    else:
        raise ConflictError(
            "The memory agent is started again and again. Close your assistants, then try again."
        )
    try:
        yield
    finally:
        os.close(lock)
