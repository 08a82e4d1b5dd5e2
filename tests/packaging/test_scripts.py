"""What a newcomer meets before any of our Python runs."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INTERPRETERS = {
    "too old": ("#!/bin/sh\nexit 1\n", "Sunaiva needs Python 3.11 or newer and found none at "),
    "without venv": (
        '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n',
        " has no venv module: install it ",
    ),
}


@pytest.mark.parametrize(
    ("interpreter", "sentence"), INTERPRETERS.values(), ids=INTERPRETERS.keys()
)
def test_setup_says_in_one_sentence_what_is_wrong_with_the_interpreter(
    tmp_path: Path, interpreter: str, sentence: str
) -> None:
    checkout = tmp_path / "a check out"
    (checkout / "scripts").mkdir(parents=True)
    for name in ("scripts/setup", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, checkout / name)
    python = tmp_path / "python"
    python.write_text(interpreter)
    python.chmod(0o755)
    run = subprocess.run(
        [checkout / "scripts" / "setup"],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert sentence in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert not (checkout / ".venv").exists()


def test_everything_that_is_installed_has_one_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[^A-Za-z0-9._-]", each)[0].lower().replace("_", "-") for each in wanted}
    assert names - {name.lower().replace("_", "-") for name in pins} == set()
    assert not [
        version for version in pins.values() if not re.fullmatch(r"[0-9][0-9A-Za-z.]*", version)
    ]
