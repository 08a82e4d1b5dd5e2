"""What is in the file that people install."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, folder, ROOT], check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return zipfile.Path(path)


def _sources(folder: Path) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in folder.rglob("*.py")}


def test_the_wheel_holds_our_packages_whole_and_nothing_else(wheel: zipfile.Path) -> None:
    names = {
        name for name in wheel.root.namelist() if not name.split("/")[0].endswith(".dist-info")
    }
    ours = {"cloud_api", "mcp_server", "shared", "sync_service"}
    assert {name.split("/")[0] for name in names} == ours
    assert {name for name in names if name.endswith(".py")} == {
        source for package in ours for source in _sources(ROOT / package)
    }


def test_the_wheel_carries_its_licence_and_the_console_script(wheel: zipfile.Path) -> None:
    about = next(folder for folder in wheel.iterdir() if folder.name.endswith(".dist-info"))
    licence = (about / "licenses" / "LICENSE").read_text(encoding="utf-8")
    assert licence == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "sunaiva = mcp_server.cli:main" in (about / "entry_points.txt").read_text(
        encoding="utf-8"
    )
