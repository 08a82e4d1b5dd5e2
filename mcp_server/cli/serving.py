"""The half of the command line that serves: imported only by the process that becomes the server."""

import sys

from mcp_server import agent as agents
from mcp_server import opening
from mcp_server.app import App
from mcp_server.http import Address
from mcp_server.settings import Settings
from mcp_server.syncing import hints
from mcp_server.syncing.vectors import WORTH
from shared.clock import system_clock


def agent(settings: Settings, *, http_port: int | None) -> int:
    """Be the agent until asked to leave; the exit code."""
    address = None if http_port is None else Address(port=http_port)
    return agents.serve(_app(settings), settings, http=address)


def in_process(settings: Settings) -> int:
    """Serve one assistant on stdin and stdout; the exit code. Nothing syncs: such a process is over when its assistant is."""
    return agents.serve_stdio(_app(settings, syncs=False), settings)


def _app(settings: Settings, *, syncs: bool = True) -> App:
    return App(
        lambda: opening.open_here(settings, opening.access(settings), system_clock),
        syncs=syncs,
        hints=hints.of_system(sys.platform) if settings.heeds_hints else hints.NO_HINTS,
        vectors_from=WORTH if settings.sync_vectors else None,
    )
