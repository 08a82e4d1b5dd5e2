"""A simulated world after all its faults: repaired, and asked what has to hold of all devices at once."""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from sync_service.changes.ops import Forget, Op, Set, Tag
from sync_service.device import inbox, log
from sync_service.members import control
from sync_service.sealed import frames
from sync_service.steps import engine
from sync_service.transport import RevokedError
from tests.simulation import faults, people
from tests.sync.devices import Device, memory

if TYPE_CHECKING:
    from tests.simulation.world import World

_HOUR_MS = 3_600_000
# Within so many hours of virtual time after everything was repaired, everybody agrees.
HEALED_WITHIN_HOURS = 400
PAIRED_AGAIN_AFTER_HOURS = 51
_FRAME_OVERHEAD = 120 + 16 + 64  # header, tag, signature: the same for every batch
_ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")


class BrokenError(AssertionError):
    """The world of this seed ended in what must never be."""


def repair(world: "World") -> None:
    world.offline.clear()
    world.withheld.clear()
    faults.join_histories(world)
    world.relay.may_push = True
    world.relay.is_full = False
    for hour in _hours():
        reports = [device.sync() for device in world.devices]
        if hour == PAIRED_AGAIN_AFTER_HOURS:
            _pair_again(world)
        for device in world.devices:
            people.answer(world, device)
            with suppress(RevokedError):
                engine.keep_house(device.engine)
        world.time.pass_ms(_pause_hours(hour) * _HOUR_MS)
        if _is_quiet(world) and all(report.reached_head for report in reports):
            world.trace.append(f"healed after {hour} hours")
            return
    raise BrokenError(
        "not healed: "
        + "; ".join(
            f"{device.digest().hex()[:8]} {sorted(device.alarms())} out={log.outbox_count(device.replica.db)} "
            f"unsent={log.unsent_count(device.replica.db)}"
            for device in world.devices
        )
    )


def _hours() -> Iterator[int]:
    hour = 0
    while hour < HEALED_WITHIN_HOURS:
        yield hour
        hour += _pause_hours(hour)


def _pause_hours(hour: int) -> int:
    """Each hour at first, then four times a day: what is left waits for a day to be over."""
    return 1 if hour < 3 else 6


def _pair_again(world: "World") -> None:
    """A relay that lost the device list, and got it back from a device that had not seen its end before a copied one appended to it, has
    another list than some devices: they say so, and people pair them again. So has one that lost the end of it after a removal, when a
    device that had not seen the new key made another. No other fault may ever lead there."""
    for device in world.devices:
        known = log.control(device.replica.db)
        if known != world.relay.entries[: len(known)]:
            was_added_to = world.kind.disks_fail or world.kind.members_change
            if not (world.kind.relay_fails and was_added_to):
                raise BrokenError("two device lists")
            people.come_again(device)
            world.trace.append("paired again")


def _is_quiet(world: "World") -> bool:
    return len({device.digest() for device in world.devices}) == 1 and not any(
        log.outbox_count(device.replica.db)
        or log.unsent_count(device.replica.db)
        or inbox.held_forgets_count(device.replica.db)
        or log.read(device.replica.db).snapshot_owed
        for device in world.devices
    )


def check(world: "World") -> None:
    promised = [promise.op for promise in world.written]
    states = world.devices[0].replica.states()
    for device in world.devices[1:]:
        if device.replica.states() != states:
            raise BrokenError("equal digests of unequal memories")
    for op in promised:
        state = states.get(op.memory)
        if state is None or not (state.forgotten or _holds(state.fields, state.tags, op)):
            raise BrokenError(f"lost {op}")
    _welcome(world)
    _shut_out(world)
    _audit(world)


def _welcome(world: "World") -> None:
    """A new device holds what the others hold: at once as a rule; where relay and disks had failed together, once they have
    told each other."""
    newcomer = Device(world.relay, world.time, world.seed * 131).join()
    everybody = [newcomer, *world.devices]
    for hour in _hours():
        newcomer.sync()
        if len({device.digest() for device in everybody}) == 1:
            return
        for device in everybody:
            device.sync()
            engine.keep_house(device.engine)
        world.time.pass_ms(_pause_hours(hour) * _HOUR_MS)
    raise BrokenError("a new device does not get everything")


def _shut_out(world: "World") -> None:
    """A removed device that asks on and on has no later key and no later text, and nothing is sealed with a key that it has."""
    assert world.relay.members is not None
    live = {member.device for member in control.live(world.relay.members)}
    for removed in world.removed:
        if log.read(removed.device.replica.db).device in live:
            continue  # its removal was in the list that the relay lost
        db = removed.device.replica.db
        removed.device.sync()
        if max(log.epoch_keys(db)) > removed.epoch:
            raise BrokenError("a removed device has a later key")
        texts = {
            state.fields[1][2][1:]
            for state in removed.device.replica.states().values()
            if 1 in state.fields
        }
        if texts & set(world.texts[removed.texts :]):
            raise BrokenError("a removed device read on")
        for raw in _batches(world):
            header = frames.parse(raw).header
            if header.control_seq >= removed.entry and header.epoch <= removed.epoch:
                raise BrokenError("sealed for a removed device")


def _batches(world: "World") -> list[bytes]:
    return [raw for raw in world.relay.seen if raw.startswith(b"SV")]


def _audit(world: "World") -> None:
    """The relay has seen no text, no id, no time of a write; and batches of the padded lengths only."""
    seen = b"".join(world.relay.seen)
    for text in world.texts:
        if text in seen:
            raise BrokenError("the relay saw a text")
    for number in range(world.memories):
        if memory(number) in seen or memory(number).hex().encode() in seen:
            raise BrokenError("the relay saw an id")
    for hlc in {promise.op.hlc for promise in world.written}:
        # Six bytes of milliseconds and a count, in either order of bytes.
        if any(hlc.to_bytes(8, order) in seen for order in _ORDERS):
            raise BrokenError("the relay saw a time")
    batches = _batches(world)
    if not batches:
        raise BrokenError("the relay saw no batch")
    for raw in batches:
        plain = len(raw) - _FRAME_OVERHEAD
        if plain <= 0 or plain != frames.padded_length(plain):
            raise BrokenError("the relay saw a length")


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
