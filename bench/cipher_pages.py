"""What a thief with the key could read: every page of a SQLCipher 4 file and of its log, free and old pages too.

Written apart from the product on purpose, from SQLCipher's design page ("Page encryption") and SQLite's file format
(§4, the WAL), so that a mistake in the product's own search for left-overs is not repeated here.
"""

from collections.abc import Iterator

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PAGE_BYTES = 4096
_IV_BYTES, _MAC_BYTES, _SALT_BYTES = 16, 64, 16
_WAL_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24


def main_file(content: bytes, key: bytes) -> Iterator[bytes]:
    for start in range(0, len(content) - PAGE_BYTES + 1, PAGE_BYTES):
        yield _page(content[start : start + PAGE_BYTES], key, first=start == 0)


def log_file(content: bytes, key: bytes) -> Iterator[bytes]:
    step = _FRAME_HEADER_BYTES + PAGE_BYTES
    for start in range(_WAL_HEADER_BYTES, len(content) - step + 1, step):
        number = int.from_bytes(content[start : start + 4], "big")
        page = content[start + _FRAME_HEADER_BYTES : start + step]
        yield _page(page, key, first=number == 1)


def _page(page: bytes, key: bytes, *, first: bool) -> bytes:
    """The first page begins with the file's salt, in the clear, where SQLite's own header would be."""
    body_start = _SALT_BYTES if first else 0
    body_end = PAGE_BYTES - _IV_BYTES - _MAC_BYTES
    iv = page[body_end : body_end + _IV_BYTES]
    decryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).decryptor()
    return decryptor.update(page[body_start:body_end]) + decryptor.finalize()
