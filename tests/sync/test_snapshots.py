from collections.abc import Callable

import msgspec
import pytest

from shared.errors import UnavailableError
from sync_service.changes.fields import Field
from sync_service.changes.ops import Head
from sync_service.device import inbox, listing, log, membership, snapshots, vouching
from sync_service.device.replica import change
from sync_service.members import amend, entries
from sync_service.sealed import keys, manifests, segments
from sync_service.steps import engine
from tests.sync.devices import Device, memory, pair, said, settle
from tests.sync.fake_relay import Relay
from tests.sync.table_replica import Crash

DAY_MS = 24 * 3_600_000


def _written() -> tuple[Device, Device]:
    first, second = pair()
    for number in range(30):
        first.write(number, f"text {number}", tags=["some"])
        first.sync()
    first.forget(3)
    second.write(40, "by the other")
    settle([first, second])
    return first, second


def _snapshot(device: Device, states_per_segment: int = 4_096) -> bytes:
    made = snapshots.write(
        device.line,
        device.replica,
        log.members(device.replica.db),
        device.random,
        device.now_ms,
        states_per_segment=states_per_segment,
    )
    assert made is not None
    return made


def _vouch(device: Device) -> bool | None:
    members = log.members(device.replica.db)
    raw = device.line.manifests()[0]
    return vouching.check(device.line, device.replica, members, raw, device.now_ms)


def test_nothing_is_deleted_before_another_device_has_vouched() -> None:
    first, second = _written()
    _snapshot(first)
    assert first.relay.compact() == 0
    assert _vouch(second) is True
    assert first.relay.compact() > 30


def test_after_compaction_new_and_old_and_very_old_devices_agree() -> None:
    first, second = pair()
    long_away = Device(first.relay, first.time, 3).join()
    settle([first, second, long_away])
    for number in range(30):
        first.write(number, f"text {number}")
        first.sync()
    a_day_away = Device(first.relay, first.time, 4).join()
    settle([first, second, a_day_away])
    first.forget(3)
    long_away.write(77, "written offline")
    settle([first, second])
    _snapshot(first)
    assert _vouch(second)
    first.relay.compact()
    second.write(50, "after the snapshot")
    settle([second, first])
    newcomer = Device(first.relay, first.time, 5).join()
    first.time.pass_ms(200 * DAY_MS)
    everybody = [first, second, a_day_away, newcomer, long_away]
    settle(everybody)
    assert len({device.digest() for device in everybody}) == 1
    assert newcomer.text(77) == "written offline"
    assert newcomer.text(3) is None


def test_a_snapshot_loses_no_write_that_came_while_it_was_made() -> None:
    first, second = _written()

    def write_meanwhile(name: str) -> None:
        if name == "put_segment":
            first.line.before = lambda _: None
            first.write(5, "meanwhile")
            second.write(6, "meanwhile")

    first.line.before = write_meanwhile
    _snapshot(first)
    newcomer = Device(first.relay, first.time, 3).join()
    settle([newcomer, first, second])
    settle([newcomer, first, second])
    assert newcomer.text(5) == newcomer.text(6) == "meanwhile"
    assert newcomer.digest() == first.digest()


def test_what_is_written_while_a_snapshot_is_made_is_sent_before_it() -> None:
    """Whoever checks it would otherwise find in it what nobody has said."""
    first, second = _written()
    first.time.pass_ms(2 * DAY_MS)
    settle([first, second])
    with first.replica.transaction() as db:
        log.write(db, snapshot_owed=1)
    first.line.before = lambda name: first.write(99, "meanwhile") if name == "manifests" else None
    engine.keep_house(first.engine)
    second.sync()
    engine.keep_house(second.engine)
    assert second.alarms() == set()
    assert len(first.relay.cosigned) == 1


def test_an_interrupted_start_goes_on_where_it_stopped() -> None:
    first, second = _written()
    _snapshot(first, states_per_segment=5)
    assert _vouch(second)
    first.relay.compact()
    newcomer = Device(first.relay, first.time, 3).join()
    fetched: list[str] = []
    died = True
    at = 0
    while died:
        left = at % 5 + 3

        def burn(name: str) -> None:
            nonlocal left
            if name == "segment":
                fetched.append(name)
                left -= 1
                if left == 0:
                    raise Crash

        newcomer.line.before = burn
        try:
            newcomer.sync()
            died = False
        except Crash:
            at += 1
    assert at > 0
    manifest = manifests.read(newcomer.line.manifests()[0])
    assert len(fetched) <= len(manifest.segments) + at
    settle([newcomer, first, second])
    assert newcomer.digest() == first.digest()


