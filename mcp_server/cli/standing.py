"""How sync stands, and what is wrong with it, in sentences: for every command that says so."""

from typing import Any

import msgspec
from rich.console import Console

from mcp_server.cli import screen
from mcp_server.syncing.status import Status

_DOING = {
    "not_set_up": "This vault does not sync. Begin with `sunaiva login`, or with `sunaiva sync folder PATH`.",
    "removed": "This device was removed from the vault. Its memories are all here; `sunaiva pair` lets it join again.",
    "off": "Sync is off: this vault meets its devices nowhere. `sunaiva login` goes on with it.",
    "deleted": "Sync has ended: this vault was deleted where your devices meet. Your memories are all here.",
    "paused": "Sync is paused. `sunaiva sync resume` goes on with it.",
    "starting": "Sync is starting.",
    "syncing": "Syncing.",
    "waiting": "In step with what is there.",
    "offline": "Nobody answers now; it is tried again by itself.",
    "stopped": "Sync has stopped and needs you.",
}
_CAME = (
    "Join your other devices with `sunaiva pair`; if this is the first, say once more how it came there (`sunaiva login`, or `sunaiva "
    "sync folder PATH`), which asks for the recovery words."
)


def said_of(answer: Any) -> str:
    """How sync stands, in a sentence."""
    found = msgspec.convert(answer, Status)
    if found.state == "not_set_up" and found.place is not None:
        return f"This device is at {found.place} and does not sync yet. {_CAME}"
    return _DOING[found.state]


def alarms(given: Any, to: Console = screen.err) -> None:
    """What is wrong, for `status` and `doctor`."""
    for alarm in msgspec.convert(given, Status).alarms:
        often = (
            f"; {alarm.times} times, last {alarm.last_at:%Y-%m-%d %H:%M}" if alarm.times > 1 else ""
        )
        about = "" if alarm.device is None else f", {alarm.device}"
        # The name is what the documentation explains it by.
        screen.warn(f"{alarm.sentence} ({alarm.kind.replace('_', ' ')}{about}{often})", to)
