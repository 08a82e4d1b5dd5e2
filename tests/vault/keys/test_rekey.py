import shutil
from pathlib import Path

import pytest

from mcp_server.vault import keys
from mcp_server.vault.keys import RootKeys
from mcp_server.vault.protectors import ProtectorKind
from shared.errors import (
    ConflictError,
    ForbiddenError,
)
from tests.vault.keys.conftest import KINDS, Place


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_rekey_leaves_one_new_key_and_new_words(
    place: Place, kind: ProtectorKind
) -> None:
    former = place.create(kind)
    new = keys.begin_rekey(place.home, former.root_key, kind, place.access)
    assert keys.finish_rekey(place.home, place.access) is None
    assert new.root_key != former.root_key
    assert place.unlock() == RootKeys(new.root_key)
    assert keys.unlock_with_words(place.home, new.words) == RootKeys(new.root_key)
    assert place.kept() == (0 if kind == "passphrase" else 1)
    with pytest.raises(ForbiddenError):
        keys.unlock_with_words(place.home, former.words)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_rekey_offers_both_keys(place: Place, kind: ProtectorKind) -> None:
    former = place.create(kind)
    new = keys.begin_rekey(place.home, former.root_key, kind, place.access)
    both = RootKeys(former.root_key, new.root_key)
    assert place.unlock() == both
    assert keys.unlock_with_words(place.home, new.words) == both
    assert keys.unlock_with_words(place.home, former.words) == RootKeys(former.root_key)


@pytest.mark.parametrize("kind", KINDS)
def test_an_abandoned_rekey_leaves_everything_as_it_was(place: Place, kind: ProtectorKind) -> None:
    former = place.create(kind)
    before, kept = place.file.read_bytes(), place.kept()
    new = keys.begin_rekey(place.home, former.root_key, kind, place.access)
    assert keys.abandon_rekey(place.home, place.access) is None
    assert place.file.read_bytes() == before
    assert place.kept() == kept
    assert place.unlock() == RootKeys(former.root_key)
    with pytest.raises(ForbiddenError):
        keys.unlock_with_words(place.home, new.words)


@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_before_the_rekey_was_written_leaves_only_an_unused_key(
    place: Place, kind: ProtectorKind
) -> None:
    former = place.create(kind)
    before = place.file.read_bytes()
    keys.begin_rekey(place.home, former.root_key, kind, place.access)
    place.file.write_bytes(before)
    assert place.unlock() == RootKeys(former.root_key)
    new = keys.begin_rekey(place.home, former.root_key, kind, place.access)
    keys.finish_rekey(place.home, place.access)
    assert place.unlock() == RootKeys(new.root_key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_after_the_rekey_was_finished_leaves_only_an_unused_key(
    place: Place, kind: ProtectorKind, tmp_path: Path
) -> None:
    former = place.create(kind)
    shutil.copytree(
        place.key_folder, tmp_path / "kept", dirs_exist_ok=True
    ) if place.key_files() else None
    entries = dict(place.keychain.entries)
    new = keys.begin_rekey(place.home, former.root_key, kind, place.access)
    keys.finish_rekey(place.home, place.access)
    place.keychain.entries |= entries
    if (tmp_path / "kept").exists():
        shutil.copytree(tmp_path / "kept", place.key_folder, dirs_exist_ok=True)
    assert place.unlock() == RootKeys(new.root_key)


def test_a_torn_temporary_file_beside_the_vault_file_disturbs_nothing(place: Place) -> None:
    former = place.create()
    (place.home / "vault.json.abc.tmp").write_bytes(place.file.read_bytes()[:50])
    assert place.unlock() == RootKeys(former.root_key)


def test_a_rekey_to_another_passphrase_opens_with_either_until_it_is_finished(place: Place) -> None:
    former = place.create("passphrase")
    access = place.with_passphrase("another passphrase")
    new = keys.begin_rekey(place.home, former.root_key, "passphrase", access)
    assert keys.unlock(place.home, access) == RootKeys(former.root_key, new.root_key)
    assert place.unlock() == RootKeys(former.root_key)
    with pytest.raises(ForbiddenError, match="wrong"):
        keys.unlock(place.home, place.with_passphrase("a third passphrase"))
    keys.finish_rekey(place.home, access)
    assert keys.unlock(place.home, access) == RootKeys(new.root_key)


def test_a_pending_key_that_was_tampered_with_does_not_close_the_vault(
    place: Place, other: Place
) -> None:
    former = place.create("key_file")
    keys.begin_rekey(place.home, former.root_key, "key_file", place.access)
    vault = place.vault()
    for name in ("previous_sealed", "slots"):
        tampered = vault | {"pending": dict(vault["pending"])}
        if name == "slots":
            tampered["pending"]["slots"] = vault["slots"] | {
                "recovery": vault["pending"]["slots"]["recovery"]
            }
        else:
            tampered["pending"][name] = vault["slots"]["protector"]["sealed"]
        place.write(tampered)
        assert place.unlock() == RootKeys(former.root_key)


def test_while_a_rekey_is_under_way_nothing_else_changes_keys(place: Place) -> None:
    former = place.create()
    keys.begin_rekey(place.home, former.root_key, "key_file", place.access)
    before = place.file.read_bytes()
    for attempt in (
        lambda: keys.begin_rekey(place.home, former.root_key, "key_file", place.access),
        lambda: keys.protect_with(place.home, former.root_key, "keychain", place.access),
        lambda: keys.new_recovery_words(place.home, former.root_key),
    ):
        with pytest.raises(ConflictError, match="interrupted"):
            attempt()
    assert place.file.read_bytes() == before


def test_without_a_rekey_there_is_nothing_to_finish_or_abandon(place: Place) -> None:
    place.create()
    for attempt in (keys.finish_rekey, keys.abandon_rekey):
        with pytest.raises(ConflictError, match="No rekey"):
            attempt(place.home, place.access)
