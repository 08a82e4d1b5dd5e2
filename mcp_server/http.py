"""MCP over HTTP for clients that speak nothing else: this machine only, and only with the token.

Any page in a browser can send requests to a loopback port, and so can every other user of the machine. Hence the
token on every request, and the check of Host and Origin against DNS rebinding.
"""

import hmac
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from msgspec import Struct
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.rendezvous import LINE_BYTES_MAX
from mcp_server.vault.vaultfile import write_private
from shared.errors import ForbiddenError, UnavailableError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

_GRACE_SECONDS = 5  # open event streams never end by themselves
_TOKEN_BYTES = 32


TOKEN_NAME = "http.token"  # noqa: S105 (a file name)


class Address(Struct, frozen=True, kw_only=True):
    """Where to serve HTTP; port 0 takes any free one."""

    port: int
    host: str = "127.0.0.1"


def open_port(address: Address) -> socket.socket:
    """A bound socket.

    Raises:
        ForbiddenError: the host is not this machine's loopback.
        UnavailableError: the port is taken.
    """
    if address.host not in _LOOPBACK:
        raise ForbiddenError(
            f"The memory agent serves HTTP on this machine only, not on {address.host}. Use 127.0.0.1 or ::1."
        )
    host = "127.0.0.1" if address.host == "localhost" else address.host
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    channel = socket.socket(family, socket.SOCK_STREAM)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        channel.bind((host, address.port))
    except OSError as error:
        channel.close()
        raise UnavailableError(
            f"Port {address.port} of {host} cannot be used: {error.strerror}. Choose another, or 0 for any free one."
        ) from error
    return channel


def url(channel: socket.socket) -> str:
    host, port = channel.getsockname()[:2]
    return f"http://[{host}]:{port}/mcp" if ":" in host else f"http://{host}:{port}/mcp"


def token(home: Path) -> str:
    """The secret of this vault's HTTP clients, made on first use. Delete the file for a new one."""
    path = home / TOKEN_NAME
    if path.exists() and (kept := path.read_text(encoding="ascii", errors="replace").strip()):
        return kept
    fresh = secrets.token_urlsafe(_TOKEN_BYTES)
    # Whole or not at all: a full disk would leave a token that lets nobody in.
    write_private(path, f"{fresh}\n".encode(), replace=True)
    return fresh


class HttpServer(uvicorn.Server):
    """uvicorn as a task of the agent: the agent keeps its own signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(server: MCPServer, channel: socket.socket, secret: str) -> HttpServer:
    port = channel.getsockname()[1]
    names = [f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]
    app = server.streamable_http_app(
        max_request_body_size=LINE_BYTES_MAX,
        transport_security=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=names,
            allowed_origins=[f"http://{name}" for name in names],
        ),
    )
    config = uvicorn.Config(
        _with_token(app, secret),
        # httptools, which uvicorn prefers where it finds it, leaves blanks behind a header's value; MCP compares values.
        http="h11",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return HttpServer(config)


_POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1


def _with_token(app: ASGIApp, secret: str) -> ASGIApp:
    expected = f"Bearer {secret}".encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "lifespan" or hmac.compare_digest(given, expected):
            await app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        headers = [
            (b"www-authenticate", b"Bearer"),
            (b"content-type", b"text/plain; charset=utf-8"),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        body = b"Send `Authorization: Bearer TOKEN`; the token is in http.token in the vault's folder.\n"
        await send({"type": "http.response.body", "body": body})

    return guarded
