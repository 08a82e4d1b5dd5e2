"""A world of devices, a relay, clocks and faults that one seed decides: the same seed is the same world, to the last byte.

Devices write, edit, tag, link, archive and forget; they come, are removed, and come again; requests and answers are lost, repeated, shown
in another order; the process is killed at any commit and on either side of any request; clocks jump; disks are copied and put back; the
relay is full, unpaid, wiped, put back, or shows different things to different devices. Then everything is repaired, and what has to
hold is asked of all devices at once (`tests.simulation.afterwards`).
"""

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from shared.errors import SunaivaError, UnavailableError
from sync_service.changes import ops
from sync_service.changes.ops import Op
from sync_service.device import log, snapshots
from sync_service.steps import engine
from tests.simulation import afterwards, faults, people
from tests.sync.devices import Device, Time
from tests.sync.fake_relay import Relay, Shown
from tests.sync.table_replica import Crash

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
MEMORIES = 12
# Enough that somebody can forget so many of them that the others are asked (`plan.forgets_wait`).
MEMORIES_OF_MANY = 45
Doing = Callable[["World", int, Device], None]


class Kind(Struct, frozen=True):
    devices: int
    steps: int
    disks_fail: bool
    relay_fails: bool
    members_change: bool
    forgets_many: bool


class Promise(Struct, frozen=True):
    number: int
    device: Device
    op: Op


