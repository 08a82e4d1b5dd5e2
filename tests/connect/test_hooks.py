import json
import os
import subprocess
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import msgspec
import pytest

from mcp_server import connect
from mcp_server.connect.hooks import command_line
from shared.errors import InvalidError
from tests.connect.conftest import Computer, put

LINE = "'/opt/My Tools/bin/sunaiva' hook "


def _hooks(client: connect.Client) -> dict[str, Any]:
    assert client.hooks is not None
    hooks: dict[str, Any] = json.loads(client.hooks.path.read_text(encoding="utf-8"))["hooks"]
    return hooks


def _write(client: connect.Client, document: Any) -> None:
    assert client.hooks is not None
    put(client.hooks.path, json.dumps(document, indent=2))


def _ours(call: str, timeout: int = 30) -> dict[str, Any]:
    return {"hooks": [{"type": "command", "command": LINE + call, "timeout": timeout}]}


def test_claude_code_gets_three_hooks_beside_those_that_are_there(computer: Computer) -> None:
    client = computer.install("claude-code")
    before = _hooks(client)
    computer.add(client)
    assert _hooks(client) == {
        "PostToolUse": before["PostToolUse"],
        "SessionStart": [*before["SessionStart"], _ours("session-start")],
        "PreCompact": [_ours("pre-compact")],
        "SessionEnd": [_ours("session-end")],
    }
    assert computer.status(client).hooks is True


@pytest.mark.parametrize(("name", "timeout"), [("codex", 30), ("gemini", 30_000)])
def test_clients_with_other_session_files_get_the_start_hook_only(
    computer: Computer, name: str, timeout: int
) -> None:
    client = computer.client(name)
    computer.add(client)
    assert _hooks(client) == {"SessionStart": [_ours("session-start", timeout)]}


def test_without_hooks_the_hook_settings_are_not_touched(computer: Computer) -> None:
    client = computer.install("claude-code")
    before = _hooks(client)
    computer.add(client, hooks=False)
    assert _hooks(client) == before
    assert computer.status(client) == connect.Status(
        state="connected", command="/opt/My Tools/bin/sunaiva", hooks=False
    )


def test_connecting_without_hooks_takes_earlier_ones_out(computer: Computer) -> None:
    client = computer.install("claude-code")
    assert client.hooks is not None
    before = client.hooks.path.read_bytes()
    computer.add(client)
    computer.add(client, hooks=False)
    assert client.hooks.path.read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        "sunaiva hook session-start",
        "/old/bin/sunaiva hook session-start",
        '"C:/old/sunaiva.exe" hook session-start',
        "SUNAIVA_HOME='/v v' '/old place/sunaiva' hook session-start ",
    ],
)
def test_our_hook_of_an_earlier_place_is_replaced_where_it_stands(
    computer: Computer, command: str
) -> None:
    client = computer.client("claude-code")
    theirs = {"type": "command", "command": "git status"}
    old = {"type": "command", "command": command, "timeout": 5}
    group = {"matcher": "startup", "hooks": [theirs, old, theirs]}
    _write(client, {"hooks": {"SessionStart": [group]}})
    assert computer.status(client).hooks is False

    computer.add(client)

    [found] = _hooks(client)["SessionStart"]
    assert found == {
        "matcher": "startup",
        "hooks": [theirs, {**old, "command": LINE + "session-start"}, theirs],
    }


@pytest.mark.parametrize(
    "command",
    [
        "not-sunaiva hook session-start",
        "sunaiva hook session-start | tee log",
        "sunaiva recall x",
        "echo sunaiva hook other",
    ],
)
def test_a_hook_of_the_person_that_only_looks_like_ours_stays(
    computer: Computer, command: str
) -> None:
    client = computer.client("claude-code")
    theirs = {"hooks": [{"type": "command", "command": command}]}
    _write(client, {"hooks": {"SessionStart": [theirs]}})
    computer.add(client)
    assert _hooks(client)["SessionStart"] == [theirs, _ours("session-start")]
    put(computer.backups / "gone", "")
    computer.undo(client)
    assert _hooks(client) == {"SessionStart": [theirs]}


