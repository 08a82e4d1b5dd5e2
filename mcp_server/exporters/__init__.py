"""Memories on their way out of the vault, as files that belong to the person.

An export is put in place whole or not at all, never over something that exists unless asked. What is not encrypted is
said so in the report.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, assert_never, get_args

from msgspec import Struct

from mcp_server.exporters import archive, lines, markdown, sqlite
from mcp_server.exporters.counted import Counted
from mcp_server.exporters.destination import new_file, new_folder
from mcp_server.model import Memory
from shared.clock import Clock
from shared.errors import InvalidError

ExportFormat = Literal["jsonl", "markdown", "sqlite", "zip"]

FORMATS: dict[ExportFormat, str] = {
    "jsonl": "One memory a line, loss-free; for moving and for programs.",
    "markdown": "A folder per space, a file per conversation and per day; for reading.",
    "sqlite": "A plain database file with tables; for asking questions with any tool.",
    "zip": "Everything with its schema, loss-free; encrypted if a passphrase is given.",
}

SUFFIXES: dict[ExportFormat, str] = {
    "jsonl": ".jsonl",
    "markdown": "",
    "sqlite": ".sqlite",
    "zip": ".zip",
}
SEALED_SUFFIX = ".zip.sealed"


class ExportReport(Struct, frozen=True, kw_only=True):
    """What was written, and what the person should know about it."""

    path: Path
    format: ExportFormat
    memories: int
    bytes: int
    encrypted: bool
    note: str


def write(
    memories: Iterator[Memory],
    destination: Path,
    format: ExportFormat,
    *,
    passphrase: str | None = None,
    overwrite: bool = False,
    clock: Clock,
) -> ExportReport:
    """Write every memory, which must come in the order of their ids.

    Raises:
        InvalidError: an unknown format, a passphrase for one that cannot be encrypted, or no place to put it.
        ConflictError: the destination exists and `overwrite` is off.
        ForbiddenError: the folder may not be written to.
        UnavailableError: the disk is full; nothing is left behind.
    """
    if format not in get_args(ExportFormat):
        raise InvalidError(
            f"There is no export format {format!r}. Choose one of {', '.join(FORMATS)}."
        )
    if passphrase is not None and format != "zip":
        raise InvalidError(
            f"Only the zip export can be encrypted, {format} cannot. Choose zip, or leave the passphrase out."
        )
    match format:
        case "jsonl":
            with new_file(destination, overwrite=overwrite) as path:
                count = _write_lines(memories, path)
        case "zip":
            with new_file(destination, overwrite=overwrite) as path:
                count = archive.write(memories, path, passphrase=passphrase)
        case "sqlite":
            with new_file(destination, overwrite=overwrite) as path:
                count = sqlite.write(memories, path, exported_at=clock())
        case "markdown":
            with new_folder(destination, overwrite=overwrite) as path:
                count = markdown.write(memories, path)
        case _:
            assert_never(format)
    return ExportReport(
        path=destination,
        format=format,
        memories=count,
        bytes=_size(destination),
        encrypted=passphrase is not None,
        note=_note(destination, encrypted=passphrase is not None),
    )


def _write_lines(memories: Iterator[Memory], path: Path) -> int:
    counted = Counted(memories)
    with path.open("wb") as file:
        file.write(lines.HEADER)
        file.writelines(map(lines.encode, counted))
    return counted.count


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*.md"))
    return path.stat().st_size


def _note(destination: Path, *, encrypted: bool) -> str:
    if encrypted:
        return "It is encrypted. Without the passphrase nobody can open it, and nobody can tell you the passphrase."
    return f"It is not encrypted: whoever can read {destination.name} can read your memories."
