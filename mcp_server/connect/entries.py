"""The one entry that is ours in a client's list of servers, in JSON and in TOML alike: pure, text in, text out.

Of an entry that is there already only command, arguments and vault are ours; what the person set beside them stays.
"""

from pathlib import PurePath
from typing import Any, Literal

from msgspec import Struct

from mcp_server.connect import edit, toml
from mcp_server.connect.clients import ServerFile

SERVER = "sunaiva"
"""The entry's name in every client: an entry of this name is ours."""

State = Literal["connected", "turned_off", "other_command", "not_connected"]


class Launch(Struct, frozen=True, kw_only=True):
    """How a client starts our server."""

    command: PurePath
    """The console script `sunaiva`, absolute: clients start servers in the person's project folder."""
    home: PurePath | None = None
    """The vault's folder where it is not the default one."""


def entry(text: str, file: ServerFile) -> Any:
    """What stands under our name, of whatever kind; None if nothing does.

    Raises:
        MalformedError: the text is not of the file's form.
    """
    document = toml.read(text) if file.form == "toml" else edit.read(text, file.form)
    return _at(document, (file.key, SERVER))


def with_entry(text: str, file: ServerFile, launch: Launch) -> str:
    """
    Raises:
        MalformedError: the text is not of the file's form, or its servers are not in the form that the client reads.
    """
    present = entry(text, file)
    place = (file.key, SERVER)
    if not isinstance(present, dict) or not isinstance(present.get("command"), str):
        # Nothing there, or a server of another kind, by address: its parts mean nothing beside a command.
        whole = _whole_entry(file, launch)
        if file.form != "toml":
            return edit.set_value(text, place, whole, file.form)
        return toml.add_table(toml.remove(text, place), place, whole)
    for below, value in _settings(file, launch):
        if _at(present, below) == value:
            continue  # reading a configuration of megabytes again takes a second
        if value is None:
            text = _without(text, file, (*place, *below))
        elif file.form == "toml":
            text = toml.set_value(text, (*place, *below), value)
        else:
            text = edit.set_value(text, (*place, *below), value, file.form)
    return text


def without_entry(text: str, file: ServerFile) -> str:
    return _without(text, file, (file.key, SERVER))


def state(present: Any, file: ServerFile, launch: Launch) -> State:
    if present is None:
        return "not_connected"
    if not isinstance(present, dict):
        return "other_command"
    if present.get("disabled") is True or present.get("enabled") is False:
        return "turned_off"
    for place, value in _settings(file, launch):
        if place[0] not in file.fixed and _at(present, place) != value:
            return "other_command"
    return "connected"


def _settings(file: ServerFile, launch: Launch) -> list[tuple[tuple[str, ...], Any]]:
    """The parts of an entry that are ours; all else in it is the person's. None: must not be there."""
    return [
        *(((key,), value) for key, value in file.fixed.items()),
        (("command",), str(launch.command)),
        (("args",), ["mcp"]),
        (("env", "SUNAIVA_HOME"), str(launch.home) if launch.home else None),
    ]


def _whole_entry(file: ServerFile, launch: Launch) -> dict[str, Any]:
    env = {"env": {"SUNAIVA_HOME": str(launch.home)}} if launch.home else {}
    return {**file.fixed, "command": str(launch.command), "args": ["mcp"], **env}


def _without(text: str, file: ServerFile, place: tuple[str, ...]) -> str:
    if file.form == "toml":
        return toml.remove(text, place)
    return edit.remove_value(text, place, file.form)


def _at(level: Any, place: tuple[str, ...]) -> Any:
    for name in place:
        level = level.get(name) if isinstance(level, dict) else None
    return level