class World:
    def __init__(self, seed: int, steps: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.kind = Kind(
            devices=self.chance.randint(2, 4),
            steps=steps,
            disks_fail=seed % 4 in (1, 3),
            relay_fails=seed % 4 in (2, 3),
            members_change=seed % 3 > 0,
            forgets_many=seed % 5 == 0,
        )
        self.memories = MEMORIES_OF_MANY if self.kind.forgets_many else MEMORIES
        self.time = Time()
        self.relay = Relay(page_frames=self.chance.choice((1, 2, 7, 100)))
        self.split: Relay | None = None
        """What the relay shows to some devices only, while it shows them nothing of the others."""
        self.devices: list[Device] = []
        self.removed: list[people.Removed] = []
        self.offline: set[Device] = set()
        self.withheld: dict[Device, bytes] = {}
        """The stream that the relay does not show to a device."""
        self.backups: dict[Device, tuple[sqlite3.Connection, int]] = {}
        self.relay_backup: dict[str, object] | None = None
        self.written: list[Promise] = []
        """Every operation that a device's user was told is stored, unless it was lost with the only disks that had it."""
        self.promises = 0
        self.texts: list[bytes] = []
        self.trace: list[str] = []
        self.killed: Counter[str] = Counter()
        """How often a device died, by what it was about to do or had just done."""
        self.fuse = -1
        self.born = 0
        for number in range(self.kind.devices):
            device = self.bear()
            if number == 0:
                device.found()
            else:
                device.join()
            self.devices.append(device)
        if self.kind.forgets_many:
            with self.noting(self.devices[0]):
                for number in range(MEMORIES_OF_MANY):
                    self.devices[0].write(number, "from the beginning")

    def run(self) -> int:
        """Live through all steps, repair, and look; how many steps."""
        try:
            for _ in range(self.kind.steps):
                self._step()
            afterwards.repair(self)
            afterwards.check(self)
        except BaseException as error:
            error.add_note(f"seed {self.seed}, {self.kind.steps} steps")
            raise
        return self.kind.steps

    def bear(self) -> Device:
        """A device that is of no vault yet."""
        self.born += 1
        return Device(
            self.relay, self.time, self.seed * 31 + self.born, skew_ms=faults.skew(self.chance)
        )

    def _step(self) -> None:
        number = self.chance.randrange(len(self.devices))
        kind = self.kind
        doings: list[tuple[int, Doing]] = [
            (40, people.write),
            (40, _sync),
            (8, _wait),
            (4, _come_and_go),
            (4, _keep_house),
            (2, faults.jump),
            (1, faults.refuse),
            (1, people.decide),
            (3 if kind.disks_fail else 0, faults.disk),
            (2 if kind.relay_fails else 0, faults.fail_relay),
            (3 if kind.relay_fails else 0, faults.equivocate),
            (2 if kind.members_change else 0, people.change_members),
            (1 if kind.forgets_many else 0, people.forget_many),
        ]
        (doing,) = self.chance.choices([do for _, do in doings], [weight for weight, _ in doings])
        self.trace.append(f"{doing.__name__} {number}")
        doing(self, number, self.devices[number])

    @contextmanager
    def dangers(self, device: Device) -> Iterator[None]:
        """Sometimes: die after so many yield points, lose what goes or comes, see another order. What was meant to be done is given up."""
        try:
            self._burn(device)
            yield
        except Crash:
            self.trace.append("killed")
        except SunaivaError as error:
            self.trace.append(str(error))
        finally:
            self.quench(device)

    def _burn(self, device: Device) -> None:
        self.fuse = self.chance.randrange(40) if self.chance.random() < 0.4 else -1
        lossy = self.chance.random() < 0.3
        near = "the beginning"
        is_dead = False

        def die_here(where: str) -> None:
            nonlocal is_dead
            if self.fuse == 0:
                self.killed[where] += not is_dead
                is_dead = True  # and nothing that cleans up goes on
                raise Crash
            self.fuse -= 1

        def before(name: str) -> None:
            nonlocal near
            near = name
            if device in self.offline:
                raise UnavailableError(f"Offline: no {name}.")
            die_here(f"before {name}")
            if lossy and self.chance.random() < 0.1:
                raise UnavailableError(f"The network lost a {name}.")

        def after(name: str) -> None:
            die_here(f"after {name}")
            if lossy and self.chance.random() < 0.1:
                raise UnavailableError(f"The network lost the answer to a {name}.")

        device.replica.at_commit = lambda: die_here(f"commit after {near}")
        device.line.before = before
        device.line.after = after
        muddles = self.chance.random() < 0.1
        device.line.tamper = lambda shown: faults.shown(self, device, shown, muddles=muddles)

    def quench(self, device: Device) -> None:
        self.fuse = -1
        device.replica.at_commit = lambda: None
        device.line.before = device.line.after = lambda _: None
        device.line.tamper = _as_it_is

    @contextmanager
    def noting(self, device: Device) -> Iterator[None]:
        """What is stored meanwhile was promised to the person."""
        before = {at for at, _ in log.outbox(device.replica.db, 1_000_000)}
        yield
        after = log.outbox(device.replica.db, 1_000_000)
        for at, op in after:
            if at not in before:
                self.promises += 1
                self.written.append(Promise(self.promises, device, ops.decode_op(op)))


def _as_it_is(shown: Shown) -> Shown:
    return shown


def _sync(world: World, _: int, device: Device) -> None:
    with world.dangers(device):
        report = device.sync()
        world.trace.append(f"{report.pulled} {report.pushed} {report.unavailable}")


def _keep_house(world: World, _: int, device: Device) -> None:
    """Snapshots, written whether they are due or not, vouched for, and what they hold deleted."""
    with world.dangers(device):
        if world.chance.random() < 0.3:
            members = log.members(device.replica.db)
            snapshots.write(device.line, device.replica, members, device.random, device.now_ms)
        engine.keep_house(device.engine)
        relay = device.line.relay
        if relay.members is not None and world.chance.random() < 0.3:
            world.trace.append(f"compacted {relay.compact()}")


def _wait(world: World, *_: object) -> None:
    world.time.pass_ms(world.chance.choice((1, 1_000, 60_000, HOUR_MS, 30 * HOUR_MS)))


def _come_and_go(world: World, _: int, device: Device) -> None:
    world.offline ^= {device}