def test_hooks_that_were_doubled_become_one(computer: Computer) -> None:
    client = computer.client("claude-code")
    _write(client, {"hooks": {"SessionEnd": [_ours("session-end")] * 3}})
    computer.add(client)
    assert _hooks(client)["SessionEnd"] == [_ours("session-end")]


def test_undo_after_later_changes_takes_only_our_hooks(computer: Computer) -> None:
    client = computer.install("claude-code")
    computer.add(client)
    hooks = _hooks(client)
    theirs = {"type": "command", "command": "say bye"}
    hooks["SessionEnd"][0]["hooks"].append(theirs)
    _write(client, {"hooks": hooks, "model": "sonnet"})

    computer.undo(client)

    assert client.hooks is not None
    after = json.loads(client.hooks.path.read_text())
    assert after["model"] == "sonnet"
    assert list(after["hooks"]) == ["PostToolUse", "SessionStart", "SessionEnd"]
    assert after["hooks"]["SessionEnd"] == [{"hooks": [theirs]}]


def test_settings_that_are_not_lists_stand_beside_ours(computer: Computer) -> None:
    client = computer.client("gemini")
    put(client.server.path, '{"hooks": {"enabled": true, "disabled": ["x"], "AfterTool": null}}')
    computer.add(client)
    computer.undo(client)
    assert json.loads(client.server.path.read_text()) == {
        "hooks": {"enabled": True, "disabled": ["x"], "AfterTool": None}
    }


@pytest.mark.parametrize(
    ("hooks", "reason"),
    [
        ([], r"settings\.json, line 1, column 11: hooks has to be an object"),
        ({"SessionStart": {}}, r"hooks\.SessionStart has to be a list"),
    ],
)
def test_hooks_in_an_unknown_form_are_refused(computer: Computer, hooks: Any, reason: str) -> None:
    client = computer.client("claude-code")
    assert client.hooks is not None
    put(client.hooks.path, json.dumps({"hooks": hooks}))
    with pytest.raises(InvalidError, match=reason):
        computer.add(client)
    assert not client.server.path.exists()


def test_the_line_reaches_sunaiva_through_a_shell_whatever_the_folder_is_called(
    tmp_path: Path,
) -> None:
    folder = tmp_path / 'it\'s $HOME & "more"; ü'
    folder.mkdir()
    command = folder / "sunaiva"
    command.write_text('#!/bin/sh\nprintf "%s|" "$@" "$SUNAIVA_HOME"\n')
    command.chmod(0o755)
    line = command_line(command, folder, "pre-compact", "posix")
    run = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert run.stdout == f"hook|pre-compact|{folder}|"


WINDOWS = PureWindowsPath(r"C:\My Tools\it's\sunaiva.exe")
QUOTED = r""""C:\My Tools\it's\sunaiva.exe" hook session-start"""


@pytest.mark.parametrize(
    ("name", "home", "line"),
    [
        ("claude-code", None, """'C:/My Tools/it'"'"'s/sunaiva.exe' hook session-start"""),
        ("codex", None, QUOTED),
        ("codex", PureWindowsPath(r"D:\v"), r'set "SUNAIVA_HOME=D:\v" && ' + QUOTED),
        ("gemini", None, r"& 'C:\My Tools\it''s\sunaiva.exe' hook session-start"),
        (
            "gemini",
            PureWindowsPath(r"D:\v"),
            r"$env:SUNAIVA_HOME = 'D:\v'; & 'C:\My Tools\it''s\sunaiva.exe' hook session-start",
        ),
    ],
)
def test_on_windows_each_client_gets_the_line_of_the_shell_it_uses(
    computer: Computer, name: str, home: PurePath | None, line: str
) -> None:
    places = msgspec.structs.replace(computer.places, platform="win32")
    client = connect.client_named(places, name)
    launch = connect.Launch(command=WINDOWS, home=home)
    for _ in range(2):
        connect.apply(connect.plan(client, launch), computer.backups, computer.clock)
    [group] = _hooks(client)["SessionStart"]
    assert group["hooks"][0]["command"] == line
    assert connect.status(client, launch).hooks is True
