"""How this device comes among the others: as the first, by the recovery words, or by pairing; and how it admits another one.

Whoever does not show the words, or agree on a number, or have a code, never gets further than a question.
"""

import platform
import secrets
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from mcp_server import replica
from mcp_server.device import Device
from mcp_server.naming import as_name
from mcp_server.syncing import device_list, roster
from mcp_server.syncing.device_list import APPEND_TRIES, BusyListError
from mcp_server.syncing.pairing import Conversation, Member, Newcomer
from mcp_server.syncing.status import is_deletion, is_own_removal
from mcp_server.syncing.way import Way
from mcp_server.vault import meeting
from mcp_server.vault.words import entropy_of
from shared.errors import ConflictError, ForbiddenError, InvalidError
from sync_service.device import log, membership
from sync_service.members.pairing import Welcome
from sync_service.sealed.keys import Seeds, recovery_seeds
from sync_service.transport import ControlConflictError, NoVaultError, Transport

Result = TypeVar("Result")
Steps = Generator[dict[str, Any], None, Result]


def found(way: Way, words: str, name: str | None) -> None:
    """Begin to sync with this device as the first. The words are the check that the person has them.

    Raises:
        ForbiddenError: they are not this vault's.
        ConflictError: it syncs already, or there is a vault already that it should join.
    """
    demand_own(way.device, words)
    with way.turn:
        _demand_not_set_up(way)
        place = way.place()
        if place.vaults():
            raise ConflictError(_JOIN)
        membership.found(
            place.transport(None, None),
            way.replica,
            recovery=recovery_seeds(entropy_of(words)),
            name=_name(way.device, name),
            random=secrets.token_bytes,
        )


def recover(way: Way, words: str, name: str | None) -> None:
    """Join with the recovery words of the vault that is synced there.

    Raises:
        NotFoundError: none is, or other words are those of all that are.
    """
    with way.turn:
        _demand_not_set_up(way)
        place = way.place()
        refused = NoVaultError(_NOTHING_THERE)
        for vault in place.vaults():
            try:
                _join_by_words(way, place.transport(vault, None), words, name)
            except NoVaultError:
                refused = NoVaultError(_OTHER_WORDS)
            else:
                return
        raise refused


class Pairing:
    """One pairing at a time, from one call of the terminal to the next; a new one takes the place of one that was broken off."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._newcomer: Newcomer | None = None
        self._member: Member | None = None

    def offer(self, name: str | None, typed: str | None) -> Newcomer:
        """Be the device that would join."""
        device = self._way.device
        with self._way.turn:
            _demand_not_set_up(self._way)
            self._way.place()
        self._member = None
        self._newcomer = Newcomer(_name(device, name), clock=device.clock, typed=typed)
        return self._newcomer

    def admit(self, typed: str | None) -> Member:
        """Be the device that admits another.

        Raises:
            ConflictError: there is no vault to admit it to.
        """
        self._way.place()
        device = self._way.device
        with device.vault.reading() as db:
            me = log.read(db)
            is_deleted = any(map(is_deletion, log.alarms(db)))
        if is_deleted:
            raise ConflictError(
                "This vault was deleted where your devices meet. Put it back first: `sunaiva sync put-back`."
            )
        self._newcomer = None
        seeds = Seeds(me.sign_seed, me.kem_seed)
        self._member = Member(seeds, me.vault, clock=device.clock, typed=typed)
        return self._member

    def meet(self, *, cancelled: Callable[[], bool]) -> Steps[tuple[str, str | None]]:
        """Wait for the other side: the number to compare, and the newcomer's name for whom admits it."""
        talk = self._conversation(cancelled)
        if self._newcomer is not None:
            return (yield from self._newcomer.meet(talk)), None
        met = yield from self._demand_member().meet(talk)
        return met.number, as_name(met.name) or "a device without a name"

    def finish(self, *, is_same_number: bool, cancelled: Callable[[], bool]) -> Steps[None]:
        """Join, or admit, once the person has said that the numbers are the same."""
        talk = self._conversation(cancelled)
        try:
            if self._newcomer is not None:
                newcomer = self._newcomer
                told = yield from newcomer.join(talk, is_same_number=is_same_number)
                with self._way.turn:
                    _join(self._way, newcomer, told)
            else:
                _admit(self._way, self._demand_member(), talk, is_same_number=is_same_number)
        finally:
            self._newcomer = self._member = None

    def _demand_member(self) -> Member:
        if self._member is None:
            raise InvalidError("No pairing is under way. Start it again with `sunaiva pair`.")
        return self._member

    def _conversation(self, cancelled: Callable[[], bool]) -> Conversation:
        return Conversation(
            mailboxes=self._way.place().mailboxes(),
            clock=self._way.device.clock,
            cancelled=cancelled,
        )


