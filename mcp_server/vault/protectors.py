"""Where the key that opens the root key can be kept: the OS keychain, a file, or the person's own head.

An `Access` is what a process has at hand to protect a vault or to open it again. `keyring` is imported only when a keychain is really asked for, because it would cost every command its start-up time. There is no
protector that leaves the root key in the clear.
"""

import os
import shlex
import stat
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Literal, Protocol, TypeVar

from msgspec import Struct

from mcp_server.vault.vaultfile import said_plainly, write_private
from shared.crypto import KEY_BYTES
from shared.errors import (
    CorruptError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)

ProtectorKind = Literal["keychain", "key_file", "passphrase"]

SERVICE = "sunaiva"
RECOVER = "`sunaiva rekey --recovery-words`"

# A healthy keychain service is found in milliseconds; a message bus that accepts and never answers must not hang `init`.
PROBE_SECONDS = 3.0
# A locked keychain asks the person, who needs time to find the window; without a screen nobody ever answers.
ANSWER_SECONDS = 90.0

_KEY_TEXT_BYTES_MAX = 1024  # a key's text has 66 characters; a larger file is some other file
_KEY_VERSION = b"\x01"

T = TypeVar("T")


class SecretStore(Protocol):
    """The part of `keyring.backend.KeyringBackend` that is used."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


def os_keychain(probe_seconds: float = PROBE_SECONDS) -> SecretStore | None:
    """The keychain of this login, if there is one that keeps secrets encrypted."""
    try:
        return _in_time(_recommended_backend, probe_seconds)
    except (UnavailableError, ImportError, AttributeError, ValueError, RuntimeError):
        # The rest is what keyring raises when its own settings name a backend that is not there or does not run.
        return None


class Access(Struct, frozen=True, kw_only=True):
    """What this process has at hand, to protect a vault and to open it again."""

    key_folder: Path
    passphrase: str | None = None
    find_keychain: Callable[[], SecretStore | None] = os_keychain

    def __repr__(self) -> str:
        return f"Access(key_folder={str(self.key_folder)!r}, …)"

    def __rich_repr__(self) -> tuple[()]:  # type: ignore[override] # msgspec's would show the passphrase
        return ()


def protectors_available(
    find_keychain: Callable[[], SecretStore | None] = os_keychain,
) -> tuple[ProtectorKind, ...]:
    """What can protect a vault here, the best first. Asks nobody anything and returns within seconds."""
    everywhere: tuple[ProtectorKind, ...] = ("passphrase", "key_file")
    return everywhere if find_keychain() is None else ("keychain", *everywhere)


def put_in_keychain(store: SecretStore | None, name: str, key: bytes) -> None:
    if store is None:
        raise UnavailableError(
            "No keychain can be reached from here. Use a passphrase or a key file instead."
        )
    text = _text_of(key)
    _asked(lambda: store.set_password(SERVICE, name, text))
    # Some keychains take a secret and keep nothing (keyring's null backend); better to learn that before relying on it.
    if _asked(lambda: store.get_password(SERVICE, name)) != text:
        raise UnavailableError(
            "The keychain did not keep the key it was given. Use a passphrase or a key file instead."
        )


def take_from_keychain(store: SecretStore | None, name: str) -> bytes:
    if store is None:
        raise UnavailableError(
            "This vault's key is in the keychain of your login, and no keychain can be reached from here. "
            f"Log in to the desktop session that made the vault, or use the recovery words: {RECOVER}."
        )
    text = _asked(lambda: store.get_password(SERVICE, name))
    if text is None:
        raise NotFoundError(
            f"The keychain has no entry {name!r} of the service {SERVICE!r}, which is this vault's key. If the vault came "
            f"from another computer or login, use the recovery words: {RECOVER}."
        )
    return _key_of(text, f"The keychain entry {name!r} of the service {SERVICE!r}")


def remove_from_keychain(store: SecretStore | None, name: str) -> str | None:
    """What is left for the person to do, if anything: the vault is in order without this."""
    left = f"The former key is still in the keychain; remove the entry {name!r} of the service {SERVICE!r} there."
    if store is None:
        return left
    try:
        if _asked(lambda: store.get_password(SERVICE, name)) is not None:
            _asked(lambda: store.delete_password(SERVICE, name))
    except UnavailableError:
        return left
    return None


def key_file_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.key"


def write_key_file(folder: Path, name: str, key: bytes, *, home: Path) -> None:
    if folder.resolve().is_relative_to(home.resolve()):
        raise InvalidError(
            f"The key file would lie inside of the vault's folder {home}, so that a copy of the folder would open the "
            "vault. Choose a folder elsewhere."
        )
    with said_plainly(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(key_file_path(folder, name), _text_of(key).encode() + b"\n", replace=False)


def read_key_file(folder: Path, name: str) -> bytes:
    path = key_file_path(folder, name)
    with said_plainly(path):
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(_KEY_TEXT_BYTES_MAX)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(
                f"This vault's key file is missing: it is looked for at {path}. If XDG_CONFIG_HOME was another when "
                f"the vault was made, set it again (assistants need it, too); or else put the file there, or use the recovery words: {RECOVER}."
            ) from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:  # Windows keeps no such bits
        raise ForbiddenError(
            f"Others on this computer can read the key file {path}, so it is not used. Close it with "
            f"`chmod 600 {shlex.quote(str(path))}`; if somebody may have read it, run `sunaiva rekey` afterwards."
        )
    return _key_of(content.decode("ascii", "replace"), f"The key file {path}")


def remove_key_file(folder: Path, name: str) -> str | None:
    """What is left for the person to do, if anything: the vault is in order without this."""
    path = key_file_path(folder, name)
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return f"The former key file could not be removed; delete {path}."
    return None


def _text_of(key: bytes) -> str:
    return (_KEY_VERSION + key).hex()


def _key_of(text: str, where: str) -> bytes:
    try:
        content = bytes.fromhex(text.strip())
    except ValueError:
        content = b""
    if len(content) != len(_KEY_VERSION) + KEY_BYTES or not content.startswith(_KEY_VERSION):
        raise CorruptError(
            f"{where} does not hold a key of Sunaiva (any more). Put back a copy of it, or use the recovery words: "
            f"{RECOVER}."
        )
    return content[len(_KEY_VERSION) :]


def _recommended_backend() -> SecretStore | None:
    from keyring import core  # noqa: PLC0415 (0.1 s that only vaults with a keychain should pay)

    # The limit also keeps keyring's chain of several backends from preferring one that stores in plain text.
    core.init_backend(limit=core.recommended)
    backend = core.get_keyring()
    return backend if core.recommended(backend) else None


def _asked(question: Callable[[], T]) -> T:
    from keyring.errors import KeyringError  # noqa: PLC0415 (see above)

    try:
        return _in_time(question, ANSWER_SECONDS)
    except (KeyringError, OSError):
        raise UnavailableError(
            f"The keychain refused. Unlock it and try again, or use the recovery words: {RECOVER}."
        ) from None


def _in_time(question: Callable[[], T], seconds: float) -> T:
    """The answer of somebody else's code that may block for ever; a thread left behind ends with the process."""
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:  # noqa: BLE001 (not answered here: it is raised again in the caller's thread)
            answer.set_exception(error)

    Thread(target=ask, daemon=True, name="sunaiva-keychain").start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError:
        raise UnavailableError(
            f"The keychain did not answer within {seconds:.0f} s. Unlock it, or answer its window, and try again."
        ) from None
