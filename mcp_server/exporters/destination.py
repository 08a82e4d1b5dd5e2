"""Where an export is put: whole or not at all.

Everything is written to a temporary sibling, readable by its owner alone, and renamed at the end. A failure, a full
disk included, removes what was begun. Nothing that exists is replaced unless the person said so, and never a folder
that Sunaiva did not write.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ConflictError, ForbiddenError, InvalidError, UnavailableError

MARK_FILE = "README.md"
MARK_LINE = "<!-- sunaiva export -->"
"""First line of the mark file: only a folder that has it is ever replaced."""

# EFBIG: the file system, or a limit on this process, allows no larger file; for the person it is the same.
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def new_file(destination: Path, *, overwrite: bool) -> Iterator[Path]:
    """The path of an empty file, which becomes `destination` when the block ends without an error."""
    _check_file(destination, overwrite=overwrite)
    with _told_plainly(destination):
        handle, name = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _flush_to_disk(temporary)
            _check_file(destination, overwrite=overwrite)
            temporary.replace(destination)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(destination: Path, *, overwrite: bool) -> Iterator[Path]:
    """The path of an empty folder, which becomes `destination` when the block ends without an error."""
    _check_folder(destination, overwrite=overwrite)
    with _told_plainly(destination):
        temporary = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}."))
        old = temporary.with_name(temporary.name + ".old")
        try:
            yield temporary
            _check_folder(destination, overwrite=overwrite)
            if destination.exists():
                destination.rename(old)
            temporary.rename(destination)
        finally:
            if old.exists() and not destination.exists():
                old.rename(destination)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _check_parent(destination: Path) -> None:
    if not destination.parent.is_dir():
        raise InvalidError(
            f"There is no folder {destination.parent} to export into. Make it first, or choose another one."
        )


def _check_file(destination: Path, *, overwrite: bool) -> None:
    _check_parent(destination)
    if destination.is_dir():
        raise InvalidError(f"{destination} is a folder. Give the name of a file in it.")
    if not overwrite and os.path.lexists(destination):
        raise ConflictError(
            f"{destination} exists already and was left as it is. Choose another name, or allow overwriting."
        )


def _check_folder(destination: Path, *, overwrite: bool) -> None:
    _check_parent(destination)
    if not os.path.lexists(destination):
        return
    if not overwrite:
        raise ConflictError(
            f"{destination} exists already and was left as it is. Choose another name, or allow overwriting."
        )
    if not _is_export(destination):
        raise InvalidError(
            f"{destination} is not a folder that Sunaiva exported, so it is not replaced. Choose another name."
        )


def _is_export(folder: Path) -> bool:
    mark = folder / MARK_FILE
    if folder.is_symlink() or not mark.is_file():
        return False
    with mark.open("rb") as file:
        return file.readline(200).decode("utf-8", "replace").strip() == MARK_LINE


@contextmanager
def _told_plainly(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise no_space(destination) from error
        if error.errno in _NOT_ALLOWED:
            raise ForbiddenError(
                f"Sunaiva may not write in {destination.parent}. Choose a folder of your own."
            ) from error
        raise


def no_space(destination: Path) -> UnavailableError:
    return UnavailableError(
        f"There is not enough space in {destination.parent} for the export; nothing was left there. "
        "Free some space, or choose another disk."
    )
