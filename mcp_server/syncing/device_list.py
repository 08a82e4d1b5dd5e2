"""Changes to the device list that a person asks for: another name, a device removed, other recovery words.

Each is made to the list as it is at the moment; where another device was faster, it is read again and tried anew.
"""

import secrets
from collections.abc import Callable

from mcp_server.syncing import roster
from mcp_server.syncing.way import Way
from mcp_server.vault.words import entropy_of
from shared.errors import ConflictError
from sync_service.device import listing, membership
from sync_service.members.pairing import Met
from sync_service.sealed.keys import recovery_seeds, sign_public
from sync_service.transport import ControlConflictError, Transport

# Devices that change the list at the same moment: each reads what the other wrote, and tries again.
APPEND_TRIES = 5


class BusyListError(ConflictError):
    def __init__(self) -> None:
        super().__init__(
            "Other devices change the device list all the time. Try again in a moment."
        )


def rename(way: Way, given: str, name: str) -> None:
    checked = roster.checked_name(name)
    with way.device.vault.reading() as db:
        device = roster.chosen(db, given).device
    _change(
        way,
        lambda transport: membership.rename(transport, way.replica, device, checked, way.now_ms()),
    )


def remove(way: Way, device: bytes, *, fetch: Callable[[Transport], object]) -> None:
    """Remove a device, and change the vault's key. `fetch` gets what it sent until the moment it is removed, which counts."""

    def act(transport: Transport) -> None:
        fetch(transport)
        membership.revoke(transport, way.replica, device, secrets.token_bytes, way.now_ms())

    _change(way, act)


def set_words(way: Way, words: str) -> bool:
    """Let these words, which are this vault's, be those of what is synced, too; whether anything changed."""
    recovery = recovery_seeds(entropy_of(words))
    with way.device.vault.reading() as db:
        if roster.members_of(db).recovery_sign == sign_public(recovery):
            return False
    _change(
        way, lambda transport: membership.new_words(transport, way.replica, recovery, way.now_ms())
    )
    return True


def admit(way: Way, met: Met) -> None:
    def act(transport: Transport) -> None:
        with way.device.vault.reading() as db:
            members, entry = roster.members_of(db), roster.admit(db, met)
        listing.append(transport, way.replica, members, entry, way.now_ms())

    _change(way, act)


def _change(way: Way, act: Callable[[Transport], object]) -> None:
    """Change the device list as it is, until nobody is faster."""
    for _ in range(APPEND_TRIES):
        with way.turn:
            transport = way.transport()
            with way.device.vault.reading() as db:
                members = roster.members_of(db)
            listing.follow(transport, way.replica, members, members.seq, way.now_ms())
            try:
                act(transport)
            except ControlConflictError:
                continue
        return
    raise BusyListError
