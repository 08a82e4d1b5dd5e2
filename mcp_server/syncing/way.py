"""The way from this device to where it meets the others: which place that is, and whose turn it is to go there.

What the person does and what the loop does there never happen at the same time: both take their turn.
"""

import threading

from msgspec import Struct

from mcp_server.device import Device
from mcp_server.replica import Replica
from mcp_server.syncing.places import Place, Ways
from mcp_server.syncing.status import is_deletion, is_own_removal
from mcp_server.vault import meeting
from shared.clock import to_ms
from shared.errors import ConflictError, NotFoundError
from sync_service.device import log
from sync_service.transport import Reached, Transport


class Standing(Struct, frozen=True, kw_only=True):
    """What a device that has come to a place finds there."""

    place: str
    vaults: int
    """Synced there by this person."""
    is_set_up: bool
    """Whether this device syncs already."""
    is_deleted: bool = False
    """Its vault was deleted there."""


class Way:
    """Owns the meeting place while it is in use."""

    def __init__(self, device: Device, ways: Ways) -> None:
        self.device = device
        self.replica = Replica(device)
        self.turn = threading.Lock()
        self._ways = ways
        self._place: Place | None = None

    def transport_if_any(self) -> Transport | None:
        """The way to the other devices; None where there is none, or it is not to be used."""
        with self.device.vault.reading() as db:
            met = meeting.read(db)
            me = log.read(db) if log.is_set_up(db) else None
        if met is None or me is None or me.paused:
            self.leave()
            return None
        return self.place().transport(me.vault, me)

    def transport(self) -> Transport:
        """
        Raises:
            NotSetUpError
            NotFoundError: there is no place.
        """
        with self.device.vault.reading() as db:
            me = log.read(db)
        return self.place().transport(me.vault, me)

    def place(self) -> Place:
        """
        Raises:
            NotFoundError
        """
        if self._place is None:
            with self.device.vault.reading() as db:
                met = meeting.read(db)
            if met is None:
                raise NotFoundError(
                    "This vault syncs nowhere yet. Begin with `sunaiva login`, or with `sunaiva sync folder PATH`."
                )
            self._place = self._ways.place(met)
        return self._place

    def wait(self, *, seconds: float) -> bool:
        """Whether there is something new at the place in use, as soon as there is or when the time is over."""
        place = self._place
        if place is None:
            return False
        with self.device.vault.reading() as db:
            me = log.read(db)
            reached = Reached(me.generation, log.control_seq(db), me.cursor)
        return place.transport(me.vault, me).wait(reached, seconds=seconds)

    def leave(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.close()

    def demand_elsewhere_left(self, kind: meeting.Kind, place: str) -> None:
        with self.device.vault.reading() as db:
            met = meeting.read(db)
        if met is not None and (met.kind, met.place) != (kind, place):
            raise ConflictError(
                f"This vault meets its devices at {met.place}. Leave there first with `sunaiva logout`; nothing is deleted by that."
            )

    def arrive(self, name: str | None) -> Standing:
        """Use the place that the vault names now, under this name."""
        if name is not None:
            with self.device.vault.writing() as db:
                meeting.call(db, name)
        with self.turn:
            self.leave()
            vaults = self.place().vaults()
        with self.device.vault.reading() as db:
            met = meeting.read(db)
            raised = log.alarms(db)
            is_set_up = log.is_set_up(db) and not any(map(is_own_removal, raised))
        assert met is not None
        return Standing(
            place=met.place,
            vaults=len(vaults),
            is_set_up=is_set_up,
            is_deleted=is_set_up and any(map(is_deletion, raised)),
        )

    def is_there(self) -> bool:
        """Whether this vault is at the place."""
        with self.device.vault.reading() as db:
            vault = log.read(db).vault
        return vault in self.place().vaults()

    def now_ms(self) -> int:
        return to_ms(self.device.clock())
