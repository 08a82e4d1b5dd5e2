import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_server.vault import keys
from mcp_server.vault.keys import RootKeys
from mcp_server.vault.protectors import Access, ProtectorKind
from shared.errors import (
    CorruptError,
    ForbiddenError,
    NotFoundError,
    SunaivaError,
)
from tests.vault.keys.conftest import KINDS, Place

VECTORS = Path(__file__).parent / "vectors"


@given(cut=st.integers(min_value=0, max_value=2000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_vault_file_is_corrupt(place: Place, cut: int) -> None:
    shutil.rmtree(place.home, ignore_errors=True)
    place.create()
    content = place.file.read_bytes()
    place.file.write_bytes(content[: min(cut, len(content) - 3)])
    with pytest.raises(CorruptError, match=r"vault\.json is damaged.*backup"):
        place.unlock()


@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_altered_byte_of_a_vault_file_ever_gives_a_wrong_key(
    place: Place, position: int, flip: int
) -> None:
    shutil.rmtree(place.home, ignore_errors=True)
    made = place.create()
    content = bytearray(place.file.read_bytes())
    content[position % len(content)] ^= flip
    place.file.write_bytes(content)
    try:
        unlocked = place.unlock()
    except SunaivaError:
        return
    assert unlocked == RootKeys(made.root_key)  # a space or the recovery slot was hit


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b'{"format": 1}',
        b'{"format": 0}',
        b'{"format": "1"}',
        b"\xff\xfe",
        b"[" * 60_000,
        b" " * 70_000,
    ],
    ids=[
        "empty",
        "a list",
        "null",
        "nothing else",
        "format 0",
        "format as text",
        "not utf-8",
        "deep",
        "large",
    ],
)
def test_a_vault_file_of_another_shape_is_corrupt(place: Place, content: bytes) -> None:
    place.create()
    place.file.write_bytes(content)
    with pytest.raises(CorruptError, match="is damaged"):
        place.unlock()


def test_a_vault_of_a_newer_sunaiva_asks_for_an_update(place: Place) -> None:
    place.create()
    place.write(place.vault() | {"format": 2, "threshold": {"shares": 3}})
    with pytest.raises(CorruptError, match=r"made by a newer Sunaiva.*Update"):
        place.unlock()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"owner": "mallory"}, "owner"),
        ({"slots": {}}, "check"),
        ({"vault_id": "me"}, "vault_id"),
        ({"created_at": "yesterday"}, "created_at"),
    ],
)
def test_unknown_missing_and_malformed_fields_are_named(
    place: Place, change: dict[str, Any], says: str
) -> None:
    place.create()
    place.write(place.vault() | change)
    with pytest.raises(CorruptError, match=says):
        place.unlock()


@pytest.mark.parametrize("label", ["../../x", "ABCDEF01", "0123456", "", "0123456g"])
def test_a_label_cannot_lead_out_of_the_key_folder(place: Place, label: str) -> None:
    place.create("key_file")
    vault = place.vault()
    vault["slots"]["protector"]["label"] = label
    place.write(vault)
    with pytest.raises(CorruptError, match="label"):
        place.unlock()


@pytest.mark.parametrize(
    "cost",
    [
        {"memory_kib": 8, "iterations": 1, "lanes": 1},
        {"memory_kib": 64 * 1024, "iterations": 2, "lanes": 4},
        {"memory_kib": 64 * 1024 * 1024, "iterations": 3, "lanes": 4},
        {"memory_kib": 64 * 1024, "iterations": 10**9, "lanes": 4},
    ],
    ids=["weak", "a little weaker", "64 GiB", "for ever"],
)
def test_a_vault_file_can_neither_weaken_nor_hang_a_passphrase(
    place: Place, cost: dict[str, int]
) -> None:
    place.create("passphrase")
    vault = place.vault()
    vault["slots"]["protector"]["cost"] = cost
    place.write(vault)
    with pytest.raises(CorruptError, match="altered"):
        place.unlock()


@pytest.mark.parametrize(
    "change",
    [{"cost": {"memory_kib": 65536, "iterations": 4, "lanes": 4}}, {"salt": "A" * 22 + "=="}],
)
def test_another_salt_or_cost_within_bounds_opens_nothing(
    place: Place, change: dict[str, Any]
) -> None:
    place.create("passphrase")
    vault = place.vault()
    vault["slots"]["protector"] |= change
    place.write(vault)
    with pytest.raises(ForbiddenError, match="passphrase is wrong"):
        place.unlock()


