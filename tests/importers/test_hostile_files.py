import json
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_server import importers
from mcp_server.exporters.lines import HEADER, encode
from mcp_server.importers import Item, Problem
from mcp_server.model import Draft
from shared.errors import CorruptError, InvalidError, NotFoundError
from tests.builders import memory

Read = Callable[..., list[Item]]
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "/etc/evil.json",
        "a/../../evil.json",
        "C:\\evil.json",
        "..\\evil.json",
        "a\x1b[2J.json",
    ],
    ids=["up", "root", "up-inside", "drive", "backslash", "terminal"],
)
def test_a_zip_whose_names_lead_elsewhere_is_refused(
    name: str, zipped: Callable[..., Path], read: Read, chatgpt_json: str
) -> None:
    path = zipped({"conversations.json": chatgpt_json, name: "{}"})
    with pytest.raises(InvalidError, match="leads out of its folder") as caught:
        read(path)
    assert "\x1b" not in str(caught.value)


def test_a_zip_bomb_is_stopped_while_it_unpacks(zipped: Callable[..., Path], read: Read) -> None:
    bomb = zipped({"conversations.json": b"[" + b" " * 100_000_000})
    assert bomb.stat().st_size < 200_000
    with pytest.raises(InvalidError, match="zip bomb"):
        read(bomb, "chatgpt")


def test_a_zip_that_lies_about_its_sizes_is_stopped_all_the_same(
    zipped: Callable[..., Path], read: Read
) -> None:
    bomb = zipped({"conversations.json": b"[" + b" " * 100_000_000})
    written = bomb.read_bytes()
    true_size = struct.pack("<I", 100_000_001)
    assert written.count(true_size) == 2
    bomb.write_bytes(written.replace(true_size, struct.pack("<I", 50)))
    with pytest.raises((InvalidError, CorruptError)):
        read(bomb, "chatgpt")


def test_bombs_are_counted_over_all_members(zipped: Callable[..., Path], read: Read) -> None:
    bomb = zipped(
        {f"conversations-{n:03}.json": b"[" + b" " * 10_000_000 + b"]" for n in range(10)}
    )
    with pytest.raises(InvalidError, match="zip bomb"):
        read(bomb, "chatgpt")


def test_a_zip_that_lists_too_many_files_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65_535, 65_535, 50_000_000, 0, 0)
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.seek(50_000_000)
        file.write(end)
    with pytest.raises(InvalidError, match="far more files"):
        importers.detect(path)


def test_a_truncated_zip_is_called_damaged(
    zipped: Callable[..., Path], read: Read, chatgpt_json: str
) -> None:
    path = zipped({"conversations.json": chatgpt_json})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CorruptError, match="Download it again"):
        read(path)


def test_a_flipped_bit_in_a_zip_is_noticed(
    zipped: Callable[..., Path], read: Read, chatgpt_json: str
) -> None:
    path = zipped({"conversations.json": chatgpt_json})
    written = bytearray(path.read_bytes())
    written[200] ^= 0xFF
    path.write_bytes(written)
    with pytest.raises(CorruptError):
        read(path, "chatgpt")


def test_a_name_twice_in_a_zip_is_refused(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.md", "one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.md", "two")
    with pytest.raises(InvalidError, match="twice"):
        read(path)


def test_a_locked_zip_says_what_to_do(
    zipped: Callable[..., Path], read: Read, chatgpt_json: str
) -> None:
    path = zipped({"conversations.json": chatgpt_json})
    written = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        written[written.index(mark) + flags] |= 1
    path.write_bytes(written)
    with pytest.raises(InvalidError, match="locked with a password"):
        read(path)


def test_symbolic_links_are_not_followed(
    tmp_path: Path, folder: Callable[..., Path], read: Read
) -> None:
    (tmp_path / "secret.md").write_text("Not yours.")
    root = folder({"a.md": "Mine."})
    (root / "b.md").symlink_to(tmp_path / "secret.md")
    (root / "round").symlink_to(root, target_is_directory=True)
    assert [item.text for item in read(root) if isinstance(item, Draft)] == ["a\n\nMine."]


def test_a_link_inside_of_a_zip_is_only_text(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "link.zip"
    link = zipfile.ZipInfo("passwd.md")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert [item.text for item in read(path) if isinstance(item, Draft)] == [
        "passwd\n\n/etc/passwd"
    ]


def test_nothing_is_unpacked_onto_the_disk(
    tmp_path: Path, zipped: Callable[..., Path], read: Read, chatgpt_json: str
) -> None:
    path = zipped({"conversations.json": chatgpt_json})
    read(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InvalidError, match="neither a file nor a folder"):
        importers.detect(tmp_path / "pipe.json")


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="Check the path"):
        importers.detect(tmp_path / "missing.zip")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x89PNG\r\n", b'{"a": 1}', b"[]", b"\0" * 100, b"{" * 100_000, b'"' * 99_999],
    ids=["empty", "text", "png", "object", "list", "nul", "deep", "quotes"],
)
def test_an_unknown_file_lists_what_was_looked_for(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(InvalidError, match=r"conversations\.json.*server-memory.*mem0.*Markdown"):
        importers.detect(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"hello", "not JSON"),
        ("[{}]".encode("utf-16"), "UTF-16"),
    ],
    ids=["empty", "text", "utf16"],
)
def test_a_file_that_is_no_json_is_said_to_be_none(
    tmp_path: Path, content: bytes, why: str, read: Read
) -> None:
    path = tmp_path / "conversations.json"
    path.write_bytes(content)
    with pytest.raises(InvalidError, match=why):
        read(path, "chatgpt")


