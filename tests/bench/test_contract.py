"""The contract of every bench: names, exit status, and exactly one JSON object on stdout."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.__main__ import BENCHES
from bench.machine import Machine, commit, machine
from bench.report import Report, at_least, at_most, flatten, status, write_json, write_table

PROJECT = Path(__file__).resolve().parents[2]
MACHINE = Machine(cpu="A CPU", cores=2, memory_gib=24, python="3.11.7")


def report(*bars):
    return Report(
        bench="recall",
        commit="abc",
        machine=MACHINE,
        options={"seed": 7},
        results={"set": {"turn": {"any@10": 0.5}, "empty": float("nan")}},
        bars=list(bars),
        seconds=1.5,
    )


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_every_bench_is_named_by_list() -> None:
    done = run("--list")

    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(BENCHES)


def test_an_unknown_bench_is_refused_by_name() -> None:
    done = run("recal")

    assert done.returncode == 2
    assert "recall" in done.stderr


def test_what_cannot_be_measured_ends_with_two_and_the_reason_on_stderr(tmp_path) -> None:
    file = tmp_path / "notes.json"
    file.write_text('{"name": 1}')

    done = run("recall", str(file), "--json")

    assert done.returncode == 2
    assert done.stdout == ""
    assert "is not a recall data set" in done.stderr


def test_the_json_object_has_the_fields_of_the_contract(capfdbinary) -> None:
    write_json(report(at_least("turn any@10", 0.5, 0.9), at_most("ms", 20.0, 50.0)))

    printed = capfdbinary.readouterr().out
    assert printed.count(b"\n") == 1
    assert json.loads(printed) == {
        "bench": "recall",
        "commit": "abc",
        "machine": {"cpu": "A CPU", "cores": 2, "memory_gib": 24, "python": "3.11.7"},
        "options": {"seed": 7},
        "results": {"set": {"turn": {"any@10": 0.5}, "empty": None}},
        "bars": [
            {"name": "turn any@10", "value": 0.5, "bar": 0.9, "better": "higher", "holds": False},
            {"name": "ms", "value": 20.0, "bar": 50.0, "better": "lower", "holds": True},
        ],
        "seconds": 1.5,
    }


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ([], 0),
        ([at_least("a", 0.9, 0.9)], 0),
        ([at_least("a", 0.9, 0.9), at_most("b", 50.1, 50)], 1),
        ([at_least("a", float("nan"), 0.9)], 1),
    ],
    ids=["no bars", "just holds", "one falls short", "not a number"],
)
def test_the_exit_status_says_whether_every_bar_holds(bars, expected) -> None:
    assert status(report(*bars)) == expected


def test_the_table_shows_figures_and_verdicts(capsys) -> None:
    write_table(report(at_least("turn any@10", 0.5, 0.9)))

    printed = capsys.readouterr().out
    assert "set.turn.any@10" in printed
    assert "falls short" in printed


def test_figures_are_flattened_in_their_order() -> None:
    assert flatten({"b": {"y": 1, "x": {"z": 2}}, "a": 3}) == [("b.y", 1), ("b.x.z", 2), ("a", 3)]


def test_the_machine_is_described_without_its_name() -> None:
    about = msgspec.to_builtins(machine())

    assert set(about) == {"cpu", "cores", "memory_gib", "python"}
    assert about["cores"] >= 1


def test_the_commit_is_one_word() -> None:
    assert len(commit().split()) == 1
