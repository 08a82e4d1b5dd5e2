"""What every command keeps to: one JSON value, a sentence on stderr, an exit code that says how it went."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.people import SUNAIVA, Person

READING = [
    ["recall", "anything"],
    ["list"],
    ["audit"],
    ["audit", "--verify"],
    ["permit"],
    ["permit", "Careful", "work", "read"],
    ["doctor"],
    ["agent", "--background"],
    ["connect", "--dry-run", "claude-code"],
]
REFUSED = {
    "a memory that is not there": (
        ["show", "0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20"],
        "not_found",
        "There is no memory",
    ),
    "an id that is none": (["show", "yesterday's"], "invalid", "is not a memory id"),
    "nothing to forget": (["forget", "--yes"], "invalid", "Give ids"),
    "an empty text": (["remember", "  "], "invalid", "is empty"),
    "a time nobody understands": (
        ["list", "--when", "soonish"],
        "invalid",
        "Examples: 2023-05",
    ),
    "a moment nobody understands": (
        ["remember", "x", "--at", "soonish"],
        "invalid",
        "Write ISO 8601",
    ),
    "a cursor of somebody else": (["list", "--cursor", "abc"], "invalid", "cursor"),
    "no question": (["recall"], "invalid", "The question is empty"),
    "half a permission": (["permit", "Careful", "work"], "invalid", "none|read|write"),
    "a file that is not there": (["import", "nowhere.json"], "not_found", "nowhere.json"),
    "an export without a format": (["export", "mine.docx"], "invalid", "Add --format"),
    "two opposite wishes": (["consolidate", "--undo", "--dry-run"], "invalid", "not both"),
    "a backup in a folder that is not there": (
        ["backup", "/nowhere/at/all"],
        "unavailable",
        "could not be written",
    ),
    "no such backup": (["restore", "nowhere.backup", "--yes"], "not_found", "nowhere.backup"),
    "an assistant nobody knows": (["connect", "hal9000"], "not_found", "hal9000"),
}


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_every_command_answers_in_one_json_value(person: Person, arguments: list[str]) -> None:
    ran = person.runs(*arguments, "--json")
    assert ran.code == 0, ran.err
    assert ran.out.count("\n") == 1
    assert ran.json is not None


@pytest.mark.parametrize(("arguments", "code", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_done_is_said_and_ends_with_1(
    person: Person, arguments: list[str], code: str, sentence: str
) -> None:
    ran = person.runs(*arguments, "--json")
    assert ran.code == 1
    assert ran.json["error"]["code"] == code
    assert sentence in ran.json["error"]["message"]
    assert sentence in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "arguments",
    [["recal"], ["list", "--nope"], ["list", "--limit", "many"], ["remember", "x", "-k", "rumour"]],
    ids=" ".join,
)
def test_a_wrong_command_line_ends_with_2(person: Person, arguments: list[str]) -> None:
    ran = person.runs(*arguments, "--json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "invalid"
    assert ran.err


@pytest.mark.parametrize(
    "arguments", [["remember", b"caf\xe9"], ["recall", b"caf\xe9"], ["forget", b"\xff"]], ids=str
)
def test_an_argument_that_is_not_utf_8_is_refused(
    person: Person, arguments: list[str | bytes]
) -> None:
    ran = person.runs(*arguments, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (1, "invalid")
    assert f"Argument {len(arguments)} is not UTF-8" in ran.err


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (b"caf\xe9", "not UTF-8 (byte 3)"),
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"x" * 10_000_000, "More than 1,000,000 bytes"),
        ("é".encode() * 500_001, "More than 1,000,000 bytes"),
    ],
    ids=["latin-1", "nothing", "white space", "10 MB", "a byte too many"],
)
def test_what_stdin_may_not_hold_is_refused(person: Person, said: bytes, sentence: str) -> None:
    before = person.asks("health")["memories"]
    ran = person.runs("remember", "-", stdin=said)
    assert ran.code == 1
    assert sentence in ran.err
    assert person.asks("health")["memories"] == before


def test_nul_bytes_are_kept_like_any_other(person: Person) -> None:
    text = "before\0after the nul"
    stored = person.gets("remember", "-", stdin=text.encode())["id"]
    assert person.has(stored)["text"] == text
    assert "before␀after" in person.runs("show", stored).out


def test_an_unknown_setting_is_refused_by_name(person: Person) -> None:
    ran = person.runs("list", "--json", SUNAIVA_HOEM="/tmp")
    assert (ran.code, ran.json["error"]["code"]) == (1, "invalid")
    assert "Unknown setting SUNAIVA_HOEM" in ran.err
    assert "SUNAIVA_HOME" in ran.err


def test_without_a_vault_every_command_says_how_to_make_one(person: Person, tmp_path: Path) -> None:
    for arguments in (["list"], ["remember", "x"], ["doctor"], ["rekey"]):
        ran = person.runs(*arguments, "--json", SUNAIVA_HOME=str(tmp_path / "none"))
        assert (ran.code, ran.json["error"]["code"]) == (1, "not_found")
        assert "sunaiva init" in ran.err


def test_a_reader_who_has_seen_enough_ends_nothing_badly(person: Person) -> None:
    rows = [
        {"text": f"Row {number} {'x' * 500}", "space": "long", "source": {"trust": "imported"}}
        for number in range(200)
    ]
    person.asks("remember", drafts=rows)
    listing = subprocess.Popen(
        [SUNAIVA, "list", "--space", "long", "--limit", "200"],
        env=person.device.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    os.read(listing.stdout.fileno(), 10)
    listing.stdout.close()
    said = listing.stderr.read()
    listing.stderr.close()
    assert listing.wait() == 0
    assert said == b""


def test_help_version_and_completion_are_there(person: Person) -> None:
    helped = person.runs("--help")
    assert helped.code == 0
    for word in ("remember", "install-completion", "doctor"):
        assert word in helped.out
    assert " hook" not in helped.out
    assert person.runs("--version").code == 0
    completion = person.runs("install-completion", "--shell", "bash")
    assert completion.code == 0
    home = Path(person.device.environ["HOME"])
    assert [path for path in home.rglob("*sunaiva*") if path.is_file()]
