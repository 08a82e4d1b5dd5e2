"""Where devices meet: a cloud, or a folder; and the way there, which loads what speaks over a network only when it is first gone."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mcp_server.device import Device
from mcp_server.vault.meeting import Meeting
from sync_service.device.log import Self
from sync_service.transport import Mailboxes, Transport

if TYPE_CHECKING:
    from mcp_server.syncing.session import Session


class Place(Protocol):
    """What a cloud and a folder both offer."""

    def vaults(self) -> list[bytes]:
        """Ids of those that this person syncs there."""
        ...

    def transport(self, vault: bytes | None, me: Self | None) -> Transport:
        """For a device of a vault; or, without `me`, for its device list alone; or, without `vault`, for a new one."""
        ...

    def mailboxes(self) -> Mailboxes: ...

    def close(self) -> None:
        """Ends whatever waits there."""
        ...


class Ways:
    """Owns this device's session at a cloud, made when it is first asked for."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._session: Session | None = None

    def session(self) -> "Session":
        if self._session is None:
            from mcp_server.syncing.session import Session  # noqa: PLC0415 (a vault that does not sync loads no HTTP client)

            self._session = Session(self._device)
        return self._session

    def place(self, met: Meeting) -> Place:
        """Close it."""
        if met.kind == "folder":
            from mcp_server.syncing.folder import Folder  # noqa: PLC0415 (as below)

            return Folder(Path(met.place), self._device)
        from mcp_server.syncing.cloud import Cloud  # noqa: PLC0415 (as above)

        return Cloud(met.place, self.session())
