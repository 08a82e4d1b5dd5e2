"""What a person reads about sync."""

from pathlib import Path
from typing import Any

import pytest

from mcp_server.cli.sync import show_status
from mcp_server.vault.words import words_of
from tests.people import Person


def shown(capsys: pytest.CaptureFixture[str], **status: Any) -> str:
    show_status(status)
    read = capsys.readouterr()
    assert read.err == "", "what stands beside the answer is missed by whoever keeps the answer"
    return read.out


def test_a_device_that_came_and_has_not_joined_is_told_to_pair(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = shown(capsys, state="not_set_up", kind="cloud", place="https://cloud.example.org")
    assert "`sunaiva pair`" in read
    assert "Begin with" not in read


def test_one_is_one_and_no_tick_stands_above_an_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    at = "2026-11-21T12:00:00Z"
    alarm = {"kind": "gap", "subject": "a", "sentence": "Something is missing.", "times": 1}
    alarm |= {"first_at": at, "last_at": at}
    read = shown(capsys, state="waiting", device="study", devices=1, conflicts=1, alarms=[alarm])
    assert "1 device;" in read
    assert "1 memory was changed" in read
    assert "Something is missing. (gap)" in read
    assert "✓" not in read


def test_an_alarm_names_the_device_and_a_deleted_vault_is_no_tick(
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = "2026-11-21T12:00:00Z"
    alarm = {"kind": "deleted", "subject": "vault", "sentence": "Put it back.", "times": 1}
    gap = {"kind": "gap", "subject": "a", "sentence": "Something is missing.", "times": 1}
    alarms = [
        {**alarm, "first_at": at, "last_at": at},
        {**gap, "device": "phone", "first_at": at, "last_at": at},
    ]
    read = shown(capsys, state="deleted", device="study", devices=1, alarms=alarms)
    assert "this vault was deleted" in read
    assert "Put it back. (deleted)" in read
    assert "Something is missing. (gap, phone)" in read
    assert "✓" not in read


def test_what_waits_for_a_charger_or_another_network_is_said_in_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = shown(capsys, state="waiting", device="study", is_metered=True, is_battery_low=True)
    assert (
        "What can wait does: snapshots, because this network is metered; reading by meaning and packing, because the battery is low."
        in " ".join(read.split())
    )
    assert "What can wait" not in shown(capsys, state="waiting", device="study")


def test_whoever_mistypes_the_words_is_asked_again(newcomer: Person, tmp_path: Path) -> None:
    own = newcomer.gets("init")["recovery_words"]
    stick = tmp_path / "stick"
    stick.mkdir()
    mistyped = own.replace(own.split()[0], "aaa", 1)
    asked = "Type the twelve recovery words:"
    done = newcomer.types(
        *("sync", "folder", stick, "--name", "study"),
        answers=[
            (asked, f"{mistyped}\r"),
            ("is not a recovery word", ""),
            (asked, f"{words_of(bytes(16))}\r"),
            ("not this vault's", ""),
            (asked, f"{own}\r"),
        ],
    )
    assert done.code == 0, done.out
    assert [one["name"] for one in newcomer.gets("devices")] == ["study"]


def test_whoever_types_no_words_is_not_asked_again(newcomer: Person, tmp_path: Path) -> None:
    newcomer.gets("init")
    done = newcomer.types(
        "sync", "folder", tmp_path, answers=[("Type the twelve recovery words:", "\r")]
    )
    assert done.code != 0
    assert "0 were given" in done.out
