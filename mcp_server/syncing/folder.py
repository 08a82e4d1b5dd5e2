"""A folder as a meeting place: its vaults, and mailboxes for pairing, which are files there like everything else.

Whoever can write to the folder can leave a message or take one away; what a message says is believed by nobody for where it lay.
"""

import threading
import time
from contextlib import suppress
from pathlib import Path

from mcp_server.device import Device
from shared.errors import UnavailableError
from sync_service.device import inbox, log
from sync_service.device.log import Self
from sync_service.members.pairing import MESSAGE_BYTES_MAX
from sync_service.transport import BusyError, Mailboxes
from sync_service.transports.folder import FolderTransport, Seen, vaults
from sync_service.transports.folder_files import folders

# Longer than any pairing takes; what is older was left behind by one that was broken off.
_MESSAGE_SECONDS = 3_600.0


class Folder:
    """One folder. Close it, from whatever thread."""

    def __init__(self, path: Path, device: Device) -> None:
        self._path = path
        self._device = device
        self._closed = threading.Event()
        self._mailboxes = _FolderMailboxes(path / "sunaiva" / "mailboxes")
        self._kept: dict[tuple[bytes | None, bool, int], FolderTransport] = {}

    def vaults(self) -> list[bytes]:
        if not self._path.is_dir():
            raise BusyError(
                f"The folder {self._path} is not there now. Sync goes on when it is there again."
            )
        return vaults(self._path)

    def transport(self, vault: bytes | None, me: Self | None) -> FolderTransport:
        self._mailboxes.clear_away()  # what pairings that were given up have left: every round comes by here
        # Each thread has its own, because it remembers how far it has read.
        kept = (vault, me is None, threading.get_ident())
        if kept not in self._kept:
            self._kept[kept] = FolderTransport(
                self._path, vault, seen=self._seen, sleep=self._sleep
            )
        return self._kept[kept]

    def mailboxes(self) -> Mailboxes:
        return self._mailboxes

    def close(self) -> None:
        self._closed.set()

    def _seen(self) -> Seen:
        with self._device.vault.reading() as db:
            if not log.is_set_up(db):
                return Seen(0, {})
            me = log.read(db)
            heads = {stream: head.seq for stream, head in inbox.heads(db).items()}
            owed = {stream: seq - 1 for stream, seq in log.first_not_shown(db).items()}
            return Seen(me.cursor, heads | {me.stream: me.seq} | owed)

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise UnavailableError("The folder is not used any more.")


class _FolderMailboxes:
    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, name: bytes, slot: str, message: bytes) -> None:
        box = self._path / name.hex()
        try:
            box.mkdir(parents=True, exist_ok=True)
            new = box / f".{slot}.part"
            new.write_bytes(message)
            new.replace(box / slot)
        except OSError as error:
            raise BusyError(f"{self._path} cannot be written now ({error.strerror}).") from error

    def take(self, name: bytes, slot: str) -> bytes | None:
        try:
            with (self._path / name.hex() / slot).open("rb") as file:
                return file.read(MESSAGE_BYTES_MAX + 1) or None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BusyError(f"{self._path} cannot be read now ({error.strerror}).") from error

    def clear(self, name: bytes) -> None:
        self._remove(self._path / name.hex())

    def clear_away(self) -> None:
        """Remove what lies there for longer than any pairing takes, whoever has left it."""
        oldest = time.time() - _MESSAGE_SECONDS  # noqa: TID251 (what files are dated by)
        for box in folders(self._path):
            with suppress(OSError):
                newest = max((each.stat().st_mtime for each in box.iterdir()), default=0.0)
                if max(newest, box.stat().st_mtime) < oldest:
                    self._remove(box)

    def _remove(self, box: Path) -> None:
        """As far as that can be: the next round tries again."""
        with suppress(OSError):
            for message in box.iterdir():
                message.unlink(missing_ok=True)
            box.rmdir()
            self._path.rmdir()  # fails while another pairing is under way
