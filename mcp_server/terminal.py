"""One terminal's calls, performed in the agent: the other language spoken on its socket.

A call is a generator run in one worker thread, because a SQLite connection belongs to a thread. What it yields goes
to the terminal as it happens, what it returns is the result. A terminal that goes away closes the generator at its
next yield; a write in progress is never interrupted.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec
from msgspec import Struct

from mcp_server.lines import Lines
from shared.errors import InvalidError, NotFoundError, SunaivaError, UnavailableError

logger = logging.getLogger(__name__)

# Calls at once. Further ones wait: they would only wait for the vault's one writer anyway.
CALL_THREADS_MAX = 32


class CallContext(Struct, frozen=True, kw_only=True):
    """Who asks, and whether anybody still waits: for a call that works long between two yields."""

    client: str
    cancelled: Callable[[], bool]


_UNFORESEEN = "The memory agent failed at this in a way that nobody foresaw. Its log says where; nothing half-done was kept."

Call = Callable[[CallContext, dict[str, Any]], Generator[Any, None, Any]]


class _Request(Struct, forbid_unknown_fields=True):
    call: str
    args: dict[str, Any]


class Terminal:
    """The calls of one connection, one after the other."""

    def __init__(
        self,
        lines: Lines,
        writer: asyncio.StreamWriter,
        calls: Mapping[str, Call],
        *,
        client: str,
        threads: anyio.CapacityLimiter,
    ) -> None:
        self._lines = lines
        self._writer = writer
        self._calls = calls
        self._threads = threads
        self._gone = threading.Event()
        self._context = CallContext(client=client, cancelled=self._gone.is_set)
        self._stopping = False
        self._reading = anyio.CancelScope()

    async def serve(self) -> None:
        while (line := await self._next()) is not None:
            watch = asyncio.create_task(self._lines.closed())
            watch.add_done_callback(self._note_closed)
            try:
                # A started call is never abandoned: its thread ends before this returns.
                answer = await anyio.to_thread.run_sync(self._perform, line, limiter=self._threads)
            finally:
                watch.cancel()
                await asyncio.wait([watch])  # one reader at a time
            await self._write(answer)

    def stop(self) -> None:
        """No further call is begun."""
        self._stopping = True
        self._reading.cancel()

    def hurry(self) -> None:
        """The running call ends at its next yield."""
        self._gone.set()

    async def _next(self) -> bytes | None:
        with anyio.CancelScope() as self._reading:
            if not self._stopping:
                return await self._lines.next()
        return None

    def _note_closed(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled():
            self._gone.set()
            watch.exception()

    def _perform(self, line: bytes) -> bytes:
        name = "?"
        try:
            request = msgspec.json.decode(line, type=_Request)
            name = request.call
            return msgspec.json.encode({"result": self._run(request)})
        except msgspec.ValidationError as error:
            return _failure(InvalidError(f"This call cannot be understood: {error}"))
        except SunaivaError as error:
            return _failure(error)
        except ConnectionError:  # the terminal went away while we told it how far we are
            return b""
        except Exception:  # allow broad-except: an error of one call never ends the agent
            logger.exception("the call %s failed", name)
            return _failure(UnavailableError(_UNFORESEEN))

    def _run(self, request: _Request) -> Any:
        call = self._calls.get(request.call)
        if call is None:
            raise NotFoundError(
                f"The running agent knows no call {request.call!r}. Update Sunaiva and try again."
            )
        events = call(self._context, request.args)
        try:
            while not self._gone.is_set():
                event = msgspec.json.encode({"event": next(events)})
                anyio.from_thread.run(self._write, event)
        except StopIteration as done:
            return done.value
        finally:
            events.close()
        raise UnavailableError(
            "The memory agent was asked to leave before this was finished. Try again."
        )

    async def _write(self, answer: bytes) -> None:
        self._writer.write(answer + b"\n")
        await self._writer.drain()


def _failure(error: SunaivaError) -> bytes:
    # A family crosses the socket, and not each kind of it: the other side may be older.
    family = next(
        kind for kind in type(error).__mro__ if kind.__module__ == SunaivaError.__module__
    )
    assert issubclass(family, SunaivaError)
    return msgspec.json.encode({"error": {"code": family.code, "message": str(error)}})
