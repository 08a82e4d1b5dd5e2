"""Killed at any point of what is done seldom: a key's change, a snapshot, a way in, a server that begins anew. Whoever died does it
again, and nothing is lost, doubled or stuck.
"""

from collections.abc import Callable

from mcp_server.syncing import roster
from sync_service.device import listing, log, membership, snapshots
from sync_service.members import entries
from sync_service.members.codes import SECRET_BYTES
from sync_service.members.pairing import Met
from sync_service.sealed import frames, keys
from sync_service.steps import engine
from tests.sync.crashing import is_dying
from tests.sync.devices import RECOVERY, Device, pair, settle

HOUR_MS = 3_600_000
Trial = Callable[[int], bool]
"""One trial of dying at the point of this number, judged; whether it died."""


def _at_every_point(trial: Trial, *, least: int) -> None:
    at = 0
    while trial(at):
        at += 1
    assert at >= least, "there are fewer points than this has"


def _agree(*devices: Device) -> None:
    settle(list(devices))
    assert len({device.digest() for device in devices}) == 1
    assert all(not log.outbox_count(device.replica.db) for device in devices)


def _three() -> tuple[Device, Device, Device]:
    first, second = pair()
    third = Device(first.relay, first.time, 3).join()
    first.write(1, "before")
    settle([first, second, third])
    return first, second, third


def test_dying_at_any_point_of_removing_a_device_and_changing_the_key() -> None:
    def trial(at: int) -> bool:
        first, second, third = _three()
        target = log.read(third.replica.db).device

        def remove() -> None:
            membership.revoke(first.line, first.replica, target, first.random, first.now_ms)

        died = is_dying(first, at, remove)
        second.write(2, "meanwhile")
        settle([second])
        if died:
            first.sync()
            if log.members(first.replica.db).members[target].revoked is None:
                remove()
        first.write(3, "after it")
        _agree(first, second)
        assert (second.text(2), second.text(3)) == ("meanwhile", "after it"), at
        members = log.members(first.replica.db)
        assert members.members[target].revoked is not None, at
        assert members.epoch >= 2
        assert not members.rotation_due, at
        third.sync()
        assert third.text(3) is None, at
        assert max(log.epoch_keys(third.replica.db)) == 1, at
        assert frames.parse(first.line.pushes[-1]).header.epoch == members.epoch, at
        return died

    _at_every_point(trial, least=8)


def test_dying_at_any_point_of_a_key_change_that_another_device_left_undone() -> None:
    """The removal was said, the new key not: the next device to write makes it."""

    def trial(at: int) -> bool:
        first, second, third = _three()
        target = log.read(third.replica.db).device

        def die(name: str) -> None:
            if name == "append_control":
                raise KeyboardInterrupt

        first.line.after = die
        try:
            membership.revoke(first.line, first.replica, target, first.random, first.now_ms)
        except KeyboardInterrupt:
            first.line.after = lambda _: None
        second.write(2, "under the new key")
        died = is_dying(second, at)
        _agree(first, second)
        assert first.text(2) == "under the new key", at
        assert log.members(first.replica.db).epoch == 2, at
        assert all(frames.parse(raw).header.epoch == 2 for raw in second.line.pushes[-1:]), at
        return died

    _at_every_point(trial, least=10)


def test_dying_at_any_point_of_writing_a_snapshot_vouching_and_letting_go() -> None:
    def trial(at: int) -> bool:
        first, second = pair()
        for number in range(6):
            first.write(number, f"text {number}")
            first.sync()
        settle([first, second])

        def keep_house() -> None:
            snapshots.write(
                first.line,
                first.replica,
                log.members(first.replica.db),
                first.random,
                first.now_ms,
                states_per_segment=2,
            )
            engine.keep_house(second.engine)
            first.relay.compact()
            engine.keep_house(first.engine)

        died = is_dying(first, at, keep_house)
        keep_house()
        assert first.relay.min_pos > 1, at
        first.write(9, "after it")
        newcomer = Device(first.relay, first.time, 5).join()
        _agree(first, second, newcomer)
        assert newcomer.text(3) == "text 3", at
        assert first.alarms() | second.alarms() | newcomer.alarms() == set(), at
        return died

    _at_every_point(trial, least=12)


def test_dying_at_any_point_of_vouching_for_anothers_snapshot() -> None:
    def trial(at: int) -> bool:
        first, second = pair()
        first.write(1, "text 1")
        settle([first, second])
        members = log.members(first.replica.db)
        snapshots.write(first.line, first.replica, members, first.random, first.now_ms)
        died = is_dying(second, at, lambda: engine.keep_house(second.engine))
        engine.keep_house(second.engine)
        assert first.relay.compact() > 0, at
        _agree(first, second, Device(first.relay, first.time, 5).join())
        return died

    _at_every_point(trial, least=5)


