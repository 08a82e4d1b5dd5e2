"""Making a vault, opening it, changing its key: also when it was interrupted."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from mcp_server import health, opening
from mcp_server.connect.clients import Places
from mcp_server.device import Device, database_key, keys_from, open_device
from mcp_server.settings import Settings
from mcp_server.vault import audit, keys, store
from mcp_server.vault.db import DATABASE_NAME, open_vault
from mcp_server.vault.protectors import Access
from mcp_server.vault.vaultfile import FILE_NAME as VAULT_FILE_NAME
from shared.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError
from tests.builders import SetClock, draft, embedded, one_model, tell
from tests.fakes import HashEmbedder


class Place:
    """A computer on which a vault may be made, opened every day by a key file."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.access = Access(key_folder=folder / "keys", find_keychain=lambda: None)
        self.settings = Settings(
            home=self.home,
            key_folder=folder / "keys",
            runtime_folder=folder / "runtime",
            model_cache=folder / "models",
            places=Places(home=folder, platform="linux"),
            connect_backups=folder / "connect",
        )

    def make(self) -> str:
        """Makes the vault; its recovery words."""
        return opening.make_vault(self.settings, "key_file", self.access, SetClock()).words

    def root(self) -> bytes:
        return opening.settled_root(self.home, self.access)

    @contextmanager
    def opened(self, *, home: Path | None = None) -> Iterator[Device]:
        home = home or self.home
        root = opening.settled_root(home, self.access)
        device = open_device(home, root, clock=SetClock(), models=one_model(HashEmbedder))
        try:
            embedded(device)
            yield device
        finally:
            device.close()

    def texts(self, *, home: Path | None = None) -> list[str]:
        with self.opened(home=home) as device, device.vault.reading() as db:
            return [row.memory.text for row in store.in_order(db, after=None, limit=100)]

    def change_key(self, show: list[str] | None = None) -> str:
        words, left = opening.change_key(
            self.home,
            self.root(),
            "key_file",
            self.access,
            clock=SetClock(),
            show=(show if show is not None else []).append,
        )
        assert left is None
        return words


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_vault_that_was_made_opens_empty(place: Place) -> None:
    new = opening.make_vault(place.settings, "key_file", place.access, SetClock())
    assert (new.home, new.protected_by) == (place.home, "key_file")
    assert len(new.words.split()) == 12
    assert {each.name for each in place.home.iterdir()} == {DATABASE_NAME, VAULT_FILE_NAME}
    assert place.texts() == []


def test_a_vault_is_made_once(place: Place) -> None:
    words = place.make()
    with place.opened() as device:
        tell(device, "precious")
    with pytest.raises(ConflictError, match="already"):
        place.make()
    assert place.texts() == ["precious"]
    assert opening.settled_root_by_words(place.home, words, place.access) == place.root()


def test_what_an_interrupted_making_left_is_kept_and_in_nobodys_way(place: Place) -> None:
    left = keys.create_keys(place.home, "key_file", place.access, SetClock())
    words = place.make()
    assert place.texts() == []
    assert words != left.words
    (aside,) = place.home.glob("replaced-*")
    assert keys.unlock_with_words(aside, left.words).current == left.root_key


DISK_TOO_SMALL = """
import resource, signal, sys
from pathlib import Path
from shared.errors import UnavailableError
from tests.test_opening import Place

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    Place(Path(sys.argv[1])).make()
except UnavailableError as error:
    print(error)
"""