def test_the_newest_memories_come_first() -> None:
    first, _ = _written()
    _snapshot(first)
    members = log.members(first.replica.db)
    manifest = manifests.read(first.line.manifests()[0])
    keys = log.epoch_keys(first.replica.db)
    rows = [
        memory
        for segment in manifest.segments
        for memory, _ in segments.fetch(first.line, manifest, segment, keys)
    ]
    assert rows == sorted(rows, reverse=True)
    assert members.vault == manifest.vault


def test_a_snapshot_that_holds_less_is_not_vouched_for() -> None:
    first, second = _written()
    with first.replica.transaction() as db:
        victim = first.replica.rows(db, None, 1)[0][0]
        db.execute("DELETE FROM states WHERE memory = ?", [victim])
    _snapshot(first)
    assert _vouch(second) is False
    assert "diverged" in second.alarms()
    assert first.relay.compact() == 0


def test_a_snapshot_that_holds_other_words_at_the_same_clocks_is_not_vouched_for() -> None:
    first, second = _written()
    with first.replica.transaction() as db:
        before = first.replica.load(db, [memory(1)])[memory(1)]
        hlc, stream, _ = before.fields[Field.TEXT]
        fields = before.fields | {Field.TEXT: (hlc, stream, said("a lie"))}
        after = msgspec.structs.replace(before, fields=fields)
        first.replica.save(db, {memory(1): change(before, after)})
    _snapshot(first)
    assert _vouch(second) is False
    newcomer = Device(first.relay, first.time, 3).join()
    newcomer.sync()
    assert newcomer.text(1) == "text 1"


def test_an_altered_piece_is_not_used() -> None:
    first, second = _written()
    _snapshot(first)
    assert _vouch(second)
    (name,) = first.relay.segments
    first.relay.segments[name] = first.relay.segments[name][:-1] + b"\0"
    newcomer = Device(first.relay, first.time, 3).join()
    newcomer.sync()
    assert "malformed" in newcomer.alarms()
    settle([newcomer])
    assert newcomer.digest() == first.digest(), "the log still has everything"


def test_a_manifest_by_a_stranger_is_not_used() -> None:
    first, _ = _written()
    _snapshot(first)
    other, _ = pair(Relay())
    other.write(1, "lie")
    other.sync()
    _snapshot(other)
    raw = other.relay.manifests[0]
    manifest = manifests.read(raw)
    first.relay.manifests.append(
        manifests.write(
            manifests.Manifest(
                vault=log.members(first.replica.db).vault,
                device=manifest.device,
                covers=manifest.covers,
                segments=manifest.segments,
                sealed=manifest.sealed,
            ),
            log.read(other.replica.db).sign_seed,
        )
    )
    newcomer = Device(first.relay, first.time, 3).join()
    newcomer.sync()
    assert newcomer.digest() == first.digest()
    assert newcomer.text(1) == "text 1"


def test_a_device_lets_its_batches_go_once_they_are_safe() -> None:
    first, second = _written()
    (before,) = first.replica.db.execute("SELECT count(*) FROM sync_frames").fetchone()
    _snapshot(first)
    engine.keep_house(first.engine)
    (kept,) = first.replica.db.execute("SELECT count(*) FROM sync_frames").fetchone()
    assert kept == before
    assert _vouch(second)
    first.relay.compact()
    engine.keep_house(first.engine)
    (left,) = first.replica.db.execute("SELECT count(*) FROM sync_frames").fetchone()
    assert left < before
    first.write(60, "goes on")
    settle([first, second])
    assert second.text(60) == "goes on"