def test_dying_at_any_point_of_a_start_from_a_snapshot() -> None:
    def trial(at: int) -> bool:
        first, second = pair()
        for number in range(6):
            first.write(number, f"text {number}")
            first.sync()
        settle([first, second])
        snapshots.write(
            first.line,
            first.replica,
            log.members(first.replica.db),
            first.random,
            first.now_ms,
            states_per_segment=2,
        )
        engine.keep_house(second.engine)
        assert first.relay.compact() > 0
        newcomer = Device(first.relay, first.time, 5).join()
        newcomer.write(40, "its own")
        died = is_dying(newcomer, at)
        _agree(first, second, newcomer)
        assert newcomer.text(5) == "text 5", at
        assert first.text(40) == "its own", at
        assert newcomer.alarms() == set(), at
        return died

    _at_every_point(trial, least=15)


def test_dying_at_any_point_of_giving_a_server_back_what_it_lost() -> None:
    def trial(at: int) -> bool:
        first, second = pair()
        for number in range(4):
            first.write(number, f"text {number}")
            first.sync()
        second.write(7, "of the other")
        settle([first, second])
        first.relay.wipe()
        died = is_dying(first, at)
        _agree(first, second)
        newcomer = Device(first.relay, first.time, 5).join()
        _agree(first, second, newcomer)
        assert (newcomer.text(3), newcomer.text(7)) == ("text 3", "of the other"), at
        return died

    _at_every_point(trial, least=15)


def test_dying_at_any_point_of_joining_by_the_words() -> None:
    def trial(at: int) -> bool:
        first, second = pair()
        first.write(1, "text 1")
        first.sync()
        newcomer = Device(first.relay, first.time, 5)
        died = is_dying(newcomer, at, newcomer.join)
        if not log.is_set_up(newcomer.replica.db):
            membership.join_by_words(
                newcomer.line,
                newcomer.replica,
                recovery=RECOVERY,
                name="again",
                random=newcomer.random,
            )
        newcomer._known().write(2, "its own")
        _agree(first, second, newcomer)
        assert (newcomer.text(1), first.text(2)) == ("text 1", "its own"), at
        return died

    _at_every_point(trial, least=4)


def test_dying_at_any_point_of_pairing_shares_nothing_by_halves() -> None:
    """Whoever died pairs anew: at worst the list names a device that never comes."""

    def trial(at: int) -> bool:
        first, second = pair()
        first.write(1, "text 1")
        settle([first, second])
        newcomer = Device(first.relay, first.time, 5)
        died = False
        for point in (at, -1):
            died = is_dying(first, point, lambda: _paired(first, newcomer)) or died
            if log.is_set_up(newcomer.replica.db):
                break
            assert newcomer.replica.states() == {}, at
            first.sync()
        newcomer._known().write(2, "its own")
        _agree(first, second, newcomer)
        assert (newcomer.text(1), first.text(2)) == ("text 1", "its own"), at
        return died

    _at_every_point(trial, least=4)


def test_a_newcomer_that_dies_as_it_enters_is_in_or_out() -> None:
    def trial(at: int) -> bool:
        first, second = pair()
        first.write(1, "text 1")
        settle([first, second])
        newcomer = Device(first.relay, first.time, 5)
        died = is_dying(newcomer, at, lambda: _paired(first, newcomer))
        if died:
            assert not log.is_set_up(newcomer.replica.db), at
            _paired(first, newcomer)
        _agree(first, second, newcomer._known())
        assert newcomer.text(1) == "text 1"
        return died

    _at_every_point(trial, least=2)


def _paired(member: Device, newcomer: Device) -> None:
    """What both do once their people have said yes."""
    seeds = keys.new_seeds(newcomer.random)
    members = log.members(member.replica.db)
    met = Met(
        seeds=listing.signer_of(log.read(member.replica.db)).seeds,
        vault=members.vault,
        newcomer=entries.introduce(seeds, vault=members.vault),
        name="phone",
        transcript=bytes(32),
        secret=bytes(SECRET_BYTES),
        is_headless=False,
        number="000000",
    )
    with member.replica.transaction() as db:
        entry = roster.admit(db, met)
    listing.append(member.line, member.replica, members, entry, member.now_ms)
    with member.replica.transaction() as db:
        told = roster.welcome(db, met)
    membership.enter(
        newcomer.replica,
        seeds=seeds,
        incarnation=1,
        said=membership.read_list(newcomer.line),
        through=(told.control_seq, told.control_hash),
    )
