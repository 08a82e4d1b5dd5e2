"""Reads and replaces one configuration file: whole or not at all, with its mode, through symlinks, and never over an
edit that was made meanwhile.

Text goes in and out with its byte order mark and line ends as they are.
"""

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from shared.errors import ConflictError, ForbiddenError, InvalidError, UnavailableError

FILE_BYTES_MAX = 64 * 1024 * 1024
"""Claude Code keeps histories in its configuration, which reaches tens of megabytes; more is not a configuration."""

_NEW_FILE_MODE = 0o600  # entries of other servers often hold keys
_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def read_text(path: Path) -> str | None:
    """The file's text, or None if there is no such file.

    Raises:
        InvalidError: not a file of UTF-8 text, or too large to be a configuration.
        ForbiddenError: it may not be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except (IsADirectoryError, NotADirectoryError) as error:
        raise InvalidError(f"{path} is not a file. Nothing was changed.") from error
    except PermissionError as error:
        raise ForbiddenError(f"{path} may not be read. Nothing was changed.") from error
    if len(content) > FILE_BYTES_MAX:
        raise InvalidError(
            f"{path} is larger than {FILE_BYTES_MAX // 1024**2} MB. Nothing was changed."
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise InvalidError(
            f"{path}, line {line}, column {column}: this is not UTF-8. Nothing was changed; "
            "save the file as UTF-8 and run it again."
        ) from error


def check_unchanged(path: Path, before: str | None) -> None:
    """
    Raises:
        ConflictError: the file is no longer what the plan was made for.
    """
    if read_text(path) != before:
        raise ConflictError(
            f"{path} was changed by somebody else meanwhile. It was left as it is; run the command again."
        )


def check_writable(path: Path) -> None:
    """
    Raises:
        ForbiddenError: the file is read-only. Replacing it would be possible, and against somebody's wish.
    """
    target = path.resolve()
    with contextlib.suppress(FileNotFoundError):
        if not target.stat().st_mode & _ANY_WRITE or not os.access(target, os.W_OK):
            raise ForbiddenError(
                f"{path} is read-only. Nothing was changed; make it writable, or change it where it is made."
            )


def replace(path: Path, before: str | None, after: str | None) -> None:
    """Puts `after` in the place of `before`; None stands for no file.

    Raises:
        ConflictError: the file is not `before`.
        ForbiddenError: the folder or the file may not be written.
        UnavailableError: the disk is full, or fails.
    """
    target = path.resolve()
    try:
        if after is None:
            check_unchanged(path, before)
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_beside_and_swap(path, target, before, after)
    except PermissionError as error:
        raise ForbiddenError(f"{path} may not be written. It was left as it is.") from error
    except OSError as error:
        raise UnavailableError(
            f"{path} could not be written ({error.strerror}). It was left as it is."
        ) from error


def _write_beside_and_swap(path: Path, target: Path, before: str | None, after: str) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".new")
    written = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(after.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        _take_over_mode(target, written)
        check_unchanged(path, before)
        written.replace(target)
    finally:
        written.unlink(missing_ok=True)


def _take_over_mode(target: Path, written: Path) -> None:
    try:
        found = target.stat()
    except FileNotFoundError:
        written.chmod(_NEW_FILE_MODE)
        return
    written.chmod(stat.S_IMODE(found.st_mode))
    if sys.platform != "win32" and os.geteuid() == 0:
        # Under sudo the file must not become root's: its owner could no longer change it.
        os.chown(written, found.st_uid, found.st_gid)
