"""The servers that are measured: started as they are run for people, ended when done, and what they take of the machine."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import psutil
from msgspec import Struct

from bench.load.mix import Kind
from bench.processes import end
from cloud_api.serving import BACKLOG, CONNECTIONS_MAX
from shared.errors import UnavailableError

START_SECONDS = 60.0
ASK_SECONDS = 2.0
HOST = "127.0.0.1"
_PROJECT = Path(__file__).resolve().parents[2]
GRANIAN = (
    sys.executable, "-m", "granian", "--interface", "asgi", "--workers", "1", "--no-ws",
    "--backlog", str(BACKLOG), "--backpressure", str(CONNECTIONS_MAX), "--host", HOST,
)  # fmt: skip


class Target(Struct, frozen=True):
    """One server. Its port is the last argument, or the setting of the environment that is named so."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    mix: Sequence[Kind]
    """What is asked of it."""
    ready: str
    """A path that answers 200 once it serves."""
    port_setting: str | None = None


class Used(Struct, frozen=True):
    """Of a group of processes: processor seconds so far, and memory that is theirs (shared pages divided)."""

    cpu_s: float
    mib: float


class Running(Struct, frozen=True):
    port: int
    process: psutil.Process

    def used(self) -> Used:
        return used_by([self.process, *self.process.children(recursive=True)])


@asynccontextmanager
async def running(target: Target) -> AsyncIterator[Running]:
    """Raises UnavailableError: it did not start."""
    port = free_port()
    own = {target.port_setting: str(port)} if target.port_setting else {}
    environ = {**os.environ, **target.environ, **own}
    with tempfile.TemporaryFile() as said:
        started = subprocess.Popen(  # noqa: ASYNC220 (a millisecond, and nothing else runs meanwhile)
            list(target.command) if target.port_setting else [*target.command, str(port)],
            cwd=_PROJECT, env=environ, stdout=said, stderr=said,
        )  # fmt: skip
        process = psutil.Process(started.pid)
        try:
            if not await _answers(started, port, target.ready):
                said.seek(0)
                reason = said.read().decode(errors="replace").strip()[-400:]
                raise UnavailableError(f"{target.name} did not start: {reason}")
            yield Running(port, process)
        finally:
            end([process, *process.children(recursive=True)])
            started.wait()


def used_by(processes: list[psutil.Process]) -> Used:
    cpu_s = mib = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
            memory = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        cpu_s += times.user + times.system
        mib += getattr(memory, "pss", memory.rss) / 2**20  # only Linux divides shared pages
    return Used(cpu_s, mib)


def database_processes(cluster: Path) -> list[psutil.Process]:
    """PostgreSQL's own, by the number its main process wrote down."""
    main = psutil.Process(int((cluster / "postmaster.pid").read_text().split("\n", 1)[0]))
    return [main, *main.children(recursive=True)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def _answers(started: subprocess.Popen[bytes], port: int, path: str) -> bool:
    ends = monotonic() + START_SECONDS
    while started.poll() is None and monotonic() < ends:
        # The port may be open long before anybody reads from it.
        if (await _first_line(port, path)).startswith(b"HTTP/1.1 200"):
            return True
        await asyncio.sleep(0.1)
    return False


async def _first_line(port: int, path: str) -> bytes:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(
                f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
            )
            line = await reader.readline()
            writer.close()
            return line
    except OSError:  # a timeout is one too
        return b""
