"""Mail of development: a folder of files."""

import asyncio
import stat
from pathlib import Path

import pytest

from cloud_api.notifications.folder import (
    FolderInProductionError,
    FolderMailer,
    MailNotFoundError,
)
from cloud_api.notifications.mailer import MailDelayedError
from tests.cloud_api.notifications.builders import LINK, a_message


def test_a_mail_is_a_file_that_can_be_read_as_text_and_as_html(tmp_path: Path) -> None:
    mailer = FolderMailer(tmp_path / "mail", production=False)
    asyncio.run(mailer.send(a_message(to="änne@example.org")))
    (mail,) = mailer.newest(10)
    assert (mail.to, mail.subject) == ("änne@example.org", "Confirm your mail address")
    assert LINK in mail.text
    assert LINK in mail.html
    assert mailer.one(mail.id) == mail


def test_a_mail_that_is_sent_twice_is_there_once(tmp_path: Path) -> None:
    mailer = FolderMailer(tmp_path, production=False)
    for _ in range(2):
        asyncio.run(mailer.send(a_message()))
    assert len(mailer.newest(10)) == 1


def test_the_newest_mail_comes_first(tmp_path: Path) -> None:
    mailer = FolderMailer(tmp_path, production=False)
    for number in (1, 3, 2):
        asyncio.run(mailer.send(a_message(number=number)))
    assert [mail.id[-1] for mail in mailer.newest(2)] == ["3", "2"]


def test_nobody_else_on_the_machine_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    asyncio.run(FolderMailer(folder, production=False).send(a_message()))
    (file,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_delays_the_mail(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file where the folder should be")
    with pytest.raises(MailDelayedError):
        asyncio.run(FolderMailer(tmp_path / "mail", production=False).send(a_message()))


@pytest.mark.parametrize("mail_id", ["../secret", "..%2fsecret", "ffff", "", "a/b", "x" * 65])
def test_an_id_never_leads_out_of_the_folder(tmp_path: Path, mail_id: str) -> None:
    (tmp_path / "secret.eml").write_text("To: nobody")
    with pytest.raises(MailNotFoundError):
        FolderMailer(tmp_path / "mail", production=False).one(mail_id)


def test_production_refuses_the_folder(tmp_path: Path) -> None:
    with pytest.raises(FolderInProductionError, match="SMTP_URL"):
        FolderMailer(tmp_path, production=True)
