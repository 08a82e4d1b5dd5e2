"""Sync on this device: what the agent does in the background, and what the person's terminal asks it for.

Nothing is sent anywhere before the vault has a meeting place and the person has set sync up; until then this is a thread that sleeps.
What the person does and what the loop does never happen at the same time: both take their turn.
"""

import platform
import secrets
import threading
from collections.abc import Callable, Generator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from mcp_server import replica
from mcp_server.device import Device
from mcp_server.replica import Replica
from mcp_server.syncing import roster
from mcp_server.syncing.counting import Counted
from mcp_server.syncing.loop import Loop, Round
from mcp_server.syncing.pairing import Conversation, Member, Newcomer
from mcp_server.syncing.places import Place, Ways
from mcp_server.syncing.wording import for_place
from mcp_server.vault import meeting
from mcp_server.vault.meeting import Traffic
from mcp_server.vault.words import entropy_of
from shared.clock import to_ms
from shared.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from sync_service import deciding, inbox, listing, log, membership, verifying
from sync_service.alarms import Alarm
from sync_service.engine import Engine, Report, sync_once
from sync_service.keys import Seeds, recovery_seeds, sign_public
from sync_service.pairing import Met, Welcome
from sync_service.transport import (
    ControlConflictError,
    NoVaultError,
    Reached,
    RevokedError,
    Transport,
)
from sync_service.verifying import Progress, Verified

if TYPE_CHECKING:
    from sqlite_utils import Database

Result = TypeVar("Result")
Steps = Generator[dict[str, Any], None, Result]

# Between two looks at a round that somebody watches.
_LOOK_SECONDS = 0.2
# Devices that change the list at the same moment: each reads what the other wrote, and tries again.
APPEND_TRIES = 5
FIRST_INCARNATION = 1
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
    alarms: tuple[Alarm, ...] = ()


class Standing(Struct, frozen=True, kw_only=True):
    """What a device that has come to a place finds there."""

    place: str
    vaults: int
    """Synced there by this person."""
    is_set_up: bool
    """Whether this device syncs already."""


