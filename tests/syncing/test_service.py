"""Two devices that meet in a folder, step by step, as the terminal asks for it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mcp_server import forgetting, memory
from mcp_server.model import Draft
from mcp_server.syncing.hints import NO_HINTS, Hints
from mcp_server.syncing.places import Ways
from mcp_server.syncing.service import Syncing
from mcp_server.vault import store, words
from shared.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from sync_service.device import log
from sync_service.device.log import NotSetUpError
from sync_service.device.verifying import Verified
from sync_service.members.pairing import DifferentNumberError
from sync_service.transport import RevokedError
from tests.builders import USER, SetClock, opened, until

WORDS = words.words_of(bytes(range(16)))


class Owner:
    """A device with its sync, and one who knows the words."""

    def __init__(self, stack: ExitStack, home: Path, hints: Hints = NO_HINTS) -> None:
        self.clock = SetClock()
        self.device = stack.enter_context(opened(home, clock=self.clock, ready=False))
        self.device.own_words = lambda given: given == WORDS
        self.syncing = Syncing(self.device, Ways(self.device), hints)
        self.syncing.start()
        stack.callback(self.syncing.close)

    def stores(self, text: str) -> None:
        memory.remember(self.device, [Draft(text=text, source=USER)], client="test")

    def texts(self) -> set[str]:
        with self.device.vault.reading() as db:
            return {row.memory.text for row in store.in_order(db, after=None, limit=100)}

    def syncs(self) -> None:
        ends(self.syncing.now())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "stick"
    made.mkdir()
    return made


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[list[Owner]]:
    with ExitStack() as stack:
        yield [Owner(stack, tmp_path / name) for name in ("a", "b")]


@pytest.fixture
def pair(owners: list[Owner], folder: Path) -> list[Owner]:
    """Two devices of one vault."""
    a, b = owners
    a.syncing.use_folder(folder)
    a.syncing.found(WORDS, "laptop")
    b.syncing.use_folder(folder)
    b.syncing.recover(WORDS, "phone")
    for owner in (a, b, a):
        owner.syncs()
    return owners


def ends(steps: Generator[Any, None, Any]) -> Any:
    """What comes of it at last."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


def meets(a: Owner, b: Owner, named: str = "phone") -> tuple[str, str]:
    """The numbers that both show; each side goes a step at a time, as two people would."""
    offered = b.syncing.pairing.offer(named, None)
    joining = b.syncing.pairing.meet(cancelled=lambda: False)
    next(joining)
    a.syncing.pairing.admit(offered.qr)
    admitting = a.syncing.pairing.meet(cancelled=lambda: False)
    next(admitting)
    number, _ = ends(joining)
    met, name = ends(admitting)
    assert name == named
    return met, number


def test_before_it_is_asked_for_nothing_is_loaded_that_could_reach_a_network() -> None:
    look = "import sys, mcp_server.cli.serving; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", look], check=False).returncode == 0


def test_a_vault_that_syncs_nowhere_says_so(owners: list[Owner]) -> None:
    syncing = owners[0].syncing
    assert syncing.status().state == "not_set_up"
    with pytest.raises(NotFoundError, match="sunaiva login"):
        syncing.found(WORDS, "laptop")


def test_a_vault_that_does_not_sync_has_no_devices_and_says_so(owners: list[Owner]) -> None:
    syncing = owners[0].syncing
    for asks in (
        syncing.devices,
        lambda: syncing.rename("phone", "tablet"),
        lambda: ends(syncing.revoke("phone")),
    ):
        with pytest.raises(NotSetUpError, match="does not sync yet"):
            asks()


def test_sync_begins_with_the_words_of_this_vault_only(owners: list[Owner], folder: Path) -> None:
    syncing = owners[0].syncing
    syncing.use_folder(folder)
    with pytest.raises(ForbiddenError, match="not this vault's"):
        syncing.found(words.words_of(bytes(16)), "laptop")
    assert list(folder.iterdir()) == []


def test_what_one_device_stores_the_other_holds(pair: list[Owner]) -> None:
    a, b = pair
    a.stores("The gate code is 1234")
    a.syncs()
    b.syncs()
    assert b.texts() == {"The gate code is 1234"}
    assert b.syncing.status().received_bytes > 0
    assert ends(b.syncing.verify()) == Verified(sound=True, memories=1, found=())


