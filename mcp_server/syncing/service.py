"""Sync on this device: what the agent does in the background, and what the person's terminal asks it for.

Nothing is sent anywhere before the vault has a meeting place and the person has set sync up; until then this is a thread that sleeps.
"""

import secrets
from collections.abc import Callable, Generator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from mcp_server.device import Device
from mcp_server.syncing import device_list, joining, roster, vectors
from mcp_server.syncing.counting import Counted
from mcp_server.syncing.hints import NO_HINTS, Hints
from mcp_server.syncing.joining import Pairing
from mcp_server.syncing.loop import Loop, Round
from mcp_server.syncing.places import Ways
from mcp_server.syncing.status import Status, is_deletion, is_own_removal, status_of
from mcp_server.syncing.way import Standing, Way
from mcp_server.vault import meeting
from shared.errors import ConflictError, NotFoundError
from sync_service.device import deciding, healing, log, verifying
from sync_service.device.verifying import Progress, Verified
from sync_service.steps.engine import sync_once
from sync_service.steps.step import Engine, Report
from sync_service.transport import RevokedError, Transport, VaultDeletedError

Result = TypeVar("Result")
Steps = Generator[dict[str, Any], None, Result]

# Between two looks at a round that somebody watches.
_LOOK_SECONDS = 0.2
_DELETED = "This vault was deleted where your devices meet. Your memories are all here."


