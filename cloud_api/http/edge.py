"""The outermost layer: what holds for every answer, also for one that no route gives (404, 405, a broken header).

It gives the request its id and caller, and the answer its security headers. It reads no body, and lets nobody take for ever to
send one.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from litestar.exceptions import ClientException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from cloud_api.http.caller import take_caller
from cloud_api.http.request_ids import take_request_id

# The API answers JSON to programs: a browser that is made to show it must not run, frame or sniff anything.
# The pages of ours that are for people bring a policy of their own.
_CSP = b"default-src 'none'; frame-ancestors 'none'"
_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", _CSP),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")

# The largest body in this time is 300 kbit/s: slower than any network that a device syncs over.
BODY_SECONDS = 30.0

_ADDED = "sunaiva.headers"


def add_header(scope: Any, name: str, value: str) -> None:
    """On the answer, also when that is a refusal, which no inner layer sees."""
    scope.setdefault(_ADDED, []).append((name.encode(), value.encode()))


class BodyTooSlowError(ClientException):
    """The server closes the connection after it: what is still to come of the body is read by nobody."""

    status_code = 408


def edge(
    app: ASGIApp,
    *,
    new_id: Callable[[], UUID],
    proxies: int,
    is_https: bool,
    body_seconds: float = BODY_SECONDS,
) -> ASGIApp:
    always = (*_HEADERS, _HSTS) if is_https else _HEADERS

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # Litestar's types know an enumeration of these, and not the lifespan; the server sends text.
        if str(scope["type"]) != "http":
            await app(scope, receive, send)
            return
        given = dict(scope["headers"])
        own_id = take_request_id(scope, _text(given.get(b"x-request-id")), new_id)
        take_caller(scope, forwarded_for=_text(given.get(b"x-forwarded-for")), proxies=proxies)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = [*message["headers"], (b"x-request-id", own_id.encode())]
                headers += _added(scope)
                present = {name.lower() for name, _ in headers}
                headers += [each for each in always if each[0] not in present]
                message["headers"] = headers
            await send(message)

        await app(scope, _in_time(receive, body_seconds), send_with_headers)

    return answer


def _in_time(receive: Receive, seconds: float) -> Receive:
    """The body as a whole; afterwards one may wait for the end of the connection as long as one likes."""
    deadline: float | None = None
    is_whole = False

    async def receive_in_time() -> Any:
        nonlocal deadline, is_whole
        if is_whole:
            return await receive()
        now = asyncio.get_running_loop().time()
        deadline = deadline or now + seconds
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlowError from None
        is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return receive_in_time


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("latin-1")


def _added(scope: Any) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = scope.get(_ADDED, [])
    return found
