"""Every page of a vault's files in the clear, free pages and old log frames included: what a thief with the key would see.

Used to prove that something is gone, by looking where SQL cannot: SQLCipher 4 encrypts each 4,096-byte page with
AES-256-CBC under the raw key; the last 80 bytes of a page are its IV (16) and HMAC (64) (SQLCipher design, "Page
encryption"). A WAL frame is a 24-byte header and such a page, after a 32-byte file header (SQLite file format, §4).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared import crypto

PAGE_BYTES = 4096
_RESERVED_BYTES = 80
_IV_BYTES = 16
_SALT_BYTES = 16
_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
# How much of a needle's beginning is looked up: whole words of eight bytes, as many as it has of these.
_STARTS = (24, 16, 8)
_TABLE_BITS = 20  # a megabyte, of which a hundred thousand needles fill a tenth
_TABLE_SHIFT = np.uint64(64 - _TABLE_BITS)
_ODD = np.uint64(0x9E3779B97F4A7C15)  # its bits are spread evenly, so that those of a product are


def decrypted(database: Path, key: bytes) -> Iterator[bytes]:
    """The pages of the main file and of its write-ahead log, decrypted, as far as they are whole."""
    with database.open("rb") as file:
        number = 0
        while len(page := file.read(PAGE_BYTES)) == PAGE_BYTES:
            # The first page begins with the file's salt, in the clear.
            yield _clear(page[_SALT_BYTES:] if number == 0 else page, key)
            number += 1
    log = database.with_name(database.name + "-wal")
    if not log.exists():
        return
    with log.open("rb") as file:
        file.seek(_WAL_HEADER_BYTES)
        while (
            len(frame := file.read(_FRAME_HEADER_BYTES + PAGE_BYTES))
            == _FRAME_HEADER_BYTES + PAGE_BYTES
        ):
            page = frame[_FRAME_HEADER_BYTES:]
            first = int.from_bytes(frame[:4], "big") == 1
            yield _clear(page[_SALT_BYTES:] if first else page, key)


def occurrences(pages: Iterable[bytes], needles: Iterable[bytes]) -> set[bytes]:
    """Those of the needles that stand in any of the pages; thousands of them are looked for at once."""
    search = _Search(needles)
    found: set[bytes] = set()
    for page in pages:
        found |= search.of(page)
    return found


class _Search:
    """Remembers which needles were not found yet.

    A page is looked through once for all of them: only a needle whose beginning may stand somewhere in it is searched for.
    """

    def __init__(self, needles: Iterable[bytes]) -> None:
        self._short: set[bytes] = set()
        self._by_start: dict[int, dict[int, list[bytes]]] = {length: {} for length in _STARTS}
        for needle in set(needles):
            length = next((each for each in _STARTS if each <= len(needle)), None)
            if length is None:
                self._short.add(needle)
            else:
                (mixed,) = _mixed(needle[:length], length).tolist()
                self._by_start[length].setdefault(mixed, []).append(needle)
        self._tables = {
            length: _table(starts) for length, starts in self._by_start.items() if starts
        }

    def of(self, page: bytes) -> set[bytes]:
        """The needles in this page that were in none before."""
        found = {needle for needle in self._short if needle in page}
        self._short -= found
        for length, table in self._tables.items():
            if len(page) < length:
                continue
            mixed = _mixed(page, length)
            starts = self._by_start[length]
            for start in np.unique(mixed[table[mixed >> _TABLE_SHIFT]]).tolist():
                there = [needle for needle in starts.get(start, ()) if needle in page]
                found.update(there)
                if there:
                    starts[start] = [needle for needle in starts[start] if needle not in found]
        return found


def _mixed(page: bytes, length: int) -> NDArray[np.uint64]:
    """For each place of a page, a number that stands for the `length` bytes from there on."""
    aligned = [np.frombuffer(page[at : at + (len(page) - at) // 8 * 8], "<u8") for at in range(8)]
    words = np.empty(len(page) - 7, np.uint64)
    for at, each in enumerate(aligned):
        words[at::8] = each
    places = len(page) - length + 1
    mixed = words[:places] * _ODD
    for at in range(8, length, 8):
        mixed = (mixed ^ words[at : at + places]) * _ODD
    return mixed


def _table(starts: Iterable[int]) -> NDArray[np.bool_]:
    table = np.zeros(1 << _TABLE_BITS, np.bool_)
    table[np.fromiter(starts, np.uint64) >> _TABLE_SHIFT] = True
    return table


def _clear(page: bytes, key: bytes) -> bytes:
    body, tail = page[:-_RESERVED_BYTES], page[-_RESERVED_BYTES:]
    return crypto.decrypt_cbc_page(key, iv=tail[:_IV_BYTES], page=body)
