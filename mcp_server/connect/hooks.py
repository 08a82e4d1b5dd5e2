"""Puts our hooks beside other people's in a client's hook settings, and takes out ours only: pure, text in, text out.

A hook is ours when its command ends in `sunaiva hook …`, wherever that `sunaiva` was installed, so connecting again
after a move replaces it and never doubles it.
"""

import re
import shlex
from pathlib import PurePath
from typing import Any

from mcp_server.connect.clients import HookFile, Quoting
from mcp_server.connect.edit import read, remove_value, set_value

_OURS = re.compile(
    r"""(?:^|[\\/"'\s])sunaiva(?:\.exe|\.cmd)?["']?\s+hook\s+(?:session-start|pre-compact|session-end)\s*$"""
)


def command_line(command: PurePath, home: PurePath | None, call: str, quoting: Quoting) -> str:
    """The line for the shell that this client hands its hooks to; a vault elsewhere is named in it."""
    match quoting:
        case "posix":
            # Git Bash on Windows eats bare backslashes and takes slashes.
            setting = f"SUNAIVA_HOME={shlex.quote(_slashes(home))} " if home else ""
            return f"{setting}{shlex.quote(_slashes(command))} hook {call}"
        case "cmd":
            setting = f'set "SUNAIVA_HOME={home}" && ' if home else ""
            return f'{setting}"{command}" hook {call}'
        case "powershell":
            setting = f"$env:SUNAIVA_HOME = {_single_quoted(home)}; " if home else ""
            return f"{setting}& {_single_quoted(command)} hook {call}"


def connect_hooks(text: str, file: HookFile, *, command: PurePath, home: PurePath | None) -> str:
    """
    Raises:
        MalformedError: the file is not of its dialect, or its hooks are not in the form that the client reads.
    """
    for event, call in file.calls.items():
        line = command_line(command, home, call, file.quoting)
        found = _ours(read(text, file.dialect), event)
        for group, position in reversed(found[1:]):
            text = _drop(text, file, event, group, position)
        if found:
            group, position = found[0]
            place = ("hooks", event, group, "hooks", position, "command")
            text = set_value(text, place, line, file.dialect)
        else:
            hook = {"type": "command", "command": line, "timeout": file.timeout}
            end = len(_groups(read(text, file.dialect), event))
            text = set_value(text, ("hooks", event, end), {"hooks": [hook]}, file.dialect)
    return text


def disconnect_hooks(text: str, file: HookFile) -> str:
    """The text without any hook of ours, and without the lists that only held ours."""
    hooks = read(text, file.dialect).get("hooks")
    events = list(hooks) if isinstance(hooks, dict) else []
    for event in events:
        found = _ours(read(text, file.dialect), event)
        for group, position in reversed(found):
            text = _drop(text, file, event, group, position)
        if found and not _groups(read(text, file.dialect), event):
            text = remove_value(text, ("hooks", event), file.dialect)
    if events and not read(text, file.dialect)["hooks"]:
        text = remove_value(text, ("hooks",), file.dialect)
    return text


def hooks_in_place(text: str, file: HookFile, *, command: PurePath, home: PurePath | None) -> bool:
    """Whether each event has our hook, and it calls this very `sunaiva`."""
    document = read(text, file.dialect)
    return all(
        any(
            _groups(document, event)[group]["hooks"][position]["command"]
            == command_line(command, home, call, file.quoting)
            for group, position in _ours(document, event)
        )
        for event, call in file.calls.items()
    )


def _groups(document: dict[str, Any], event: str) -> list[Any]:
    hooks = document.get("hooks")
    groups = hooks.get(event) if isinstance(hooks, dict) else None
    return groups if isinstance(groups, list) else []


def _ours(document: dict[str, Any], event: str) -> list[tuple[int, int]]:
    """Positions of our hooks: which group, and which hook in it."""
    return [
        (number, position)
        for number, group in enumerate(_groups(document, event))
        if isinstance(group, dict) and isinstance(group.get("hooks"), list)
        for position, hook in enumerate(group["hooks"])
        if isinstance(hook, dict) and _OURS.search(str(hook.get("command")))
    ]


def _drop(text: str, file: HookFile, event: str, group: int, position: int) -> str:
    held = _groups(read(text, file.dialect), event)[group]["hooks"]
    whole_group = ("hooks", event, group)
    place = whole_group if len(held) == 1 else (*whole_group, "hooks", position)
    # One element has one place: a list has no names that could stand twice.
    return remove_value(text, place, file.dialect)


def _slashes(path: PurePath) -> str:
    return path.as_posix()


def _single_quoted(path: PurePath) -> str:
    return "'" + str(path).replace("'", "''") + "'"
