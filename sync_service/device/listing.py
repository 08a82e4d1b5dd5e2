"""The device list as this device keeps it: following the relay's, which may only grow, and appending to it.

An entry that does not follow is never stored: the list here stays what it was, an alarm is raised, and memories go on as far as the list
here allows. Keys come with entries, and are here before anything that needs them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.errors import ConflictError, SunaivaError
from sync_service.alarms import Kind
from sync_service.device import log
from sync_service.device.log import Self
from sync_service.device.replica import Replica
from sync_service.members import amend, control
from sync_service.members.control import (
    DowngradeError,
    Members,
    RevokedDeviceError,
    WrongVaultError,
)
from sync_service.members.entries import MEMBER_SIGNER, RECOVERY_SIGNER, NewerListError, Signer
from sync_service.sealed import keys
from sync_service.sealed.frames import UnreadableError
from sync_service.sealed.keys import Random, Seeds
from sync_service.transport import ControlConflictError, Transport

if TYPE_CHECKING:
    from sqlite_utils import Database

# Entries read in one step; a list of hundreds of devices with all that ever happened to them is shorter.
ENTRIES_MAX = 16_384
_ALARMS: tuple[Kind, ...] = (
    "forged_device_list",
    "wrong_vault",
    "downgrade",
    "newer",
    "revoked_device",
)
_UPDATE = (
    "This vault has been set to a newer form of encryption than this Sunaiva knows. Update Sunaiva here: until then nothing is sent, and "
    "what is written here waits."
)
ANOTHER_LIST = (
    "The list of devices is another one where your devices meet than here. Nothing of that was used; compare `sunaiva devices` on a "
    "device that you trust."
)


class NotSyncedError(ConflictError):
    """Something of the other devices is not here yet, or something from here not there: what is asked for could lose it."""

    code = "not_synced"


def follow(
    transport: Transport, replica: Replica, members: Members, shown_seq: int, now_ms: int
) -> Members:
    """The device list with what the relay has beyond this one; what the relay lost of it is given back."""
    if shown_seq < members.seq:
        _give_back(transport, replica, shown_seq, now_ms)
    if _ends_otherwise(transport, replica, members):
        with replica.transaction() as db:
            log.raise_alarm(db, "forged_device_list", "device list", ANOTHER_LIST, now_ms)
        return members
    for _ in range(ENTRIES_MAX):
        entries = transport.control(members.seq)
        if not entries:
            break
        good: list[bytes] = []
        wrong: SunaivaError | None = None
        for entry in entries:
            try:
                members = control.extend(members, entry)
            except SunaivaError as error:
                wrong = error
                break
            good.append(entry)
        with replica.transaction() as db:
            log.add_control(db, good, members)
            _take_keys(db, members, now_ms)
            if wrong is not None:
                log.raise_alarm(db, _kind(wrong), "device list", str(wrong), now_ms)
        if wrong is not None:
            return members
    with replica.transaction() as db:
        _settle(db, members, now_ms)
        if shown_seq >= members.seq:
            log.settle(db, "rolled_back", "device list")
    return members


def rotate(
    transport: Transport, replica: Replica, members: Members, random: Random, now_ms: int
) -> Members:
    """Begin a new epoch. The list has to be the relay's, and everything here has to be there.

    Raises:
        NotSyncedError, ControlConflictError
    """
    with replica.transaction() as db:
        me = log.read(db)
        known = log.epoch_keys(db)
    # Not because of a batch that cannot be read: whoever is removed could leave one behind. The keys are what nobody may lose.
    if not known.keys() >= set(range(1, members.epoch + 1)):
        raise NotSyncedError(
            "This device does not have all of the vault's keys, so it cannot make the next one. Sync first."
        )
    entry = amend.rotate(
        members,
        signer_of(me),
        epoch_key=keys.new_epoch_key(random),
        previous_key=known.get(members.epoch),
    )
    return append(transport, replica, members, entry, now_ms)


def append(
    transport: Transport, replica: Replica, members: Members, entry: bytes, now_ms: int
) -> Members:
    """Add an entry that was made for this list.

    Raises:
        ControlConflictError: another device was faster; follow, and make it anew.
    """
    after = control.extend(members, entry)  # never sent if it breaks the law itself
    transport.append_control(entry)
    with replica.transaction() as db:
        log.add_control(db, [entry], after)
        _take_keys(db, after, now_ms)
    return after


def signer_of(me: Self) -> Signer:
    return Signer(MEMBER_SIGNER, Seeds(me.sign_seed, me.kem_seed))


def recovery_signer(recovery: Seeds) -> Signer:
    return Signer(RECOVERY_SIGNER, recovery)


def _settle(db: "Database", members: Members, now_ms: int) -> None:
    """The list was read to its end, and is sound."""
    too_old = control.demands_newer_writer(members)
    for kind in _ALARMS:
        if kind != "newer" or not too_old:
            log.settle(db, kind, "device list")
    if too_old:
        log.raise_alarm(db, "newer", "device list", _UPDATE, now_ms)


def _ends_otherwise(transport: Transport, replica: Replica, members: Members) -> bool:
    """Two lists of one length, each with a new key of its own, follow each other at nothing. That keys do not fit is what shows first."""
    with replica.transaction() as db:
        if all(alarm.kind != "unreadable" for alarm in log.alarms(db)):
            return False
        here = log.control(db)[-1:]
    there = transport.control(members.seq - 1)[:1]
    return bool(there) and there != here


def _give_back(transport: Transport, replica: Replica, shown_seq: int, now_ms: int) -> None:
    with replica.transaction() as db:
        entries = log.control(db)
        log.raise_alarm(
            db,
            "rolled_back",
            "device list",
            "The server shows an older list of devices than before. It is given the newer one back.",
            now_ms,
        )
    for entry in entries[shown_seq:]:
        try:
            transport.append_control(entry)
        except ControlConflictError:
            return  # another device is at it, or the server has a list of its own: following tells


def _take_keys(db: "Database", members: Members, now_ms: int) -> None:
    me = log.read(db)
    known = log.epoch_keys(db)
    if not members.epoch or members.epoch in known:
        return
    try:
        opened: Mapping[int, bytes] = control.epoch_keys(members, Seeds(me.sign_seed, me.kem_seed))
    except RevokedDeviceError:
        return
    except UnreadableError as error:
        log.raise_alarm(db, "unreadable", "key of the vault", str(error), now_ms)
        return
    log.add_epoch_keys(db, opened)
    log.settle(db, "unreadable", "key of the vault")


def _kind(error: SunaivaError) -> Kind:
    match error:
        case WrongVaultError():
            return "wrong_vault"
        case DowngradeError():
            return "downgrade"
        case NewerListError():
            return "newer"
        case RevokedDeviceError():
            return "revoked_device"
        case _:
            return "forged_device_list"