def test_making_that_fails_may_be_tried_again(place: Place, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", DISK_TOO_SMALL, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "disk" in ran.stdout
    assert list(place.home.iterdir()) == list(place.access.key_folder.iterdir()) == []
    place.make()
    assert place.texts() == []


def test_without_a_vault_opening_says_how_to_make_one(place: Place) -> None:
    with pytest.raises(NotFoundError, match="sunaiva init"):
        place.root()


def test_without_its_key_a_vault_stays_shut(place: Place) -> None:
    words = place.make()
    shutil.rmtree(place.access.key_folder)
    with pytest.raises(NotFoundError, match="recovery-words"):
        place.root()
    root = opening.settled_root_by_words(place.home, words, place.access)
    assert database_key(root) != root


def test_a_lost_database_is_told(place: Place) -> None:
    place.make()
    (place.home / DATABASE_NAME).unlink()
    with pytest.raises(NotFoundError, match="no vault"), place.opened():
        pass


def test_a_new_key_opens_and_the_former_opens_nothing(place: Place) -> None:
    former_words = place.make()
    former = place.root()
    with place.opened() as device:
        tell(device, "precious")
    shown: list[str] = []
    words = place.change_key(shown)
    assert shown == [words]
    assert place.texts() == ["precious"]
    assert opening.settled_root_by_words(place.home, words, place.access) == place.root()
    assert place.root() != former
    with pytest.raises(ForbiddenError):
        opening.settled_root_by_words(place.home, former_words, place.access)
    with pytest.raises(ForbiddenError):
        open_vault(place.home / DATABASE_NAME, database_key(former))
    assert len(list(place.access.key_folder.iterdir())) == 1


def test_a_new_key_leaves_the_access_log_whole_and_texts_known(place: Place) -> None:
    place.make()
    with place.opened() as device:
        (before,) = tell(device, "precious")
    for _ in range(2):
        place.change_key()
    with place.opened() as device:
        assert health.examine(device).problems == []
        with device.vault.reading() as db:
            actions = [line.action for line in audit.lines(db, before=None, limit=10)]
        assert actions == ["rekey", "rekey", "remember"]
        (after,) = tell(device, "precious")
        assert (after.id, after.status) == (before.id, "known")


def test_a_rekey_interrupted_before_the_database_has_its_key_is_taken_back(place: Place) -> None:
    words = place.make()
    former = place.root()
    with place.opened() as device:
        tell(device, "precious")
    new = keys.begin_rekey(place.home, former, "key_file", place.access)
    assert place.root() == former
    assert keys.unlock(place.home, place.access).pending is None
    assert place.texts() == ["precious"]
    assert opening.settled_root_by_words(place.home, words, place.access) == former
    with pytest.raises(ForbiddenError):
        opening.settled_root_by_words(place.home, new.words, place.access)


@pytest.mark.parametrize("by_words", [False, True])
def test_a_rekey_interrupted_after_the_database_has_its_key_is_finished(
    place: Place, by_words: bool
) -> None:
    place.make()
    former = place.root()
    with place.opened() as device:
        tell(device, "precious")
    shown: list[str] = []
    copy = place.home.with_name("copy")
    kept_keys = place.access.key_folder.with_name("kept keys")

    def remember_the_state(words: str) -> None:
        shown.append(words)
        shutil.copytree(place.home, copy)
        shutil.copytree(place.access.key_folder, kept_keys)

    opening.change_key(
        place.home, former, "key_file", place.access, clock=SetClock(), show=remember_the_state
    )
    # The database is the new one, the keys' file and the key folder are as they were just before.
    shutil.copy(copy / VAULT_FILE_NAME, place.home / VAULT_FILE_NAME)
    shutil.rmtree(place.access.key_folder)
    shutil.copytree(kept_keys, place.access.key_folder)
    if by_words:
        root = opening.settled_root_by_words(place.home, shown[0], place.access)
    else:
        root = place.root()
    assert root != former
    assert keys.unlock(place.home, place.access).pending is None
    assert place.texts() == ["precious"]


def test_a_rekey_that_the_person_breaks_off_changes_nothing(place: Place) -> None:
    words = place.make()
    former = place.root()

    def close_the_window(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opening.change_key(
            place.home,
            former,
            "key_file",
            place.access,
            clock=SetClock(),
            show=close_the_window,
        )
    assert place.root() == former
    assert opening.settled_root_by_words(place.home, words, place.access) == former
    assert len(list(place.access.key_folder.iterdir())) == 1


def test_a_rekey_to_another_passphrase_that_was_broken_off_may_be_tried_again(place: Place) -> None:
    former, other = (
        msgspec.structs.replace(place.access, passphrase=f"the {which} passphrase")
        for which in ("former", "other")
    )
    opening.make_vault(place.settings, "passphrase", former, SetClock())
    root = opening.settled_root(place.home, former)
    keys.begin_rekey(place.home, root, "passphrase", other)
    assert opening.settled_root(place.home, former) == root
    with pytest.raises(ForbiddenError, match="passphrase is wrong"):
        opening.settled_root(place.home, other)
    opening.change_key(place.home, root, "passphrase", other, clock=SetClock(), show=lambda _: None)
    assert opening.settled_root(place.home, other) != root


def test_the_former_passphrase_after_an_interrupted_rekey_is_told_what_opens_the_vault_now(
    place: Place,
) -> None:
    former, other = (
        msgspec.structs.replace(place.access, passphrase=f"the {which} passphrase")
        for which in ("former", "other")
    )
    opening.make_vault(place.settings, "passphrase", former, SetClock())
    root = opening.settled_root(place.home, former)
    pending: list[bytes] = []
    opening.change_key(
        place.home,
        root,
        "passphrase",
        other,
        clock=SetClock(),
        show=lambda _: pending.append((place.home / VAULT_FILE_NAME).read_bytes()),
    )
    (place.home / VAULT_FILE_NAME).write_bytes(*pending)
    with pytest.raises(ForbiddenError, match="new passphrase"):
        opening.settled_root(place.home, former)
    assert opening.settled_root(place.home, other) != root


def test_a_rekey_that_the_database_refuses_is_taken_back(place: Place) -> None:
    place.make()
    former = place.root()
    with place.opened() as device:
        tell(device, draft("somebody else has the vault open"))
        with pytest.raises(UnavailableError, match="busy"):
            place.change_key()
    assert place.root() == former
    assert keys.unlock(place.home, place.access).pending is None


def test_when_neither_key_opens_it_says_so_and_touches_nothing(place: Place) -> None:
    place.make()
    former = place.root()
    keys.begin_rekey(place.home, former, "key_file", place.access)
    other = Place(place.home.with_name("other"))
    other.make()
    shutil.copy(other.home / DATABASE_NAME, place.home / DATABASE_NAME)
    before = (place.home / VAULT_FILE_NAME).read_bytes()
    with pytest.raises(ForbiddenError, match="Neither key"):
        place.root()
    assert (place.home / VAULT_FILE_NAME).read_bytes() == before


def test_keys_do_not_print_themselves() -> None:
    assert repr(keys_from(bytes(32), bytes(32))) == "Keys(…)"


def test_each_purpose_has_a_key_of_its_own() -> None:
    derived = keys_from(bytes(32), bytes(32))
    all_of_them = [getattr(derived, name) for name in derived.__struct_fields__]
    assert len(set(all_of_them)) == len(all_of_them)
    assert all(len(key) == 32 for key in all_of_them)


def test_access_takes_the_passphrase_given_before_any_other(place: Place) -> None:
    given = opening.access(place.settings, passphrase="correct horse")
    assert (given.passphrase, given.key_folder) == ("correct horse", place.settings.key_folder)
