"""How sync stands, for the person and for assistants. Reads, and changes nothing."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mcp_server.syncing import roster
from mcp_server.syncing.hints import Hints
from mcp_server.syncing.loop import State
from mcp_server.vault import meeting
from mcp_server.vault.meeting import Traffic
from sync_service import inbox, log
from sync_service.alarms import Alarm

if TYPE_CHECKING:
    from sqlite_utils import Database

# More than a person decides in one sitting.
_COUNTED_MAX = 1_000


class Status(Struct, frozen=True, kw_only=True):
    """How sync stands."""

    state: str
    """`not_set_up`, `removed`, `off`, `paused`, or what the loop does: `starting`, `syncing`, `waiting`, `offline`, `stopped`."""
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
    is_removed = any(map(is_own_removal, raised))
    shown["synced_at"] = synced_at or traffic.synced_at
    return Status(
        state=_word(loop.doing, is_removed=is_removed, paused=me.paused, met=met is not None),
        device=known[0].name,
        devices=sum(not one.revoked for one in known),
        to_send=log.outbox_count(db),
        batches_to_send=log.unsent_count(db),
        held=len(inbox.held(db)),
        conflicts=len(log.in_conflict(db, _COUNTED_MAX)),
        waiting_to_forget=inbox.held_forgets_count(db),
        problem=None if loop.problem is None else str(loop.problem),
        next_try_seconds=loop.next_in_seconds,
        is_metered=hints.is_metered(),
        is_battery_low=hints.is_battery_low(),
        alarms=tuple(raised),
        **shown,
    )


def is_own_removal(alarm: Alarm) -> bool:
    return (alarm.kind, alarm.subject) == ("revoked_device", "self")


def _word(doing: str, *, is_removed: bool, paused: bool, met: bool) -> str:
    if is_removed:
        return "removed"
    return "off" if not met else "paused" if paused else doing
