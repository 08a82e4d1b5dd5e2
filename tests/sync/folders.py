"""Devices for tests that meet in a folder."""

from pathlib import Path

from sync_service.device import inbox, log, membership
from sync_service.steps.step import Engine
from sync_service.transports.folder import FolderTransport, Seen, vaults
from tests.sync.devices import RECOVERY, Device, Time
from tests.sync.fake_relay import Relay


class FolderDevice(Device):
    """A device whose line is a folder."""

    def __init__(self, folder: Path, time: Time, seed: int) -> None:
        super().__init__(Relay(), time, seed)
        self.folder = folder
        self.plug_in()

    def plug_in(self) -> None:
        """As after a new start: nothing is remembered but what the vault knows."""
        vault = vaults(self.folder)[0] if vaults(self.folder) else None
        self.way = FolderTransport(
            self.folder, vault, seen=self._seen, sleep=self.time.pass_seconds
        )

    @property
    def engine(self) -> Engine:
        return Engine(
            replica=self.replica, transport=self.way, clock=self.clock, random=self.random
        )

    def enter(self, *, first: bool) -> "FolderDevice":
        do = membership.found if first else membership.join_by_words
        do(self.way, self.replica, recovery=RECOVERY, name="one", random=self.random)
        return self

    def _seen(self) -> Seen:
        db = self.replica.db
        me = log.read(db)
        heads = {stream: head.seq for stream, head in inbox.heads(db).items()}
        owed = {stream: seq - 1 for stream, seq in log.first_not_shown(db).items()}
        return Seen(me.cursor, heads | {me.stream: me.seq} | owed)


def pair(folder: Path) -> tuple[FolderDevice, FolderDevice]:
    time = Time()
    first = FolderDevice(folder, time, 1).enter(first=True)
    second = FolderDevice(folder, time, 2).enter(first=False)
    return first, second


def settle(devices: list[FolderDevice], *, rounds: int = 4) -> None:
    for _ in range(rounds):
        for device in devices:
            device.sync()
        devices[0].time.pass_ms(3_000)
