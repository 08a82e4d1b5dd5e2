"""How sync stands, as a person and their terminal are told it. Reads the vault and the loop, and changes nothing."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from mcp_server.syncing import roster
from mcp_server.syncing.hints import Hints
from mcp_server.syncing.loop import State
from mcp_server.syncing.wording import for_place
from mcp_server.vault import meeting
from mcp_server.vault.meeting import Traffic
from sync_service.alarms import Alarm, stream_of
from sync_service.device import inbox, log
from sync_service.members import control
from sync_service.members.control import Members

if TYPE_CHECKING:
    from sqlite_utils import Database

# More than a person decides in one sitting.
_COUNTED_MAX = 1_000


class Status(Struct, frozen=True, kw_only=True):
    """How sync stands."""

    state: str
    """`not_set_up`, `removed`, `off`, `deleted`, `paused`, or what the loop does: `starting`, `syncing`, `waiting`, `offline`, `stopped`."""
    kind: meeting.Kind | None = None
    place: str | None = None
    logged_in: bool = False
    device: str | None = None
    devices: int = 0
    synced_at: datetime | None = None
    to_send: int = 0
    """Changes that are in no batch yet."""
    batches_to_send: int = 0
    held: int = 0
    conflicts: int = 0
    waiting_to_forget: int = 0
    sent_batches: int = 0
    sent_bytes: int = 0
    received_batches: int = 0
    received_bytes: int = 0
    problem: str | None = None
    next_try_seconds: float | None = None
    is_metered: bool = False
    """The network: snapshots wait for another one."""
    is_battery_low: bool = False
    """Reading by meaning and packing wait for the charger."""
    alarms: tuple[Alarm, ...] = ()


def status_of(db: "Database", loop: State, synced_at: datetime | None, hints: Hints) -> Status:
    """`synced_at`: when this agent last was in touch; None if it has not been yet."""
    met = meeting.read(db)
    shown: dict[str, Any] = {}
    if met is not None:
        shown = {"kind": met.kind, "place": met.place, "logged_in": met.logged_in}
    if not log.is_set_up(db):
        return Status(state="not_set_up", **shown)
    me, traffic = log.read(db), meeting.traffic(db)
    known = roster.devices(db)
    shown |= {name: getattr(traffic, name) for name in Traffic.__struct_fields__}
    raised = log.alarms(db)
    shown["synced_at"] = synced_at or traffic.synced_at
    return Status(
        state=_word(loop.doing, raised, paused=me.paused, met=met is not None),
        device=known[0].name,
        devices=sum(not one.revoked for one in known),
        to_send=log.outbox_count(db),
        batches_to_send=log.unsent_count(db),
        held=inbox.held_count(db),
        conflicts=len(log.in_conflict(db, _COUNTED_MAX)),
        waiting_to_forget=inbox.held_forgets_count(db),
        problem=None if loop.problem is None else str(loop.problem),
        next_try_seconds=loop.next_in_seconds,
        is_metered=hints.is_metered(),
        is_battery_low=hints.is_battery_low(),
        alarms=tuple(for_place(alarm, met) for alarm in _with_names(db, raised)),
        **shown,
    )


def is_own_removal(alarm: Alarm) -> bool:
    return (alarm.kind, alarm.subject) == ("revoked_device", "self")


def is_deletion(alarm: Alarm) -> bool:
    return alarm.kind == "deleted"


def _word(doing: str, raised: list[Alarm], *, paused: bool, met: bool) -> str:
    if any(map(is_own_removal, raised)):
        return "removed"
    if not met:
        return "off"
    if any(map(is_deletion, raised)):
        return "deleted"
    return "paused" if paused else doing


def _with_names(db: "Database", raised: list[Alarm]) -> tuple[Alarm, ...]:
    """Alarms with the names of the devices that they are about."""
    if not raised:
        return ()
    members, epoch_keys = log.members(db), log.epoch_keys(db)
    return tuple(
        msgspec.structs.replace(alarm, device=_device_of(alarm, members, epoch_keys))
        for alarm in raised
    )


def _device_of(alarm: Alarm, members: Members, epoch_keys: dict[int, bytes]) -> str | None:
    stream = stream_of(alarm)
    owner = None if stream is None else control.owner_of(members, stream)
    return None if owner is None else roster.name_of(owner, members.vault, epoch_keys)
