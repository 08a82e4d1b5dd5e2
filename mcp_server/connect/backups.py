"""Copies of configuration files as they were before each change, and the way back along them.

A backup is a folder of its own, named by the time, with the copies and a note of what the files became. The way back
is taken only from a file that still is what we made of it; somebody's later edit is never overwritten.
"""

import hashlib
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from mcp_server.connect.files import read_text
from shared.clock import Clock
from shared.errors import UnavailableError

Kind = Literal["connect", "undo"]

SAME_INSTANT_MAX = 99
"""Backups of one client within one millisecond; more is a clock that stands still."""

_NOTE = "backup.json"


class Copied(Struct, frozen=True, kw_only=True):
    path: str
    copy: str | None
    """The copy's name in the folder; None where there was no file."""
    became: str | None
    """SHA-256 of the file after the change; None where it was deleted."""


class Note(Struct, frozen=True, kw_only=True):
    client: str
    kind: Kind
    files: list[Copied]


class Kept(Struct, frozen=True, kw_only=True):
    """One file of a backup to be made."""

    path: Path
    before: str | None
    after: str | None


def save(folder: Path, clock: Clock, *, client: str, kind: Kind, files: list[Kept]) -> Path:
    """The new folder with copies of these files. It is as private as the keys that may be in them.

    Raises:
        UnavailableError: the copies could not be written.
    """
    try:
        made = _new_folder(folder, f"{clock():%Y%m%dT%H%M%S.%f}"[:-3] + "Z", client)
        copied = []
        for number, kept in enumerate(files, start=1):
            name = None if kept.before is None else f"{number}-{kept.path.name}"
            if name is not None and kept.before is not None:
                _write(made / name, kept.before.encode("utf-8"))
            copied.append(Copied(path=str(kept.path), copy=name, became=_digest(kept.after)))
        note = Note(client=client, kind=kind, files=copied)
        _write(made / _NOTE, msgspec.json.format(msgspec.json.encode(note)))
    except OSError as error:
        raise UnavailableError(
            f"No backup could be made in {folder} ({error.strerror}), so nothing was changed."
        ) from error
    return made


class Original(Struct, frozen=True):
    """What a file was before we first changed it: its text, or None if there was none."""

    text: str | None


def original(folder: Path, path: Path, text: str) -> Original | None:
    """What this file was before, if it still is what we made of it; followed back over several changes."""
    found: Original | None = None
    for note_file in sorted(folder.glob(f"*/{_NOTE}"), reverse=True):
        note = _note(note_file)
        if note is None or note.kind != "connect":
            continue
        present = text if found is None else found.text
        for copied in note.files:
            if copied.path == str(path) and copied.became == _digest(present):
                before = None if copied.copy is None else read_text(note_file.parent / copied.copy)
                if copied.copy is None or before is not None:
                    found = Original(before)
    return found


def _note(file: Path) -> Note | None:
    """The note, or None if it is damaged: then there is no way back along it, and undo takes out the entry alone."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Note)
    except msgspec.DecodeError:
        return None


def _new_folder(folder: Path, stamp: str, client: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(1, SAME_INSTANT_MAX + 1):
        made = folder / f"{stamp}-{number:02d}-{client}"
        try:
            made.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return made
    raise UnavailableError(f"{folder} already holds {SAME_INSTANT_MAX} backups of this instant.")


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)


def _digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode("utf-8")).hexdigest()
