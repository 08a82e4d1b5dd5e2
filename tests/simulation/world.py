"""A world of devices, a relay, clocks and faults that one seed decides: the same seed is the same world, to the last byte.

Devices write, edit, tag, link, archive and forget; requests and answers are lost, repeated, shown in another order; the process is
killed at any commit and on either side of any request; disks are copied and put back; the relay is wiped and put back. Then everything
is repaired, and what has to hold is asked of all devices at once.
"""

import random
import sqlite3
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from shared.errors import SunaivaError, UnavailableError
from sync_service import engine, frames, log, ops, snapshots
from sync_service.fields import Field
from sync_service.ops import Forget, Op, Set, Tag
from tests.sync.devices import Device, Time, memory
from tests.sync.fake_relay import Relay, Shown
from tests.sync.table_replica import Crash, TableReplica

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
MEMORIES = 12
TAGS = ("work", "home", "tea")
# Within so many hours of virtual time after everything was repaired, everybody agrees.
HEALED_WITHIN_HOURS = 400
_DEVICES_MAX = 6
_FRAME_OVERHEAD = 120 + 16 + 64  # header, tag, signature: the same for every batch
_ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")


class BrokenError(AssertionError):
    """The world of this seed ended in what must never be."""


class Kind(Struct, frozen=True):
    devices: int
    steps: int
    disks_fail: bool
    relay_fails: bool


