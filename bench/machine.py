"""Which machine and which commit a figure belongs to. Never the machine's name, its user or its paths."""

import os
import platform
import subprocess
from pathlib import Path

import psutil
from msgspec import Struct

from shared.errors import UnavailableError

_PROJECT = Path(__file__).resolve().parent.parent
_GIT_SECONDS = 10


class Machine(Struct, frozen=True):
    cpu: str
    cores: int
    memory_gib: int
    python: str


def machine() -> Machine:
    return Machine(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        python=platform.python_version(),
    )


def commit() -> str:
    """The commit that was measured, with `+` if the working tree had changes; `none` outside of a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except UnavailableError:
        return "none"
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=_PROJECT,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError("This is no git checkout.") from error
    return done.stdout.strip()


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
