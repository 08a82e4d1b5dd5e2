"""What docs/sync-proofs.md names as a proof is a test that runs."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_a_proof_names_exists() -> None:
    said = (ROOT / "docs" / "sync-proofs.md").read_text(encoding="utf-8")
    named = set(NAMED.findall(said))
    assert len(named) > 80
    missing = {f"{path}::{name}" for path, name in named if name not in _defined(ROOT / path)}
    assert missing == set()


def test_no_row_of_the_proofs_is_without_a_test() -> None:
    said = (ROOT / "docs" / "sync-proofs.md").read_text(encoding="utf-8")
    rows = [line for line in said.splitlines() if line.startswith("| ") and "::" not in line]
    assert set(rows) == {"| what has to hold | proved by |"}


def _defined(path: Path) -> set[str]:
    """Tests, and state machines: a machine runs where its `TestCase` is given a name."""
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }
    machines = {
        node.value.value.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "TestCase"
        and isinstance(node.value.value, ast.Name)
    }
    return tests | machines
