"""A file, a folder or a zip as a set of named streams, however hostile: nothing is ever unpacked onto the disk.

A zip's own claims about sizes are not believed; what comes out of it is counted while it is read. Names are only ever
labels, and a zip with names that try to be more is refused all the same.
"""

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from msgspec import Struct

from shared.errors import CorruptError, ForbiddenError, InvalidError, NotFoundError

# The largest chat exports known are some gigabytes of JSON.
ZIP_BYTES_MAX = 16_000_000_000
# JSON of conversations compresses five- to twentyfold; a bomb a thousandfold.
ZIP_RATIO_MAX = 200
# Small zips of repetitive text may well compress better than that, and harm nobody.
ZIP_BYTES_ALWAYS = 64_000_000
# The list of members is read at once, at some 500 bytes of memory for each of at least 46 bytes; exports with a
# hundred thousand pictures need a tenth of this.
ZIP_DIRECTORY_BYTES_MAX = 32_000_000
# What a reader may look ahead (`peek`) to tell how the rest is to be read.
BUFFER_BYTES = 65_536
# A folder with more than this is somebody's home folder, given by mistake.
FOLDER_FILES_MAX = 200_000

_END_OF_DIRECTORY = b"PK\x05\x06"
_END_OF_WIDE_DIRECTORY = b"PK\x06\x06"
_END_FIELDS = struct.Struct("<12xI6x")
_ZIP_BEGINNINGS = (b"PK\x03\x04", _END_OF_DIRECTORY)
_END_OF_DIRECTORY_BYTES = 22 + 65_535
# zipfile raises NotImplementedError for a compression it does not know.
_ZIP_FAILURES = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, NotImplementedError)


class Member(Struct, frozen=True):
    """A file in the bundle."""

    name: str
    """Relative, with `/`; fit to be shown."""
    size: int
    """As claimed."""
    source: Path | zipfile.ZipInfo

    @property
    def base(self) -> str:
        return PurePosixPath(self.name).name


class Bundle:
    """Members in the order of their names; usable only inside of the `with` block that opened it."""

    def __init__(
        self, label: str, members: Iterable[Member], archive: zipfile.ZipFile | None
    ) -> None:
        self.label = label
        self.members = sorted(members, key=lambda member: member.name)
        self._archive = archive
        self._budget = _Budget(label, archive)

    @property
    def is_zip(self) -> bool:
        return self._archive is not None

    @contextmanager
    def open(self, member: Member) -> Iterator[io.BufferedReader]:
        """A stream of the member's bytes. Reading it raises too.

        Raises:
            CorruptError: the zip is damaged here.
            InvalidError: the zip is a bomb.
        """
        if isinstance(member.source, Path):
            with _open_file(member.source) as file:
                yield file
            return
        assert self._archive is not None
        with _told_plainly(self.label):
            zipped = self._archive.open(member.source)
        with zipped:
            yield io.BufferedReader(_Metered(zipped, self._budget), BUFFER_BYTES)


@contextmanager
def open_path(path: Path) -> Iterator[Bundle]:
    """The bundle at `path`.

    Raises:
        NotFoundError: there is nothing.
        InvalidError: it is neither a file nor a folder nor a harmless zip.
        CorruptError: it is a damaged zip.
        ForbiddenError: it may not be read.
    """
    label = printable(path.name)
    if not path.exists():
        raise NotFoundError(f"There is no file or folder {path}. Check the path.")
    if path.is_dir():
        yield Bundle(label, _folder_members(path), None)
    elif not path.is_file():
        raise InvalidError(f"{path} is neither a file nor a folder. Give one of these.")
    else:
        with _open_file(path) as file:
            if file.peek(4)[:4] not in _ZIP_BEGINNINGS:
                yield Bundle(label, [Member(label, path.stat().st_size, path)], None)
                return
            with open_zip(file, label) as bundle:
                yield bundle


@contextmanager
def open_zip(file: BinaryIO, label: str) -> Iterator[Bundle]:
    """The bundle in a zip; `file` must be able to seek."""
    _check_directory(file, label)
    with _told_plainly(label):
        archive = zipfile.ZipFile(file)
    with archive:
        yield Bundle(label, _zip_members(archive, label), archive)


def printable(name: str) -> str:
    """A file's name as it may be shown: names can hold anything, also what steers a terminal."""
    encodable = name.encode("utf-8", "backslashreplace").decode()
    return "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in encodable
    )


