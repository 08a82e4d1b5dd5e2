"""A snapshot that nobody can start from, because nobody can read it or its writer was removed: the others write a better one."""

from sync_service.changes.ops import Head
from sync_service.device import log, membership, snapshots
from sync_service.sealed import manifests, segments
from sync_service.steps import engine
from tests.sync.devices import Device, pair, settle, verified


def test_a_snapshot_that_cannot_be_read_keeps_nobody_from_writing_a_better_one() -> None:
    liar, one = pair()
    one.write(1)
    one.sync()
    members = log.members(liar.replica.db)
    liar.sync()
    assert snapshots.write(liar.line, liar.replica, members, liar.random, liar.now_ms)
    for name in one.relay.segments:
        one.relay.segments[name] = b"\0\0\0\x01 nothing"
    one.sync()
    with one.replica.transaction() as db:
        log.write(db, snapshot_owed=1)
    engine.keep_house(one.engine)
    _has_written_a_better_one(one, after=liar)
    engine.keep_house(one.engine)
    assert one.alarms() == set(), "a sound one has taken its place"


def test_a_snapshot_that_cannot_be_opened_keeps_nobody_from_writing_a_better_one() -> None:
    """Nor if it comes while something waits here to be sent, so that nothing can be vouched for."""
    liar, one = pair()
    one.write(1)
    one.sync()
    me = log.read(liar.replica.db)
    nothing = segments.Summary(bytes(32), me.generation, 0)
    manifest = manifests.Manifest(
        vault=me.vault,
        device=me.device,
        covers=(Head(me.stream, 1, bytes(32)),),
        segments=(),
        sealed=segments.seal_summary(bytes(32), me.vault, 1, nothing),
    )
    liar.line.put_manifest(manifests.write(manifest, me.sign_seed))
    one.write(2)
    with one.replica.transaction() as db:
        log.write(db, snapshot_owed=1)
    engine.keep_house(one.engine)
    _has_written_a_better_one(one, after=liar)


def test_who_comes_after_the_writer_of_the_only_snapshot_was_removed_gets_everything() -> None:
    writer, one = pair()
    third = Device(one.relay, one.time, 3).join()
    for number in range(3):
        writer.write(number)
    settle([writer, one, third])
    members = log.members(writer.replica.db)
    assert snapshots.write(writer.line, writer.replica, members, writer.random, writer.now_ms)
    for each in (one, third):
        engine.keep_house(each.engine)
    assert one.relay.compact() > 0
    removed = log.read(writer.replica.db).device
    membership.revoke(one.line, one.replica, removed, one.random, one.now_ms)
    settle([one, third], rounds=1)
    assert verified(third).found == (), "it is whole, only nobody starts from it any more"
    for _ in range(3):
        settle([one, third], rounds=1)
        one.time.pass_ms(engine.HOUSE_MS)
    newcomer = Device(one.relay, one.time, 4).join()
    settle([newcomer, one, third])
    assert newcomer.replica.states() == one.replica.states() == third.replica.states()
    assert [newcomer.text(number) for number in range(3)] == ["tea"] * 3
    assert newcomer.alarms() == one.alarms() == third.alarms() == set()
    assert len(one.relay.manifests) == 2, "the one that was lacking, and no more"


def _has_written_a_better_one(one: Device, *, after: Device) -> None:
    assert [manifests.read(raw).device for raw in one.relay.manifests] == [
        log.read(each.replica.db).device for each in (after, one)
    ]
    assert one.alarms() == {"malformed"}