def test_a_metered_network_and_a_low_battery_show_and_memories_go_through(
    pair: list[Owner], folder: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        c = Owner(stack, tmp_path / "c", Hints(lambda: True, lambda: True))
        c.syncing.use_folder(folder)
        c.syncing.recover(WORDS, "phone")
        c.syncs()
        c.clock.passes(seconds=2)
        c.stores("Written on the train")
        until(lambda: c.syncing.status().sent_batches > 1)
        pair[0].syncs()
        assert pair[0].texts() == {"Written on the train"}
        status = c.syncing.status()
        assert (status.is_metered, status.is_battery_low) == (True, True)


def test_a_second_vault_is_not_founded_where_there_is_one(
    pair: list[Owner], folder: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        c = Owner(stack, tmp_path / "c")
        c.syncing.use_folder(folder)
        with pytest.raises(ConflictError, match="sunaiva pair"):
            c.syncing.found(WORDS, "third")


def test_devices_pair_by_a_number_that_both_show(owners: list[Owner], folder: Path) -> None:
    a, b = owners
    a.syncing.use_folder(folder)
    a.syncing.found(WORDS, "laptop")
    a.stores("The gate code is 1234")
    a.syncs()
    b.syncing.use_folder(folder)
    one, other = meets(a, b)
    assert one == other
    ends(a.syncing.pair_finish(is_same_number=True, cancelled=lambda: False))
    ends(b.syncing.pair_finish(is_same_number=True, cancelled=lambda: False))
    b.syncs()
    assert b.texts() == {"The gate code is 1234"}
    assert [one.name for one in b.syncing.devices()] == ["phone", "laptop"]


def test_no_mailbox_is_left_in_the_folder_by_a_pairing(owners: list[Owner], folder: Path) -> None:
    a, b = owners
    a.syncing.use_folder(folder)
    a.syncing.found(WORDS, "laptop")
    b.syncing.use_folder(folder)
    meets(a, b)
    assert len(list(folder.glob("sunaiva/mailboxes/*/*"))) == 3
    ends(a.syncing.pair_finish(is_same_number=True, cancelled=lambda: False))
    ends(b.syncing.pair_finish(is_same_number=True, cancelled=lambda: False))
    assert not (folder / "sunaiva" / "mailboxes").exists()


def test_a_pairing_that_is_broken_off_takes_its_offer_back(
    owners: list[Owner], folder: Path
) -> None:
    a, b = owners
    a.syncing.use_folder(folder)
    a.syncing.found(WORDS, "laptop")
    b.syncing.use_folder(folder)
    b.syncing.pairing.offer("phone", None)
    with pytest.raises(InvalidError, match="broken off"):
        ends(b.syncing.pairing.meet(cancelled=lambda: True))
    assert not (folder / "sunaiva" / "mailboxes").exists()


def test_what_a_pairing_left_behind_is_removed_by_a_later_round(
    pair: list[Owner], folder: Path
) -> None:
    left = folder / "sunaiva" / "mailboxes" / "00" / "offer"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    pair[0].syncs()
    assert left.exists(), "it may be under way"
    for each in (left, left.parent):
        os.utime(each, (0, 0))
    pair[0].syncs()
    assert not (folder / "sunaiva" / "mailboxes").exists()


@pytest.mark.parametrize("how", ["pairing", "words"])
def test_who_joins_reads_all_that_was_ever_written_under_every_key(
    pair: list[Owner], folder: Path, tmp_path: Path, how: str
) -> None:
    a, b = pair
    for number, each in enumerate((a, b, a)):
        each.stores(f"Under the first key, number {number}")
        each.syncs()
    b.stores("The last word of the phone")
    b.syncs()
    ends(a.syncing.revoke("phone"))
    a.stores("Under the second key")
    a.syncs()
    with ExitStack() as stack:
        c = Owner(stack, tmp_path / "c")
        c.syncing.use_folder(folder)
        if how == "words":
            c.syncing.recover(WORDS, "tablet")
        else:
            meets(a, c, "tablet")
            ends(a.syncing.pair_finish(is_same_number=True, cancelled=lambda: False))
            ends(c.syncing.pair_finish(is_same_number=True, cancelled=lambda: False))
        c.syncs()
        status = c.syncing.status()
        assert (status.held, status.alarms, status.problem) == (0, (), None)
        assert c.texts() == a.texts() >= {"The last word of the phone", "Under the second key"}
        found = ends(c.syncing.verify())
        assert (found.sound, found.found) == (True, ())


def test_a_name_that_was_given_on_the_way_in_is_kept_for_the_join(
    owners: list[Owner], folder: Path
) -> None:
    a, b = owners
    a.syncing.use_folder(folder, "study")
    a.syncing.found(WORDS, None)
    b.syncing.use_folder(folder, "attic")
    b.syncing.recover(WORDS, None)
    assert [one.name for one in b.syncing.devices()] == ["attic", "study"]


def test_a_no_shares_nothing(owners: list[Owner], folder: Path) -> None:
    a, b = owners
    a.syncing.use_folder(folder)
    a.syncing.found(WORDS, "laptop")
    b.syncing.use_folder(folder)
    meets(a, b)
    with pytest.raises(DifferentNumberError):
        ends(a.syncing.pair_finish(is_same_number=False, cancelled=lambda: False))
    assert [one.name for one in a.syncing.devices()] == ["laptop"]
    assert b.syncing.status().state == "not_set_up"


def test_a_removed_device_gets_nothing_new(pair: list[Owner]) -> None:
    a, b = pair
    ends(a.syncing.revoke("phone"))
    a.stores("Not for the phone")
    a.syncs()
    with pytest.raises(RevokedError):
        b.syncs()
    assert b.texts() == set()
    assert b.syncing.status().state == "removed"


def test_a_device_that_was_removed_may_join_again(pair: list[Owner]) -> None:
    a, b = pair
    b.stores("Only on the phone")
    ends(a.syncing.revoke("phone"))
    with pytest.raises(RevokedError):
        b.syncs()
    b.syncing.recover(WORDS, "phone again")
    for owner in (b, a):
        owner.syncs()
    assert a.texts() == b.texts() == {"Only on the phone"}
    assert [one.name for one in a.syncing.devices() if not one.revoked] == ["laptop", "phone again"]


def test_a_device_does_not_remove_itself(pair: list[Owner]) -> None:
    with pytest.raises(ConflictError, match="sunaiva logout"):
        ends(pair[0].syncing.revoke("laptop"))


def test_a_pause_holds_everything_back_until_it_is_over(pair: list[Owner]) -> None:
    a, b = pair
    a.syncing.pause(True)
    a.stores("Written on the train")
    b.syncs()
    assert b.texts() == set()
    assert a.syncing.status().state == "paused"
    a.syncing.pause(False)
    a.syncs()
    b.syncs()
    assert b.texts() == {"Written on the train"}


def test_what_was_sent_before_a_new_start_is_not_taken_for_lost(
    owners: list[Owner], folder: Path
) -> None:
    a, _ = owners
    a.syncing.use_folder(folder)
    a.syncing.found(WORDS, "laptop")
    for number in range(3):
        a.stores(f"The gate code is {number}")
        a.syncs()
        a.syncing.close()
        a.syncing = Syncing(a.device, Ways(a.device))
        a.syncing.start()
        a.syncs()
        assert a.syncing.status().alarms == ()
    a.syncing.close()


def test_what_is_wrong_with_a_folder_is_not_said_of_a_server(
    pair: list[Owner], folder: Path
) -> None:
    a, b = pair
    for owner in (b, a):
        owner.syncing.close()  # what was lost is given back at once, and all is well again a round later
    for entry in sorted(folder.glob("sunaiva/*/devices/*"))[1:]:
        entry.unlink()
    a.syncing.round()
    (alarm,) = a.syncing.status().alarms
    assert alarm.kind == "rolled_back"
    assert "folder" in alarm.sentence
    assert "server" not in alarm.sentence


def test_a_vault_whose_sync_rests_is_not_said_to_be_verified(pair: list[Owner]) -> None:
    a, _ = pair
    a.syncing.pause(True)
    with pytest.raises(ConflictError, match="sunaiva sync resume"):
        ends(a.syncing.verify())


def test_a_folder_that_is_away_is_waited_for(pair: list[Owner], folder: Path) -> None:
    a, _ = pair
    away = folder.rename(folder.with_name("unplugged"))
    a.stores("Written without the stick")
    status = a.syncing.status()
    assert status.to_send + status.batches_to_send >= 0
    away.rename(folder)
    a.syncs()
    assert a.syncing.status().problem is None


def test_a_folder_that_was_emptied_is_filled_when_the_person_says_so(
    pair: list[Owner], folder: Path
) -> None:
    a, b = pair
    a.stores("The gate code is 4711")
    for owner in (a, b):
        owner.syncs()
    with pytest.raises(ConflictError, match="is there"):
        a.syncing.put_back()
    (folder / "sunaiva").rename(folder.with_name("bin"))
    with pytest.raises(UnavailableError, match="sync put-back"):
        a.syncs()
    assert a.syncing.status().state == "offline"
    b.syncing.put_back()
    for owner in (b, a, b, a):
        owner.syncs()
    assert a.texts() == b.texts() == {"The gate code is 4711"}
    assert a.syncing.status().alarms == b.syncing.status().alarms == ()


def test_who_wants_to_put_back_what_another_device_put_back_goes_on_with_it(
    pair: list[Owner],
) -> None:
    _, b = pair
    with b.device.vault.writing() as db:
        log.raise_alarm(db, "deleted", "vault", "It was deleted.", 0)
    with pytest.raises(ConflictError, match="sync put-back"):
        b.syncing.pairing.admit(None)
    b.syncing.put_back()
    b.syncs()
    assert b.syncing.status().alarms == ()
    with pytest.raises(ConflictError, match="is there"):
        b.syncing.put_back()


def test_to_come_to_another_folder_is_to_want_everything_there(
    pair: list[Owner], folder: Path
) -> None:
    a, b = pair
    a.stores("The gate code is 4711")
    for owner in (a, b):
        owner.syncs()
    other = folder.with_name("other")
    other.mkdir()
    for owner in (a, b):
        owner.syncing.log_out()
        assert owner.syncing.use_folder(other).is_set_up
        owner.syncs()
    b.stores("The cat is called Miau")
    for owner in (b, a):
        owner.syncs()
    assert a.texts() == {"The gate code is 4711", "The cat is called Miau"}


def test_both_copies_of_a_vault_file_write_and_nobody_loses_anything(
    pair: list[Owner], tmp_path: Path
) -> None:
    a, b = pair
    a.stores("Before the copy")
    a.syncing.close()
    a.device.vault.truncate_wal()
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    said = {"Before the copy", "By one", "By the other", "By the phone"}
    with ExitStack() as stack:
        a.syncing = Syncing(a.device, Ways(a.device))
        a.syncing.start()
        stack.callback(a.syncing.close)
        copy = Owner(stack, tmp_path / "copy")
        a.stores("By one")
        copy.stores("By the other")
        b.stores("By the phone")
        for owner in (a, copy, b, a, copy, b, a):
            owner.syncs()
        assert a.texts() == copy.texts() == b.texts() == said
        streams = set()
        for owner in (a, copy):
            with owner.device.vault.reading() as db:
                streams.add(log.own_stream(db))
        assert len(streams) == 2


def test_a_backup_that_is_put_back_begins_a_stream_of_its_own(
    pair: list[Owner], tmp_path: Path
) -> None:
    a, b = pair
    a.stores("Before the backup")
    a.syncs()
    (tmp_path / "restored").mkdir()
    file = tmp_path / "restored" / a.device.vault.path.name
    a.device.vault.copy_to(file, a.device.keys.database, mark=log.mark_copied)
    a.stores("After the backup")
    a.syncs()
    a.syncing.close()
    with a.device.vault.reading() as db:
        former = log.own_stream(db)
    with ExitStack() as stack:
        back = Owner(stack, tmp_path / "restored")
        back.stores("After it was put back")
        for owner in (back, b, back):
            owner.syncs()
        assert back.texts() == b.texts()
        assert len(b.texts()) == 3
        with back.device.vault.reading() as db:
            assert log.own_stream(db) != former
        assert len(back.syncing.devices()) == 2


def test_an_alarm_says_which_device_it_is_about_by_its_name(pair: list[Owner]) -> None:
    a, b = pair
    b.stores("The gate code is 4711")
    b.syncs()
    a.syncs()
    with b.device.vault.reading() as db:
        stream = log.own_stream(db)
    with a.device.vault.writing() as db:
        log.raise_alarm(db, "gap", stream.hex(), "Something is missing.", 1)
        log.raise_alarm(db, "fork", f"{stream.hex()}/7", "Two things.", 2)
        log.raise_alarm(db, "stale", "relay", "Nothing came.", 3)
    told = {alarm.kind: alarm.device for alarm in a.syncing.status().alarms}
    assert told == {"gap": "phone", "fork": "phone", "stale": None}


def test_new_recovery_words_take_the_place_of_the_former(
    pair: list[Owner], folder: Path, tmp_path: Path
) -> None:
    a, _ = pair
    new = words.words_of(bytes(16))
    a.device.own_words = lambda given: given == new
    assert a.syncing.set_words(new)
    assert not a.syncing.set_words(new)
    with ExitStack() as stack:
        c = Owner(stack, tmp_path / "c")
        c.syncing.use_folder(folder)
        with pytest.raises(NotFoundError, match="not those"):
            c.syncing.recover(WORDS, "third")
        c.syncing.recover(new, "third")
        assert len(c.syncing.devices()) == 3


def test_what_a_removed_device_forgot_does_not_come_back_when_it_joins_again(
    pair: list[Owner],
) -> None:
    a, b = pair
    a.stores("Forgotten on the phone")
    a.stores("Kept")
    for owner in (a, b):
        owner.syncs()
    ends(a.syncing.revoke("phone"))
    with b.device.vault.reading() as db:
        rows = store.in_order(db, after=None, limit=100)
    gone = [row for row in rows if row.memory.text == "Forgotten on the phone"]
    forgetting.erase(b.device, gone, client="test")
    with pytest.raises(RevokedError):
        b.syncs()
    b.syncing.recover(WORDS, "phone again")
    for owner in (b, a, b, a):
        owner.syncs()
    assert b.texts() == {"Kept"}
    assert a.texts() == {"Kept"}