@pytest.mark.parametrize("slot", ["protector", "recovery"])
def test_a_slot_of_another_vault_opens_nothing(place: Place, other: Place, slot: str) -> None:
    place.create("key_file")
    words = other.create("key_file").words
    vault = place.vault()
    vault["slots"][slot] = other.vault()["slots"][slot]
    place.write(vault)
    shutil.copy(other.key_files()[0], place.key_files()[0])
    with pytest.raises(ForbiddenError):
        place.unlock()
    with pytest.raises(ForbiddenError, match="not this vault's"):
        keys.unlock_with_words(place.home, words)


def test_another_vaults_whole_file_asks_for_that_vaults_key(place: Place, other: Place) -> None:
    place.create("key_file")
    other.create("key_file")
    shutil.copy(other.file, place.file)
    with pytest.raises(NotFoundError, match=other.vault()["vault_id"]):
        place.unlock()


def test_slots_that_open_but_do_not_belong_together_are_noticed(place: Place) -> None:
    place.create("key_file")
    vault = place.vault()
    vault["slots"]["check"] = "A" * 43 + "="
    place.write(vault)
    with pytest.raises(CorruptError, match="different vaults"):
        place.unlock()


@pytest.mark.parametrize("sealed", ["", "AAAA", "Av" + "A" * 80])
def test_a_sealed_key_that_is_no_seal_is_corrupt(place: Place, sealed: str) -> None:
    place.create("key_file")
    vault = place.vault()
    vault["slots"]["protector"]["sealed"] = sealed
    place.write(vault)
    with pytest.raises(CorruptError, match=r"vault\.json is damaged"):
        place.unlock()


def test_an_unreadable_vault_file_says_so(mere_user: Place) -> None:
    mere_user.create()
    mere_user.file.chmod(0)
    with pytest.raises(ForbiddenError, match=r"No permission for .*vault\.json"):
        mere_user.unlock()


def test_an_unreadable_key_file_says_so(mere_user: Place) -> None:
    mere_user.create()
    mere_user.key_files()[0].chmod(0)
    with pytest.raises(ForbiddenError, match=r"No permission for .*\.key"):
        mere_user.unlock()


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_only_home_is_refused_before_any_key_is_left_behind(
    mere_user: Place, kind: ProtectorKind
) -> None:
    mere_user.home.mkdir()
    mere_user.home.chmod(0o555)
    with pytest.raises(ForbiddenError, match="No permission"):
        mere_user.create(kind)
    assert mere_user.kept() == 0
    assert list(mere_user.home.iterdir()) == []


def test_in_a_read_only_home_no_change_of_keys_loses_anything(mere_user: Place) -> None:
    made = mere_user.create("key_file")
    before = mere_user.file.read_bytes()
    mere_user.home.chmod(0o555)
    home, access = mere_user.home, mere_user.access
    for attempt in (
        lambda: keys.protect_with(home, made.root_key, "keychain", access),
        lambda: keys.begin_rekey(home, made.root_key, "keychain", access),
        lambda: keys.new_recovery_words(home, made.root_key),
    ):
        with pytest.raises(ForbiddenError, match="No permission"):
            attempt()
    assert mere_user.file.read_bytes() == before
    assert mere_user.kept() == 1
    assert mere_user.unlock() == RootKeys(made.root_key)


def test_a_read_only_key_folder_leaves_no_half_made_vault(mere_user: Place) -> None:
    mere_user.key_folder.mkdir()
    mere_user.key_folder.chmod(0o555)
    with pytest.raises(ForbiddenError, match="No permission"):
        mere_user.create("key_file")
    assert not mere_user.home.exists()


def test_the_golden_vault_still_opens(tmp_path: Path) -> None:
    golden = msgspec.json.decode((VECTORS / "golden.json").read_bytes(), type=dict[str, str])
    home = tmp_path / "vault"
    home.mkdir()
    for name in ("vault.json", "pending.json"):
        shutil.copy(VECTORS / name, home / "vault.json")
        assert keys.unlock_with_words(home, golden["words"]).current.hex() == golden["root_key"]
    both = keys.unlock_with_words(home, golden["pending_words"])
    assert both == RootKeys(
        bytes.fromhex(golden["root_key"]), bytes.fromhex(golden["pending_root_key"])
    )
    shutil.copy(VECTORS / "vault.json", home / "vault.json")
    access = Access(key_folder=tmp_path, passphrase=golden["passphrase"])
    assert keys.unlock(home, access).current.hex() == golden["root_key"]
