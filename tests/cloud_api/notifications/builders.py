"""Messages to send, for tests of mailers."""

from datetime import UTC, datetime
from email.message import EmailMessage
from uuid import UUID

from cloud_api.db import AccountId, Database
from cloud_api.notifications.letters import MailId, VerifyAddress
from cloud_api.notifications.rules import Envelope, compose
from cloud_api.notifications.wording import read_wording

LINK = "https://cloud.example.org/verify#token=abc"


def a_message(*, to: str = "ann@example.org", number: int = 7) -> EmailMessage:
    wording = read_wording()
    envelope = Envelope(
        id=MailId(UUID(int=number)),
        sender="Sunaiva <hello@example.org>",
        to=to,
        written_at=datetime(2026, 11, 21, tzinfo=UTC),
        unsubscribe_link="https://cloud.example.org/api/v1/mail/unsubscribe/" + "a" * 100,
    )
    return compose(VerifyAddress(LINK, 24), wording.in_language("en"), wording.layout, envelope)


async def open_account(db: Database, account: AccountId) -> None:
    async with db.transaction(account) as connection:
        await connection.execute(
            "INSERT INTO accounts (id, mail, mail_key, language, password_hash, password_changed_at, created_at) "
            "VALUES (%s, 'ann@example.org', 'ann@example.org', 'en', '$argon2id$made-up', now(), now())",
            [account],
        )
