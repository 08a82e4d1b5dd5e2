"""The product as a person would install it, once per measurement and alone: own vault, own keys, own sockets.

Everything goes through the `sunaiva` script and MCP over stdio. Only processes which carry this device's own
temporary home in their environment are ever looked at or ended.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from msgspec import Struct

from bench import processes
from bench.stdio import session
from shared.errors import UnavailableError

INIT_SECONDS = 300  # the first `init` on a machine also makes the model's export
CLI_SECONDS = 300
_MARK = "SUNAIVA_HOME"  # every process of a device carries it, with a path that no other device has


class Device(Struct, frozen=True):
    root: Path
    environment: dict[str, str]
    recovery_words: str

    @property
    def home(self) -> Path:
        return Path(self.environment[_MARK])


@contextmanager
def fresh_device() -> Iterator[Device]:
    """An initialised vault in a temporary folder; gone afterwards, with every process that served it."""
    # Straight below the temporary folder: the path of a unix socket may have some 100 bytes only.
    root = Path(tempfile.mkdtemp(prefix="sb-"))
    environment = _environment(root)
    try:
        for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
            Path(environment[name]).mkdir(mode=0o700)
        device = Device(root, environment, recovery_words="")
        made = run_cli(device, "init", "--yes", "--json", seconds=INIT_SECONDS)
        yield Device(root, environment, made["recovery_words"])
    finally:
        processes.end(processes.marked(_MARK, environment[_MARK]))
        shutil.rmtree(root, ignore_errors=True)


def script() -> str:
    """The installed `sunaiva`: the one beside this Python, else the one on the PATH.

    Raises:
        UnavailableError: there is none.
    """
    beside = Path(sys.executable).parent / "sunaiva"
    found = str(beside) if beside.exists() else shutil.which("sunaiva")
    if found is None:
        raise UnavailableError("There is no `sunaiva` script; install the project first: make run.")
    return found


def run_cli(device: Device, *arguments: str, seconds: float = CLI_SECONDS) -> Any:
    """What a `sunaiva … --json` command printed, also when it then ended with a complaint.

    Raises:
        UnavailableError: it printed nothing, or took too long.
    """
    shown = "sunaiva " + " ".join(arguments)
    try:
        done = subprocess.run(
            [script(), *arguments],
            env=os.environ | device.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"`{shown}` took longer than {seconds:.0f} s.") from None
    if not done.stdout.strip():
        raise UnavailableError(
            f"`{shown}` ended with {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    return json.loads(done.stdout)


def connected(device: Device, *arguments: str) -> AbstractAsyncContextManager[Client]:
    """An MCP client on `sunaiva mcp` over stdio, as an assistant starts it."""
    server = StdioServerParameters(
        command=script(), args=["mcp", *arguments], env=os.environ | device.environment
    )
    return session(server, device.root / "stderr.log")


def agents(device: Device) -> list[psutil.Process]:
    return [process for process in _running(device) if "agent" in processes.words(process)]


def relays(device: Device) -> list[psutil.Process]:
    return [process for process in _running(device) if "mcp" in processes.words(process)]


def disk_bytes(device: Device) -> int:
    """What the vault's folder holds; keys, sockets and the shared model are not in it."""
    return sum(path.stat().st_size for path in device.home.rglob("*") if path.is_file())


def _running(device: Device) -> list[psutil.Process]:
    return processes.marked(_MARK, str(device.home))


def _environment(root: Path) -> dict[str, str]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {
        _MARK: str(root / "home"),
        "XDG_CONFIG_HOME": str(root / "config"),
        "XDG_RUNTIME_DIR": str(root / "run"),
        # Shared with the person's own device: the export is the same file, and making it takes a minute.
        "SUNAIVA_MODEL_CACHE": os.environ.get("SUNAIVA_MODEL_CACHE")
        or str(cache / "sunaiva" / "models"),
        # A measurement must not write into the person's keychain.
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
