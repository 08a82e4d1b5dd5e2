"""The rules of `scripts/lint`, run as the gate runs them, over small projects made for one rule each."""

import subprocess
import sys
from pathlib import Path

import pytest

LINT = Path(__file__).parents[2] / "scripts" / "lint"
LONG = "def f() -> None:\n" + "    print()\n" * 70
CATCH = "try:\n    go()\nexcept {}:{}\n    {}\n"


def _lint(project: Path, files: dict[str, str]) -> list[str]:
    """`path:line: rule` of each finding."""
    for path, text in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, LINT, project], capture_output=True, text=True, check=False
    )
    *findings, count = run.stdout.splitlines()
    assert count == f"{len(files)} files, {len(findings)} findings"
    assert run.returncode == (1 if findings else 0)
    return [": ".join(line.split(": ")[:2]) for line in findings]


BROKEN = {
    "function of 71 lines": ("mcp_server/a.py", LONG, "1: long-function"),
    "async method of 71 lines": (
        "mcp_server/a.py",
        "class A:\n    async " + LONG.replace("\n", "\n    ").rstrip(" "),
        "2: long-function",
    ),
    "except Exception": (
        "mcp_server/a.py",
        CATCH.format("Exception", "", "pass"),
        "3: broad-except",
    ),
    "except BaseException among others": (
        "mcp_server/a.py",
        CATCH.format("(OSError, BaseException)", "", "pass"),
        "3: broad-except",
    ),
    "bare except": ("mcp_server/a.py", "try:\n    go()\nexcept:\n    pass\n", "3: broad-except"),
    "told to ruff without a reason": (
        "mcp_server/a.py",
        CATCH.format("Exception", "  # noqa: BLE001", "pass"),
        "3: broad-except",
    ),
    "another error in its place": (
        "mcp_server/a.py",
        CATCH.format("Exception", "", "raise ValueError from None"),
        "3: broad-except",
    ),
    "a neighbour of an edge is no edge": (
        "mcp_server/tools_more.py",
        CATCH.format("Exception", "", "pass"),
        "3: broad-except",
    ),
    "time.sleep in a test": ("tests/a.py", "import time\ntime.sleep(1)\n", "2: sleep"),
    "asyncio.sleep in a test": (
        "tests/a.py",
        "async def f():\n    await asyncio.sleep(1)\n",
        "2: sleep",
    ),
    "sleep by its bare name": ("tests/a.py", "from time import sleep\nsleep(1)\n", "2: sleep"),
    "commit in a use case": ("mcp_server/memory.py", "db.commit()\n", "1: commit"),
    "commit in words": ("mcp_server/memory.py", 'db.execute("commit")\n', "1: commit"),
    "commit in shared": ("shared/__init__.py", "db.commit()\n", "1: commit"),
    "excuse without a reason": (
        "mcp_server/memory.py",
        "db.commit()  # allow commit:\n",
        "1: commit",
    ),
    "excuse for another rule": (
        "mcp_server/memory.py",
        "db.commit()  # allow sleep: x\n",
        "1: commit",
    ),
}
FINE = {
    "function of 70 lines": ("mcp_server/a.py", LONG.removesuffix("    print()\n")),
    "named error": ("mcp_server/a.py", CATCH.format("OSError", "", "pass")),
    "broad but raised again": (
        "mcp_server/a.py",
        CATCH.format("BaseException", "", "close()\n    raise"),
    ),
    "broad at the tool edge": ("mcp_server/tools.py", CATCH.format("Exception", "", "pass")),
    "broad in a command": ("mcp_server/cli/init.py", CATCH.format("Exception", "", "pass")),
    "sleep in the product": ("mcp_server/a.py", "import time\ntime.sleep(1)\n"),
    "commit in the vault": ("mcp_server/vault/db.py", "db.commit()\n"),
    "commit in a test": ("tests/a.py", "db.commit()\n"),
    "a word that only starts like one": ("mcp_server/a.py", 'committed("commit")\n'),
    "excused, with a reason": ("tests/a.py", "time.sleep(1)  # allow sleep: the clock is tested\n"),
    "long but excused": (
        "mcp_server/a.py",
        LONG.replace(":\n", ":  # allow long-function: one SQL text\n", 1),
    ),
    "broad with a reason for ruff": (
        "mcp_server/a.py",
        CATCH.format("Exception", "  # noqa: BLE001 (a plugin's)", "pass"),
    ),
    "broad but excused": (
        "mcp_server/a.py",
        CATCH.format("Exception", "  # allow broad-except: a plugin's", "pass"),
    ),
}


@pytest.mark.parametrize(("path", "text", "finding"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_found_with_its_place(
    tmp_path: Path, path: str, text: str, finding: str
) -> None:
    assert _lint(tmp_path, {path: text}) == [f"{path}:{finding}"]


@pytest.mark.parametrize(("path", "text"), FINE.values(), ids=FINE.keys())
def test_what_is_allowed_is_not_found(tmp_path: Path, path: str, text: str) -> None:
    assert _lint(tmp_path, {path: text}) == []


def test_a_shared_module_with_one_importing_package_belongs_to_that_package(tmp_path: Path) -> None:
    files = {"shared/ids.py": "", "mcp_server/a.py": "from shared.ids import x\n"}
    assert _lint(tmp_path, files) == ["shared/ids.py:1: shared-module"]


def test_importers_inside_of_shared_do_not_count(tmp_path: Path) -> None:
    files = {
        "shared/ids.py": "",
        "shared/clock.py": "# allow shared-module: made for this test\nimport shared.ids\n",
        "mcp_server/a.py": "import shared.ids\n",
    }
    assert _lint(tmp_path, files) == ["shared/ids.py:1: shared-module"]


def test_a_shared_module_of_two_packages_stays_whatever_the_form_of_the_import(
    tmp_path: Path,
) -> None:
    files = {
        "shared/__init__.py": "",
        "shared/ids.py": "",
        "mcp_server/a.py": "from shared import ids\n",
        "tests/a.py": "def f() -> None:\n    import shared.ids\n",
    }
    assert _lint(tmp_path, files) == []
