"""What the agent serves: the MCP server and the terminal's calls over one device, opened when the agent starts."""

from collections.abc import Callable, Mapping
from typing import Any

from mcp.server import MCPServer

from mcp_server.calls import build_calls
from mcp_server.consolidate import WhenIdle
from mcp_server.device import Device
from mcp_server.server import create_server
from mcp_server.syncing.calls import build_sync_calls
from mcp_server.syncing.hints import NO_HINTS, Hints
from mcp_server.syncing.places import Ways
from mcp_server.syncing.service import Syncing
from mcp_server.syncing.vectors import WORTH
from mcp_server.terminal import Call
from shared.errors import UnavailableError


class App:
    """Owns the device from `start` to `close`."""

    server: MCPServer[Any]
    calls: Mapping[str, Call]

    def __init__(
        self,
        open_device: Callable[[], Device],
        *,
        syncs: bool = True,
        hints: Hints = NO_HINTS,
        vectors_from: int | None = WORTH,
    ) -> None:
        self._open_device = open_device
        self._syncs = syncs
        self._hints = hints
        self._vectors_from = vectors_from
        self._device: Device | None = None
        self.server = create_server(self._opened)
        self.calls = {**build_calls(self._opened), **build_sync_calls(self._opened_syncing)}

    def start(self) -> None:
        """Raises:
        SunaivaError: the vault cannot be opened; the sentence says why.
        """
        self._device = self._open_device()
        self._device.index.rests = self._hints.is_battery_low
        self._consolidating = WhenIdle(self._device, rests=self._hints.is_battery_low)
        self._consolidating.start()
        self._syncing = Syncing(
            self._device, Ways(self._device), self._hints, vectors_from=self._vectors_from
        )
        if self._syncs:
            self._syncing.start()

    def close(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            self._syncing.close()
            self._consolidating.close()
            device.close()

    def _opened(self) -> Device:
        if self._device is None:
            raise UnavailableError("The memory agent is leaving. Ask again in a moment.")
        return self._device

    def _opened_syncing(self) -> Syncing:
        self._opened()
        return self._syncing
