"""Assistants start the server inside of whatever project is open: that folder's modules must never be taken for ours."""

import subprocess
import sys
from pathlib import Path

from mcp_server.version import __version__
from tests.computer import Device

SUNAIVA = Path(sys.executable).with_name("sunaiva")
HOSTILE = (
    "shared.py",
    "mcp_server.py",
    "secrets.py",
    "sitecustomize.py",
    "usercustomize.py",
    "typing.py",
    "cyclopts.py",
)


def test_modules_in_the_folder_it_is_started_from_are_never_imported(
    device: Device, tmp_path: Path
) -> None:
    project = tmp_path / "somebody's project"
    touched = tmp_path / "touched"
    for name in (*HOSTILE, "shared/__init__.py", "mcp_server/__init__.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(
            f"open({str(touched)!r}, 'a').write(__file__)\nraise SystemExit(99)\n"
        )
    run = subprocess.run(
        [SUNAIVA, "--version"],
        cwd=project,
        env=device.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert __version__ in run.stdout
    assert not touched.exists()
