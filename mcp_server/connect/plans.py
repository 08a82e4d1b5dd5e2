"""What connecting or disconnecting an assistant would change, and doing it.

A plan holds the whole text before and after, so a dry run shows exactly what happens. Planning writes nothing;
`apply` refuses when a file is no longer what the plan was made for, and copies each file before it touches the first.
"""

import difflib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from mcp_server.connect.backups import Kept, Kind, original, save
from mcp_server.connect.clients import Client, HookFile
from mcp_server.connect.entries import Launch, State, entry, state, with_entry, without_entry
from mcp_server.connect.files import check_unchanged, check_writable, read_text, replace
from mcp_server.connect.hooks import connect_hooks, disconnect_hooks, hooks_in_place
from mcp_server.connect.jsonc import MalformedError
from shared.clock import Clock
from shared.errors import InvalidError

DIFF_CONTEXT_LINES = 1
"""More would show the keys of neighbouring servers to whoever reads a dry run."""

DIFF_LINE_MAX = 400
"""Some clients write their whole configuration on one line of megabytes; a person reads the beginning."""

Result = TypeVar("Result")


class FileChange(Struct, frozen=True, kw_only=True):
    path: Path
    before: str | None
    """None: there is no such file."""
    after: str | None
    sentence: str

    @property
    def changed(self) -> bool:
        return self.before != self.after


class Plan(Struct, frozen=True, kw_only=True):
    client: Client
    kind: Kind
    files: tuple[FileChange, ...]

    @property
    def changed(self) -> bool:
        return any(file.changed for file in self.files)


class Applied(Struct, frozen=True, kw_only=True):
    written: tuple[Path, ...]
    backup: Path | None
    """The folder with the files as they were; None if nothing had to change."""


class Status(Struct, frozen=True, kw_only=True):
    state: State
    command: str | None
    hooks: bool | None
    """Whether all hooks are in place; None where there are none for this client."""


def plan(client: Client, launch: Launch, *, hooks: bool = True) -> Plan:
    """What connecting this client would change. Without hooks, those of an earlier connection go.

    Raises:
        InvalidError: a configuration cannot be understood; the sentence names file, line and column.
        ForbiddenError: a configuration may not be read.
    """
    assert launch.command.is_absolute()
    _check_text(launch)
    files = []
    for path in _paths(client):
        before = read_text(path)
        after = before or ""
        if path == client.server.path:
            after = _named(path, after, lambda text: with_entry(text, client.server, launch))
        if client.hooks and path == client.hooks.path:
            after = _named(path, after, _hook_edit(client.hooks, launch, wanted=hooks))
        kept = before if after == (before or "") else after
        files.append(
            FileChange(
                path=path, before=before, after=kept, sentence=_connecting(path, before, kept)
            )
        )
    return Plan(client=client, kind="connect", files=tuple(files))


def plan_undo(client: Client, backup_folder: Path) -> Plan:
    """What disconnecting this client would change.

    A file that still is what we made of it becomes what it was; from any other only our entry and hooks go.

    Raises:
        InvalidError: a configuration cannot be understood; the sentence names file, line and column.
        ForbiddenError: a configuration may not be read.
    """
    files = []
    for path in _paths(client):
        before = read_text(path)
        was = None if before is None else original(backup_folder, path, before)
        base = before if was is None else was.text
        after = None if base is None else _named(path, base, _removal(client, path))
        restored = was is not None and after == was.text
        sentence = _disconnecting(path, before, after, restored=restored)
        files.append(FileChange(path=path, before=before, after=after, sentence=sentence))
    return Plan(client=client, kind="undo", files=tuple(files))


