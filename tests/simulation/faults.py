"""What goes wrong in a simulated world: clocks, disks, and a relay that fails or lies."""

import random
import sqlite3
from typing import TYPE_CHECKING

from sync_service.device import log
from tests.simulation import people
from tests.sync.devices import Device
from tests.sync.fake_relay import Shown
from tests.sync.table_replica import TableReplica

if TYPE_CHECKING:
    from tests.simulation.world import World

_YEAR_MS = 365 * 24 * 3_600_000
_DEVICES_MAX = 6


def skew(chance: random.Random) -> int:
    return chance.choice((0, 0, 5_000, -5_000, _YEAR_MS, -_YEAR_MS, 10 * _YEAR_MS))


def jump(world: "World", _: int, device: Device) -> None:
    """The clock is set, forwards or back."""
    device.skew_ms = world.chance.choice((skew(world.chance), -10 * _YEAR_MS))


def refuse(world: "World", _: int, device: Device) -> None:
    """The relay is full, or not paid for; or it is again as it should be."""
    relay = device.line.relay
    if world.chance.random() < 0.5:
        relay.is_full = not relay.is_full
    else:
        relay.may_push = not relay.may_push


def shown(world: "World", device: Device, page: Shown, *, muddles: bool) -> Shown:
    """What a lying relay, or the way to it, makes of a page."""
    stream = world.withheld.get(device)
    if stream is not None:
        page = tuple((pos, raw) for pos, raw in page if raw[20:28] != stream)
    if not muddles:
        return page
    raws = [raw for _, raw in page if world.chance.random() < 0.8]
    world.chance.shuffle(raws)
    if raws and world.chance.random() < 0.3:
        raws[0] = _flipped(raws[0], world.chance)
    repeated = raws[: world.chance.randrange(2)]
    return tuple((pos, raw) for (pos, _), raw in zip(page, [*raws, *repeated], strict=False))


def _flipped(raw: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :]


def disk(world: "World", _: int, device: Device) -> None:
    what = world.chance.randrange(3)
    if what == 0 or (what == 1 and device not in world.backups):
        world.backups[device] = (_copy(device), world.promises)
    elif what == 1:
        _put_back(world, device)
    elif len(world.devices) < _DEVICES_MAX:
        clone = world.bear()
        clone.replica = _opened(_copy(device))
        clone.line.relay = device.line.relay
        clone.line.device = device.line.device
        clone.skew_ms = device.skew_ms
        world.devices.append(clone)
        world.trace.append(f"cloned as {len(world.devices) - 1}")


def _put_back(world: "World", device: Device) -> None:
    """What was not sent since the backup is lost with the disk; nobody can be blamed for that, nor for what was to be sent and was
    written over before it was."""
    lost = {memory for memory, _ in people.unsent(device)}
    saved, upto = world.backups.pop(device)
    device.replica = _opened(saved)
    kept = people.unsent(device)
    world.written = [
        promise
        for promise in world.written
        if promise.number <= upto
        or promise.device is not device
        # Nor for what the relay lost as well before anybody else had it.
        or (not world.kind.relay_fails and promise.op.memory not in lost)
        or people.name(promise.op) in kept
    ]
    world.trace.append("put back")


def fail_relay(world: "World", _: int, __: Device) -> None:
    what = world.chance.randrange(3)
    relay = world.relay
    if what == 0:
        world.relay_backup = relay.backup()
    elif what == 1 and world.relay_backup is not None:
        relay.restore(world.relay_backup)
        if world.chance.random() < 0.5:  # an honest operator says so
            relay.lives += 1
            relay.generation = f"life-{relay.lives}"
        world.trace.append("relay put back")
    elif what == 2:
        relay.wipe()
        world.relay_backup = None
        world.trace.append("relay wiped")


def equivocate(world: "World", _: int, device: Device) -> None:
    """The relay hides one device's batches from another, or shows two groups of devices two histories; or stops doing so."""
    what = world.chance.randrange(4)
    if what == 0:
        other = world.chance.choice(world.devices)
        world.withheld[device] = log.own_stream(other.replica.db)
    elif what == 1:
        world.withheld.pop(device, None)
    elif world.split is not None:
        join_histories(world)
    elif what == 2 and not world.kind.disks_fail and _is_list_settled(world):
        world.split = world.relay.split()
        for each in world.devices:
            if world.chance.random() < 0.5:
                each.line.relay = world.split
        world.trace.append("relay split")


def _is_list_settled(world: "World") -> bool:
    """Nobody is about to change it: a new key that is owed after a removal would be made on both sides, and two lists do not go together."""
    members = world.relay.members
    return (
        people.is_list_whole(world, world.relay)
        and members is not None
        and not members.rotation_due
    )


def join_histories(world: "World") -> None:
    """Everybody is shown one of the two histories from now on, and never again the other."""
    if world.split is None:
        return
    if world.chance.random() < 0.5:
        world.relay = world.split
        world.relay_backup = None
    world.split = None
    for each in (*world.devices, *(removed.device for removed in world.removed)):
        each.relay = each.line.relay = world.relay
    world.trace.append("relay joined")


def _copy(device: Device) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    device.replica.db.conn.backup(copy)
    return copy


def _opened(connection: sqlite3.Connection) -> TableReplica:
    replica = TableReplica()
    connection.backup(replica.db.conn)
    connection.close()
    return replica
