"""One step of synchronisation under way: whose it is, what it knows so far, and what it has done."""

from msgspec import Struct

from shared.clock import Clock
from sync_service.alarms import Alarm, Kind
from sync_service.device import log
from sync_service.device.log import Self
from sync_service.device.replica import Replica
from sync_service.members.control import Members
from sync_service.sealed.keys import Random
from sync_service.transport import Transport


class Engine(Struct, frozen=True, kw_only=True):
    replica: Replica
    transport: Transport
    clock: Clock
    random: Random
    sparing: bool = False
    """The line is metered: snapshots wait for another."""


class Report(Struct, kw_only=True):
    """What one step did."""

    pulled: int = 0
    """Batches applied."""
    applied: int = 0
    """Operations in them."""
    sealed: int = 0
    pushed: int = 0
    reached_head: bool = False
    """Everything that the relay shows was looked at."""
    is_behind: bool = False
    """There is more to do right now."""
    deleted: bool = False
    """The vault's owner deleted it there. Nothing goes there or comes from there before a person says so."""
    unavailable: str | None = None
    """Why nothing went through, for the person; what was to be done is done later."""
    after_seconds: float = 0.0
    """The relay asked for so much rest."""
    due_in_ms: int | None = None
    """In how long something waits to be sent, or to be decided; `None` if nothing does."""
    alarms: list[Alarm] = []


class Run(Struct):
    engine: Engine
    members: Members
    report: Report
    now_ms: int
    may_push: bool = True
    min_pos: int = 1
    began_reread: bool = False
    weigh_in_ms: int | None = None

    @property
    def replica(self) -> Replica:
        return self.engine.replica

    @property
    def transport(self) -> Transport:
        return self.engine.transport

    def me(self) -> Self:
        with self.replica.transaction() as db:
            return log.read(db)

    def alarm(self, kind: Kind, subject: str, sentence: str) -> None:
        with self.replica.transaction() as db:
            log.raise_alarm(db, kind, subject, sentence, self.now_ms)
