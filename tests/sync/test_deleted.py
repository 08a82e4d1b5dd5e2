"""A vault that its owner deleted on the server, which is no loss that devices make good by themselves."""

import pytest

from sync_service.device import healing, log, membership
from sync_service.transport import VaultDeletedError
from tests.sync.devices import Device, pair, settle

DAY_MS = 24 * 3_600_000


def _deleted() -> tuple[Device, Device]:
    first, second = pair()
    first.write(1, "tea")
    second.write(2, "coffee")
    settle([first, second])
    first.relay.delete()
    return first, second


def test_what_its_owner_deleted_is_not_founded_again_by_whoever_syncs_next() -> None:
    first, second = _deleted()
    before = first.replica.states()
    first.write(3, "milk")
    for _ in range(20):
        for device in (first, second):
            report = device.sync()
            assert report.deleted
            assert (report.sealed, report.pushed) == (0, 0)
        first.time.pass_ms(DAY_MS)
    assert first.relay.entries == []
    assert first.alarms() == second.alarms() == {"deleted"}
    assert "sunaiva sync put-back" in first.all_alarms()[0].sentence
    assert first.replica.states().items() >= before.items()
    assert first.text(3) == "milk"


def test_one_device_puts_it_back_and_the_others_go_on_by_themselves() -> None:
    first, second = _deleted()
    for device in (first, second):
        device.sync()
    first.write(3, "milk")
    second.write(4, "sugar")
    healing.put_back(second.line, second.replica, second.now_ms)
    settle([first, second])
    newcomer = Device(first.relay, first.time, 3).join()
    settle([first, second, newcomer])
    assert first.replica.states() == second.replica.states() == newcomer.replica.states()
    assert [newcomer.text(number) for number in range(1, 5)] == ["tea", "coffee", "milk", "sugar"]
    assert first.alarms() == second.alarms() == newcomer.alarms() == set()


@pytest.mark.parametrize("asked", ["pull", "push"])
def test_a_vault_that_is_deleted_in_the_middle_of_a_step_ends_the_step(asked: str) -> None:
    first, _ = pair()
    first.write(1)

    def delete(name: str) -> None:
        if name == asked:
            first.relay.delete()

    first.line.before = delete
    assert first.sync().deleted
    first.line.before = lambda _: None
    assert first.sync().deleted
    assert first.relay.entries == []
    assert first.alarms() == {"deleted"}


def test_a_removed_device_and_the_words_do_not_found_it_again_either() -> None:
    first, second = pair()
    removed = log.read(second.replica.db).device
    membership.revoke(first.line, first.replica, removed, first.random, first.now_ms)
    first.relay.delete()
    second.sync()
    assert first.relay.entries == []
    with pytest.raises(VaultDeletedError):
        Device(first.relay, first.time, 3).join()
