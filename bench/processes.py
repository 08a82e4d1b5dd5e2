"""Processes that a measurement started, found by a mark in their environment. No other process is looked at or ended."""

import math
from collections.abc import Sequence

import psutil

_END_SECONDS = 10


def marked(name: str, value: str) -> list[psutil.Process]:
    """Everything that runs with this variable of the environment at this value."""
    own = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value:
                own.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone meanwhile, or somebody else's
    return own


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def resident_mib(running: Sequence[psutil.Process]) -> float:
    """Not a number if nothing runs, so that a process which was not found never looks like a small one."""
    if not running:
        return math.nan
    total = 0.0
    for process in running:
        total += process.memory_info().rss / 2**20
    return total


def kill(running: Sequence[psutil.Process]) -> None:
    """At once and without a word, as a crash would (kill -9)."""
    for process in running:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(list(running), timeout=_END_SECONDS)


def end(running: Sequence[psutil.Process]) -> None:
    """Asks them to leave, then makes those that stay."""
    for process in running:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, stubborn = psutil.wait_procs(list(running), timeout=_END_SECONDS)
    kill(stubborn)