def test_an_emptied_server_after_compaction_gets_a_snapshot_and_a_new_stream() -> None:
    first, second = _written()
    _snapshot(first)
    assert _vouch(second)
    first.relay.compact()
    for device in (first, second):
        engine.keep_house(device.engine)
    first.relay.wipe()
    for _ in range(60):
        for device in (first, second):
            device.write(90, "still writing")
            device.sync()
            engine.keep_house(device.engine)
        first.time.pass_ms(3_600_000)
    newcomer = Device(first.relay, first.time, 3).join()
    settle([newcomer, first, second])
    assert newcomer.digest() == first.digest() == second.digest()
    assert newcomer.text(7) == "text 7"


def test_a_single_device_vouches_for_itself_by_reading_back() -> None:
    relay = Relay()
    first = Device(relay, pair()[0].time, 1).found()
    first.write(1)
    settle([first])
    _snapshot(first)
    engine.keep_house(first.engine)
    assert relay.compact() > 0


def test_on_a_metered_line_memories_come_at_once_and_snapshots_are_looked_at_once_a_week() -> None:
    first, second = _written()
    _snapshot(first)
    asked: list[str] = []
    second.line.before = asked.append
    on_a_metered_line = msgspec.structs.replace(second.engine, sparing=True)
    engine.sync_once(on_a_metered_line)
    first.write(60, "from the other side")
    first.sync()
    first.time.pass_seconds(6 * 86_400)
    engine.sync_once(on_a_metered_line)
    assert second.text(60) == "from the other side"
    assert "manifests" not in asked
    first.time.pass_seconds(86_400)
    engine.sync_once(on_a_metered_line)
    assert "manifests" in asked


def test_a_snapshot_is_due_by_batches_or_by_size() -> None:
    def due(head: int, covered: int, log_bytes: int, size: int, first: int = 1) -> bool:
        return snapshots.is_due(
            head_pos=head,
            min_pos=first,
            covered_pos=covered,
            log_bytes=log_bytes,
            snapshot_bytes=size,
        )

    assert not due(20_000, 0, 1, 0)
    assert due(20_001, 0, 1, 0)
    assert not due(20_001, 1, 1, 0)
    assert not due(10, 0, snapshots.LOG_BYTES_MIN, 0)
    assert due(10, 0, snapshots.LOG_BYTES_MIN + 1, 0)
    assert not due(10, 0, 200 << 20, 100 << 20)
    assert due(10, 0, (200 << 20) + 1, 100 << 20)


def test_what_a_snapshot_covers_makes_no_second_one_due() -> None:
    def due(covered: int, first: int) -> bool:
        return snapshots.is_due(
            head_pos=1_000,
            min_pos=first,
            covered_pos=covered,
            log_bytes=64 << 20,
            snapshot_bytes=20 << 20,
        )

    assert due(0, 1)
    assert not due(1_000, 1)
    assert not due(500, 1)
    assert due(300, 1)
    assert due(500, 501)


def test_a_lost_network_in_the_middle_leaves_no_half_snapshot() -> None:
    first, second = _written()

    def cut(name: str) -> None:
        if name == "put_manifest":
            raise UnavailableError("Offline.")

    first.line.before = cut
    with pytest.raises(UnavailableError):
        _snapshot(first)
    assert first.line.manifests() == []
    newcomer = Device(first.relay, first.time, 3).join()
    settle([newcomer, second])
    assert newcomer.digest() == second.digest()
    assert not inbox.is_half_applied(newcomer.replica.db)


def _overstates(device: Device) -> None:
    """A snapshot, rightly signed, that says to cover what it does not hold."""
    with device.replica.transaction() as db:
        kept = db.execute("SELECT memory, state FROM states").fetchall()
        db.execute("DELETE FROM states")
        db.execute("INSERT INTO states SELECT ?, ?", list(kept[0]))
    _snapshot(device)
    with device.replica.transaction() as db:
        db.execute("DELETE FROM states")
        db.conn.executemany("INSERT INTO states VALUES (?, ?)", kept)


def test_a_new_device_reads_batches_where_nobody_vouches_for_a_snapshot() -> None:
    first, second = _written()
    _overstates(first)
    newcomer = Device(first.relay, first.time, 3).join()
    newcomer.sync()
    assert newcomer.replica.states() == second.replica.states()


