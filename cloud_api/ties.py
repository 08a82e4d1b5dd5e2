"""Ends a process of ours when we end, however we end: a SIGKILL leaves nobody to clean up, but the kernel still closes our pipes."""

import multiprocessing
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

# Reads until we let go of the pipe's other end. A line says that all is well; without one we are gone. A shell, because it is
# everywhere, starts at once and weighs nothing beside one more Python.
_WATCH = 'read -r line || kill -s "$1" "$2"'


@contextmanager
def tied(pid: int, number: signal.Signals, *, user: int | None = None) -> Iterator[None]:
    """The process gets the signal if we are gone before the block has ended. `user` is whose process it is, if not ours."""
    name = number.name.removeprefix("SIG")
    with subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, "sh", name, str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.defpath},
        user=user,
        extra_groups=None if user is None else [],
        start_new_session=True,  # what ends us may be meant for our whole group
    ) as watch:
        try:
            yield
        finally:
            watch.communicate(b"\n")


def leave_with_parent() -> None:
    """For a process of `multiprocessing`: it ends in order when the one that made it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(
            target=_leave_after, args=(parent,), name="parent-watch", daemon=True
        ).start()


def _leave_after(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