class Syncing:
    """Owns the loop, the session at a cloud, and the way to the meeting place. Close it before the device."""

    def __init__(self, device: Device, ways: Ways) -> None:
        self._ways = ways
        self._device = device
        self._replica = Replica(device)
        self._turn = threading.Lock()
        self._place: Place | None = None
        self._patiently = True
        self._synced_at: datetime | None = None
        self._newcomer: Newcomer | None = None
        self._member: Member | None = None
        self._loop = Loop(self)

    def start(self) -> None:
        self._device.changed = self._loop.wake
        self._loop.start()

    def close(self) -> None:
        self._loop.close()

    # --- what the loop does ----------------------------------------------------------------------------------

    def round(self) -> Round:
        with self._turn:
            transport = self._transport()
            if transport is None:
                return Round(off=True)
            patiently, self._patiently = self._patiently, True
            counted = Counted(transport)
            report = sync_once(self._engine(counted), patiently=patiently)
            self._count(counted, report)
            removed = [alarm.sentence for alarm in report.alarms if _is_own_removal(alarm)]
            if removed:
                raise RevokedError(removed[0])
            return Round(
                more=report.is_behind,
                due_in_seconds=None if report.due_in_ms is None else report.due_in_ms / 1_000,
                unavailable=report.unavailable,
                after_seconds=report.after_seconds,
            )

    def wait(self, *, seconds: float) -> bool:
        place = self._place
        if place is None:
            return False
        with self._device.vault.reading() as db:
            me = log.read(db)
            reached = Reached(me.generation, log.control_seq(db), me.cursor)
        return place.transport(me.vault, me).wait(reached, seconds=seconds)

    def interrupt(self) -> None:
        self._leave_place()

    # --- what a person asks for ------------------------------------------------------------------------------

    def log_in(
        self, at: str, name: str | None = None, *, cancelled: Callable[[], bool]
    ) -> Steps[tuple[str, Standing]]:
        """The mail address of the account, and what is there."""
        wanted = None if name is None else roster.checked_name(name)
        self._demand_elsewhere_left("cloud", at)
        mail = yield from self._ways.session().log_in(at, cancelled=cancelled)
        return mail, self._arrived(wanted)

    def log_out(self) -> bool:
        """Whether the cloud heard of it."""
        with self._turn:
            self._leave_place()
            is_told = self._ways.session().log_out()
        self._loop.hurry()
        return is_told

    def use_folder(self, path: Path, name: str | None = None) -> Standing:
        """Meet in a folder from now on."""
        wanted = None if name is None else roster.checked_name(name)
        if not path.is_dir():
            raise NotFoundError(f"There is no folder {path}. Make it, then try again.")
        self._demand_elsewhere_left("folder", str(path))
        with self._device.vault.writing() as db:
            meeting.make(db, "folder", str(path), refresh_token=None, now=self._device.clock())
        return self._arrived(wanted)

    def found(self, words: str, name: str | None) -> None:
        """Begin to sync with this device as the first. The words are the check that the person has them.

        Raises:
            ForbiddenError: they are not this vault's.
            ConflictError: it syncs already, or there is a vault already that it should join.
        """
        self._demand_own(words)
        with self._turn:
            self._demand_not_set_up()
            place = self._demand_place()
            if place.vaults():
                raise ConflictError(_JOIN)
            membership.found(
                place.transport(None, None),
                self._replica,
                recovery=_recovery(words),
                name=self._name(name),
                random=secrets.token_bytes,
            )
        self._loop.hurry()

    def recover(self, words: str, name: str | None) -> None:
        """Join with the recovery words of the vault that is synced there.

        Raises:
            NotFoundError: none is, or other words are those of all that are.
        """
        with self._turn:
            self._demand_not_set_up()
            place = self._demand_place()
            refused = NoVaultError(
                "Nothing is synced there yet, so there is nothing to recover. Begin with `sunaiva login` on the device that has your "
                "memories."
            )
            for vault in place.vaults():
                try:
                    self._join_by_words(place.transport(vault, None), words, self._name(name))
                except NoVaultError:
                    refused = NoVaultError(_OTHER_WORDS)
                else:
                    break
            else:
                raise refused
        self._loop.hurry()

    def pair_offer(self, name: str | None, typed: str | None) -> Newcomer:
        """Be the device that would join."""
        with self._turn:
            self._demand_not_set_up()
            self._demand_place()
        self._member = None
        self._newcomer = Newcomer(self._name(name), clock=self._device.clock, typed=typed)
        return self._newcomer

    def pair_admit(self, typed: str | None) -> Member:
        """Be the device that admits another."""
        self._demand_place()
        with self._device.vault.reading() as db:
            me = log.read(db)
        self._newcomer = None
        seeds = Seeds(me.sign_seed, me.kem_seed)
        self._member = Member(seeds, me.vault, clock=self._device.clock, typed=typed)
        return self._member

    def pair_meet(self, *, cancelled: Callable[[], bool]) -> Steps[tuple[str, str | None]]:
        """Wait for the other side: the number to compare, and the newcomer's name for whom admits it."""
        talk = self._conversation(cancelled)
        if self._newcomer is not None:
            return (yield from self._newcomer.meet(talk)), None
        met = yield from self._demand_member().meet(talk)
        return met.number, met.name

    def pair_finish(self, *, is_same_number: bool, cancelled: Callable[[], bool]) -> Steps[None]:
        """Join, or admit, once the person has said that the numbers are the same."""
        talk = self._conversation(cancelled)
        try:
            if self._newcomer is not None:
                newcomer = self._newcomer
                told = yield from newcomer.join(talk, is_same_number=is_same_number)
                with self._turn:
                    self._join(newcomer, told)
            else:
                self._admit(self._demand_member(), talk, is_same_number=is_same_number)
        finally:
            self._newcomer = self._member = None
        self._loop.hurry()

    def devices(self) -> list[roster.Device]:
        with self._device.vault.reading() as db:
            return roster.devices(db)

    def rename(self, given: str, name: str) -> None:
        checked = roster.checked_name(name)
        with self._device.vault.reading() as db:
            device = roster.chosen(db, given).device
        self._change(
            lambda transport: membership.rename(
                transport, self._replica, device, checked, self._now_ms()
            )
        )

    def revoke(self, given: str) -> Steps[None]:
        """Remove a device. What it sent until now counts, so everything is fetched first; then the vault's key changes."""
        with self._device.vault.reading() as db:
            device = roster.to_remove(db, given)
        yield from self.now()
        self._change(lambda transport: self._remove(transport, device))

    def set_words(self, words: str) -> bool:
        """Let these recovery words of this vault be those of what is synced, too; whether anything changed."""
        self._demand_own(words)
        recovery = _recovery(words)
        with self._device.vault.reading() as db:
            if roster.members_of(db).recovery_sign == sign_public(recovery):
                return False
        self._change(
            lambda transport: membership.new_words(
                transport, self._replica, recovery, self._now_ms()
            )
        )
        return True

    def pause(self, paused: bool) -> None:
        with self._device.vault.writing() as db:
            log.read(db)
            log.write(db, paused=paused)
        self._loop.hurry()

    def now(self) -> Steps[None]:
        """A round at once.

        Raises:
            SunaivaError: what went wrong in it.
        """
        self._patiently = False
        number = self._loop.hurry()
        while not self._loop.finished(number, seconds=_LOOK_SECONDS):
            yield {"doing": "Syncing"}
        state = self._loop.state()
        if state.problem is not None:
            raise state.problem

    def verify(self) -> Steps[Verified]:
        """Everything that is here and there, gone through once more; what is lost there is given back."""
        with self._device.vault.reading() as db:
            if log.read(db).paused:
                raise ConflictError(
                    "Sync is paused, so nothing of the others can be read. Go on with `sunaiva sync resume`, then verify."
                )
        yield from self.now()
        with self._turn:
            steps = verifying.verify(self._demand_transport(), self._replica, self._now_ms())
            found = yield from _shown(steps)
        yield from self.now()
        return found

    def decide_forgets(self, *, forget: bool) -> int:
        """The person's answer to what other devices forgot, too much at once to be done without one; how many memories."""
        with self._turn:
            if forget:
                done = deciding.let_forget(self._replica, self._now_ms())
            else:
                done = deciding.keep(self._replica, self._now_ms())
        self._loop.hurry()
        return done

    def status(self) -> Status:
        with self._device.vault.reading() as db:
            return _status(db, self._loop, self._synced_at)

    # --- parts -----------------------------------------------------------------------------------------------

    def _engine(self, transport: Transport) -> Engine:
        return Engine(
            replica=self._replica,
            transport=transport,
            clock=self._device.clock,
            random=secrets.token_bytes,
        )

    def _count(self, counted: Counted, report: Report) -> None:
        if report.unavailable is not None:
            return
        moved = bool(counted.sent.batches or counted.received.batches)
        self._synced_at = self._device.clock()
        if moved:
            with self._device.vault.writing() as db:
                meeting.count(db, now=self._synced_at, sent=counted.sent, received=counted.received)

    def _name(self, given: str | None) -> str:
        """What this device is called: now, or when it came here; else as the computer is."""
        with self._device.vault.reading() as db:
            kept = meeting.called(db)
        return roster.checked_name(given or kept or platform.node() or "a computer")

    def _arrived(self, name: str | None) -> Standing:
        if name is not None:
            with self._device.vault.writing() as db:
                meeting.call(db, name)
        with self._turn:
            self._leave_place()
            place = self._demand_place()
            vaults = place.vaults()
        with self._device.vault.reading() as db:
            met = meeting.read(db)
            is_set_up = log.is_set_up(db) and not any(map(_is_own_removal, log.alarms(db)))
        assert met is not None
        self._loop.hurry()
        return Standing(place=met.place, vaults=len(vaults), is_set_up=is_set_up)

    def _join_by_words(self, transport: Transport, words: str, name: str) -> None:
        for _ in range(APPEND_TRIES):
            try:
                membership.join_by_words(
                    transport,
                    self._replica,
                    recovery=_recovery(words),
                    name=name,
                    random=secrets.token_bytes,
                )
            except ControlConflictError:
                continue
            return
        raise ConflictError(_BUSY)

    def _join(self, newcomer: Newcomer, told: Welcome) -> None:
        """The member has admitted this device: read the device list, which has to pass through what the member told."""
        transport = self._demand_place().transport(told.vault, None)
        membership.enter(
            self._replica,
            seeds=newcomer.seeds,
            incarnation=FIRST_INCARNATION,
            said=membership.read_list(transport),
            through=(told.control_seq, told.control_hash),
            heads=told.heads,
            digest=told.digest,
        )

    def _admit(self, member: Member, talk: Conversation, *, is_same_number: bool) -> None:
        met = member.met
        assert met is not None, "it has not met anybody"
        if is_same_number or met.is_headless:
            self._change(lambda transport: self._add(transport, met))
        with self._device.vault.reading() as db:
            told = roster.welcome(db, met)
        member.welcome(talk, told, is_same_number=is_same_number)

    def _add(self, transport: Transport, met: Met) -> None:
        with self._device.vault.reading() as db:
            members, entry = roster.members_of(db), roster.admit(db, met)
        listing.append(transport, self._replica, members, entry, self._now_ms())

    def _change(self, act: Callable[[Transport], object]) -> None:
        """Change the device list as it is, until nobody is faster."""
        for _ in range(APPEND_TRIES):
            with self._turn:
                transport = self._demand_transport()
                with self._device.vault.reading() as db:
                    members = roster.members_of(db)
                listing.follow(transport, self._replica, members, members.seq, self._now_ms())
                try:
                    act(transport)
                except ControlConflictError:
                    continue
            self._loop.hurry()
            return
        raise ConflictError(_BUSY)

    def _remove(self, transport: Transport, device: bytes) -> None:
        sync_once(self._engine(transport))  # it may send something until the moment it is removed
        membership.revoke(transport, self._replica, device, secrets.token_bytes, self._now_ms())

    def _now_ms(self) -> int:
        return to_ms(self._device.clock())

    def _transport(self) -> Transport | None:
        """The way to the other devices; None where there is none, or it is not to be used."""
        with self._device.vault.reading() as db:
            met = meeting.read(db)
            me = log.read(db) if log.is_set_up(db) else None
        if met is None or me is None or me.paused:
            self._leave_place()
            return None
        return self._demand_place().transport(me.vault, me)

    def _demand_transport(self) -> Transport:
        with self._device.vault.reading() as db:
            me = log.read(db)
        return self._demand_place().transport(me.vault, me)

    def _demand_place(self) -> Place:
        if self._place is None:
            with self._device.vault.reading() as db:
                met = meeting.read(db)
            if met is None:
                raise NotFoundError(
                    "This vault syncs nowhere yet. Begin with `sunaiva login`, or with `sunaiva sync folder PATH`."
                )
            self._place = self._ways.place(met)
        return self._place

    def _leave_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.close()

    def _demand_elsewhere_left(self, kind: meeting.Kind, place: str) -> None:
        with self._device.vault.reading() as db:
            met = meeting.read(db)
        if met is not None and (met.kind, met.place) != (kind, place):
            raise ConflictError(
                f"This vault meets its devices at {met.place}. Leave there first with `sunaiva logout`; nothing is deleted by that."
            )

    def _demand_not_set_up(self) -> None:
        """A device that was removed begins anew: as such it may join again."""
        with self._device.vault.reading() as db:
            if not log.is_set_up(db):
                return
            is_removed = any(_is_own_removal(alarm) for alarm in log.alarms(db))
        if not is_removed:
            raise ConflictError(
                "This vault syncs already. `sunaiva devices` lists its devices; to admit another, give its code: `sunaiva pair CODE`."
            )
        with self._replica.transaction() as db:
            replica.leave(db)
            log.leave(db)

    def _demand_own(self, words: str) -> None:
        entropy_of(words)  # says which mistake it is
        if not self._device.own_words(words):
            raise ForbiddenError(
                "These are recovery words, but not this vault's. Look for the note of the last ones you were shown."
            )

    def _demand_member(self) -> Member:
        if self._member is None:
            raise InvalidError("No pairing is under way. Start it again with `sunaiva pair`.")
        return self._member

    def _conversation(self, cancelled: Callable[[], bool]) -> Conversation:
        return Conversation(
            mailboxes=self._demand_place().mailboxes(),
            clock=self._device.clock,
            cancelled=cancelled,
        )


