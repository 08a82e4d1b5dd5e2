"""A computer with a vault on it, and keychains that live as long as a test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keyring.errors
import msgspec
import pytest
from keyring.backend import KeyringBackend
from keyring.compat import properties

from mcp_server.vault import keys
from mcp_server.vault.keys import NewKeys, RootKeys
from mcp_server.vault.protectors import Access, ProtectorKind

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PASSPHRASE = "correct horse battery"
KINDS: tuple[ProtectorKind, ...] = ("keychain", "key_file", "passphrase")


def noon() -> datetime:
    return NOON


class MemoryKeychain(KeyringBackend):
    """A keychain of one test. It is handed in, and never the process's own."""

    @properties.classproperty
    def priority(cls) -> float:  # noqa: N805 (keyring's own decorator hands in the class)
        raise RuntimeError("only for tests that hand it in")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # keyring leaves it untyped
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        self._refuse_when_locked()
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._refuse_when_locked()
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._refuse_when_locked()
        del self.entries[service, username]

    def _refuse_when_locked(self) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked("the person has closed the window")


class ForgetfulKeychain(MemoryKeychain):
    """Takes everything and keeps nothing, as keyring's null backend does."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class Place:
    """A computer with a vault's folder, a folder for key files and a keychain."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "vault"
        self.key_folder = folder / "keys"
        self.keychain = MemoryKeychain()
        self.access = self.with_passphrase(PASSPHRASE)

    @property
    def file(self) -> Path:
        return self.home / "vault.json"

    def with_passphrase(self, passphrase: str | None) -> Access:
        return Access(
            key_folder=self.key_folder,
            passphrase=passphrase,
            find_keychain=lambda: self.keychain,
        )

    def create(self, kind: ProtectorKind = "key_file") -> NewKeys:
        return keys.create_keys(self.home, kind, self.access, noon)

    def unlock(self) -> RootKeys:
        return keys.unlock(self.home, self.access)

    def key_files(self) -> list[Path]:
        return sorted(self.key_folder.iterdir()) if self.key_folder.exists() else []

    def kept(self) -> int:
        """How many keys this computer keeps outside of the vault."""
        return len(self.key_files()) + len(self.keychain.entries)

    def vault(self) -> dict[str, Any]:
        return msgspec.json.decode(self.file.read_bytes(), type=dict[str, Any])

    def write(self, vault: dict[str, Any]) -> None:
        self.file.write_bytes(msgspec.json.encode(vault))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Place:
    return Place(tmp_path / "other")


@pytest.fixture
def mere_user() -> Iterator[Place]:
    """A place of its own, acted on by a user whom permissions bind, also when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="sunaiva-"))
    nobody = 65534
    as_root = os.geteuid() == 0
    if as_root:
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
    try:
        yield Place(folder)
    finally:
        if as_root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700)
        shutil.rmtree(folder)
