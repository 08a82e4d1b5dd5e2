"""Mail for development: one .eml file each in a folder of the data folder, shown at /dev/mail. Nothing leaves the machine.

Refused in production, where a mail that nobody gets would be worse than an error.
"""

import asyncio
import os
import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from msgspec import Struct

from cloud_api.notifications.mailer import MailDelayedError
from cloud_api.notifications.rules import octets
from shared.errors import ForbiddenError, NotFoundError

# Somebody who runs a load test against the development server should not find a full disk.
KEPT_MAX = 1_000

_ID = re.compile(r"[0-9a-f-]{1,64}", re.ASCII)


class FolderInProductionError(ForbiddenError):
    code = "mail_folder_in_production"


class MailNotFoundError(NotFoundError):
    code = "mail_not_found"


class KeptMail(Struct, frozen=True):
    """A mail in the folder, as a reader sees it."""

    id: str
    to: str
    subject: str
    date: str
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str


class FolderMailer:
    def __init__(self, folder: Path, *, production: bool) -> None:
        if production:
            raise FolderInProductionError(
                "In production mail must leave the machine: set SMTP_URL to smtp://name:password@host:587 or smtps://…"
            )
        self._folder = folder

    async def send(self, message: EmailMessage) -> None:
        await asyncio.to_thread(self._write, message)

    def newest(self, count: int) -> list[KeptMail]:
        return [_read(path) for path in self._paths()[:count]]

    def one(self, mail_id: str) -> KeptMail:
        """
        Raises:
            MailNotFoundError: there is none of this id, or it is no id at all.
        """
        path = self._folder / f"{mail_id}.eml"
        if not _ID.fullmatch(mail_id) or not path.is_file():
            raise MailNotFoundError(
                "There is no such mail (any more): the oldest ones are removed."
            )
        return _read(path)

    def _write(self, message: EmailMessage) -> None:
        # The same id is the same file: a mail that is sent twice is there once.
        name = f"{message['Message-ID'].strip('<>').partition('@')[0]}.eml"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = self._folder / f".{name}"
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(octets(message))
            part.replace(self._folder / name)
            for path in self._paths()[KEPT_MAX:]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise MailDelayedError(
                f"The folder for mail cannot be written to ({error.strerror})."
            ) from None

    def _paths(self) -> list[Path]:
        """Newest first, because ids sort by time."""
        return sorted(self._folder.glob("[0-9a-f]*.eml"), reverse=True)


def _read(path: Path) -> KeptMail:
    message = message_from_bytes(path.read_bytes(), policy=default)
    return KeptMail(
        id=path.stem,
        to=str(message["To"]),
        subject=str(message["Subject"]),
        date=str(message["Date"]),
        headers=tuple((name, str(value)) for name, value in message.items()),
        text=_part(message, "plain"),
        html=_part(message, "html"),
    )


def _part(message: EmailMessage, subtype: str) -> str:
    part = message.get_body(preferencelist=(subtype,))
    return part.get_content() if part else ""
