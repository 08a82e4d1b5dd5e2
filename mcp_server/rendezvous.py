"""Where the agent of a vault is, and how anybody reaches or dismisses it; `launch` starts it.

Imported by the relay of every assistant window, so it stays small: standard library only. It must never let two
agents open one vault: whoever opens the vault holds `agent.lock` in its folder, and the kernel frees that lock with
the process. `agent.json` beside it tells where the agent listens, because an assistant and a terminal often have
different environments and would not guess the same folder. Lock files are never deleted: deleting one is a race.
"""

import json
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from mcp_server.version import __version__
from shared.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    QuotaExceededError,
    SunaivaError,
    UnavailableError,
)

if sys.platform != "win32":
    import fcntl

PROTOCOL = 1
HELLO_BYTES_MAX = 65_536
LINE_BYTES_MAX = 64_000_000  # one message: a full `remember` call of large memories fits, a runaway client doesn't
# A new agent answers when its vault is open, and deriving a key from a passphrase takes a while.
ANSWER_SECONDS = 30.0
LEAVE_SECONDS = 30.0  # the agent finishes requests for at most ten of these, then closes the vault

# The kernel's limit for a unix socket's path is 104 bytes on macOS and 108 on Linux.
_SOCKET_PATH_BYTES_MAX = 100
_LOCK_PATIENCE_SECONDS = 2.0  # others hold the lock for an instant to see whether it is free
_POLL_SECONDS = 0.01
_BACKLOG = 128


class AgentInfo(NamedTuple):
    """What `agent.json` says. Only an answered hello proves that the agent is alive."""

    pid: int
    version: str
    protocol: int
    socket: str
    started_at: str
    url: str | None = None


class Connection(NamedTuple):
    """An open socket whose hello was answered."""

    channel: socket.socket
    version: str
    pid: int


def reach(
    home: Path,
    kind: str,
    *,
    client: str | None = None,
    version: str = __version__,
    answer_seconds: float = ANSWER_SECONDS,
) -> Connection | None:
    """One attempt at the running agent. None if nobody answers.

    Raises:
        UnavailableError: an agent is there and does not answer.
        SunaivaError: the agent refuses to serve.
    """
    info = agent_info(home)
    if info is None:
        return None
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _require_private(Path(info.socket).parent)
        channel.settimeout(answer_seconds)
        channel.connect(info.socket)
        hello = {"sunaiva": kind, "version": version, "protocol": PROTOCOL, "client": client}
        channel.sendall(json.dumps(hello).encode() + b"\n")
        answer = _read_hello(channel)
        channel.settimeout(None)
        connection = Connection(channel, str(answer["version"]), int(answer["pid"]))
    # Nobody there, just left, or a full backlog.
    except (FileNotFoundError, ConnectionError, BlockingIOError):
        channel.close()
        return None
    except TimeoutError:
        channel.close()
        raise UnavailableError(
            f"The memory agent (process {info.pid}) is there but does not answer. "
            f"End it with `kill {info.pid}`; the next call starts a new one."
        ) from None
    except (SunaivaError, OSError):
        channel.close()
        raise
    return connection


def ask_to_leave(home: Path) -> None:
    """Returns when the agent has finished its requests and left, and nobody holds the vault.

    Raises:
        UnavailableError: somebody still holds the vault.
    """
    connection = reach(home, "leave")
    deadline = time.monotonic() + LEAVE_SECONDS
    if connection is not None:
        with connection.channel as channel, suppress(TimeoutError, ConnectionError):
            channel.settimeout(LEAVE_SECONDS)
            channel.recv(1)  # the end of the process closes this connection
    while not lock_is_free(home):
        if time.monotonic() > deadline:
            raise UnavailableError(holder_sentence(home))
        time.sleep(_POLL_SECONDS)


