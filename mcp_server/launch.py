"""Starting the agent, once, and replacing one that is older than whoever asks.

Imported by every relay, so standard library only. Ten windows opened at once must start one agent, and the agent must
outlive the window that started it.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mcp_server.rendezvous import (
    Connection,
    agent_info,
    ask_to_leave,
    folder_problem,
    holder_sentence,
    lock_is_free,
    reach,
    tried_lock,
)
from mcp_server.version import __version__
from shared.errors import UnavailableError

# Importing the agent takes about a second; a busy laptop at login is many times slower.
START_SECONDS = 30.0
LOG_BYTES_MAX = 1_000_000

_STARTS_MAX = 3  # an agent that dies while it starts would otherwise be started until the deadline

_POLL_SECONDS = 0.01


def agent_command() -> list[str]:
    """How to start the agent of this very installation; immune to a `mcp_server` folder where we happen to be."""
    script = Path(sys.executable).with_name("sunaiva")
    if script.exists():
        return [str(script), "agent"]
    return [sys.executable, "-P", "-c", "from mcp_server.cli import main; main()", "agent"]


def connect(
    home: Path,
    kind: str,
    *,
    command: Sequence[str],
    client: str | None = None,
    version: str = __version__,
) -> Connection:
    """The agent of the vault in `home`, started if there is none, replaced if it is older than `version`.

    Raises:
        UnavailableError: there is no agent and none could be started; the sentence says why.
        SunaivaError: the agent runs but refuses to serve (no vault, wrong key, …).
    """
    deadline = time.monotonic() + START_SECONDS
    starts = 0
    while time.monotonic() < deadline and starts < _STARTS_MAX:
        connection = reach(home, kind, client=client, version=version)
        if connection is None:
            try:
                starts += _start_or_wait(home, command, deadline)
            except OSError as error:
                raise folder_problem(home, error) from error
        elif _release(connection.version) < _release(version):
            connection.channel.close()
            ask_to_leave(home)
        else:
            return connection
    holder = "" if lock_is_free(home) else f" {holder_sentence(home)}"
    raise UnavailableError(
        f"The memory agent does not answer.{holder} See {home / 'logs' / 'agent.log'}."
    )


def _release(version: str) -> tuple[int, ...]:
    """`1.2.3rc1` counts as 1.2.3: a candidate and its release speak the same, so neither replaces the other."""
    numbers = (
        "".join(c if c.isdigit() else " " for c in part).split() for part in version.split(".")[:3]
    )
    return tuple(int(found[0]) if found else 0 for found in numbers)


def _start_or_wait(home: Path, command: Sequence[str], deadline: float) -> bool:
    """Whether it was us. Ten windows opened at once start one agent: one starts it, the others wait for it."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tried_lock(home / "agent.start") as mine:
        if mine and lock_is_free(home):
            _start(home, command, deadline)
            return True
    time.sleep(_POLL_SECONDS)
    return False


def _start(home: Path, command: Sequence[str], deadline: float) -> None:
    before = agent_info(home)
    log = _open_log(home)
    try:
        said_before = os.fstat(log).st_size
        pid = _spawn(command, log)
    finally:
        os.close(log)
    while time.monotonic() < deadline and agent_info(home) in (None, before):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended and os.waitstatus_to_exitcode(status) != 0:
            raise UnavailableError(_failure_sentence(home, said_before))
        if ended:  # it met another agent at the lock
            return
        time.sleep(_POLL_SECONDS)


def _spawn(command: Sequence[str], log: int) -> int:
    """A process of its own session: it outlives the window that started it and holds none of its descriptors.

    `posix_spawn` rather than `subprocess`: that import alone costs every relay a megabyte and 10 ms.
    """
    descriptors = [int(entry.name) for entry in Path("/dev/fd").iterdir()]
    leaked = [fd for fd in descriptors if fd > 2 and _is_inherited(fd)]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 2),
        *((os.POSIX_SPAWN_CLOSE, fd) for fd in leaked),
    ]
    environment = os.environ  # noqa: TID251 (handed on as it is: the agent reads its own settings)
    try:
        return os.posix_spawn(
            command[0], tuple(command), environment, file_actions=actions, setsid=True
        )
    except OSError as error:
        raise UnavailableError(
            f"The memory agent could not be started with {command[0]}: {error}."
        ) from error


def _is_inherited(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # the one that listed the folder
        return False


def _open_log(home: Path) -> int:
    folder = home / "logs"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "agent.log"
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(folder / "agent.log.1")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def _failure_sentence(home: Path, said_before: int) -> str:
    path = home / "logs" / "agent.log"
    with path.open("rb") as file:
        file.seek(max(said_before, path.stat().st_size - 2_000))
        said = file.read().decode("utf-8", "replace").strip()
    if not said:
        return f"The memory agent could not start, and {path} does not say why. Run `sunaiva agent` in a terminal to see."
    return f"The memory agent could not start: {said.splitlines()[-1][:300]} (more in {path})"