class Syncing:
    """Owns the loop, the session at a cloud, and the way to the meeting place. Close it before the device."""

    def __init__(
        self,
        device: Device,
        ways: Ways,
        hints: Hints = NO_HINTS,
        *,
        vectors_from: int | None = vectors.WORTH,
    ) -> None:
        self._ways = ways
        self._hints = hints
        self._device = device
        self._way = Way(device, ways)
        self.pairing = Pairing(self._way)
        self._vectors = vectors.Vectors(self._way, worth=vectors_from)
        self._patiently = True
        self._synced_at: datetime | None = None
        self._loop = Loop(self)

    def start(self) -> None:
        self._device.changed = self._loop.wake
        self._loop.start()

    def close(self) -> None:
        self._loop.close()

    # --- what the loop does ----------------------------------------------------------------------------------

    def round(self) -> Round:
        with self._way.turn:
            transport = self._way.transport_if_any()
            if transport is None:
                self._vectors.expect_no_more()
                return Round(off=True)
            patiently, self._patiently = self._patiently, True
            counted = Counted(transport)
            # What the person asks for now waits for no better network.
            sparing = patiently and self._hints.is_metered()
            if not sparing:
                self._vectors.expect()
            report = sync_once(self._engine(counted, sparing=sparing), patiently=patiently)
            then = self._vectors.step(counted, report, sparing=sparing)
            self._count(counted, report)
            if report.deleted:
                raise VaultDeletedError(_DELETED)
            removed = [alarm.sentence for alarm in report.alarms if is_own_removal(alarm)]
            if removed:
                raise RevokedError(removed[0])
            due = [] if report.due_in_ms is None else [report.due_in_ms / 1_000]
            due += [] if then.due_in_seconds is None else [then.due_in_seconds]
            return Round(
                more=report.is_behind or then.more,
                due_in_seconds=min(due, default=None),
                unavailable=report.unavailable,
                after_seconds=report.after_seconds,
            )

    def wait(self, *, seconds: float) -> bool:
        return self._way.wait(seconds=seconds)

    def interrupt(self) -> None:
        self._way.leave()

    # --- what a person asks for ------------------------------------------------------------------------------

    def log_in(
        self, at: str, name: str | None = None, *, cancelled: Callable[[], bool]
    ) -> Steps[tuple[str, Standing]]:
        """The mail address of the account, and what is there."""
        wanted = None if name is None else roster.checked_name(name)
        self._way.demand_elsewhere_left("cloud", at)
        mail = yield from self._ways.session().log_in(at, cancelled=cancelled)
        return mail, self._arrive(wanted)

    def log_out(self) -> bool:
        """Whether the cloud heard of it."""
        with self._way.turn:
            self._way.leave()
            is_told = self._ways.session().log_out()
            with self._device.vault.writing() as db:
                log.settle(db, "deleted")  # it may be there where this device goes next
        self._loop.hurry()
        return is_told

    def use_folder(self, path: Path, name: str | None = None) -> Standing:
        """Meet in a folder from now on."""
        wanted = None if name is None else roster.checked_name(name)
        if not path.is_dir():
            raise NotFoundError(f"There is no folder {path}. Make it, then try again.")
        self._way.demand_elsewhere_left("folder", str(path))
        with self._device.vault.writing() as db:
            meeting.make(db, "folder", str(path), refresh_token=None, now=self._device.clock())
        standing = self._arrive(wanted)
        if standing.is_set_up:
            with suppress(ConflictError):
                self.put_back()  # to come here is to want it here
        return standing

    def found(self, words: str, name: str | None) -> None:
        """Begin to sync with this device as the first."""
        joining.found(self._way, words, name)
        self._loop.hurry()

    def recover(self, words: str, name: str | None) -> None:
        """Join with the recovery words of what is synced there."""
        joining.recover(self._way, words, name)
        self._loop.hurry()

    def pair_finish(self, *, is_same_number: bool, cancelled: Callable[[], bool]) -> Steps[None]:
        """Join, or admit, once the person has said that the numbers are the same; everything before is `pairing`."""
        yield from self.pairing.finish(is_same_number=is_same_number, cancelled=cancelled)
        self._loop.hurry()

    def devices(self) -> list[roster.Device]:
        with self._device.vault.reading() as db:
            return roster.devices(db)

    def rename(self, given: str, name: str) -> None:
        device_list.rename(self._way, given, name)
        self._loop.hurry()

    def revoke(self, given: str) -> Steps[None]:
        """Remove a device. What it sent until now counts, so everything is fetched first; then the vault's key changes."""
        with self._device.vault.reading() as db:
            device = roster.to_remove(db, given)
        yield from self.now()
        device_list.remove(
            self._way, device, fetch=lambda transport: sync_once(self._engine(transport))
        )
        self._loop.hurry()

    def set_words(self, words: str) -> bool:
        """Let these recovery words of this vault be those of what is synced, too; whether anything changed."""
        joining.demand_own(self._device, words)
        changed = device_list.set_words(self._way, words)
        self._loop.hurry()
        return changed

    def put_back(self) -> None:
        """Set the vault up anew where it was deleted, or where its folder is gone, with all that is here; go on with it where another
        device has done so.

        Raises:
            ConflictError: it is there, and this device knows.
        """
        with self._way.turn:
            if self._way.is_there():
                with self._device.vault.writing() as db:
                    was_deleted = any(map(is_deletion, log.alarms(db)))
                    log.settle(db, "deleted")
                if not was_deleted:
                    raise ConflictError(
                        "This vault is there, where your devices meet. Nothing was done."
                    )
            else:
                healing.put_back(self._way.transport(), self._way.replica, self._way.now_ms())
        self._loop.hurry()

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
        with self._way.turn:
            steps = verifying.verify(self._way.transport(), self._way.replica, self._way.now_ms())
            found = yield from _shown(steps)
        yield from self.now()
        return found

    def decide_forgets(self, *, forget: bool) -> int:
        """The person's answer to what other devices forgot, too much at once to be done without one; how many memories."""
        way = self._way
        with way.turn:
            if forget:
                done = deciding.let_forget(way.replica, way.now_ms())
            else:
                done = deciding.keep(way.replica, way.now_ms())
        self._loop.hurry()
        return done

    def status(self) -> Status:
        with self._device.vault.reading() as db:
            return status_of(db, self._loop.state(), self._synced_at, self._hints)

    # --- parts -----------------------------------------------------------------------------------------------

    def _engine(self, transport: Transport, *, sparing: bool = False) -> Engine:
        return Engine(
            replica=self._way.replica,
            transport=transport,
            clock=self._device.clock,
            random=secrets.token_bytes,
            sparing=sparing,
        )

    def _count(self, counted: Counted, report: Report) -> None:
        if report.unavailable is not None:
            return
        moved = bool(counted.sent.size_bytes or counted.received.size_bytes)
        self._synced_at = self._device.clock()
        if moved:
            with self._device.vault.writing() as db:
                meeting.count(db, now=self._synced_at, sent=counted.sent, received=counted.received)

    def _arrive(self, name: str | None) -> Standing:
        standing = self._way.arrive(name)
        self._loop.hurry()
        return standing


def _shown(steps: Generator[Progress, None, Result]) -> Steps[Result]:
    while True:
        try:
            step = next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result
        yield {"doing": step.doing, "done": step.done}
