import itertools
import shutil
import stat
from pathlib import Path

import msgspec
import pytest
from mnemonic import Mnemonic

from mcp_server.vault import keys
from mcp_server.vault.keys import RootKeys
from mcp_server.vault.protectors import Access, ProtectorKind
from shared import crypto
from shared.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from tests.vault.keys.conftest import KINDS, PASSPHRASE, ForgetfulKeychain, Place, noon


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_created_unlocks_by_its_protector_and_by_its_words(
    place: Place, kind: ProtectorKind
) -> None:
    made = place.create(kind)
    assert len(made.root_key) == 32
    assert keys.protected_by(place.home) == kind
    assert place.unlock() == RootKeys(made.root_key)
    assert keys.unlock_with_words(place.home, made.words) == RootKeys(made.root_key)


def test_the_words_are_twelve_of_bip_39(place: Place) -> None:
    words = place.create().words
    assert len(words.split()) == 12
    assert Mnemonic("english").check(words)


def test_no_two_vaults_share_anything(place: Place, other: Place) -> None:
    one, two = place.create(), other.create()
    assert one.root_key != two.root_key
    assert one.words != two.words
    assert place.vault()["vault_id"] != other.vault()["vault_id"]


def test_the_vault_file_holds_its_format_its_date_and_no_secret(place: Place) -> None:
    made = place.create("passphrase")
    vault = place.vault()
    assert vault["format"] == 1
    assert vault["created_at"] == "2026-11-21T12:00:00Z"
    content = place.file.read_bytes()
    encodings = (made.root_key.hex().encode(), msgspec.json.encode(made.root_key)[1:-1])
    assert not any(secret in content for secret in (*encodings, PASSPHRASE.encode()))
    # Pairs, because a single one of the words may be a name in the file.
    words = made.words.split()
    assert not any(f"{one} {other}" in content.decode() for one, other in itertools.pairwise(words))


def test_only_the_owner_can_read_what_is_written(place: Place) -> None:
    place.create("key_file")
    [key_file] = place.key_files()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (place.file, key_file)]
    folders = [stat.S_IMODE(path.stat().st_mode) for path in (place.home, place.key_folder)]
    assert modes == [0o600, 0o600]
    assert folders == [0o700, 0o700]
    assert key_file.name == f"{place.vault()['vault_id']}.key"


def test_the_keychain_entry_is_named_after_the_vault(place: Place) -> None:
    place.create("keychain")
    assert list(place.keychain.entries) == [("sunaiva", place.vault()["vault_id"])]


def test_nothing_secret_is_printed_by_accident(place: Place) -> None:
    made = place.create()
    unlocked = place.unlock()
    for shown in (made, unlocked, place.access):
        text = repr(shown) + str(shown) + "".join(map(str, shown.__rich_repr__()))
        for secret in (str(made.root_key), made.words, PASSPHRASE):
            assert secret not in text


def test_derived_keys_have_purposes_of_their_own() -> None:
    purposes = (
        keys.DATABASE_KEY,
        keys.AUDIT_KEY,
        keys.VECTOR_KEY,
        keys.CONFIRM_KEY,
        keys.DIGEST_KEY,
    )
    assert len({crypto.derive(bytes(32), purpose) for purpose in purposes}) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_init_touches_nothing(place: Place, kind: ProtectorKind) -> None:
    made = place.create("key_file")
    before, kept = place.file.read_bytes(), place.kept()
    with pytest.raises(ConflictError, match="already"):
        place.create(kind)
    assert place.file.read_bytes() == before
    assert place.kept() == kept
    assert place.unlock() == RootKeys(made.root_key)


def test_a_key_file_inside_of_the_vault_is_refused(place: Place) -> None:
    inside = Access(key_folder=place.home / "keys")
    with pytest.raises(InvalidError, match="inside of the vault's folder"):
        keys.create_keys(place.home, "key_file", inside, noon)
    assert not place.home.exists()


def test_a_symlink_into_the_vault_is_inside_of_the_vault(place: Place, tmp_path: Path) -> None:
    place.home.mkdir()
    (tmp_path / "elsewhere").symlink_to(place.home)
    with pytest.raises(InvalidError, match="inside of the vault's folder"):
        keys.create_keys(
            place.home, "key_file", Access(key_folder=tmp_path / "elsewhere" / "keys"), noon
        )


@pytest.mark.parametrize("passphrase", [None, "", "seven77"])
def test_a_passphrase_of_less_than_eight_characters_is_refused(
    place: Place, passphrase: str | None
) -> None:
    with pytest.raises(InvalidError, match="at least 8 characters"):
        keys.create_keys(place.home, "passphrase", place.with_passphrase(passphrase), noon)
    assert not place.home.exists()


def test_the_same_passphrase_from_another_keyboard_unlocks(place: Place) -> None:
    keys.create_keys(place.home, "passphrase", place.with_passphrase("A\u0308pfel und IV"), noon)
    keys.unlock(place.home, place.with_passphrase("\u00c4pfel und \u2163"))


def test_without_a_vault_the_way_to_one_is_told(place: Place) -> None:
    for attempt in (place.unlock, lambda: keys.protected_by(place.home)):
        with pytest.raises(NotFoundError, match="sunaiva init"):
            attempt()


