"""Waiting for a server process to answer: asked all the time, because what retries ever more seldom waits as long again as it took."""

import subprocess
import threading
import time
from pathlib import Path

import httpx

_POLL_SECONDS = 0.05


def await_ready(
    process: "subprocess.Popen[bytes]", url: str, *, seconds: float, log: Path | None = None
) -> None:
    """Until it answers; fails with what it wrote if it ends instead."""
    pause, ends = threading.Event(), time.monotonic() + seconds
    while True:
        said = "" if log is None else log.read_text()
        assert process.poll() is None, said
        try:
            answer = httpx.get(f"{url}/health/ready", timeout=seconds)
        except httpx.TransportError:
            assert time.monotonic() < ends, said
            pause.wait(_POLL_SECONDS)
        else:
            assert answer.status_code == 200, said
            return
