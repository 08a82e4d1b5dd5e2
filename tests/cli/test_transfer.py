"""Memories in and out at a terminal."""

import json
import signal
import sqlite3
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_server.exporters import lines
from mcp_server.model import Memory, Source
from shared.clock import from_ms
from shared.ids import IdFactory
from tests.people import PATIENCE_SECONDS, SUNAIVA, Person

MANY = 4_000


def _memories(number: int, space: str) -> list[Memory]:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    ids = IdFactory(lambda: moment)
    return [
        Memory(
            id=ids.memory_id(), text=f"Entry {each} of the ship's log", kind="note", space=space, tags=("log",), links=(),
            source=Source(trust="imported", tool="test"), occurred_at=from_ms(each * 60_000), valid_from=None,
            valid_to=None, speaker=None, conversation=None, position=None, importance=0.5, pinned=False, archived=False,
            superseded_by=None, version=1, created_at=moment, updated_at=moment,
        )
        for each in range(number)
    ]  # fmt: skip


def _file(path: Path, memories: list[Memory]) -> Path:
    path.write_bytes(lines.HEADER + b"".join(map(lines.encode, memories)))
    return path


def test_importing_twice_adds_nothing(person: Person, tmp_path: Path) -> None:
    file = _file(tmp_path / "log.jsonl", _memories(5, "twice"))
    first, second = person.gets("import", file), person.gets("import", file)
    assert (first["stored"], first["known"], first["problems"]) == (5, 0, [])
    assert (second["stored"], second["known"]) == (0, 5)
    shown = person.runs("import", file)
    assert shown.code == 0
    assert "0 memories stored, 5 known already" in shown.out


def test_ctrl_c_during_an_import_keeps_what_was_stored_and_a_second_run_completes(
    person: Person, tmp_path: Path
) -> None:
    file = _file(tmp_path / "log.jsonl", _memories(MANY, "interrupted"))
    importing = subprocess.Popen(
        [SUNAIVA, "import", file],
        env=person.device.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not person.asks("list", space="interrupted", limit=1)["memories"]:
        assert importing.poll() is None
    importing.send_signal(signal.SIGINT)
    out, err = importing.communicate(timeout=PATIENCE_SECONDS)
    assert (importing.returncode, out) == (130, b"")
    assert b"Interrupted: " in err
    assert b"Run the same command again" in err
    assert b"Traceback" not in err
    second = person.gets("import", file)
    assert second["stored"] + second["known"] == MANY
    assert second["known"] > 0
    assert person.gets("import", file)["known"] == MANY


def test_every_format_is_written_by_the_name_of_the_file(person: Person, tmp_path: Path) -> None:
    person.stores("Written in four ways")
    for name, format in (
        ("all.jsonl", "jsonl"),
        ("all.zip", "zip"),
        ("all.sqlite", "sqlite"),
        ("notes", "markdown"),
    ):
        report = person.gets("export", tmp_path / name)
        assert report["format"] == format
        assert report["memories"] > 0
    assert b"Written in four ways" in (tmp_path / "all.jsonl").read_bytes()
    assert zipfile.ZipFile(tmp_path / "all.zip").testzip() is None
    with sqlite3.connect(tmp_path / "all.sqlite") as db:
        (found,) = db.execute(
            "SELECT count(*) FROM memories WHERE text = 'Written in four ways'"
        ).fetchone()
    db.close()
    assert found == 1
    assert any("Written in four ways" in p.read_text() for p in (tmp_path / "notes").rglob("*.md"))


def test_an_export_never_overwrites_unasked(person: Person, tmp_path: Path) -> None:
    target = tmp_path / "mine.jsonl"
    target.write_text("precious")
    refused = person.runs("export", target, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "conflict")
    assert target.read_text() == "precious"
    assert person.runs("export", target, "--overwrite").code == 0
    assert target.read_text() != "precious"


def test_a_sealed_export_opens_with_its_passphrase_only(person: Person, tmp_path: Path) -> None:
    person.stores("Sealed with wax")
    target = tmp_path / "mine.zip.sealed"
    sealed = person.types(
        "export",
        target,
        "--passphrase",
        answers=[("for the export: ", "open sesame\n"), ("Once more: ", "open sesame\n")],
    )
    assert sealed.code == 0
    assert b"Sealed with wax" not in target.read_bytes()
    wrong = person.types("import", target, answers=[(": ", "open barley\n")])
    assert wrong.code == 1
    right = person.types("import", target, answers=[(": ", "open sesame\n")])
    assert right.code == 0
    assert " 0 memories stored" in right.out


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"sunaiva_export": 99}\n', "newer"),
        (b"", "give the file"),
        (b"\x00\x01\x02 not text at all", "give the file"),
    ],
    ids=["of a newer version", "empty", "binary"],
)
def test_a_file_that_cannot_be_read_is_named_and_nothing_is_stored(
    person: Person, tmp_path: Path, content: bytes, sentence: str
) -> None:
    header = json.loads(lines.HEADER)
    number = next(key for key, value in header.items() if isinstance(value, int))
    if b"99" in content:
        content = json.dumps(header | {number: 99}).encode() + b"\n"
    file = tmp_path / "strange.jsonl"
    file.write_bytes(content)
    before = person.asks("health")["memories"]
    ran = person.runs("import", file, "--json")
    assert ran.code == 1
    assert "strange.jsonl" in ran.json["error"]["message"]
    assert sentence in ran.json["error"]["message"].lower()
    assert person.asks("health")["memories"] == before


def test_an_import_that_breaks_off_says_how_much_was_stored(person: Person, tmp_path: Path) -> None:
    said = ("The tide tables are in the blue folder", "x" * 99)
    whole = json.dumps([{"memory": each, "id": f"m{len(each)}"} for each in said])
    file = tmp_path / "mem0.json"
    file.write_text(whole[:-20])
    ran = person.runs("import", file, "--format", "mem0")
    assert ran.code == 1
    assert "Before this: 1 memory stored, 0 known already. They stay." in ran.err


def test_a_memory_without_a_space_in_an_export_is_named_by_its_id_and_stops_no_other(
    person: Person, tmp_path: Path
) -> None:
    good, bad = _memories(2, "spaceless")
    broken = lines.encode(bad).replace(b'"space":"spaceless"', b'"space":""')
    file = tmp_path / "log.jsonl"
    file.write_bytes(lines.HEADER + lines.encode(good) + broken)
    ran = person.runs("import", file)
    assert ran.code == 0
    assert f"{bad.id}: The memory's space is ''" in ran.err
    assert "1 memory stored" in ran.out
