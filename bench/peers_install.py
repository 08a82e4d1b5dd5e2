"""Puts each peer into its own environment below `.peers/`, and says how much room it takes.

Only when asked (`python -m bench peers --install`): it needs the network and some gigabytes of room. What cannot be
installed here is reported with its reason, and the other peers are measured all the same.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers_catalogue import Peer
from shared.errors import UnavailableError

INSTALL_SECONDS = 900
# basic-memory and mcp-memory-service ask for a newer certifi than some package indexes have; any recent one works.
_OVERRIDES = "certifi>=2026.1.4\n"
_EXTENSIONS = "import sqlite3; sqlite3.connect(':memory:').enable_load_extension(True)"
_NEWEST_MINOR = 14
_PYENV = Path.home() / ".pyenv"


def install(peer: Peer, folder: Path) -> None:
    """Raises UnavailableError: why this peer cannot be had on this machine."""
    if (folder / peer.program[0]).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if peer.npm_package:
        npm = shutil.which("npm")
        if npm is None:
            raise UnavailableError("It needs Node and npm, and there is none.")
        package = f"{peer.npm_package}@{peer.version}"
        _run([npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), package])
        return
    _run([_python_for(peer), "-m", "venv", str(folder)])
    _run([*_uv(folder.parent), "--python", str(folder / "bin" / "python"), *peer.requirements])


def size_mib(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 2**20


def own_size_mib(distribution: str = "sunaiva") -> float:
    """What our package and everything it needs take, without the extras that developers install."""
    seen: set[str] = set()
    waiting = [distribution]
    total = 0
    while waiting:
        name = _normal(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # a requirement for another platform or Python
        total += sum(_size(Path(str(file.locate()))) for file in found.files or ())
        for requirement in found.requires or ():
            words, _, marker = requirement.partition(";")
            if "extra ==" not in marker:
                waiting.append(re.split(r"[^A-Za-z0-9._-]", words.strip(), maxsplit=1)[0])
    return total / 2**20


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv(peers: Path) -> list[str]:
    """uv, because pip has no way to override a pin that the package index at hand cannot meet."""
    tool = peers / "uv"
    if not (tool / "bin" / "uv").exists():
        _run([sys.executable, "-m", "venv", str(tool)])
        _run([str(tool / "bin" / "pip"), "install", "--quiet", "uv"])
    overrides = peers / "overrides.txt"
    overrides.write_text(_OVERRIDES, encoding="utf-8")
    return [str(tool / "bin" / "uv"), "pip", "install", "--override", str(overrides)]


def _python_for(peer: Peer) -> str:
    for python in _pythons(peer.python_at_least):
        if not peer.loads_sqlite_extensions or _succeeds([python, "-c", _EXTENSIONS]):
            return python
    wanted = "{}.{}".format(*peer.python_at_least)
    extra = " with loadable SQLite extensions" if peer.loads_sqlite_extensions else ""
    raise UnavailableError(f"It needs Python {wanted} or newer{extra}, and there is none here.")


def _pythons(at_least: tuple[int, int]) -> list[str]:
    """Every interpreter that may do: this one, those of the PATH, the distribution's, and pyenv's."""
    major, minor = at_least
    names = [f"python{major}.{later}" for later in range(minor, _NEWEST_MINOR + 1)]
    found = [sys.executable, *(shutil.which(name) for name in names)]
    found += [shutil.which(name, path="/usr/bin") for name in names]
    # pyenv's shims answer for one chosen version only, so its folder is read as well.
    found += [str(python) for name in names for python in _PYENV.glob(f"versions/*/bin/{name}")]
    check = f"import sys; sys.exit(sys.version_info < {at_least})"
    return [python for python in found if python and _succeeds([python, "-c", check])]


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"`{' '.join(command[:4])} …` took too long.") from None
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip()[-300:]
        raise UnavailableError(f"`{' '.join(command[:4])} …` failed: {reason}")
