"""Lines of a socket, of any length up to the limit of one message. An unfinished last line is dropped: its writer died."""

import asyncio

from mcp_server.rendezvous import LINE_BYTES_MAX
from shared.errors import InvalidError

_CHUNK_BYTES = 262_144


class Lines:
    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """The next line without its end; None when the other side has closed.

        Raises:
            InvalidError: the line is longer than one message may be.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LINE_BYTES_MAX:
                raise InvalidError(
                    f"One message may have {LINE_BYTES_MAX // 1_000_000} MB. Send several smaller ones."
                )
            chunk = await self._reader.read(_CHUNK_BYTES)
            if not chunk:
                return None
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def closed(self) -> None:
        """Returns when the other side has closed, or has sent more than one message ahead."""
        while len(self._buffer) <= LINE_BYTES_MAX:
            chunk = await self._reader.read(_CHUNK_BYTES)
            if not chunk:
                return
            self._buffer += chunk
