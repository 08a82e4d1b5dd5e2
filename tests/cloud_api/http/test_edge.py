"""What holds for every request, before anything knows what it is about."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from litestar.types import Message, Receive, Scope, Send

from cloud_api.http.edge import BodyTooSlowError, edge

pytestmark = pytest.mark.anyio

SCOPE: Any = {"type": "http", "headers": [], "client": ("127.0.0.1", 1)}


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """All of the body, and then the end of the connection."""
    message: Any = {"more_body": True}
    while message.get("more_body"):
        message = await receive()
    assert (await receive())["type"] == "http.disconnect"


async def run(*messages: tuple[float, dict[str, Any]]) -> None:
    left = list(messages)

    async def receive() -> Any:
        seconds, message = left.pop(0)
        arrived = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, arrived.set)
        await arrived.wait()
        return message

    async def send(message: Message) -> None:
        raise AssertionError("nothing is answered here")

    app = edge(reading, new_id=lambda: UUID(int=1), proxies=0, is_https=False, body_seconds=0.2)
    await app(SCOPE, receive, send)


PART = {"type": "http.request", "body": b"a", "more_body": True}
LAST = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


async def test_a_body_that_drips_is_given_up_as_a_whole() -> None:
    with pytest.raises(BodyTooSlowError):
        await run(*[(0.05, PART)] * 10, (0.0, LAST), (0.0, GONE))


async def test_whoever_has_sent_the_body_may_stay() -> None:
    await run((0.0, PART), (0.0, LAST), (0.4, GONE))
