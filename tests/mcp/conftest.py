"""An assistant on a server in this very process, through the SDK's own client, in either era of the protocol."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.types import CallToolResult, Implementation, TextContent, TextResourceContents

from mcp_server.device import Device
from mcp_server.server import create_server
from tests.builders import SetClock, opened

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def mine(tmp_path: Path, clock: SetClock) -> Iterator[Device]:
    with opened(tmp_path, clock=clock) as device:
        yield device


@pytest.fixture(params=["legacy", "auto"])
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(mine: Device, era: str) -> Connect:
    def connect(name: str = "claude", **more: Any) -> Client:
        info = Implementation(name=name, version="1")
        return Client(create_server(lambda: mine), mode=era, client_info=info, **more)

    return connect


def said(result: CallToolResult) -> str:
    """What the model reads."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def done(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of a call that worked."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, said(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def read(client: Client, uri: str) -> str:
    """The text of a resource."""
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content.text


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """The sentence of a call that did not."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return said(result)