class _Budget:
    """How much may still come out of a zip, over all of its members."""

    def __init__(self, label: str, archive: zipfile.ZipFile | None) -> None:
        self._label = label
        self._left = ZIP_BYTES_MAX
        if archive is not None and archive.fp is not None:
            packed = archive.fp.seek(0, io.SEEK_END)
            self._left = min(ZIP_BYTES_MAX, max(ZIP_BYTES_ALWAYS, packed * ZIP_RATIO_MAX))

    def spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise InvalidError(
                f"{self._label} unpacks to far more than an export does, as a zip bomb would; importing stopped. "
                "If you trust it, unpack it yourself and import the folder."
            )

    def failed(self) -> CorruptError:
        return _damaged(self._label)


class _Metered(io.RawIOBase):
    def __init__(self, zipped: IO[bytes], budget: _Budget) -> None:
        self._zipped = zipped
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io passes a memoryview
        try:
            part = self._zipped.read(len(buffer))
        except _ZIP_FAILURES:
            raise self._budget.failed() from None
        self._budget.spend(len(part))
        buffer[: len(part)] = part
        return len(part)


def _open_file(path: Path) -> io.BufferedReader:
    try:
        return io.BufferedReader(io.FileIO(path), BUFFER_BYTES)
    except PermissionError:
        raise ForbiddenError(
            f"{path} may not be read. Change its permissions, or copy it."
        ) from None


def _folder_members(folder: Path) -> Iterator[Member]:
    # Symbolic links are not followed: they may lead out of the folder, or round in a circle.
    count = 0
    for root, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for file in files:
            path = Path(root, file)
            if file.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            count += 1
            if count > FOLDER_FILES_MAX:
                raise InvalidError(
                    f"{folder} holds more than {FOLDER_FILES_MAX:,} files. Give the folder of the export itself."
                )
            name = path.relative_to(folder).as_posix()
            yield Member(printable(name), path.stat().st_size, path)


def _zip_members(archive: zipfile.ZipFile, label: str) -> Iterator[Member]:
    seen: set[str] = set()
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        if info.is_dir():
            continue
        if not _is_harmless(name):
            raise InvalidError(
                f"{label} holds a file named {printable(name)[:100]!r}, which leads out of its folder; "
                "no product exports that. Nothing of it was imported."
            )
        if name in seen:
            raise InvalidError(
                f"{label} holds {name!r} twice, so it is not clear which one counts."
            )
        if info.flag_bits & 1:
            raise InvalidError(
                f"{label} is locked with a password. Unpack it and import the folder."
            )
        seen.add(name)
        if not name.startswith("__MACOSX/"):
            yield Member(name, info.file_size, info)


def _is_harmless(name: str) -> bool:
    if not name.isprintable() or name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return False
    return ".." not in name.split("/")


def _check_directory(file: BinaryIO, label: str) -> None:
    """Refuse a list of members that would not fit in memory before `zipfile` reads it."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END_OF_DIRECTORY_BYTES))
    tail = file.read(_END_OF_DIRECTORY_BYTES)
    end = tail.rfind(_END_OF_DIRECTORY)
    if end == -1 or len(tail) - end < _END_FIELDS.size:
        raise _damaged(label)
    (directory_bytes,) = _END_FIELDS.unpack_from(tail, end)
    # All bits set: the true size stands in the zip64 record, and all that can hold it is the file itself.
    if directory_bytes == 0xFFFFFFFF:
        directory_bytes = 0
        if (wide := tail.rfind(_END_OF_WIDE_DIRECTORY, 0, end)) != -1 and len(tail) - wide >= 48:
            (directory_bytes,) = struct.unpack_from("<40xQ", tail, wide)
    if directory_bytes > ZIP_DIRECTORY_BYTES_MAX:
        raise InvalidError(
            f"{label} lists far more files than an export holds; nothing was imported."
        )
    file.seek(0)


@contextmanager
def _told_plainly(label: str) -> Iterator[None]:
    try:
        yield
    except _ZIP_FAILURES:
        raise _damaged(label) from None


def _damaged(label: str) -> CorruptError:
    return CorruptError(
        f"{label} is damaged or was not downloaded completely. Download it again, then repeat the import; "
        "what was imported already is kept and not added twice."
    )
