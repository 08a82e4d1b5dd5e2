import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from mcp_server.exporters import FORMATS, ExportReport
from mcp_server.exporters.lines import encode
from mcp_server.importers import Item
from mcp_server.model import Link, Memory
from shared.errors import ConflictError, ForbiddenError, InvalidError
from shared.ids import MemoryId

Make = Callable[..., Memory]
Export = Callable[..., ExportReport]


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_is_readable_by_its_owner_alone_and_says_what_it_is(
    format: str, tmp_path: Path, memory: Make, export: Export
) -> None:
    report = export([memory(1), memory(2)], tmp_path / "out", format)
    assert report.memories == 2
    assert report.bytes > 100
    assert "not encrypted" in report.note
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_vault_exports(format: str, tmp_path: Path, export: Export) -> None:
    assert export([], tmp_path / "out", format).memories == 0


@pytest.mark.parametrize("format", FORMATS)
def test_what_exists_is_left_alone_unless_asked(
    format: str, tmp_path: Path, memory: Make, export: Export
) -> None:
    out = tmp_path / "out"
    export([memory(1)], out, format)
    before = out.stat()
    with pytest.raises(ConflictError, match="exists already"):
        export([memory(2)], out, format)
    assert out.stat() == before
    assert export([memory(2), memory(3)], out, format, overwrite=True).memories == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_is_no_export_is_never_replaced(
    tmp_path: Path, memory: Make, export: Export
) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "README.md").write_text("# My letters\n")
    with pytest.raises(InvalidError, match="not a folder that Sunaiva exported"):
        export([memory(1)], documents, "markdown", overwrite=True)
    assert (documents / "README.md").read_text() == "# My letters\n"


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_fails_leaves_nothing(
    format: str, tmp_path: Path, memory: Make, export: Export
) -> None:
    def torn() -> Iterator[Memory]:
        yield memory(1)
        raise ConnectionResetError("the agent went away")

    with pytest.raises(ConnectionResetError):
        export(torn(), tmp_path / "out", format)
    assert list(tmp_path.iterdir()) == []


_ON_A_SMALL_DISK = """
import random, resource, sys
from pathlib import Path
from msgspec.structs import replace
from mcp_server import exporters
from mcp_server.exporters.lines import decode
from shared.clock import from_ms
from shared.errors import UnavailableError
from shared.ids import MemoryId

# What a full disk does to a writer, without filling one: no file may grow beyond this.
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
plain = decode(sys.stdin.buffer.read())
vault = (
    replace(plain, id=MemoryId(f"{plain.id[:-4]}{n:04x}"), text=random.Random(n).randbytes(2_000).hex())
    for n in range(100)
)
try:
    exporters.write(vault, Path(sys.argv[1]), sys.argv[2], clock=lambda: from_ms(0))
except UnavailableError as error:
    print(error)
"""


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_said_and_leaves_nothing(format: str, tmp_path: Path, memory: Make) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", _ON_A_SMALL_DISK, str(tmp_path / "out"), format],
        input=encode(memory(1)),
        capture_output=True,
        check=False,
    )
    assert finished.stderr == b""
    assert b"not enough space" in finished.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_and_a_folder_as_file_are_told_apart(
    tmp_path: Path, memory: Make, export: Export
) -> None:
    with pytest.raises(InvalidError, match="There is no folder"):
        export([memory(1)], tmp_path / "missing" / "out.jsonl", "jsonl")
    with pytest.raises(InvalidError, match="is a folder"):
        export([memory(1)], tmp_path, "jsonl")


def test_only_the_zip_takes_a_passphrase(tmp_path: Path, memory: Make, export: Export) -> None:
    with pytest.raises(InvalidError, match="Only the zip"):
        export([memory(1)], tmp_path / "out.jsonl", "jsonl", passphrase="secret")
    with pytest.raises(InvalidError, match="empty"):
        export([memory(1)], tmp_path / "out.zip", "zip", passphrase="")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused_with_the_known_ones(
    tmp_path: Path, memory: Make, export: Export
) -> None:
    with pytest.raises(InvalidError, match="jsonl, markdown, sqlite, zip"):
        export([memory(1)], tmp_path / "out", "pdf")


def test_the_database_holds_every_field(tmp_path: Path, memory: Make, export: Export) -> None:
    link = Link("about", MemoryId("0199f2f4-9c1e-7a10-8f7e-000000000009"))
    export(
        [memory(1, "Zoë's NUL: \0.", tags=("a", "b"), links=(link,), pinned=True)],
        tmp_path / "out.sqlite",
        "sqlite",
    )
    with closing(sqlite3.connect(tmp_path / "out.sqlite")) as db:
        db.row_factory = sqlite3.Row
        row = dict(db.execute("SELECT * FROM memories").fetchone())
        assert [each["tag"] for each in db.execute("SELECT tag FROM tags")] == ["a", "b"]
        assert [tuple(each) for each in db.execute("SELECT * FROM links")] == [
            ("0199f2f4-9c1e-7a10-8f7e-000000000001", "about", link.target)
        ]
        about = dict(tuple(each) for each in db.execute("SELECT about, text FROM README"))
    assert row == {
        "id": "0199f2f4-9c1e-7a10-8f7e-000000000001",
        "text": "Zoë's NUL: \0.",
        "kind": "fact",
        "space": "personal",
        "occurred_at": None,
        "valid_from": None,
        "valid_to": None,
        "speaker": None,
        "conversation": None,
        "position": None,
        "trust": "said_by_user",
        "client": "claude-desktop",
        "tool": "remember",
        "key": None,
        "importance": 0.5,
        "pinned": 1,
        "archived": 0,
        "superseded_by": None,
        "version": 1,
        "created_at": "2026-03-01T12:00:00.000Z",
        "updated_at": "2026-03-01T12:00:00.000Z",
    }
    assert about["exported_at"] == "2026-03-01T12:00:00.000Z"
    assert "not encrypted" in about["what"]


def test_the_zip_explains_itself_to_any_tool(tmp_path: Path, memory: Make, export: Export) -> None:
    export([memory(1)], tmp_path / "out.zip", "zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["README.txt", "memories.jsonl", "schema.json"]
        header, line = archive.read("memories.jsonl").splitlines()
        schema = msgspec.json.decode(archive.read("schema.json"))
    assert header == b'{"format":1,"sunaiva":"export"}'
    described = schema["$defs"]["MemoryLine"]
    assert set(msgspec.json.decode(line)) <= set(described["properties"])
    assert set(described["required"]) <= set(msgspec.json.decode(line))


def test_a_sealed_zip_needs_its_own_passphrase(
    tmp_path: Path, memory: Make, export: Export, read: Callable[..., list[Item]]
) -> None:
    sealed = tmp_path / "out.zip.sealed"
    export([memory(1)], sealed, "zip", passphrase="correct horse")
    with pytest.raises(ForbiddenError, match="Give the passphrase"):
        read(sealed)
    with pytest.raises(ForbiddenError, match="does not open"):
        read(sealed, passphrase="wrong horse")


def test_two_sealed_zips_of_one_vault_have_nothing_in_common(
    tmp_path: Path, memory: Make, export: Export
) -> None:
    first, second = tmp_path / "1.zip.sealed", tmp_path / "2.zip.sealed"
    for path in (first, second):
        export([memory(1)], path, "zip", passphrase="correct horse")
    a, b = (path.read_bytes().split(b"\n", 1)[1] for path in (first, second))
    assert a[1:] != b[1:]
    assert a[1:33] != b[1:33]
