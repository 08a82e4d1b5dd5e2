"""Backups: one file that holds a consistent copy of the vault, encrypted as the vault is, with its wrapped keys.

A backup opens with the same passphrase, key file, keychain or recovery words as the vault it was made of. Restoring never
overwrites: the vault that was there is moved aside.
"""

import os
import struct
import tempfile
import zipfile
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from mcp_server.device import Device
from mcp_server.vault.db import DATABASE_NAME, refuse_what_is_no_vault
from mcp_server.vault.vaultfile import FILE_NAME as VAULT_FILE_NAME
from mcp_server.vault.vaultfile import read_vault_file, said_plainly
from shared.errors import ConflictError, CorruptError, InvalidError, NotFoundError, UnavailableError
from sync_service.device import log

_MEMBERS = sorted((DATABASE_NAME, VAULT_FILE_NAME))
# What zipfile raises for a damaged or an encrypted archive.
_BROKEN_ZIP = (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, struct.error)
_COPY_BYTES = 1 << 20


class Backup(Struct, frozen=True):
    path: Path
    file_bytes: int


def write(device: Device, target: Path) -> Backup:
    """Write a backup to `target`, whole or not at all.

    Raises:
        ConflictError: there is a file of that name; it is not touched.
        UnavailableError: no space, or no permission.
    """
    if target.exists():
        raise ConflictError(
            f"{target} exists already. Choose another name; backups are never overwritten."
        )
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as folder:
            copy, packed = Path(folder) / DATABASE_NAME, Path(folder) / "packed"
            device.vault.copy_to(copy, device.keys.database, mark=log.mark_copied)
            # Stored, not deflated: encrypted pages do not get smaller.
            with zipfile.ZipFile(packed, "x", zipfile.ZIP_STORED) as archive:
                archive.write(copy, DATABASE_NAME)
                archive.write(device.vault.path.with_name(VAULT_FILE_NAME), VAULT_FILE_NAME)
            packed.chmod(0o600)
            with packed.open("rb") as file:
                os.fsync(file.fileno())
            _put(packed, target)
    except FileExistsError as error:
        raise ConflictError(
            f"{target} exists already. Choose another name; backups are never overwritten."
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"The backup could not be written to {target}: {error.strerror}. Nothing was left there."
        ) from error
    return Backup(target, target.stat().st_size)


def _put(file: Path, target: Path) -> None:
    """Give a finished file its name, unless somebody was faster."""
    try:
        os.link(file, target)
    except FileExistsError:
        raise
    except OSError:
        # USB sticks (exFAT) know no links: take the name first, then replace what is ours.
        target.touch(mode=0o600, exist_ok=False)
        file.replace(target)


def restore(source: Path, home: Path, *, now: datetime) -> Path | None:
    """Put a backup in the place of the vault in `home`; where the vault that was there is now, if there was one.

    Raises:
        NotFoundError: there is no such file.
        CorruptError: it is no backup, or a damaged one; the vault is left as it is.
    """
    if not source.exists():
        raise NotFoundError(f"There is no file {source}.")
    with said_plainly(home):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=home, prefix=".restore-") as folder:
            _unpack(source, Path(folder))
            aside = move_aside(home, now)
            for name in _MEMBERS:
                (Path(folder) / name).rename(home / name)
    return aside


def move_aside(home: Path, now: datetime) -> Path | None:
    """Move a vault's files into a folder of their own; where they are now, if there were any."""
    with said_plainly(home):
        there = [
            path
            for path in home.iterdir()
            if path.name.startswith(DATABASE_NAME) or path.name == VAULT_FILE_NAME
        ]
        if not there:
            return None
        aside = home / f"replaced-{now:%Y%m%d-%H%M%S-%f}"
        aside.mkdir(mode=0o700)
        for path in there:
            path.rename(aside / path.name)
    return aside


def _unpack(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            names = sorted(member.filename for member in archive.infolist())
            # Stored, as `write` stores them: nothing in here can be larger than the file itself.
            if names != _MEMBERS or any(each.compress_type for each in archive.infolist()):
                raise InvalidError(
                    f"{source} is no Sunaiva backup: it holds {', '.join(names)[:200]!r}."
                )
            for name in _MEMBERS:
                target = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with archive.open(name) as packed, os.fdopen(target, "wb") as unpacked:
                    while chunk := packed.read(_COPY_BYTES):  # raises if the checksum does not fit
                        unpacked.write(chunk)
                    unpacked.flush()
                    os.fsync(unpacked.fileno())
        refuse_what_is_no_vault(folder / DATABASE_NAME)
        read_vault_file(folder)
    except _BROKEN_ZIP as error:
        raise CorruptError(
            f"{source} is damaged or no backup ({error}). The vault was left as it is."
        ) from error
    except CorruptError as error:
        raise CorruptError(
            f"{source} does not hold a whole vault. The vault was left as it is."
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"{source} could not be unpacked: {error.strerror}. The vault was left as it is."
        ) from error