def test_a_home_that_is_a_file_is_no_vault(place: Place) -> None:
    place.home.write_text("not a folder")
    with pytest.raises(NotFoundError, match="sunaiva init"):
        place.unlock()
    with pytest.raises(UnavailableError, match="cannot be used"):
        place.create()
    assert place.kept() == 0


@pytest.mark.parametrize(
    "passphrase", ["correct horse batterz", "Correct horse battery", PASSPHRASE + " "]
)
def test_a_wrong_passphrase_is_refused_and_not_repeated(place: Place, passphrase: str) -> None:
    place.create("passphrase")
    with pytest.raises(ForbiddenError, match="passphrase is wrong") as refused:
        keys.unlock(place.home, place.with_passphrase(passphrase))
    assert passphrase not in str(refused.value)


def test_a_missing_passphrase_says_how_to_give_it(place: Place) -> None:
    place.create("passphrase")
    with pytest.raises(ForbiddenError, match="SUNAIVA_PASSPHRASE"):
        keys.unlock(place.home, place.with_passphrase(None))


def test_a_missing_key_file_says_where_it_was_and_how_to_go_on_without_it(place: Place) -> None:
    place.create("key_file")
    [key_file] = place.key_files()
    key_file.unlink()
    with pytest.raises(NotFoundError) as missing:
        place.unlock()
    assert str(key_file) in str(missing.value)
    assert "sunaiva rekey --recovery-words" in str(missing.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_key_file_open_to_others_is_refused_with_the_command_that_closes_it(
    place: Place, mode: int
) -> None:
    made = place.create("key_file")
    [key_file] = place.key_files()
    key_file.chmod(mode)
    with pytest.raises(ForbiddenError) as refused:
        place.unlock()
    assert f"chmod 600 {key_file}" in str(refused.value)
    key_file.chmod(0o600)
    assert place.unlock() == RootKeys(made.root_key)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "01",
        "01" + "ab" * 31,
        "01" + "ab" * 33,
        "02" + "ab" * 32,
        "ab" * 32,
        "zz" * 33,
        "é" * 33,
        "01" * 9999,
    ],
    ids=[
        "empty",
        "one byte",
        "short",
        "long",
        "other version",
        "no version",
        "not hex",
        "not ascii",
        "huge",
    ],
)
def test_a_key_file_of_another_content_is_corrupt(place: Place, content: str) -> None:
    place.create("key_file")
    [key_file] = place.key_files()
    key_file.write_text(content, encoding="utf-8")
    with pytest.raises(CorruptError, match="does not hold a key") as corrupt:
        place.unlock()
    assert "ab" * 8 not in str(corrupt.value)


def test_a_key_file_that_an_editor_ended_with_other_line_breaks_still_opens(place: Place) -> None:
    made = place.create("key_file")
    [key_file] = place.key_files()
    key_file.write_text(f" {key_file.read_text().strip().upper()}\r\n\r\n")
    assert place.unlock() == RootKeys(made.root_key)


def test_another_vaults_key_file_does_not_open_this_one(place: Place, other: Place) -> None:
    place.create("key_file")
    other.create("key_file")
    shutil.copy(other.key_files()[0], place.key_files()[0])
    with pytest.raises(ForbiddenError, match="is not this vault's"):
        place.unlock()


def test_a_keychain_without_the_entry_points_to_the_words(place: Place) -> None:
    place.create("keychain")
    place.keychain.entries.clear()
    with pytest.raises(NotFoundError, match="recovery words"):
        place.unlock()


def test_a_keychain_that_is_not_there_any_more_is_named(place: Place) -> None:
    place.create("keychain")
    with pytest.raises(UnavailableError, match="no keychain can be reached"):
        keys.unlock(place.home, Access(key_folder=place.key_folder, find_keychain=lambda: None))


def test_a_locked_keychain_is_unavailable_and_nothing_is_lost(place: Place) -> None:
    made = place.create("keychain")
    place.keychain.locked = True
    with pytest.raises(UnavailableError, match="Unlock it"):
        place.unlock()
    place.keychain.locked = False
    assert place.unlock() == RootKeys(made.root_key)


def test_a_foreign_entry_in_the_keychain_is_corrupt(place: Place) -> None:
    place.create("keychain")
    [entry] = place.keychain.entries
    place.keychain.entries[entry] = "hunter2"
    with pytest.raises(CorruptError, match="keychain entry") as corrupt:
        place.unlock()
    assert "hunter2" not in str(corrupt.value)


def test_another_vaults_key_in_the_keychain_does_not_open_this_one(
    place: Place, other: Place
) -> None:
    place.create("keychain")
    other.create("keychain")
    [entry] = place.keychain.entries
    [foreign] = other.keychain.entries.values()
    place.keychain.entries[entry] = foreign
    with pytest.raises(ForbiddenError, match="is not this vault's"):
        place.unlock()


def test_no_vault_is_made_on_a_keychain_that_keeps_nothing_or_is_not_there(place: Place) -> None:
    for find in (ForgetfulKeychain, lambda: None):
        access = Access(key_folder=place.key_folder, find_keychain=find)
        with pytest.raises(UnavailableError, match="passphrase or a key file"):
            keys.create_keys(place.home, "keychain", access, noon)
    assert not place.home.exists()
