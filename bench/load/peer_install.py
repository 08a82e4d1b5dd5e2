"""Puts the pinned peer into an environment of its own, beside those of `bench peers`. Its packages are none of the project's."""

import subprocess
import sys
from pathlib import Path

from shared.errors import UnavailableError

REQUIREMENTS = (
    "fastapi==0.165.0",
    "uvicorn[standard]==0.54.0",
    "sqlalchemy[asyncio]==2.1.9",
    "asyncpg==0.32.0",
    "pyjwt[crypto]==2.15.1",
)
FOLDER = Path(__file__).resolve().parents[2] / ".peers" / "fastapi"
INSTALL_SECONDS = 300
_INSTALLED = "installed.txt"


def python() -> Path:
    """The peer's interpreter.

    Raises:
        UnavailableError: it is not installed.
    """
    if not _is_installed():
        raise UnavailableError(
            "It is not installed: `python -m bench load --install` does it (needs a package index)."
        )
    return FOLDER / "bin" / "python"


def install() -> None:
    """Raises UnavailableError: its packages cannot be had."""
    if _is_installed():
        return
    _run([sys.executable, "-m", "venv", "--clear", str(FOLDER)])
    _run([str(FOLDER / "bin" / "pip"), "install", "--quiet", *REQUIREMENTS])
    (FOLDER / _INSTALLED).write_text("\n".join(REQUIREMENTS), encoding="utf-8")


def _is_installed() -> bool:
    mark = FOLDER / _INSTALLED
    return mark.exists() and mark.read_text(encoding="utf-8") == "\n".join(REQUIREMENTS)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"`{' '.join(command[:4])} …` took too long.") from None
    if done.returncode != 0:
        raise UnavailableError(f"`{' '.join(command[:4])} …` failed: {done.stderr.strip()[-300:]}")
