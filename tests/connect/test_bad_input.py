import os
from pathlib import Path

import pytest

from mcp_server import connect
from mcp_server.connect.files import FILE_BYTES_MAX, replace
from shared.errors import ConflictError, ForbiddenError, InvalidError, UnavailableError
from tests.connect.conftest import Computer, put

BROKEN = {
    "claude-desktop": (b'{\n  "mcpServers": {,}\n}', "line 2, column 18: expected a name"),
    "claude-code": (b'{"a": 1 // no\n}', "line 1, column 9: comments are not allowed"),
    "cursor": (b"<<<<<<< HEAD\n{}", "line 1, column 1: expected a value, found '<'"),
    "vscode": (b'{"servers": []}', "line 1, column 13: servers has to be an object"),
    "codex": (b'[tui]\nx = "a\n', "line 2, column "),
    "gemini": (b"[]", "line 1, column 1: the file has to"),
    "windsurf": ('{\n "ü": 1\n "b": 2}'.encode(), "line 3, column 2: expected ','"),
    "zed": ('// ä\n{"a": "\xff"}'.encode("latin-1"), "line 1, column 4: this is not UTF-8"),
}


@pytest.mark.parametrize(("name", "broken"), BROKEN.items(), ids=BROKEN)
def test_a_broken_configuration_is_named_with_its_place_and_left_alone(
    computer: Computer, name: str, broken: tuple[bytes, str]
) -> None:
    content, reason = broken
    path = computer.client(name).server.path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)

    for attempt in (computer.add, computer.undo, computer.status):
        if name == "vscode" and attempt != computer.add:
            continue  # servers of another kind are no reason not to look for ours
        with pytest.raises(InvalidError) as refused:
            attempt(computer.client(name))
        assert str(refused.value).startswith(f"{path}, ")
        assert reason in str(refused.value)
        assert "Nothing was changed" in str(refused.value)

    assert path.read_bytes() == content
    assert not computer.backups.exists()


def test_utf16_from_an_old_editor_is_refused(computer: Computer) -> None:
    client = computer.client("claude-desktop")
    client.server.path.parent.mkdir(parents=True)
    client.server.path.write_bytes('{"mcpServers": {}}'.encode("utf-16"))
    with pytest.raises(InvalidError, match="save the file as UTF-8"):
        computer.add(client)


def test_a_folder_in_the_place_of_a_file_is_refused(computer: Computer) -> None:
    client = computer.client("cursor")
    client.server.path.mkdir(parents=True)
    with pytest.raises(InvalidError, match="is not a file"):
        computer.add(client)


def test_a_file_in_the_place_of_a_folder_is_refused(computer: Computer) -> None:
    client = computer.client("cursor")
    put(client.folder, "")
    with pytest.raises(InvalidError, match="is not a file"):
        computer.add(client)


def test_a_file_too_large_for_a_configuration_is_refused(computer: Computer) -> None:
    client = computer.client("cursor")
    put(client.server.path, "")
    os.truncate(client.server.path, FILE_BYTES_MAX + 1)
    with pytest.raises(InvalidError, match="larger than 64 MB"):
        computer.add(client)


def test_a_command_whose_path_is_no_text_is_refused(computer: Computer) -> None:
    launch = connect.Launch(command=Path(os.fsdecode(b"/opt/\xff/sunaiva")))
    with pytest.raises(InvalidError, match="no Unicode text"):
        connect.plan(computer.client("cursor"), launch)


def test_a_backup_folder_that_cannot_be_made_stops_everything(
    computer: Computer, name: str
) -> None:
    client = computer.install(name)
    before = client.server.path.read_bytes()
    put(computer.backups, "a file")
    with pytest.raises(UnavailableError, match="nothing was changed"):
        computer.add(client)
    assert client.server.path.read_bytes() == before


def test_an_edit_in_the_last_moment_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    put(path, "theirs")
    with pytest.raises(ConflictError, match="run the command again"):
        replace(path, "before", "ours")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    put(tmp_path / "file", "")
    with pytest.raises((UnavailableError, InvalidError, ForbiddenError)) as refused:
        replace(tmp_path / "file" / "deeper" / "settings.json", None, "{}")
    assert "settings.json" in str(refused.value)
