"""The words of very many memories, inverted by another process (`python -P -m mcp_server.index.inverting`).

Python runs one thread at a time, and the thread that takes memories in by the thousand needs all of it. What they say goes to the other
process and comes back as postings through two pipes, and is nowhere else: it writes no file and no log, and ends with its pipe.
"""

import struct
import subprocess
import sys
from collections.abc import Iterable
from typing import IO

import msgspec

from mcp_server.index.inversion import Inversion
from mcp_server.index.postings import Chunk
from shared.clock import from_ms
from shared.errors import UnavailableError

Told = tuple[int, str, str | None, int]
"""What the index reads of a memory: its place in the segment, its text, its speaker, when it was, in milliseconds."""

_LENGTH = struct.Struct(">Q")
_END_SECONDS = 5.0
_TOLD = msgspec.msgpack.Decoder(list[Told])
_CHUNKS = msgspec.msgpack.Decoder(list[Chunk])
_encode = msgspec.msgpack.Encoder().encode


def inverted(told: Iterable[Told]) -> list[Chunk]:
    """The same in this process."""
    inversion = Inversion()
    for place, text, speaker, when_ms in told:
        inversion.add_text(place, text, speaker=speaker, when=from_ms(when_ms))
    return list(inversion.chunks())


class Inverter:
    """Owns the other process. One thread at a time uses it.

    Raises:
        UnavailableError: no process can be had.
    """

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mcp_server.index.inverting"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a traceback might quote what was said
            )
        except OSError as error:
            raise _gone() from error

    def inverted(self, told: Iterable[Told]) -> list[Chunk]:
        """
        Raises:
            UnavailableError: the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _write(self._process.stdin, _encode(list(told)))
            answer = _read(self._process.stdout)
        except OSError as error:
            raise _gone() from error
        if answer is None:
            raise _gone()
        return _CHUNKS.decode(answer)

    def close(self) -> None:
        self._process.kill()  # it has nothing to finish
        self._process.wait(_END_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def main() -> None:
    while (asked := _read(sys.stdin.buffer)) is not None:
        _write(sys.stdout.buffer, _encode(inverted(_TOLD.decode(asked))))


def _write(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(_LENGTH.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes | None:
    """The next message; `None` if the other side is gone."""
    length = pipe.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    message = pipe.read(*_LENGTH.unpack(length))
    return message if len(message) == _LENGTH.unpack(length)[0] else None


def _gone() -> UnavailableError:
    return UnavailableError("The process that reads new memories' words has ended.")


if __name__ == "__main__":
    main()