def test_a_new_device_starts_from_the_newest_snapshot_that_another_vouches_for() -> None:
    first, second = _written()
    good = _snapshot(first)
    assert _vouch(second)
    _overstates(first)
    newcomer = Device(first.relay, first.time, 3).join()
    newcomer.sync()
    assert snapshots.standing_of(newcomer.replica.db, good) == "joined"
    assert newcomer.replica.states() == second.replica.states()


def test_the_word_of_a_removed_device_vouches_for_nothing() -> None:
    first, second = _written()
    made = _snapshot(first)
    assert _vouch(second)
    gone = log.read(second.replica.db).device
    membership.revoke(first.line, first.replica, gone, first.random, first.now_ms)
    newcomer = Device(first.relay, first.time, 3).join()
    newcomer.sync()
    # The writer itself has not read it back.
    assert snapshots.standing_of(newcomer.replica.db, made) is None
    assert newcomer.digest() == first.digest()


def test_who_must_start_from_a_snapshot_learns_from_the_next_device_that_it_was_wrong() -> None:
    first, second = _written()
    _overstates(first)
    first.relay.cosigned[manifests.id_of(first.relay.manifests[-1])] = {
        log.read(second.replica.db).device: b"not a signature"
    }
    assert first.relay.compact() > 0
    newcomer = Device(first.relay, first.time, 3).join()
    newcomer.sync()
    assert newcomer.alarms() == set()
    second.write(60)
    settle([newcomer, second])
    second.write(61)
    settle([newcomer, second])
    assert "diverged" in newcomer.alarms() | second.alarms()


def test_a_snapshot_whose_pieces_are_not_what_it_says_is_not_believed_to_cover_anything() -> None:
    first, second = _written()
    made = _snapshot(first)
    assert _vouch(second)
    raw = first.relay.manifests[-1]
    manifest = manifests.read(raw)
    epoch_keys = log.epoch_keys(first.replica.db)
    summary = segments.open_summary(manifest, epoch_keys)
    members = log.members(first.replica.db)
    other = segments.Summary(bytes(32), summary.generation, summary.pos)
    sealed = segments.seal_summary(epoch_keys[members.epoch], members.vault, members.epoch, other)
    lies = manifests.write(
        manifests.Manifest(
            vault=manifest.vault,
            device=manifest.device,
            covers=manifest.covers,
            segments=manifest.segments,
            sealed=sealed,
        ),
        log.read(first.replica.db).sign_seed,
    )
    first.relay.manifests[-1] = lies
    first.relay.cosigned[manifests.id_of(lies)] = {
        device: manifests.cosign(
            manifests.id_of(lies), members.vault, log.read(second.replica.db).sign_seed
        )
        for device in first.relay.cosigned[made]
    }
    newcomer = Device(first.relay, first.time, 3).join()
    newcomer.line.before = _away_at("pull")
    for _ in range(3):
        newcomer.sync()
        assert snapshots.standing_of(newcomer.replica.db, manifests.id_of(lies)) is None
    newcomer.line.before = lambda _: None
    newcomer.sync()
    assert "malformed" in newcomer.alarms()
    assert newcomer.replica.states() == second.replica.states()


def _away_at(asked: str) -> Callable[[str], None]:
    def before(name: str) -> None:
        if name == asked:
            raise UnavailableError("Nobody answers.")

    return before


def test_who_is_admitted_knows_at_once_what_the_admitting_device_holds() -> None:
    first, second = _written()
    me = log.read(first.replica.db)
    newcomer = Device(first.relay, first.time, 3)
    seeds = keys.new_seeds(newcomer.random)
    members = log.members(first.replica.db)
    entry = amend.add(
        members,
        listing.signer_of(me),
        entries.introduce(seeds, vault=members.vault),
        sealed_name=b"",
        epoch_key=log.epoch_keys(first.replica.db)[members.epoch],
    )
    listing.append(first.line, first.replica, members, entry, first.now_ms)
    membership.enter(
        newcomer.replica,
        seeds=seeds,
        incarnation=1,
        said=membership.read_list(newcomer.line),
        heads=(*inbox.told(first.replica.db), Head(me.stream, me.seq, me.head)),
        digest=bytes(32),
    )
    newcomer._known().sync()
    assert newcomer.alarms() == {"diverged"}, "the digest that it was told is another one"
    assert newcomer.replica.states() == second.replica.states()
