"""One assistant's session, as the pair of streams the SDK serves.

The SDK cancels what is being worked on when its reading side ends, and drops lines it cannot parse. A client that
closes its side still gets its answers here, every malformed line is answered, and no client can have unbounded work
in progress. Nothing of a message is ever logged.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self, cast

import anyio
from mcp.server import MCPServer
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import ErrorDetails

DRAIN_SECONDS = 10.0  # what a client may still wait for after it closed its side, or after the agent was asked to leave
IN_FLIGHT_MAX = (
    256  # requests of one client worked on at once; further ones wait unread in its pipe
)

# Answered only when the client goes: nothing to wait for.
ENDLESS = "subscriptions/listen"

Send = Callable[[SessionMessage], Awaitable[None]]

# A string that does not end is one token, too: to look for its end from every quote in it would take hours.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}:,]|[^\s"\[\]{}:,]+')
_PLAIN = re.compile(r'"[^"\\\x00-\x1f]*"|-?[1-9]\d{0,17}|0')
# Of a line that no parser reads, for the id in it; ten times as much would hold up every client for seconds.
_LOOKED_THROUGH_CHARS = 1_000_000


def parse(line: bytes) -> SessionMessage | ValidationError:
    """One line of the wire. Broken text is refused, not replaced: what is stored must be what was said."""
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:
        return error


class Session:
    """Both the read and the write stream of `mcp`'s server, over a source of messages and a way to send one."""

    def __init__(
        self,
        source: AsyncIterator[SessionMessage | Exception],
        send: Send,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._source = source
        self._send = send
        self._drain_seconds = drain_seconds
        self._open: set[RequestId] = set()
        self._settled = anyio.Event()
        self._stopping = False
        self._reading = anyio.CancelScope()

    async def run(self, server: MCPServer) -> None:
        # MCPServer only offers to serve the process's own stdin; its inner server takes any pair of streams.
        inner = server._lowlevel_server  # noqa: SLF001
        await inner.run(self, self, inner.create_initialization_options())

    def stop(self) -> None:
        """Nothing more is read; what is being worked on is still answered."""
        self._stopping = True
        self._reading.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        while len(self._open) >= IN_FLIGHT_MAX and not self._stopping:
            await self._settled.wait()
        while (item := await self._next()) is not None:
            if isinstance(item, SessionMessage):
                self._note(item)
                return item
            await self.send(SessionMessage(_complaint(item)))
        with anyio.move_on_after(self._drain_seconds):
            while self._open:
                await self._settled.wait()
        raise StopAsyncIteration

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    async def send(self, item: SessionMessage) -> None:
        try:
            await self._send(item)
        except OSError as error:
            raise anyio.BrokenResourceError from error
        finally:
            if isinstance(item.message, JSONRPCResponse | JSONRPCError):
                self._settle(item.message.id)

    async def aclose(self) -> None:
        """Whoever opened the socket closes it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    async def _next(self) -> SessionMessage | Exception | None:
        with anyio.CancelScope() as self._reading:
            if not self._stopping:
                return await anext(self._source, None)
        return None

    def _note(self, item: SessionMessage) -> None:
        match item.message:
            case JSONRPCRequest(method=method, id=request_id) if method != ENDLESS:
                self._open.add(request_id)
            case JSONRPCNotification(
                method="notifications/cancelled", params={"requestId": request_id}
            ):
                self._settle(request_id)  # the SDK never answers a cancelled request
            case _:
                pass

    def _settle(self, request_id: RequestId | None) -> None:
        if request_id in self._open:
            self._open.discard(request_id)
            self._settled.set()
            self._settled = anyio.Event()


def _complaint(problem: Exception) -> JSONRPCError:
    """The answer to a line that is no message: with the request's id if the line had one, so nobody waits forever."""
    found = problem.errors(include_url=False) if isinstance(problem, ValidationError) else []
    broken = next((each["input"] for each in found if each["type"] == "json_invalid"), None)
    if broken is not None:
        error = ErrorData(
            code=PARSE_ERROR,
            message="This line is not JSON in UTF-8, or goes too deep: send one JSON-RPC message a line, without lone surrogates "
            "and without numbers of thousands of digits or brackets in hundreds of brackets.",
        )
        return JSONRPCError(jsonrpc="2.0", id=_id_of_request(_meant(broken)), error=error)
    error = ErrorData(code=INVALID_REQUEST, message="This is not a JSON-RPC 2.0 request.")
    return JSONRPCError(jsonrpc="2.0", id=_request_id(found), error=error)


def _request_id(found: list[ErrorDetails]) -> RequestId | None:
    return next(
        (known for each in found if (known := _id_of_request(each["input"])) is not None), None
    )


def _id_of_request(whole: object) -> RequestId | None:
    """Of a request only: the id of a broken answer is one of ours, and would hit another request of the client."""
    if not isinstance(whole, dict) or "method" not in whole:
        return None
    said = whole.get("id")
    # Text that was broken itself cannot be sent back.
    known = type(said) is int or (isinstance(said, str) and said.isascii())
    return cast("RequestId", said) if known else None


def _meant(broken: bytes | str) -> object:
    """What the line says if only its text is broken; Python reads more than JSON allows. Of what it does not read either (numbers of
    thousands of digits, brackets in thousands of brackets), only what stands at its top, which says who waits for an answer."""
    text = broken if isinstance(broken, str) else broken.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _top(text)


def _top(text: str) -> dict[str, object]:
    """The plain members of an object, read as far as one looks for them."""
    members: dict[str, object] = {}
    depth, name = 0, None
    for token in _TOKEN.finditer(text, 0, _LOOKED_THROUGH_CHARS):
        said = token.group()
        if said in "[{":
            depth += 1
        elif said in "]}":
            depth -= 1
        elif depth == 1 and said == ",":
            name = None
        elif depth == 1 and name is None:
            name = said.strip('"')
        elif depth == 1 and name is not None and _PLAIN.fullmatch(said):
            members[name] = json.loads(said)
    return members
