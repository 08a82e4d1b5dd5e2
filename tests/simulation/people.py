"""What people do in a simulated world: to their memories, and to the list of their devices."""

from typing import TYPE_CHECKING

from msgspec import Struct

from sync_service.changes import ops
from sync_service.changes.fields import Field
from sync_service.changes.merge import EMPTY
from sync_service.changes.ops import Op
from sync_service.device import deciding, inbox, log, membership, receive
from sync_service.members import control
from sync_service.sealed import frames
from tests.sync.devices import Device, memory
from tests.sync.fake_relay import Relay
from tests.sync.table_replica import Crash

if TYPE_CHECKING:
    from tests.simulation.world import World

TAGS = ("work", "home", "tea")
_FORGOTTEN_AT_ONCE = 30
_MEMBERS_MAX = 6


class Removed(Struct, frozen=True):
    device: Device
    epoch: int
    """The last key it was given."""
    entry: int
    """Where its removal stands in the device list."""
    texts: int
    """How many texts had been written by then."""


def write(world: "World", _: int, device: Device) -> None:
    which = world.chance.randrange(world.memories)
    text = f"text-{world.seed}-{len(world.texts)}"
    what = world.chance.randrange(40)
    with world.dangers(device), world.noting(device):
        if what < 20:
            world.texts.append(text.encode())
            device.write(which, text)
        elif what < 28:
            tags = [tag for tag in TAGS if world.chance.random() < 0.5]
            device.replica.write(memory(which), device.now_ms, tags=tags)
        elif what < 32:
            links = [("about", memory(world.chance.randrange(world.memories)))]
            device.replica.write(memory(which), device.now_ms, links=links)
        elif what < 39:
            archived: dict[int, bytes] = {Field.ARCHIVED: world.chance.choice((b"\xc2", b"\xc3"))}
            device.replica.write(memory(which), device.now_ms, fields=archived)
        else:
            device.forget(which)


def forget_many(world: "World", _: int, device: Device) -> None:
    """So much that the others are asked."""
    states = device.replica.states()
    present = [n for n in range(world.memories) if receive.is_present(states.get(memory(n), EMPTY))]
    many = world.chance.sample(present, min(_FORGOTTEN_AT_ONCE, len(present)))
    with world.dangers(device):
        for number in many:
            with world.noting(device):
                device.forget(number)


def decide(world: "World", _: int, device: Device) -> None:
    with world.dangers(device):
        answer(world, device)


def answer(world: "World", device: Device) -> None:
    """Yes or no to what others forgot, if anything waits for it."""
    keeps = world.chance.random() < 0.5
    if inbox.held_forgets_count(device.replica.db):
        with world.noting(device):
            decided = deciding.keep if keeps else deciding.let_forget
            world.trace.append(f"{decided.__name__} {decided(device.replica, device.now_ms)}")


def change_members(world: "World", _: int, device: Device) -> None:
    if not is_list_whole(world, device.line.relay):
        # Whoever restores a relay lets the devices give the list back before it is changed: two lists do not go together.
        return
    what = world.chance.randrange(5)
    others = [other for other in world.devices if _name(other) != _name(device)]
    if what == 0 and world.removed:
        removed = world.removed.pop(world.chance.randrange(len(world.removed)))
        come_again(removed.device)
        world.devices.append(removed.device)
    elif what <= 2 and len(world.devices) < _MEMBERS_MAX:
        newcomer = world.bear()
        with world.dangers(newcomer):
            newcomer.join()
            world.devices.append(newcomer)
    elif what > 2 and others:
        _remove(world, device, world.chance.choice(others))


def is_list_whole(world: "World", relay: Relay) -> bool:
    known = max(len(log.control(device.replica.db)) for device in world.devices)
    return world.split is None and len(relay.entries) >= known


def _remove(world: "World", device: Device, other: Device) -> None:
    relay = device.line.relay
    assert relay.members is not None
    epoch, texts = relay.members.epoch, len(world.texts)
    target = _name(other)
    with world.dangers(device):
        device.sync()
        if world.chance.random() < 0.5:
            _dies_after_appending(world, device)
        membership.revoke(device.line, device.replica, target, device.random, device.now_ms)
    if all(member.device != target for member in control.live(relay.members)):
        copies = [each for each in world.devices if _name(each) == target]
        world.trace.append(f"removed {len(copies)}")
        for each in copies:
            _disown(world, each)
            world.devices.remove(each)
            world.removed.append(Removed(each, epoch, relay.members.seq, texts))


def _dies_after_appending(world: "World", device: Device) -> None:
    """The removal is said, and the new key is left to whoever comes next."""
    after = device.line.after

    def die(name: str) -> None:
        if name == "append_control":
            world.killed["between removal and new key"] += 1
            raise Crash
        after(name)

    device.line.after = die


def _disown(world: "World", device: Device) -> None:
    """What only the removed device has, and whatever else is lost with it once the relay loses things as well."""
    lost = {memory for memory, _ in unsent(device)}
    world.backups.pop(device, None)
    world.written = [
        promise
        for promise in world.written
        if promise.device is not device or not (world.kind.relay_fails or promise.op.memory in lost)
    ]


def come_again(device: Device) -> None:
    """A device that the list does not have any more joins once more, as a new one that brings what it holds."""
    with device.replica.transaction() as db:
        log.leave(db)
    device.line.device = None
    device.join()


def _name(device: Device) -> bytes:
    return log.read(device.replica.db).device


def name(op: Op) -> tuple[bytes, int]:
    return op.memory, op.hlc


def unsent(device: Device) -> set[tuple[bytes, int]]:
    """What stands on this disk only."""
    db = device.replica.db
    waiting = [ops.decode_op(op) for _, op in log.outbox(db, 1_000_000)]
    keys = log.epoch_keys(db)
    for one in log.unsent(db, bytes_max=1 << 40, most=1_000_000):
        frame = frames.parse(one.raw)
        waiting += ops.decode_content(frames.open_frame(frame, keys[frame.header.epoch])).ops
    return {name(op) for op in waiting}