def demand_own(device: Device, words: str) -> None:
    """
    Raises:
        InvalidError: these are no recovery words; which mistake it is.
        ForbiddenError: they are not this vault's.
    """
    entropy_of(words)
    if not device.own_words(words):
        raise ForbiddenError(
            "These are recovery words, but not this vault's. Look for the note of the last ones you were shown."
        )


def _demand_not_set_up(way: Way) -> None:
    """A device that was removed begins anew: as such it may join again."""
    with way.device.vault.reading() as db:
        if not log.is_set_up(db):
            return
        is_removed = any(map(is_own_removal, log.alarms(db)))
    if not is_removed:
        raise ConflictError(
            "This vault syncs already. `sunaiva devices` lists its devices; to admit another, give its code: `sunaiva pair CODE`."
        )
    with way.replica.transaction() as db:
        replica.leave(db)
        log.leave(db)


def _name(device: Device, given: str | None) -> str:
    """What this device is called: now, or when it came here; else as the computer is."""
    with device.vault.reading() as db:
        kept = meeting.called(db)
    return roster.checked_name(given or kept or platform.node() or "a computer")


def _join_by_words(way: Way, transport: Transport, words: str, name: str | None) -> None:
    for _ in range(APPEND_TRIES):
        try:
            membership.join_by_words(
                transport,
                way.replica,
                recovery=recovery_seeds(entropy_of(words)),
                name=_name(way.device, name),
                random=secrets.token_bytes,
            )
        except ControlConflictError:
            continue
        return
    raise BusyListError


def _join(way: Way, newcomer: Newcomer, told: Welcome) -> None:
    """The member has admitted this device: read the device list, which has to pass through what the member told."""
    membership.enter(
        way.replica,
        seeds=newcomer.seeds,
        incarnation=membership.FIRST_INCARNATION,
        said=membership.read_list(way.place().transport(told.vault, None)),
        through=(told.control_seq, told.control_hash),
        heads=told.heads,
        digest=told.digest,
    )


def _admit(way: Way, member: Member, talk: Conversation, *, is_same_number: bool) -> None:
    met = member.met
    assert met is not None, "it has not met anybody"
    if is_same_number or met.is_headless:
        device_list.admit(way, met)
    with way.device.vault.reading() as db:
        told = roster.welcome(db, met)
    member.welcome(talk, told, is_same_number=is_same_number)


_JOIN = (
    "A vault of yours is synced there already. Join it: run `sunaiva pair` here, and give the code it shows on a device that syncs "
    "(`sunaiva pair CODE`). If you have no such device any more, run `sunaiva recover` with its twelve words."
)
_NOTHING_THERE = (
    "Nothing is synced there yet, so there is nothing to recover. Begin with `sunaiva login` on the device that has your "
    "memories."
)
_OTHER_WORDS = (
    "These are recovery words, but not those of what is synced there. Take the words of the device on which sync was begun, or of the "
    "last `sunaiva rekey` since."
)
