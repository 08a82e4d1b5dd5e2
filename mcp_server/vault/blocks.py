"""Many texts as one compressed piece, and back. Pure; which texts go where is decided elsewhere.

Texts of one conversation repeat each other's words, so together they need less than half of what each needs alone. A block may be
compressed against the contents of another, its head: that is the dictionary, and since it consists of memories only, no copy
of a word outlives the memories that have it. A trained dictionary would keep pieces of texts that were forgotten.
"""

from collections.abc import Iterable, Mapping

import msgspec
import zstandard
from msgspec import Struct

# One text alone may be as large as a memory may be; a body that claims to be larger is damaged.
_CONTENT_BYTES_MAX = 1 << 26
# Larger blocks compress better (128 kB: 3 % less text) and cost every memory read out of one more time.
BLOCK_BYTES = 64_000
# By a machine that has nothing else to do; unpacking is equally fast at every level.
_LEVEL = 19
# While thousands of memories arrive: a tenth larger, in a hundredth of the time.
QUICK_LEVEL = 3


class Texts(Struct, frozen=True, array_like=True):
    """The texts of a block; memories that say the same share one."""

    rows: list[list[int]]
    """For each text, the row numbers of the memories that say it."""
    sizes: list[int]
    joined: bytes
    """All texts, in UTF-8, one after the other."""

    def of(self, wanted: Iterable[int]) -> dict[int, str]:
        """The texts of these rows; the others are not even decoded."""
        asked = set(wanted)
        found: dict[int, str] = {}
        start = 0
        for rows, size in zip(self.rows, self.sizes, strict=True):
            if not asked.isdisjoint(rows):
                said = self.joined[start : start + size].decode()
                found |= dict.fromkeys(asked.intersection(rows), said)
            start += size
        return found

    def every_row(self) -> list[int]:
        return [row for rows in self.rows for row in rows]


def gather(texts: Mapping[int, str]) -> Texts:
    """Put texts together in the order given, what is said twice once."""
    rows: dict[str, list[int]] = {}
    for row, text in texts.items():
        rows.setdefault(text, []).append(row)
    encoded = [text.encode() for text in rows]
    return Texts(list(rows.values()), [len(text) for text in encoded], b"".join(encoded))


def pack(texts: Texts, head: bytes | None, *, level: int = _LEVEL) -> bytes:
    """A block's body; `head` is what its head block unpacks to, if it has one."""
    compressor = zstandard.ZstdCompressor(level=level, dict_data=_dictionary(head))
    return compressor.compress(msgspec.msgpack.encode(texts))


def content(body: bytes, head: bytes | None) -> bytes:
    """What a body unpacks to: the dictionary of the blocks that it heads."""
    decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary(head))
    return decompressor.decompress(body, max_output_size=_CONTENT_BYTES_MAX)


def opened(content_bytes: bytes) -> Texts:
    return msgspec.msgpack.decode(content_bytes, type=Texts)


def _dictionary(head: bytes | None) -> zstandard.ZstdCompressionDict | None:
    if head is None:
        return None
    return zstandard.ZstdCompressionDict(head, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
