"""Every page of a vault's files in the clear, free pages and old log frames included: what a thief with the key would see.

Used to prove that something is gone, by looking where SQL cannot: SQLCipher 4 encrypts each 4,096-byte page with
AES-256-CBC under the raw key; the last 80 bytes of a page are its IV (16) and HMAC (64) (SQLCipher design, "Page
encryption"). A WAL frame is a 24-byte header and such a page, after a 32-byte file header (SQLite file format, §4).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from shared import crypto

PAGE_BYTES = 4096
_RESERVED_BYTES = 80
_IV_BYTES = 16
_SALT_BYTES = 16
_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24


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
    """Those of the needles that stand in any of the pages."""
    wanted = set(needles)
    found: set[bytes] = set()
    for page in pages:
        found |= {needle for needle in wanted if needle in page}
        wanted -= found
    return found


def _clear(page: bytes, key: bytes) -> bytes:
    body, tail = page[:-_RESERVED_BYTES], page[-_RESERVED_BYTES:]
    return crypto.decrypt_cbc_page(key, iv=tail[:_IV_BYTES], page=body)
