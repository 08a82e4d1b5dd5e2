"""The devices of a vault as a person sees them, and what the one that admits another writes and tells.

Founding, joining and removing is `sync_service.device.membership`.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from mcp_server.naming import as_name, is_name
from shared.errors import ConflictError, InvalidError, NotFoundError
from sync_service.changes.ops import Head
from sync_service.device import inbox, listing, log
from sync_service.members import amend, control
from sync_service.members.control import Member, Members
from sync_service.members.pairing import Met, Welcome
from sync_service.sealed import keys
from sync_service.sealed.frames import UnreadableError
from sync_service.sealed.keys import DEVICE_NAME_BYTES_MAX

if TYPE_CHECKING:
    from sqlite_utils import Database

_SHOWN_CHARS = 8


class Device(Struct, frozen=True, kw_only=True):
    """A device as a person sees it."""

    id: str
    name: str
    is_this: bool
    revoked: bool


class NoSuchDeviceError(NotFoundError):
    code = "no_such_device"


def checked_name(name: str) -> str:
    """
    Raises:
        InvalidError
    """
    given = name.strip()
    if not is_name(given) or len(given.encode()) > DEVICE_NAME_BYTES_MAX:
        raise InvalidError(
            f"A device's name has 1 to {DEVICE_NAME_BYTES_MAX} printable characters. Give another one."
        )
    return given


def members_of(db: "Database") -> Members:
    """
    Raises:
        NotSetUpError
    """
    log.read(db)
    return log.members(db)


def devices(db: "Database") -> list[Device]:
    """This one first, then in the order in which they joined."""
    members, epoch_keys, me = members_of(db), log.epoch_keys(db), log.read(db).device
    found = sorted(members.members.values(), key=lambda one: (one.device != me, one.added_at_seq))
    return [
        Device(
            id=one.device.hex()[:_SHOWN_CHARS],
            name=name_of(one, members.vault, epoch_keys),
            is_this=one.device == me,
            revoked=one.revoked is not None,
        )
        for one in found
    ]


def name_of(member: Member, vault: bytes, epoch_keys: dict[int, bytes]) -> str:
    """What its owner calls it; a device whose name cannot be read is called by its id."""
    shown_id = member.device.hex()[:_SHOWN_CHARS]
    key = epoch_keys.get(keys.epoch_of_name(member.sealed_name)) if member.sealed_name else None
    if key is not None:
        try:
            name = keys.open_name(member.sealed_name, key, vault=vault, device=member.device)
            return as_name(name) or f"device {shown_id}"
        except UnreadableError:
            pass
    return f"device {shown_id}"


def chosen(db: "Database", given: str) -> Member:
    """A device of today by its name or the beginning of its id.

    Raises:
        NoSuchDeviceError
    """
    members, epoch_keys = members_of(db), log.epoch_keys(db)
    wanted = given.strip()
    fits = [
        one
        for one in control.live(members)
        if one.device.hex().startswith(wanted.lower())
        or name_of(one, members.vault, epoch_keys).casefold() == wanted.casefold()
    ]
    if not wanted or not fits:
        raise NoSuchDeviceError(
            f"No device of this vault is called {wanted[:40]!r}. `sunaiva devices` lists them."
        )
    if len(fits) > 1:
        raise NoSuchDeviceError(
            f"{len(fits)} devices are called {wanted[:40]!r}. Give the id that `sunaiva devices` shows."
        )
    return fits[0]


def admit(db: "Database", met: Met) -> bytes:
    """The entry that admits the newcomer."""
    members = members_of(db)
    device = keys.device_id(met.newcomer.sign_public)
    epoch_key = log.epoch_keys(db)[members.epoch]
    sealed = _sealed(met.name, members, epoch_key, device)
    return amend.add(
        members,
        listing.signer_of(log.read(db)),
        met.newcomer,
        sealed_name=sealed,
        epoch_key=epoch_key,
    )


def welcome(db: "Database", met: Met) -> Welcome:
    """What the newcomer is told: enough to recognise a server that would show it less, or something else."""
    members, me = members_of(db), log.read(db)
    # Only what the others can find there: what is on its way from here would seem to be withheld.
    is_sent = not log.unsent_count(db)
    own = (Head(me.stream, me.seq, me.head),) if me.seq and is_sent else ()
    is_whole = is_sent and not (log.outbox_count(db) or me.seeding or inbox.is_half_applied(db))
    return Welcome(
        vault=members.vault,
        control_seq=members.seq,
        control_hash=members.hash,
        epoch=members.epoch,
        epoch_key=log.epoch_keys(db)[members.epoch],
        heads=(*inbox.told(db), *own),
        digest=log.digest(db) if is_whole else None,
    )


def to_remove(db: "Database", given: str) -> bytes:
    """The device to remove.

    Raises:
        ConflictError: it is this very device.
    """
    member = chosen(db, given)
    if member.device == log.read(db).device:
        raise ConflictError(
            "This is the device you are at. Remove it from another one; to stop syncing here, `sunaiva logout`."
        )
    return member.device


def _sealed(name: str, members: Members, epoch_key: bytes, device: bytes) -> bytes:
    return keys.seal_name(name, epoch_key, vault=members.vault, epoch=members.epoch, device=device)
