"""`vault.json`: which locks the vault's root key lies behind. Nothing in it is secret, and without it nothing opens.

So it is only ever replaced as a whole (temporary file, fsync, rename, fsync of the folder): a crash leaves the old
file or the new one. What is read is not trusted: sizes, versions and unknown fields are refused here, and what was
moved from another vault does not open.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from shared.crypto import SALT_BYTES, Cost
from shared.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)

FILE_NAME = "vault.json"
FORMAT: Literal[1] = 1

# Two sets of slots take 3 KB; whatever is larger is not ours, and is not read into memory.
FILE_BYTES_MAX = 64 * 1024

Label = Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
"""Tells two keys of one vault apart where they are kept; checked, because it becomes part of a file name."""


class KeychainSlot(Struct, frozen=True, kw_only=True, tag="keychain", forbid_unknown_fields=True):
    """Opens with a key that the operating system's keychain holds."""

    sealed: bytes
    label: Label | None = None


class KeyFileSlot(Struct, frozen=True, kw_only=True, tag="key_file", forbid_unknown_fields=True):
    """Opens with a key in a file outside of the vault's folder."""

    sealed: bytes
    label: Label | None = None


class PassphraseSlot(
    Struct, frozen=True, kw_only=True, tag="passphrase", forbid_unknown_fields=True
):
    """Opens with what the person knows, stretched at this cost."""

    sealed: bytes
    salt: Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    cost: Cost


class RecoverySlot(Struct, frozen=True, kw_only=True, tag="recovery", forbid_unknown_fields=True):
    """Opens with the twelve words."""

    sealed: bytes


ProtectorSlot = KeychainSlot | KeyFileSlot | PassphraseSlot


class Slots(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One root key behind two locks: an everyday one and the recovery words."""

    check: bytes
    """Made from the root key, tells nothing about it; says whether a key is this vault's before it is relied on."""
    protector: ProtectorSlot
    recovery: RecoverySlot


class Pending(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rekey under way: the next root key's slots, beside those of the present one."""

    slots: Slots
    previous_sealed: bytes
    """The present root key under the next one, so that the new words open the vault from the moment they are shown."""


class VaultFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    format: Literal[1]
    vault_id: UUID
    created_at: datetime
    slots: Slots
    pending: Pending | None = None


class _FormatOnly(Struct, frozen=True):
    format: int


def read_vault_file(home: Path) -> VaultFile:
    """What locks the vault in `home`.

    Raises:
        NotFoundError: there is no vault.
        CorruptError: the file is not what was written, or a newer Sunaiva wrote it.
        ForbiddenError: this user may not read it.
    """
    path = home / FILE_NAME
    with said_plainly(path):
        try:
            with path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(
                f"There is no vault in {home}. Make one with `sunaiva init`, or set SUNAIVA_HOME to where it is."
            ) from None
    try:
        if len(content) > FILE_BYTES_MAX:
            raise msgspec.ValidationError("it is far too large")
        found = msgspec.json.decode(content, type=_FormatOnly).format
        if found > FORMAT:
            raise CorruptError(
                f"{path} was made by a newer Sunaiva (format {found}). Update with `pip install -U sunaiva`."
            )
        return msgspec.json.decode(content, type=VaultFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(home, str(error)) from None


def create_vault_file(home: Path, vault: VaultFile) -> None:
    """The file of a new vault, in a folder for its owner only.

    Raises:
        ConflictError: there is one already; it is not touched.
    """
    with said_plainly(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(home / FILE_NAME, _encode(vault), replace=False)


def replace_vault_file(home: Path, vault: VaultFile) -> None:
    write_private(home / FILE_NAME, _encode(vault), replace=True)


def remove_vault_file(home: Path) -> None:
    with said_plainly(home):
        (home / FILE_NAME).unlink()


def damaged(home: Path, reason: str) -> CorruptError:
    return CorruptError(
        f"{home / FILE_NAME} is damaged ({reason}). Put back a copy of it from a backup; nothing was changed."
    )


def write_private(path: Path, content: bytes, *, replace: bool) -> None:
    """The whole file on disk, for its owner only, or no trace of it."""
    with said_plainly(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(path)
            else:
                # Unlike a rename, a link never overwrites: of two that create at once, one is told so.
                path.hardlink_to(temporary)
        except FileExistsError:
            raise ConflictError(f"There is {path} already. It was left as it is.") from None
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        _sync_folder(path.parent)


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """Turn what the system says about a file into a sentence for a person."""
    try:
        yield
    except PermissionError:
        raise ForbiddenError(
            f"No permission for {path}: make it yours with `chown` or `chmod u+rw`."
        ) from None
    except OSError as error:
        raise UnavailableError(
            f"{path} cannot be used: {error.strerror}. Mend that, then try again."
        ) from None


def _encode(vault: VaultFile) -> bytes:
    return msgspec.json.format(msgspec.json.encode(vault), indent=2) + b"\n"


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder; its renames are durable by themselves
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
