"""Arrays in the form in which PostgreSQL takes them over the wire (`array_recv`), for the parameters of questions.

psycopg makes the same bytes, but looks at each element in Python first, which takes longer than the database needs to store them.
"""

import struct
from collections.abc import Iterable

_BYTEA, _BIGINT = 17, 20  # of pg_type
_ELEMENT = struct.Struct("!i")
_HEAD = struct.Struct("!iiIii")
_LOWEST_INDEX = 1


def byteas(values: Iterable[bytes]) -> bytes:
    """For a `bytea[]`."""
    return _array(_BYTEA, list(values))


def bigints(values: Iterable[int]) -> bytes:
    """For a `bigint[]`."""
    return _array(_BIGINT, [value.to_bytes(8, "big", signed=True) for value in values])


def _array(kind: int, elements: list[bytes]) -> bytes:
    dimensions = 1 if elements else 0
    head = _HEAD.pack(dimensions, 0, kind, len(elements), _LOWEST_INDEX)
    if not elements:
        return head[: _HEAD.size - 2 * _ELEMENT.size]  # the length and lowest index of no dimension
    lengths = (_ELEMENT.pack(len(element)) for element in elements)
    return head + b"".join(piece for pair in zip(lengths, elements, strict=True) for piece in pair)
