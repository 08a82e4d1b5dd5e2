"""The servers that are measured: started as they are run for people, ended when done, and what they take of the machine."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import psutil
from msgspec import Struct

from bench.processes import end
from cloud_api.serving import BACKLOG, CONNECTIONS_MAX
from shared.errors import UnavailableError

START_SECONDS = 60.0
HOST = "127.0.0.1"
_PROJECT = Path(__file__).resolve().parents[2]
GRANIAN = (
    sys.executable, "-m", "granian", "--interface", "asgi", "--workers", "1", "--no-ws",
    "--backlog", str(BACKLOG), "--backpressure", str(CONNECTIONS_MAX), "--host", HOST,
)  # fmt: skip


class Target(Struct, frozen=True):
    """One server. `command` lacks the port, which is its last argument."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    paths: Mapping[str, float]
    """What is asked of it, and how often."""


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
    with tempfile.TemporaryFile() as said:
        started = subprocess.Popen(  # noqa: ASYNC220 (a millisecond, and nothing else runs meanwhile)
            [*target.command, str(port)],
            cwd=_PROJECT, env={**os.environ, **target.environ}, stdout=said, stderr=said,
        )  # fmt: skip
        process = psutil.Process(started.pid)
        try:
            if not await _answers(started, port):
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


async def _answers(started: subprocess.Popen[bytes], port: int) -> bool:
    ends = monotonic() + START_SECONDS
    while started.poll() is None and monotonic() < ends:
        try:
            _reader, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return True
    return False
