"""What the conformance suite calls by name: fixed contents, progress and log messages, resources, prompts.

Registered on the real server beside its own tools, and only by `serve.py`: no installed Sunaiva can offer them.
The names and the words they return are the suite's.
"""

import base64
import json
import struct
import zlib
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.types import (
    AudioContent,
    Completion,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def add_fixtures(server: MCPServer[Any]) -> None:
    """Register all of them but the questions to a client, which are in `questions.py`."""
    _add_contents(server)
    _add_messages(server)
    _add_schemas(server)
    _add_resources(server)
    _add_prompts(server)
    _add_capabilities(server)


def _add_contents(server: MCPServer[Any]) -> None:
    @server.tool()
    def test_simple_text() -> str:
        """A text."""
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> list[ImageContent]:
        """An image."""
        return [_image()]

    @server.tool()
    def test_audio_content() -> list[AudioContent]:
        """A sound."""
        return [AudioContent(type="audio", data=_encoded(_wav()), mime_type="audio/wav")]

    @server.tool()
    def test_embedded_resource() -> list[EmbeddedResource]:
        """A resource within the result."""
        return [
            _embedded(
                "test://embedded-resource", "text/plain", "This is an embedded resource content."
            )
        ]

    @server.tool()
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """A text, an image and a resource."""
        return [
            TextContent(type="text", text="Multiple content types test:"),
            _image(),
            _embedded(
                "test://mixed-content-resource", "application/json", '{"test":"data","value":123}'
            ),
        ]

    @server.tool()
    def test_error_handling() -> str:
        """An error."""
        raise ToolError("This tool intentionally returns an error for testing")


def _add_messages(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_tool_with_logging(ctx: Context) -> str:
        """Three log messages."""
        await ctx.info("Tool execution started")
        await ctx.info("Tool processing data")
        await ctx.info("Tool execution completed")
        return "logged"

    @server.tool()
    async def test_logging_tool(ctx: Context) -> str:
        """A log message that must not arrive where no level was asked for."""
        await ctx.info("unasked")
        return "logged"

    @server.tool()
    async def test_tool_with_progress(ctx: Context) -> str:
        """Three steps of progress."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
        return "done"

    @server.tool()
    async def test_reconnection(ctx: Context) -> str:
        """A call whose stream closes before its result."""
        await ctx.close_sse_stream()
        return "reconnected"

    @server.tool()
    async def test_trigger_tool_change(ctx: Context) -> str:
        """Says that the tools changed."""
        await ctx.notify_tools_changed()
        return "told"

    @server.tool()
    async def test_trigger_prompt_change(ctx: Context) -> str:
        """Says that the prompts changed."""
        await ctx.notify_prompts_changed()
        return "told"


def _add_schemas(server: MCPServer[Any]) -> None:
    @server.tool()
    def json_schema_2020_12_tool(name: str = "") -> str:
        """A schema with keywords that a careless server drops."""
        return name

    # The SDK derives schemas from signatures, and no signature says all of this.
    tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert tool is not None
    tool.parameters = _SCHEMA

    @server.tool()
    def test_custom_headers(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
    ) -> str:
        """An argument that a client repeats in a header."""
        return region


def _add_resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain", description="A text.")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png", description="An image.")
    def static_binary() -> bytes:
        return _png()

    @server.resource(
        "test://watched-resource", mime_type="text/plain", description="Subscribed to."
    )
    def watched() -> str:
        return "Watched resource content"

    @server.resource(
        "test://template/{id}/data", mime_type="application/json", description="By its id."
    )
    def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def _add_prompts(server: MCPServer[Any]) -> None:
    @server.prompt(description="A text.")
    def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt(description="With two arguments.")
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(description="With a resource.")
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 (the suite's)
        words = "Embedded resource content for testing."
        return [
            UserMessage(_embedded(resourceUri, "text/plain", words)),
            UserMessage("Please process the embedded resource above."),
        ]

    @server.prompt(description="With an image.")
    def test_prompt_with_image() -> list[UserMessage]:
        return [UserMessage(_image()), UserMessage("Please analyze the image above.")]


def _add_capabilities(server: MCPServer[Any]) -> None:
    """What Sunaiva itself does not offer and so does not declare: completions, log levels, subscriptions by URI."""

    @server.completion()  # type: ignore[no-untyped-call,untyped-decorator] # the SDK's own is not annotated
    async def complete(ref: object, argument: object, context: object) -> Completion:
        return Completion(values=[])

    async def accepted(ctx: object, params: object) -> EmptyResult:
        return EmptyResult()

    for method, params in (
        ("logging/setLevel", SetLevelRequestParams),
        ("resources/subscribe", SubscribeRequestParams),
        ("resources/unsubscribe", UnsubscribeRequestParams),
    ):
        # MCPServer has no public door for the methods that the newest revision removed.
        server._lowlevel_server.add_request_handler(method, params, accepted)


def _image() -> ImageContent:
    return ImageContent(type="image", data=_encoded(_png()), mime_type="image/png")


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    resource = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(type="resource", resource=resource)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _png() -> bytes:
    """One red pixel."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00"))
    return b"\x89PNG\r\n\x1a\n" + header + pixel + chunk(b"IEND", b"")


def _wav() -> bytes:
    """One silent sample."""
    form = struct.pack("<HHIIHH", 1, 1, 8_000, 8_000, 1, 8)
    body = (
        b"WAVEfmt "
        + struct.pack("<I", len(form))
        + form
        + b"data"
        + struct.pack("<I", 1)
        + b"\x80\x00"
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body
