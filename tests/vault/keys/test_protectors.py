import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mcp_server.vault import keys
from mcp_server.vault.keys import RootKeys
from mcp_server.vault.protectors import Access, ProtectorKind, os_keychain, protectors_available
from shared.errors import (
    ForbiddenError,
)
from tests.vault.keys.conftest import (
    KINDS,
    MemoryKeychain,
    Place,
)


@pytest.mark.parametrize("new", KINDS)
@pytest.mark.parametrize("old", KINDS)
def test_any_protector_can_follow_any_other(
    place: Place, old: ProtectorKind, new: ProtectorKind
) -> None:
    made = place.create(old)
    left = keys.protect_with(place.home, made.root_key, new, place.access)
    assert left is None
    assert keys.protected_by(place.home) == new
    assert place.unlock() == RootKeys(made.root_key)
    assert keys.unlock_with_words(place.home, made.words) == RootKeys(made.root_key)
    assert place.kept() == (0 if new == "passphrase" else 1)


def test_a_new_passphrase_makes_the_former_one_wrong(place: Place) -> None:
    made = place.create("passphrase")
    access = place.with_passphrase("another passphrase")
    keys.protect_with(place.home, made.root_key, "passphrase", access)
    assert keys.unlock(place.home, access) == RootKeys(made.root_key)
    with pytest.raises(ForbiddenError, match="wrong"):
        place.unlock()


def test_on_a_new_computer_the_words_lead_back_to_an_everyday_protector(place: Place) -> None:
    words = place.create("keychain").words
    elsewhere = Access(key_folder=place.key_folder, find_keychain=lambda: None)
    root_key = keys.unlock_with_words(place.home, words).current
    left = keys.protect_with(place.home, root_key, "key_file", elsewhere)
    assert left is not None
    assert place.vault()["vault_id"] in left
    assert keys.unlock(place.home, elsewhere) == RootKeys(root_key)


def test_what_cannot_be_removed_is_said_and_the_vault_is_in_order(place: Place) -> None:
    made = place.create("keychain")
    place.keychain.locked = True
    left = keys.protect_with(place.home, made.root_key, "key_file", place.access)
    assert left is not None
    assert "still in the keychain" in left
    assert place.unlock() == RootKeys(made.root_key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_former_key_that_is_gone_already_needs_no_removing(
    place: Place, kind: ProtectorKind
) -> None:
    made = place.create(kind)
    place.keychain.entries.clear()
    for key_file in place.key_files():
        key_file.unlink()
    assert keys.protect_with(place.home, made.root_key, "key_file", place.access) is None
    assert place.unlock() == RootKeys(made.root_key)


def test_a_key_file_that_cannot_be_removed_is_said(mere_user: Place) -> None:
    made = mere_user.create("key_file")
    [key_file] = mere_user.key_files()
    mere_user.key_folder.chmod(0o555)
    left = keys.protect_with(mere_user.home, made.root_key, "passphrase", mere_user.access)
    assert left is not None
    assert str(key_file) in left
    assert mere_user.unlock() == RootKeys(made.root_key)


def test_a_key_that_is_not_this_vaults_changes_nothing(place: Place) -> None:
    made = place.create()
    before, foreign = place.file.read_bytes(), bytes(32)
    for attempt in (
        lambda: keys.protect_with(place.home, foreign, "passphrase", place.access),
        lambda: keys.new_recovery_words(place.home, foreign),
        lambda: keys.begin_rekey(place.home, foreign, "key_file", place.access),
    ):
        with pytest.raises(ForbiddenError, match="Nothing was changed"):
            attempt()
    assert place.file.read_bytes() == before
    assert place.unlock() == RootKeys(made.root_key)
    assert place.kept() == 1


def test_a_copied_vault_keeps_its_own_key_when_the_copy_gets_another(
    place: Place, tmp_path: Path
) -> None:
    made = place.create("key_file")
    copy = tmp_path / "copy"
    shutil.copytree(place.home, copy)
    keys.protect_with(copy, made.root_key, "passphrase", place.access)
    keys.protect_with(place.home, made.root_key, "key_file", place.access)
    keys.protect_with(copy, made.root_key, "key_file", place.access)
    assert place.unlock() == RootKeys(made.root_key)
    assert keys.unlock(copy, place.access) == RootKeys(made.root_key)


def test_a_keychain_is_offered_first_where_there_is_one() -> None:
    assert protectors_available(MemoryKeychain) == ("keychain", "passphrase", "key_file")
    assert protectors_available(lambda: None) == ("passphrase", "key_file")


def ask_in_a_new_process(code: str, cwd: Path, **environ: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    asked = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=inherited | {"PYTHONPATH": str(cwd), "XDG_CONFIG_HOME": str(cwd)} | environ,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert asked.stderr == ""
    return asked.stdout.strip()


ASK = "from mcp_server.vault.protectors import protectors_available; print(*protectors_available())"


@pytest.mark.parametrize(
    ("backend", "offered"),
    [
        ("keyring.backends.null.Keyring", "passphrase key_file"),
        ("keyring.backends.fail.Keyring", "passphrase key_file"),
        ("no.such.Backend", "passphrase key_file"),
        ("nonsense", "passphrase key_file"),
        ("keychains.Plaintext", "passphrase key_file"),
        ("keychains.Broken", "passphrase key_file"),
        ("keychains.Good", "keychain passphrase key_file"),
    ],
)
def test_only_a_recommended_backend_of_keyring_counts_as_a_keychain(
    tmp_path: Path, backend: str, offered: str
) -> None:
    (tmp_path / "keychains.py").write_text(
        "from keyring.backends.fail import Keyring\n"
        "class Good(Keyring): priority = 5\n"
        "class Plaintext(Keyring): priority = 0.5\n"
        "class Broken(Keyring):\n"
        "    def __init__(self): raise RuntimeError('no bus')\n"
    )
    assert ask_in_a_new_process(ASK, tmp_path, PYTHON_KEYRING_BACKEND=backend) == offered


def test_without_a_keychain_none_is_offered_and_nothing_is_printed(tmp_path: Path) -> None:
    nowhere = f"unix:path={tmp_path / 'no-bus'}"
    asked = ask_in_a_new_process(ASK, tmp_path, DBUS_SESSION_BUS_ADDRESS=nowhere)
    assert asked.endswith("passphrase key_file")


def test_keyring_is_not_imported_before_a_keychain_is_needed(tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    place.create("key_file")
    code = (
        "import sys; from pathlib import Path; from mcp_server.vault import keys, protectors\n"
        f"access = protectors.Access(key_folder=Path({str(place.key_folder)!r}))\n"
        f"keys.unlock(Path({str(place.home)!r}), access)\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'keyring'])"
    )
    assert ask_in_a_new_process(code, tmp_path) == "[]"


def test_a_keychain_that_never_answers_does_not_hang_the_question() -> None:
    folder = Path(tempfile.mkdtemp(prefix="sunaiva-"))  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as bus:
            bus.bind(str(folder / "bus"))
            bus.listen()
            code = (
                "from mcp_server.vault.protectors import os_keychain\n"
                "print(os_keychain(probe_seconds=0.3))"
            )
            started = time.monotonic()
            address = f"unix:path={folder / 'bus'}"
            answer = ask_in_a_new_process(code, folder, DBUS_SESSION_BUS_ADDRESS=address)
        assert answer == "None"
        assert time.monotonic() - started < 20
    finally:
        shutil.rmtree(folder)


def test_asking_for_the_keychain_again_and_again_is_harmless() -> None:
    assert os_keychain() is os_keychain()