_JOIN = (
    "A vault of yours is synced there already. Join it: run `sunaiva pair` here, and give the code it shows on a device that syncs "
    "(`sunaiva pair CODE`). If you have no such device any more, run `sunaiva recover` with its twelve words."
)
_BUSY = "Other devices change the device list all the time. Try again in a moment."


_OTHER_WORDS = (
    "These are recovery words, but not those of what is synced there. Take the words of the device on which sync was begun, or of the "
    "last `sunaiva rekey` since."
)


def _shown(steps: Generator[Progress, None, Result]) -> Steps[Result]:
    while True:
        try:
            step = next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result
        yield {"doing": step.doing, "done": step.done}


def _word(doing: str, *, is_removed: bool, paused: bool, met: bool) -> str:
    if is_removed:
        return "removed"
    return "off" if not met else "paused" if paused else doing


def _is_own_removal(alarm: Alarm) -> bool:
    return (alarm.kind, alarm.subject) == ("revoked_device", "self")


def _recovery(words: str) -> Seeds:
    return recovery_seeds(entropy_of(words))


def _status(db: "Database", loop: Loop, synced_at: datetime | None) -> Status:
    met = meeting.read(db)
    shown: dict[str, Any] = {}
    if met is not None:
        shown = {"kind": met.kind, "place": met.place, "logged_in": met.logged_in}
    if not log.is_set_up(db):
        return Status(state="not_set_up", **shown)
    me, state, traffic = log.read(db), loop.state(), meeting.traffic(db)
    known = roster.devices(db)
    shown |= {name: getattr(traffic, name) for name in Traffic.__struct_fields__}
    raised = log.alarms(db)
    is_removed = any(map(_is_own_removal, raised))
    shown["synced_at"] = synced_at or traffic.synced_at
    return Status(
        state=_word(state.doing, is_removed=is_removed, paused=me.paused, met=met is not None),
        device=known[0].name,
        devices=sum(not one.revoked for one in known),
        to_send=log.outbox_count(db),
        batches_to_send=log.unsent_count(db),
        held=len(inbox.held(db)),
        conflicts=len(log.in_conflict(db, _COUNTED_MAX)),
        waiting_to_forget=inbox.held_forgets_count(db),
        problem=None if state.problem is None else str(state.problem),
        next_try_seconds=state.next_in_seconds,
        alarms=tuple(for_place(alarm, met) for alarm in raised),
        **shown,
    )