def apply(plan: Plan, backup_folder: Path, clock: Clock) -> Applied:
    """Carries the plan out. A plan without changes leaves no trace, not even a backup.

    Raises:
        ConflictError: a file was changed since the plan was made.
        ForbiddenError: a file is read-only.
        UnavailableError: the disk is full, or fails.
    """
    changes = [file for file in plan.files if file.changed]
    if not changes:
        return Applied(written=(), backup=None)
    for file in changes:
        check_unchanged(file.path, file.before)
        check_writable(file.path)
    kept = [Kept(path=file.path, before=file.before, after=file.after) for file in changes]
    backup = save(backup_folder, clock, client=plan.client.name, kind=plan.kind, files=kept)
    for file in changes:
        replace(file.path, file.before, file.after)
    return Applied(written=tuple(file.path for file in changes), backup=backup)


def diff(plan: Plan) -> str:
    """The plan as a unified diff; empty if nothing would change."""
    lines: list[str] = []
    for file in plan.files:
        old, new = str(file.path), str(file.path)
        if file.changed:
            lines += difflib.unified_diff(
                _lines(file.before),
                _lines(file.after),
                "/dev/null" if file.before is None else old,
                "/dev/null" if file.after is None else new,
                n=DIFF_CONTEXT_LINES,
                lineterm="",
            )
    return "\n".join(lines)


def status(client: Client, launch: Launch) -> Status:
    """
    Raises:
        InvalidError: a configuration cannot be understood, so the client cannot use it either.
        ForbiddenError: a configuration may not be read.
    """
    server = client.server
    text = read_text(server.path) or ""
    present = _named(server.path, text, lambda text: entry(text, server))
    hooks: bool | None = None
    if file := client.hooks:
        in_place = partial(hooks_in_place, file=file, command=launch.command, home=launch.home)
        hooks = _named(file.path, read_text(file.path) or "", in_place)
    command = present.get("command") if isinstance(present, dict) else None
    return Status(
        state=state(present, server, launch),
        command=command if isinstance(command, str) else None,
        hooks=hooks,
    )


def _paths(client: Client) -> list[Path]:
    paths = [client.server.path, *([client.hooks.path] if client.hooks else [])]
    return list(dict.fromkeys(paths))


def _hook_edit(file: HookFile, launch: Launch, *, wanted: bool) -> Callable[[str], str]:
    if not wanted:
        return partial(disconnect_hooks, file=file)
    return partial(connect_hooks, file=file, command=launch.command, home=launch.home)


def _removal(client: Client, path: Path) -> Callable[[str], str]:
    def remove(text: str) -> str:
        if path == client.server.path:
            text = without_entry(text, client.server)
        if client.hooks and path == client.hooks.path:
            text = disconnect_hooks(text, client.hooks)
        return text

    return remove


def _named(path: Path, text: str, work: Callable[[str], Result]) -> Result:
    """The work done on this text; what is malformed in it is told with the file's name."""
    try:
        return work(text)
    except MalformedError as error:
        raise InvalidError(
            f"{path}, {error}. Nothing was changed; correct the file and run the command again."
        ) from error


def _check_text(launch: Launch) -> None:
    for path in (launch.command, launch.home):
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidError(
                f"The path {str(path)!r} is no Unicode text and cannot stand in a configuration; "
                "install Sunaiva in a folder with another name."
            ) from error


def _connecting(path: Path, before: str | None, after: str | None) -> str:
    if before == after:
        return f"{path} needs no change."
    if before is None:
        return f"Creates {path} with the connection to Sunaiva."
    return f"Changes {path}: the connection to Sunaiva, and nothing else."


def _disconnecting(path: Path, before: str | None, after: str | None, *, restored: bool) -> str:
    if before == after:
        return f"{path} holds no connection to Sunaiva."
    if after is None:
        return f"Deletes {path}, which was made for the connection and holds nothing else."
    if restored:
        return f"Restores {path} as it was before."
    return f"Takes Sunaiva out of {path} and keeps everything else in it."


def _lines(text: str | None) -> list[str]:
    shown = re.split(r"\r?\n", text.removesuffix("\n")) if text else []
    return [
        f"{line[:DIFF_LINE_MAX]}… ({len(line) - DIFF_LINE_MAX} more characters)"
        if len(line) > DIFF_LINE_MAX
        else line
        for line in shown
    ]
