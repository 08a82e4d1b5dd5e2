"""A stdio MCP server with a client on it, as an assistant has it. Used for ours and for the peers alike."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bench.answers import answer_text
from shared.errors import UnavailableError

CALL_SECONDS = 120.0  # a call that takes longer is reported as hanging, not waited for


@asynccontextmanager
async def session(server: StdioServerParameters, log: Path) -> AsyncIterator[Client]:
    """The server's stderr goes to `log`: what a person would see in the assistant's log file."""
    try:
        with log.open("a", encoding="utf-8") as errlog:
            transport = stdio_client(server, errlog=errlog)
            async with Client(transport, read_timeout_seconds=CALL_SECONDS) as client:
                yield client
    except ExceptionGroup as group:
        # The transport's task group wraps whatever happened inside; the reader wants that itself.
        raise innermost(group) from group


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of one tool call.

    Raises:
        UnavailableError: the tool answered with an error.
    """
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        said = answer_text(result)[:500]
        raise UnavailableError(f"`{tool}` failed: {said or 'no structured result'}")
    structured: dict[str, Any] = result.structured_content
    return structured


def innermost(error: Exception) -> Exception:
    """What happened, without the groups that task groups put around it."""
    return innermost(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error
