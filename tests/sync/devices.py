"""Devices of one vault for tests: a replica in memory, a line to a relay in memory, a clock and random bytes that a test decides."""

import hashlib
import random
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from shared.clock import from_ms
from sync_service.alarms import Alarm
from sync_service.changes.fields import Field
from sync_service.device import log, membership, verifying
from sync_service.device.verifying import Verified
from sync_service.sealed import keys
from sync_service.steps import engine
from sync_service.steps.step import Engine, Report
from tests.sync.fake_relay import Line, Relay
from tests.sync.table_replica import TableReplica

NOW = 1_790_000_000_000
ENTROPY = bytes(range(16))
RECOVERY = keys.recovery_seeds(ENTROPY)


class Time:
    def __init__(self, now_ms: int = NOW) -> None:
        self.now_ms = now_ms

    def pass_ms(self, ms: int) -> None:
        self.now_ms += ms

    def pass_seconds(self, seconds: float) -> None:
        self.pass_ms(int(seconds * 1_000))


class Device:
    def __init__(
        self,
        relay: Relay,
        time: Time,
        seed: int,
        *,
        path: Path | str = ":memory:",
        skew_ms: int = 0,
    ) -> None:
        self.relay = relay
        self.time = time
        self.path = path
        self.skew_ms = skew_ms
        self.random = random.Random(seed).randbytes
        self.replica = TableReplica(path)
        self.line = Line(relay)

    @property
    def engine(self) -> Engine:
        return Engine(
            replica=self.replica, transport=self.line, clock=self.clock, random=self.random
        )

    def clock(self) -> datetime:
        return from_ms(self.now_ms)

    @property
    def now_ms(self) -> int:
        return self.time.now_ms + self.skew_ms

    def found(self) -> "Device":
        membership.found(
            self.line, self.replica, recovery=RECOVERY, name="first", random=self.random
        )
        return self._known()

    def join(self) -> "Device":
        membership.join_by_words(
            self.line, self.replica, recovery=RECOVERY, name="another", random=self.random
        )
        return self._known()

    def _known(self) -> "Device":
        self.line.device = log.read(self.replica.db).device
        return self

    def sync(self) -> Report:
        return engine.sync_once(self.engine, patiently=False)

    def write(self, number: int, text: str = "tea", **kwargs: object) -> None:
        fields = {Field.TEXT: said(text)}
        self.replica.write(memory(number), self.now_ms, fields=fields, **kwargs)  # type: ignore[arg-type]  # tags and links

    def forget(self, number: int) -> None:
        self.replica.forget(memory(number), self.now_ms)

    def text(self, number: int) -> str | None:
        state = self.replica.states().get(memory(number))
        if state is None or Field.TEXT not in state.fields:
            return None
        return state.fields[Field.TEXT][2][1:].decode()

    def alarms(self) -> set[str]:
        return {alarm.kind for alarm in self.all_alarms()}

    def all_alarms(self) -> list[Alarm]:
        return log.alarms(self.replica.db)

    def digest(self) -> bytes:
        return log.digest(self.replica.db)

    def copy(self, path: Path, seed: int) -> "Device":
        """A clone of the disk, as it is now."""
        self.replica.db.execute("PRAGMA wal_checkpoint")
        shutil.copy(self.path, path)
        clone = Device(self.relay, self.time, seed, path=path, skew_ms=self.skew_ms)
        return clone._known()


def memory(number: int) -> bytes:
    return hashlib.sha256(b"memory %d" % number).digest()[:16]


def said(text: str) -> bytes:
    raw = text.encode()
    assert len(raw) < 32
    return bytes([0xA0 | len(raw)]) + raw


def pair(relay: Relay | None = None) -> tuple[Device, Device]:
    """Two devices of one vault, synced."""
    server = relay or Relay()
    time = Time()
    first = Device(server, time, 1).found()
    second = Device(server, time, 2).join()
    settle([first, second])
    return first, second


def settle(
    devices: list[Device], *, rounds: int = 6, each: Callable[[Device], object] | None = None
) -> None:
    """Let everybody sync until nothing more is to come."""
    for _ in range(rounds):
        for device in devices:
            device.sync()
            if each is not None:
                each(device)
        devices[0].time.pass_ms(3_000)


def verified(device: Device) -> Verified:
    steps = verifying.verify(device.engine.transport, device.replica, device.now_ms)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: Verified = done.value
            return found
