"""One zip with everything: the memories, the schema of a line, a word for the person; sealed with a passphrase if wanted.

The zip is made as a stream and its bytes depend on the memories alone, so the same vault gives the same file. When
it is sealed, no plaintext ever touches the disk.
"""

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from mcp_server.exporters import lines
from mcp_server.exporters.counted import Counted
from mcp_server.model import Memory
from shared import crypto
from shared.errors import CorruptError, ForbiddenError, InvalidError, QuotaExceededError

MEMORIES = "memories.jsonl"
SCHEMA = "schema.json"
README = "README.txt"

# The clear header of a sealed export is a hundred bytes; a longer first line is some other file.
SEALED_HEADER_BYTES_MAX = 1_000
SEALED_MARK = b'{"cost":'

# A sealed export is opened in memory, because decrypted memories do not belong on the disk; this is some
# five million memories.
OPENED_BYTES_MAX = 2_000_000_000

_README = b"""This is an export of a Sunaiva memory vault.

memories.jsonl  One memory a line, as JSON; the first line says which format it is. Any text editor opens it.
schema.json     What a line may hold (JSON Schema).

`sunaiva import FILE` brings this zip back into a vault without any loss.
"""

# The earliest date a zip can hold: a real one would make two exports of the same vault differ.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_OWNER_ONLY = 0o100600 << 16


class _SealedFormat(Struct, frozen=True):
    sunaiva: str
    format: int


class _SealedHeader(_SealedFormat, frozen=True, forbid_unknown_fields=True):
    salt: str
    cost: crypto.Cost


class _Chunks(io.RawIOBase):
    """An iterator of bytes as a file to read from: `seal_stream` pulls, a zip is pushed."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io passes a memoryview
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class _Sink(io.RawIOBase):
    """Collects what a zip writes until it is taken; cannot seek, so the zip never goes back to correct itself."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, part: bytes) -> int:  # type: ignore[override]  # zipfile passes bytes
        self._parts.append(bytes(part))
        return len(part)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def write(memories: Iterator[Memory], path: Path, *, passphrase: str | None) -> int:
    """Fill the empty file at `path`; how many memories it holds."""
    counted = Counted(memories)
    with path.open("wb") as file:
        if passphrase is None:
            file.writelines(_zip(counted))
        else:
            _seal(_zip(counted), file, passphrase)
    return counted.count


def open_sealed(file: BinaryIO, passphrase: str | None, where: str) -> BinaryIO:
    """The zip inside of a sealed export.

    Raises:
        ForbiddenError: no passphrase or a wrong one.
        InvalidError: a newer Sunaiva sealed it.
        CorruptError: its bytes were altered or cut off.
        QuotaExceededError: it is too large to be opened in memory.
    """
    header = _sealed_header(file.readline(SEALED_HEADER_BYTES_MAX), where)
    if passphrase is None:
        raise ForbiddenError(f"{where} is encrypted. Give the passphrase it was exported with.")
    try:
        salt = bytes.fromhex(header.salt)
    except ValueError:
        raise _damaged(where) from None
    key = crypto.stretch(passphrase, salt=salt, cost=header.cost)
    opened = _Bounded(where)
    try:
        crypto.open_stream(key, file, opened)
    except ForbiddenError:
        raise ForbiddenError(
            f"The passphrase does not open {where}. Give the one it was exported with."
        ) from None
    opened.seek(0)
    return opened


def _zip(memories: Iterable[Memory]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(_member(README), _README)
        with archive.open(_member(MEMORIES), "w", force_zip64=True) as target:
            target.write(lines.HEADER)
            for memory in memories:
                target.write(lines.encode(memory))
                if taken := sink.take():
                    yield taken
        archive.writestr(_member(SCHEMA), lines.schema())
    yield sink.take()


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _NO_DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.create_system = _UNIX
    member.external_attr = _OWNER_ONLY
    return member


def _seal(zipped: Iterator[bytes], target: BinaryIO, passphrase: str) -> None:
    salt = crypto.random_salt()
    key = crypto.stretch(passphrase, salt=salt, cost=crypto.PASSPHRASE_COST)
    header = _SealedHeader(
        sunaiva="sealed export",
        format=lines.FORMAT,
        salt=salt.hex(),
        cost=crypto.PASSPHRASE_COST,
    )
    target.write(msgspec.json.encode(header, order="sorted") + b"\n")
    crypto.seal_stream(key, io.BufferedReader(_Chunks(zipped)), target)


class _Bounded(io.BytesIO):
    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def write(self, part: bytes) -> int:  # type: ignore[override]  # open_stream passes bytes
        if self.tell() + len(part) > OPENED_BYTES_MAX:
            raise QuotaExceededError(
                f"{self._where} holds more than {OPENED_BYTES_MAX:,} bytes, too much to open in memory. "
                "Export smaller spaces one by one."
            )
        return super().write(part)


def _sealed_header(line: bytes, where: str) -> _SealedHeader:
    # The format is looked at before the rest, which a newer Sunaiva may write differently.
    try:
        kind = msgspec.json.decode(line, type=_SealedFormat)
        if kind.sunaiva != "sealed export":
            raise InvalidError(f"{where} is not an export that Sunaiva sealed.")
        lines.check_format(kind.format, where)
        return msgspec.json.decode(line, type=_SealedHeader)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _damaged(where) from None


def _damaged(where: str) -> CorruptError:
    return CorruptError(
        f"The beginning of {where} is damaged, so it cannot be opened. Take another copy."
    )