def test_an_export_cut_short_yields_what_is_whole_and_then_says_so(
    tmp_path: Path, chatgpt_json: str
) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(f"[{chatgpt_json[1:-1]}, {chatgpt_json[1:-1]}"[:-300])
    items = importers.read(path, "chatgpt", clock=lambda: NOW)
    assert len([next(items) for _ in range(3)]) == 3
    with pytest.raises(CorruptError, match="kept and not added twice"):
        next(items)


@pytest.mark.parametrize(
    ("bad", "why"), [(b"", "is empty"), (b"oops", "not JSON"), (b"[{", "in the middle of a record")]
)
def test_one_bad_file_among_others_does_not_stop_them(
    bad: bytes, why: str, folder: Callable[..., Path], read: Read, chatgpt_json: str
) -> None:
    root = folder({"conversations-000.json": bad, "conversations-001.json": chatgpt_json})
    problem, *turns = read(root, "chatgpt")
    assert isinstance(problem, Problem)
    assert why in problem.why
    assert len(turns) == 3


def test_the_wrong_format_is_given_up_on_soon(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"type": "log", "line": 1}\n' * 100_000)
    items = importers.read(path, "server-memory", clock=lambda: NOW)
    assert all(isinstance(next(items), Problem) for _ in range(100))
    with pytest.raises(InvalidError, match="name another format"):
        next(items)


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path, read: Read) -> None:
    with pytest.raises(InvalidError, match="chatgpt, claude"):
        read(tmp_path, "evernote")


@pytest.mark.parametrize(
    "line",
    [b'{"format":2,"sunaiva":"export"}\n', b'{"format":9,"new":[1],"sunaiva":"export"}\n'],
)
def test_an_export_of_a_newer_version_is_refused(tmp_path: Path, read: Read, line: bytes) -> None:
    path = tmp_path / "memories.jsonl"
    path.write_bytes(line + b'{"whatever":1}\n')
    with pytest.raises(InvalidError, match="Update Sunaiva"):
        read(path)


def test_a_sealed_export_of_a_newer_version_is_refused(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "memories.zip.sealed"
    path.write_bytes(b'{"cost":{"new":1},"format":2,"sunaiva":"sealed export"}\n...')
    with pytest.raises(InvalidError, match="Update Sunaiva"):
        read(path, passphrase="x")


def test_a_sealed_export_cut_short_is_called_damaged(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "memories.zip.sealed"
    path.write_bytes(b'{"cost":{"lanes":4,"memory_kib":655')
    with pytest.raises(CorruptError, match="Take another copy"):
        read(path, passphrase="x")


def test_our_own_export_cut_short_is_called_incomplete(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "memories.jsonl"
    path.write_bytes(b'{"format":1,"sunaiva":"export"}\n{"created_at":"2026-')
    with pytest.raises(CorruptError, match="not complete"):
        read(path)


@pytest.mark.parametrize(
    "strange",
    [
        {"tags": [""]},
        {"tags": [f"tag {number}" for number in range(40)]},
        {"speaker": "x" * 300},
        {"space": "a\tb"},
        {"position": (1 << 62) + 1},
        {"version": 1 << 63},
    ],
    ids=["no-tag", "many-tags", "long-speaker", "space", "position", "version"],
)
def test_a_memory_of_ours_that_no_vault_could_keep_does_not_stop_the_others(
    tmp_path: Path, read: Read, strange: dict[str, object]
) -> None:
    good, other = memory("good"), memory("strange")
    changed = json.loads(encode(other)) | strange
    path = tmp_path / "memories.jsonl"
    path.write_bytes(HEADER + json.dumps(changed).encode() + b"\n" + encode(good))
    problem, kept = read(path)
    assert isinstance(problem, Problem)
    assert kept == good


def test_a_note_of_ours_with_an_endless_position_does_not_stop_the_others(
    folder: Callable[..., Path], read: Read
) -> None:
    block = '<!-- sunaiva {"id":"x","kind":"note","trust":"imported","position":9999999999999999999} -->\n## One\n\ntext\n'
    root = folder({"a.md": f"---\nsunaiva: memories\n---\n{block}", "b.md": "Fine."})
    problem, kept = read(root, "markdown")
    assert isinstance(problem, Problem)
    assert isinstance(kept, Draft)


@pytest.mark.parametrize("time", ["-99999999999", "1" + "0" * 400])
def test_a_time_that_no_calendar_has_is_left_out(
    folder: Callable[..., Path], read: Read, time: str
) -> None:
    said = '{"author":{"role":"user"},"content":{"parts":["hello"]},"create_time":' + time + "}"
    node = f'{{"message":{said}}}'
    root = folder({"conversations.json": f'[{{"mapping":{{"a":{node},"b":{node}}}}}]'})
    (draft,) = read(root, "chatgpt")
    assert isinstance(draft, Draft)
    assert (draft.text, draft.occurred_at) == ("hello", None)


def test_other_json_lines_are_not_taken_for_ours(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a":1}\n')
    with pytest.raises(InvalidError, match="does not begin like an export"):
        read(path, "jsonl")


def test_a_folder_with_unprintable_names_is_readable(
    tmp_path: Path, folder: Callable[..., Path], read: Read
) -> None:
    root = folder({"good.md": "Fine."})
    (root / os.fsdecode(b"bad\xff\x1b.md")).write_text("Also fine.")
    items = read(root)
    assert not any(isinstance(item, Problem) for item in items)
    assert len(items) == 2
    assert all("\x1b" not in str(item) for item in items)