def take_lock(home: Path) -> int | None:
    """The right to open the vault, held until the descriptor is closed. None if an agent has it and is well.

    Raises:
        ConflictError: a program that is not an agent holds the vault.
        UnavailableError: not on this platform yet.
    """
    if sys.platform == "win32":
        raise UnavailableError(
            "Sunaiva runs on Linux and macOS so far. On Windows, install it inside WSL."
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(home / "agent.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
    while not _flock(lock):
        connection = reach(home, "ping")
        if connection is not None:
            connection.channel.close()
            os.close(lock)
            return None
        if time.monotonic() > deadline:
            os.close(lock)
            raise ConflictError(holder_sentence(home))
        time.sleep(_POLL_SECONDS)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def lock_is_free(home: Path) -> bool:
    with tried_lock(home / "agent.lock") as free:
        return free


def listen(home: Path, runtime_folder: Path) -> socket.socket:
    """A listening socket only this person can open. The caller holds the lock, so what lies around is stale.

    Raises:
        ForbiddenError: the folder for sockets belongs to somebody else or is open to others.
    """
    path = _socket_path(home, runtime_folder)
    dismiss(home)
    path.unlink(missing_ok=True)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.bind(str(path))
    path.chmod(0o600)
    channel.listen(_BACKLOG)
    return channel


def announce(home: Path, info: AgentInfo) -> None:
    fresh = home / "agent.json.new"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(info._asdict(), file)
    fresh.replace(home / "agent.json")


def agent_info(home: Path) -> AgentInfo | None:
    """None of an agent of another folder, too: who copied a running vault's folder has copied its agent's address, and would change the
    original."""
    try:
        info = AgentInfo(**json.loads((home / "agent.json").read_bytes()))
        return info if Path(info.socket).name == _socket_name(home) else None
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # of a release that wrote something else, or cut by a full disk
        return None


def dismiss(home: Path) -> None:
    """Removes what an agent leaves behind. Only for whoever holds the lock."""
    info = agent_info(home)
    if info is not None:
        with suppress(OSError):
            if stat.S_ISSOCK(os.lstat(info.socket).st_mode):
                Path(info.socket).unlink()
    (home / "agent.json").unlink(missing_ok=True)


def error_of(code: str, message: str) -> SunaivaError:
    """The family an error had before it crossed the socket."""
    families: tuple[type[SunaivaError], ...] = (
        NotFoundError,
        ConflictError,
        InvalidError,
        ForbiddenError,
        QuotaExceededError,
        UnavailableError,
        CorruptError,
    )
    named = {family.code: family for family in families}
    return named.get(code, UnavailableError)(message)


@contextmanager
def tried_lock(path: Path) -> Iterator[bool]:
    """Whether the lock could be had; if so, it is held inside the block."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:  # no folder, no holder
        yield True
        return
    try:
        yield _flock(lock)
    finally:
        os.close(lock)


def holder_sentence(home: Path) -> str:
    with suppress(OSError, ValueError):
        pid = int((home / "agent.lock").read_text(encoding="ascii"))
        return f"Process {pid} has the vault in {home} open. Wait until it has finished, or end it, and try again."
    return (
        f"Another program has the vault in {home} open. Wait until it has finished and try again."
    )


def folder_problem(home: Path, error: OSError) -> UnavailableError:
    reason = error.strerror or str(error)
    return UnavailableError(
        f"The vault's folder {home} cannot be used: {reason}. Check its permissions and the disk."
    )


def _read_hello(channel: socket.socket) -> dict[str, Any]:
    """The agent says nothing before it is asked, so nothing follows the line."""
    line = b""
    while not line.endswith(b"\n"):
        chunk = channel.recv(HELLO_BYTES_MAX)
        if not chunk or len(line) > HELLO_BYTES_MAX:
            raise ConnectionResetError("no agent")
        line += chunk
    answer: dict[str, Any] = json.loads(line)
    if answer.get("sunaiva") == "refused":
        raise error_of(str(answer.get("code")), str(answer.get("message")))
    return answer


def _socket_path(home: Path, runtime_folder: Path) -> Path:
    name = _socket_name(home)
    path = runtime_folder / name
    with suppress(OSError):
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
            runtime_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_private(runtime_folder)
            return path
    # A fixed name in a folder of everybody: whoever made it first is checked below.
    fallback = Path(f"/tmp/sunaiva-{os.getuid()}")  # noqa: S108
    fallback.mkdir(mode=0o700, exist_ok=True)
    _require_private(fallback)
    return fallback / name


def _socket_name(home: Path) -> str:
    return f"{_short_hash(os.fsencode(home.resolve())):016x}.sock"


def _require_private(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ForbiddenError(
            f"{folder} is not a folder of yours, so the memory agent cannot be reached through it. "
            "Remove it, or set XDG_RUNTIME_DIR to a folder of your own."
        )
    if found.st_mode & 0o077:
        raise ForbiddenError(
            f"{folder} can be opened by other people. Close it with: chmod 700 {folder}"
        )


def _short_hash(content: bytes) -> int:
    """FNV-1a, 64 bits: tells a person's vaults apart; `hashlib` would cost every relay 3 MB."""
    value = 0xCBF29CE484222325
    for byte in content:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def _flock(lock: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
