"""Files in a folder that others carry about: read without trusting how they came there, written whole or not at all.

Nothing here knows what a file means. A folder that is not there is never made: it may be where a stick is plugged in.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from sync_service.transport import BusyError

# How a drive of Apple's shows a file that it has not fetched: hidden, beside its place.
NOT_FETCHED = ".icloud"


class Look(Struct, frozen=True):
    """What a listing tells of a file; another look means another content."""

    size: int
    mtime_ns: int


def looks(folder: Path, suffix: str) -> dict[Path, Look]:
    """The files of a folder whose names end so, in the order of their names; none if there is no such folder. Not what only has
    such a name: to open a pipe would wait for ever."""
    found: dict[Path, Look] = {}
    try:
        with os.scandir(folder) as listed:
            for each in listed:
                is_hidden = each.name.startswith(".") and not each.name.endswith(NOT_FETCHED)
                if each.name.endswith(suffix) and not is_hidden:
                    with suppress(FileNotFoundError):
                        if _is(each.is_file):
                            seen = each.stat()
                            found[Path(each.path)] = Look(seen.st_size, seen.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return dict(sorted(found.items()))


def folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as listed:
            return sorted(Path(each.path) for each in listed if _is(each.is_dir))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is(what: Callable[[], bool]) -> bool:
    """Not what a link that leads to itself is, either."""
    try:
        return what()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def read(path: Path, most: int) -> bytes:
    """At most one byte more than it may have, so that too much is seen to be so."""
    with path.open("rb") as file:
        return file.read(most + 1)


def put(path: Path, content: bytes) -> None:
    """Under its name only once it is whole and on the disk. What is there already and is the same is left."""
    with suppress(OSError):
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def in_plain_words(folder: Path) -> Iterator[None]:
    try:
        demand(folder)
        yield
    except OSError as error:
        raise BusyError(
            f"The folder {folder} cannot be read or written now ({error.strerror}). Sync goes on when it is there again."
        ) from error


def demand(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
