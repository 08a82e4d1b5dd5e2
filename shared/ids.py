"""Identifiers: UUIDv7 (RFC 9562 §5.7), so that ids sort by the time of their making.

Ids are made from a clock and a source of randomness that arrive as arguments; within one `IdFactory` they
never repeat and never go backwards, even if the clock does.
"""

import re
import secrets
import threading
import uuid
from collections.abc import Callable
from typing import NewType

from shared.clock import Clock, to_ms
from shared.errors import InvalidError

MemoryId = NewType("MemoryId", str)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_COUNTER_BITS = (
    12  # rand_a of RFC 9562 is used as a counter within one millisecond (§6.2, method 1)
)


class IdFactory:
    """Makes UUIDv7; safe to share between threads."""

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._clock = clock
        self._random_bits = random_bits
        self._lock = threading.Lock()
        self._last = (0, 0)

    def memory_id(self) -> MemoryId:
        return MemoryId(str(self.uuid()))

    def uuid(self) -> uuid.UUID:
        with self._lock:
            last_ms, counter = self._last
            now_ms = to_ms(self._clock())
            if now_ms > last_ms:
                self._last = (now_ms, 0)
            elif counter + 1 < 1 << _COUNTER_BITS:
                self._last = (last_ms, counter + 1)
            else:
                self._last = (last_ms + 1, 0)
            stamp_ms, counter = self._last
        value = stamp_ms << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | self._random_bits(62)
        return uuid.UUID(int=value)


def parse_memory_id(text: str) -> MemoryId:
    """The canonical form of an id.

    Raises:
        InvalidError: the text is not a UUID.
    """
    if not _UUID.fullmatch(text):
        raise InvalidError(
            f"{text[:60]!r} is not a memory id. Ids look like 0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20, or "
            "3f3b2a9c1d for short; `recall` and `browse` (in a terminal `list`) print them."
        )
    return MemoryId(text.lower())


SHORT_ID_CHARS = 10


def short_id(memory_id: MemoryId) -> str:
    """The last ten hexadecimal characters: forty of its random bits, enough to name a memory within one vault."""
    return memory_id[-SHORT_ID_CHARS:]


def is_short_id(text: str) -> bool:
    return len(text) == SHORT_ID_CHARS and all(
        character in "0123456789abcdef" for character in text
    )