class World:
    def __init__(self, seed: int, steps: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.kind = Kind(
            devices=self.chance.randint(2, 4),
            steps=steps,
            disks_fail=seed % 4 in (1, 3),
            relay_fails=seed % 4 in (2, 3),
        )
        self.time = Time()
        self.relay = Relay(page_frames=self.chance.choice((1, 2, 7, 100)))
        self.devices: list[Device] = []
        self.offline: set[int] = set()
        self.backups: dict[int, tuple[sqlite3.Connection, int]] = {}
        self.relay_backup: dict[str, object] | None = None
        self.written: list[tuple[int, Op]] = []
        """Every operation that a device's user was told is stored, with the device's number."""
        self.texts: list[bytes] = []
        self.trace: list[str] = []
        self.fuse = -1
        for number in range(self.kind.devices):
            self._add(Device(self.relay, self.time, seed * 31 + number, skew_ms=self._skew()))
            if number == 0:
                self.devices[0].found()
            else:
                self.devices[number].join()

    def run(self) -> int:
        """Live through all steps, repair, and look; how many steps."""
        try:
            for _ in range(self.kind.steps):
                self._step()
            self.repair()
            self.check()
        except BaseException as error:
            error.add_note(f"seed {self.seed}, {self.kind.steps} steps")
            raise
        return self.kind.steps

    # --- living ------------------------------------------------------------------------------------------

    def _step(self) -> None:
        number = self.chance.randrange(len(self.devices))
        device = self.devices[number]
        doings: list[tuple[int, Callable[[int, Device], None]]] = [
            (40, self._write),
            (40, self._sync),
            (8, self._wait),
            (4, self._come_and_go),
            (4, self._keep_house),
            (3 if self.kind.disks_fail else 0, self._disk),
            (2 if self.kind.relay_fails else 0, self._fail_relay),
        ]
        (doing,) = self.chance.choices([do for _, do in doings], [weight for weight, _ in doings])
        self.trace.append(f"{doing.__name__} {number}")
        doing(number, device)

    def _write(self, number: int, device: Device) -> None:
        which = self.chance.randrange(MEMORIES)
        before = log.outbox(device.replica.db, 1_000_000)
        text = f"text-{self.seed}-{len(self.texts)}"
        what = self.chance.randrange(20)
        try:
            self._burn(device)
            if what < 10:
                self.texts.append(text.encode())
                device.write(which, text)
            elif what < 14:
                tags = [tag for tag in TAGS if self.chance.random() < 0.5]
                device.replica.write(memory(which), device.now_ms, tags=tags)
            elif what < 16:
                links = [("about", memory(self.chance.randrange(MEMORIES)))]
                device.replica.write(memory(which), device.now_ms, links=links)
            elif what < 19:
                archived: dict[int, bytes] = {
                    Field.ARCHIVED: self.chance.choice((b"\xc2", b"\xc3"))
                }
                device.replica.write(memory(which), device.now_ms, fields=archived)
            elif self.chance.random() < 0.3:
                device.forget(which)
        except Crash:
            self.trace.append("killed")
            return
        finally:
            self._quench(device)
        known = {at for at, _ in before}
        after = log.outbox(device.replica.db, 1_000_000)
        self.written += [(number, ops.decode_op(op)) for at, op in after if at not in known]

    def _sync(self, number: int, device: Device) -> None:
        try:
            self._burn(device)
            if number in self.offline:
                device.line.before = _cut
            report = device.sync()
            self.trace.append(f"{report.pulled} {report.pushed} {report.unavailable}")
        except Crash:
            self.trace.append("killed")
        finally:
            self._quench(device)

    def _keep_house(self, number: int, device: Device) -> None:
        """Snapshots, written whether they are due or not, vouched for, and what they hold deleted."""
        try:
            self._burn(device)
            if number in self.offline:
                device.line.before = _cut
            if self.chance.random() < 0.3:
                members = log.members(device.replica.db)
                snapshots.write(device.line, device.replica, members, device.random, device.now_ms)
            engine.keep_house(device.engine)
            if self.relay.members is not None and self.chance.random() < 0.3:
                self.trace.append(f"compacted {self.relay.compact()}")
        except Crash:
            self.trace.append("killed")
        except SunaivaError as error:
            self.trace.append(str(error))
        finally:
            self._quench(device)

    def _wait(self, number: int, device: Device) -> None:
        self.time.pass_ms(self.chance.choice((1, 1_000, 60_000, HOUR_MS, 30 * HOUR_MS)))

    def _come_and_go(self, number: int, device: Device) -> None:
        self.offline ^= {number}

    def _disk(self, number: int, device: Device) -> None:
        what = self.chance.randrange(3)
        if what == 0 or (what == 1 and number not in self.backups):
            self.backups[number] = (_copy(device), len(self.written))
        elif what == 1:
            self._put_back(number, device)
        elif len(self.devices) < _DEVICES_MAX:
            clone = Device(self.relay, self.time, self.seed * 77 + len(self.devices))
            clone.replica = _opened(_copy(device))
            clone.line.device = device.line.device
            clone.skew_ms = device.skew_ms
            self._add(clone)
            self.trace.append(f"cloned as {len(self.devices) - 1}")

    def _put_back(self, number: int, device: Device) -> None:
        """What was not sent since the backup is lost with the disk; nobody can be blamed for that."""
        lost = _unsent(device)
        saved, upto = self.backups.pop(number)
        device.replica = _opened(saved)
        kept = _unsent(device)
        if self.kind.relay_fails:
            # Nor for what the relay lost as well before anybody else had it.
            lost = {_name(op) for owner, op in self.written if owner == number}
        self.written = [
            (owner, op)
            for at, (owner, op) in enumerate(self.written)
            if at < upto or owner != number or _name(op) not in lost or _name(op) in kept
        ]
        self.trace.append("put back")

    def _fail_relay(self, number: int, device: Device) -> None:
        what = self.chance.randrange(3)
        if what == 0:
            self.relay_backup = self.relay.backup()
        elif what == 1 and self.relay_backup is not None:
            self.relay.restore(self.relay_backup)
            if self.chance.random() < 0.5:  # an honest operator says so
                self.relay.lives += 1
                self.relay.generation = f"life-{self.relay.lives}"
            self.trace.append("relay put back")
        elif what == 2:
            self.relay.wipe()
            self.relay_backup = None
            self.trace.append("relay wiped")

    # --- faults ------------------------------------------------------------------------------------------

    def _burn(self, device: Device) -> None:
        """Sometimes: die after so many yield points, lose what goes or comes, see another order."""
        self.fuse = self.chance.randrange(40) if self.chance.random() < 0.4 else -1
        lossy = self.chance.random() < 0.3

        def yield_point(_: str = "") -> None:
            if self.fuse == 0:
                self.fuse = -1
                raise Crash
            self.fuse -= 1

        def request(name: str) -> None:
            yield_point()
            if lossy and self.chance.random() < 0.2:
                raise UnavailableError(f"The network lost a {name}.")

        device.replica.at_commit = yield_point
        device.line.before = request
        device.line.after = request
        if self.chance.random() < 0.1:
            device.line.tamper = self._muddle

    def _muddle(self, shown: Shown) -> Shown:
        pages = [raw for _, raw in shown if self.chance.random() < 0.8]
        self.chance.shuffle(pages)
        repeated = pages[: self.chance.randrange(2)]
        return tuple((pos, raw) for (pos, _), raw in zip(shown, [*pages, *repeated], strict=False))

    def _quench(self, device: Device) -> None:
        self.fuse = -1
        device.replica.at_commit = lambda: None
        device.line.before = device.line.after = lambda _: None
        device.line.tamper = lambda shown: shown

    # --- afterwards --------------------------------------------------------------------------------------

    def repair(self) -> None:
        self.offline.clear()
        for _ in range(HEALED_WITHIN_HOURS):
            reports = [device.sync() for device in self.devices]
            for device in self.devices:
                engine.keep_house(device.engine)
            self.time.pass_ms(HOUR_MS)
            if self._is_quiet() and all(report.reached_head for report in reports):
                return
        raise BrokenError(
            f"seed {self.seed}: not healed: "
            + "; ".join(
                f"{device.digest().hex()[:8]} {sorted(device.alarms())} out={log.outbox_count(device.replica.db)} "
                f"unsent={log.unsent_count(device.replica.db)}"
                for device in self.devices
            )
        )

    def _is_quiet(self) -> bool:
        return len({device.digest() for device in self.devices}) == 1 and all(
            not log.outbox_count(device.replica.db)
            and not log.unsent_count(device.replica.db)
            and not log.read(device.replica.db).snapshot_owed
            for device in self.devices
        )

    def check(self) -> None:
        states = self.devices[0].replica.states()
        for device in self.devices[1:]:
            if device.replica.states() != states:
                raise BrokenError(f"seed {self.seed}: equal digests of unequal memories")
        for _, op in self.written:
            state = states.get(op.memory)
            if state is None or not (state.forgotten or _holds(state.fields, state.tags, op)):
                raise BrokenError(f"seed {self.seed}: lost {op}")
        self._welcome()
        self._audit()

    def _welcome(self) -> None:
        """A new device holds what the others hold: at once as a rule; where relay and disks had failed together, once they have
        told each other."""
        newcomer = Device(self.relay, self.time, self.seed * 131).join()
        everybody = [newcomer, *self.devices]
        for _ in range(HEALED_WITHIN_HOURS):
            newcomer.sync()
            if len({device.digest() for device in everybody}) == 1:
                return
            for device in everybody:
                device.sync()
                engine.keep_house(device.engine)
            self.time.pass_ms(HOUR_MS)
        raise BrokenError(f"seed {self.seed}: a new device does not get everything")

    def _audit(self) -> None:
        """The relay has seen no text, no id, no time of a write; and batches of the padded lengths only."""
        seen = b"".join(self.relay.seen)
        for text in self.texts:
            if text in seen:
                raise BrokenError(f"seed {self.seed}: the relay saw a text")
        for number in range(MEMORIES):
            if memory(number) in seen or memory(number).hex().encode() in seen:
                raise BrokenError(f"seed {self.seed}: the relay saw an id")
        for _, op in self.written:
            # Six bytes of milliseconds and a count, in either order of bytes.
            if any(op.hlc.to_bytes(8, order) in seen for order in _ORDERS):
                raise BrokenError(f"seed {self.seed}: the relay saw a time")
        batches = [raw for raw in self.relay.seen if raw.startswith(b"SV")]
        if not batches:
            raise BrokenError(f"seed {self.seed}: the relay saw no batch")
        for raw in batches:
            plain = len(raw) - _FRAME_OVERHEAD
            if plain <= 0 or plain != frames.padded_length(plain):
                raise BrokenError(f"seed {self.seed}: the relay saw a length")

    def _add(self, device: Device) -> None:
        self.devices.append(device)

    def _skew(self) -> int:
        return self.chance.choice((0, 0, 5_000, -5_000, YEAR_MS, -YEAR_MS, 10 * YEAR_MS))


def _holds(fields: dict[int, tuple[int, bytes, bytes]], tags: dict[str, int], op: Op) -> bool:
    match op:
        case Set():
            return all(field in fields and fields[field][0] >= op.hlc for field in op.fields)
        case Tag():
            return all(tags.get(tag, 0) >= length for tag, length in op.tags.items())
        case Forget():
            return False
        case _:
            return True


def _name(op: Op) -> tuple[bytes, int]:
    return op.memory, op.hlc


def _unsent(device: Device) -> set[tuple[bytes, int]]:
    """What stands on this disk only."""
    db = device.replica.db
    waiting = [ops.decode_op(op) for _, op in log.outbox(db, 1_000_000)]
    keys = log.epoch_keys(db)
    for one in log.unsent(db, bytes_max=1 << 40, most=1_000_000):
        frame = frames.parse(one.raw)
        waiting += ops.decode_content(frames.open_frame(frame, keys[frame.header.epoch])).ops
    return {_name(op) for op in waiting}


def _copy(device: Device) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    device.replica.db.conn.backup(copy)
    return copy


def _opened(connection: sqlite3.Connection) -> TableReplica:
    replica = TableReplica()
    connection.backup(replica.db.conn)
    connection.close()
    return replica


def _cut(name: str) -> None:
    raise UnavailableError(f"Offline: no {name}.")
