import json
import os
import stat
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath
from typing import Any

import msgspec
import pytest

from mcp_server import connect
from mcp_server.connect import edit
from shared.errors import ConflictError, ForbiddenError
from tests.connect.conftest import Computer, paths, put

CRLF_BOM_TABS: dict[str, Callable[[str], str]] = {
    "as written": lambda text: text,
    "windows line ends": lambda text: text.replace("\n", "\r\n"),
    "byte order mark": lambda text: "\ufeff" + text,
    "no line end at the end": lambda text: text.rstrip("\n"),
    "tabs": lambda text: text.replace("  ", "\t"),
    "four spaces": lambda text: text.replace("  ", "    "),
}

looks = pytest.mark.parametrize("look", CRLF_BOM_TABS.values(), ids=CRLF_BOM_TABS)


def _document(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8").removeprefix("\ufeff")
    return tomllib.loads(text) if path.suffix == ".toml" else edit.read(text, "jsonc")


def _tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@looks
def test_connecting_adds_the_entry_and_changes_no_other_part(
    computer: Computer, name: str, look: Callable[[str], str]
) -> None:
    client = computer.install(name, look)
    before = _document(client.server.path)

    computer.add(client, hooks=False)

    after = _document(client.server.path)
    entry = after[client.server.key].pop("sunaiva")
    assert after == before
    assert entry == {
        **client.server.fixed,
        "command": "/opt/My Tools/bin/sunaiva",
        "args": ["mcp"],
    }


@looks
def test_every_line_of_the_person_is_still_there(
    computer: Computer, name: str, look: Callable[[str], str]
) -> None:
    client = computer.install(name, look)
    before = {path: path.read_bytes() for path in paths(client)}

    computer.add(client)

    for path, content in before.items():
        after = path.read_bytes()
        assert after.startswith(b"\xef\xbb\xbf") == content.startswith(b"\xef\xbb\xbf")
        assert (b"\r\n" in after) == (b"\r\n" in content)
        assert after.count(b"\r\n") in (0, after.count(b"\n"))
        rest = iter(after.splitlines())
        for line in content.splitlines():
            # A comma after what was the last entry is the one thing that may join a line.
            assert any(line == found or _with_comma(line, found) for found in rest), line


def _with_comma(line: bytes, found: bytes) -> bool:
    return found.replace(b",", b"") == line.replace(b",", b"")


@looks
def test_undo_restores_each_file_to_the_byte(
    computer: Computer, name: str, look: Callable[[str], str]
) -> None:
    client = computer.install(name, look)
    before = {path: path.read_bytes() for path in paths(client)}
    computer.add(client)

    computer.undo(client)

    assert {path: path.read_bytes() for path in paths(client)} == before
    assert computer.status(client).state == "not_connected"


def test_a_second_run_changes_nothing_and_makes_no_backup(computer: Computer, name: str) -> None:
    client = computer.install(name)
    computer.add(client)
    before = _tree(computer.backups.parent)

    again = computer.add(client)

    assert again == connect.Applied(written=(), backup=None)
    assert _tree(computer.backups.parent) == before


def test_a_dry_run_shows_the_change_and_writes_nothing(computer: Computer, name: str) -> None:
    client = computer.install(name)
    before = _tree(computer.backups.parent)

    planned = connect.plan(client, computer.launch)
    shown = connect.diff(planned)

    assert planned.changed
    assert str(client.server.path) in shown
    assert '/opt/My Tools/bin/sunaiva"' in shown
    assert _tree(computer.backups.parent) == before


def test_a_dry_run_does_not_show_keys_of_other_servers(computer: Computer, name: str) -> None:
    client = computer.install(name)
    assert "not-a-real-token" not in connect.diff(connect.plan(client, computer.launch))


def test_a_file_of_one_long_line_is_shown_cut(computer: Computer) -> None:
    client = computer.client("claude-code")
    put(client.server.path, json.dumps({"history": "x" * 5_000}))
    shown = connect.diff(connect.plan(client, computer.launch, hooks=False))
    assert max(map(len, shown.splitlines())) < 500
    assert "more characters" in shown


def test_a_plan_without_changes_shows_nothing(computer: Computer, name: str) -> None:
    client = computer.install(name)
    computer.add(client)
    assert connect.diff(connect.plan(client, computer.launch)) == ""


def test_a_client_without_configuration_gets_one_and_undo_deletes_it(
    computer: Computer, name: str
) -> None:
    client = computer.client(name)

    applied = computer.add(client)
    status = computer.status(client)
    assert status.state == "connected"
    assert status.hooks == (True if client.hooks else None)
    assert set(applied.written) == set(paths(client))

    computer.undo(client)
    assert not any(path.exists() for path in paths(client))


@pytest.mark.parametrize("content", ["", "\n", "\ufeff", "{}", "{}\r\n", "{ }", "{\n}\n"])
def test_an_empty_file_is_an_empty_object(computer: Computer, content: str) -> None:
    client = computer.client("claude-desktop")
    put(client.server.path, content)
    computer.add(client)
    assert _document(client.server.path) == {
        "mcpServers": {"sunaiva": {"command": "/opt/My Tools/bin/sunaiva", "args": ["mcp"]}}
    }
    computer.undo(client)
    assert client.server.path.read_bytes() == content.encode()


def test_servers_that_are_null_are_replaced(computer: Computer) -> None:
    client = computer.client("windsurf")
    put(client.server.path, '{"theme": "dark", "mcpServers": null}')
    computer.add(client)
    assert list(_document(client.server.path)["mcpServers"]) == ["sunaiva"]


def test_an_entry_that_is_no_object_is_replaced(computer: Computer) -> None:
    client = computer.client("cursor")
    put(client.server.path, '{"mcpServers": {"sunaiva": false}}')
    assert computer.status(client).state == "other_command"
    computer.add(client)
    assert computer.status(client).state == "connected"


def test_of_two_lists_of_servers_the_one_that_is_read_is_changed(computer: Computer) -> None:
    client = computer.client("cursor")
    put(client.server.path, '{"mcpServers": {"a": {}}, "mcpServers": {"b": {}}}')
    computer.add(client)
    assert json.loads(client.server.path.read_text())["mcpServers"].keys() == {"b", "sunaiva"}


def test_an_entry_that_stands_twice_is_taken_out_twice(computer: Computer) -> None:
    client = computer.client("cursor")
    put(client.server.path, '{"mcpServers": {"sunaiva": {"command": "a"}, "sunaiva": 1, "b": {}}}')
    computer.undo(client)
    assert client.server.path.read_text() == '{"mcpServers": { "b": {}}}'


def test_a_moved_sunaiva_replaces_its_entry_and_keeps_what_the_person_set_in_it(
    computer: Computer, name: str
) -> None:
    client = computer.install(name)
    computer.add(client)
    text = client.server.path.read_text(encoding="utf-8")
    if client.server.form == "toml":
        put(client.server.path, text + "startup_timeout_sec = 30 # slow disk\n")
    else:
        place = (client.server.key, "sunaiva", "timeout")
        put(client.server.path, edit.set_value(text, place, 30, client.server.form))
    moved = msgspec.structs.replace(computer.launch, command=Path("/usr/bin/sunaiva"))

    assert connect.status(client, moved).state == "other_command"
    connect.apply(connect.plan(client, moved), computer.backups, computer.clock)

    entry = _document(client.server.path)[client.server.key]["sunaiva"]
    assert entry["command"] == "/usr/bin/sunaiva"
    assert 30 in entry.values()
    assert connect.status(client, moved).state == "connected"


def test_another_vault_is_named_in_the_entry_and_forgotten_when_the_default_returns(
    computer: Computer, name: str
) -> None:
    client = computer.install(name)
    elsewhere = msgspec.structs.replace(computer.launch, home=Path("/data/väult"))
    connect.apply(connect.plan(client, elsewhere), computer.backups, computer.clock)
    entry = _document(client.server.path)[client.server.key]["sunaiva"]
    assert entry["env"] == {"SUNAIVA_HOME": "/data/väult"}
    assert computer.status(client).state == "other_command"

    computer.add(client)
    assert not _document(client.server.path)[client.server.key]["sunaiva"].get("env")
    assert computer.status(client).state == "connected"


def test_a_server_by_address_is_replaced_as_a_whole(computer: Computer) -> None:
    client = computer.client("vscode")
    put(client.server.path, '{"servers": {"sunaiva": {"type": "http", "url": "http://[::1]/mcp"}}}')
    assert computer.status(client) == connect.Status(
        state="other_command", command=None, hooks=None
    )
    computer.add(client)
    entry = _document(client.server.path)["servers"]["sunaiva"]
    assert entry == {"type": "stdio", "command": "/opt/My Tools/bin/sunaiva", "args": ["mcp"]}


@pytest.mark.parametrize("switch", [{"disabled": True}, {"enabled": False}])
def test_an_entry_that_is_switched_off_is_told(computer: Computer, switch: dict[str, bool]) -> None:
    client = computer.client("windsurf")
    entry = {"command": "/opt/My Tools/bin/sunaiva", "args": ["mcp"], **switch}
    put(client.server.path, json.dumps({"mcpServers": {"sunaiva": entry}}))
    assert computer.status(client).state == "turned_off"


def test_undo_keeps_what_the_person_changed_since(computer: Computer, name: str) -> None:
    client = computer.install(name)
    before = {path: path.read_text(encoding="utf-8") for path in paths(client)}
    comment = "# later\n" if client.server.form == "toml" else ""
    computer.add(client)
    put(client.server.path, comment + client.server.path.read_text(encoding="utf-8") + "\n")

    planned = connect.plan_undo(client, computer.backups)
    connect.apply(planned, computer.backups, computer.clock)

    assert "keeps everything else" in planned.files[0].sentence
    after = client.server.path.read_text(encoding="utf-8")
    if client.hooks and client.hooks.path == client.server.path:
        assert _document(client.server.path) == edit.read(before[client.server.path], "jsonc")
    else:
        assert after.strip() == (comment + before[client.server.path]).strip()
    assert computer.status(client).state == "not_connected"


def test_undo_goes_back_over_several_connections(computer: Computer) -> None:
    client = computer.install("zed")
    before = client.server.path.read_bytes()
    for command in ("/a/sunaiva", "/b/sunaiva", "/c/sunaiva"):
        launch = connect.Launch(command=Path(command))
        connect.apply(connect.plan(client, launch), computer.backups, computer.clock)
    computer.undo(client)
    assert client.server.path.read_bytes() == before


def test_connecting_undoing_and_connecting_again_ends_connected(
    computer: Computer, name: str
) -> None:
    client = computer.install(name)
    before = {path: path.read_bytes() for path in paths(client)}
    for _ in range(2):
        computer.add(client)
        computer.undo(client)
    assert {path: path.read_bytes() for path in paths(client)} == before
    computer.add(client)
    assert computer.status(client).state == "connected"


def test_undo_without_backups_still_takes_the_entry_out(computer: Computer, name: str) -> None:
    client = computer.install(name)
    before = _document(client.server.path)
    computer.add(client)
    for note in computer.backups.rglob("backup.json"):
        note.write_text("{ damaged")
    computer.undo(client)
    assert _document(client.server.path) == before


def test_undo_of_what_was_never_connected_changes_nothing(computer: Computer, name: str) -> None:
    client = computer.install(name)
    planned = connect.plan_undo(client, computer.backups)
    assert not planned.changed
    assert "no connection" in planned.files[0].sentence
    assert not connect.plan_undo(computer.client("cursor"), computer.backups).changed or (
        name == "cursor"
    )


def test_backups_are_private_and_dated(computer: Computer) -> None:
    client = computer.install("claude-desktop")
    before = client.server.path.read_bytes()
    backup = computer.add(client).backup
    assert backup is not None
    assert backup.name == "20250301T000000.000Z-01-claude-desktop"
    assert (backup / "1-claude_desktop_config.json").read_bytes() == before
    for path in [computer.backups, *computer.backups.rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


def test_two_changes_within_one_instant_have_two_backups(computer: Computer) -> None:
    client = computer.install("zed")
    standing = msgspec.structs.replace(computer, clock=lambda: datetime(2025, 3, 1, tzinfo=UTC))
    before = client.server.path.read_bytes()
    standing.add(client)
    standing.undo(client)
    standing.add(client)
    standing.undo(client)
    assert client.server.path.read_bytes() == before
    assert len(list(computer.backups.iterdir())) == 4


def test_an_edit_between_plan_and_apply_is_not_overwritten(computer: Computer) -> None:
    client = computer.install("claude-code")
    planned = connect.plan(client, computer.launch)
    settings = paths(client)[1]
    put(settings, "{}")
    before = _tree(computer.backups.parent)
    with pytest.raises(ConflictError, match=r"settings\.json was changed by somebody else"):
        connect.apply(planned, computer.backups, computer.clock)
    assert _tree(computer.backups.parent) == before


def test_a_file_made_between_plan_and_apply_is_not_overwritten(computer: Computer) -> None:
    client = computer.client("cursor")
    planned = connect.plan(client, computer.launch)
    put(client.server.path, "{}")
    with pytest.raises(ConflictError):
        connect.apply(planned, computer.backups, computer.clock)
    assert client.server.path.read_text() == "{}"


def test_the_mode_of_a_file_stays_and_a_new_file_is_private(computer: Computer) -> None:
    client = computer.install("claude-code")
    client.server.path.chmod(0o640)
    paths(client)[1].unlink()
    computer.add(client)
    assert stat.S_IMODE(client.server.path.stat().st_mode) == 0o640
    assert stat.S_IMODE(paths(client)[1].stat().st_mode) == 0o600


def test_a_symlink_stays_and_its_target_is_changed(computer: Computer, tmp_path: Path) -> None:
    client = computer.install("zed")
    real = tmp_path / "dotfiles" / "zed.json"
    real.parent.mkdir()
    client.server.path.rename(real)
    client.server.path.symlink_to(real)
    before = real.read_bytes()

    computer.add(client)
    assert client.server.path.is_symlink()
    assert b"sunaiva" in real.read_bytes()

    computer.undo(client)
    assert client.server.path.is_symlink()
    assert real.read_bytes() == before


def test_a_read_only_file_is_left_alone(computer: Computer) -> None:
    client = computer.install("zed")
    client.server.path.chmod(0o444)
    before = _tree(computer.backups.parent)
    with pytest.raises(ForbiddenError, match="read-only"):
        computer.add(client)
    assert _tree(computer.backups.parent) == before


def test_no_half_written_file_stays_behind(computer: Computer, name: str) -> None:
    client = computer.install(name)
    before = {path.name for path in client.server.path.parent.iterdir()}
    computer.add(client)
    after = {path.name for path in client.server.path.parent.iterdir()}
    assert after - before <= {path.name for path in paths(client)}


def test_a_windows_path_is_escaped_in_every_form(computer: Computer, name: str) -> None:
    client = computer.install(name)
    command = PureWindowsPath(r"C:\Users\me\Müller & Söhne\sunaiva.exe")
    launch = connect.Launch(command=command)
    connect.apply(connect.plan(client, launch), computer.backups, computer.clock)
    entry = _document(client.server.path)[client.server.key]["sunaiva"]
    assert entry["command"] == str(command)
    assert connect.status(client, launch).state == "connected"


def test_every_sentence_and_next_step_is_for_a_person(computer: Computer, name: str) -> None:
    client = computer.install(name)
    for planned in (
        connect.plan(client, computer.launch),
        connect.plan_undo(client, computer.backups),
    ):
        assert all(
            str(file.path) in file.sentence and file.sentence.endswith(".")
            for file in planned.files
        )
    assert client.next_step.endswith(".")


def test_files_of_another_owner_keep_their_owner(computer: Computer) -> None:
    client = computer.install("zed")
    if os.geteuid() == 0:
        os.chown(client.server.path, 1234, 1234)
    owner = client.server.path.stat().st_uid
    computer.add(client)
    assert client.server.path.stat().st_uid == owner
