"""Mail from the transaction that causes it to the mailer, over the real database."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from uuid import UUID

import psycopg
import pytest

from cloud_api.db import AccountId, Connection, Database
from cloud_api.notifications.actions import (
    Delivery,
    KindNotOptionalError,
    Post,
    UnsubscribeLinkError,
    Unsubscribing,
    deliver,
    mail_key,
    parse_unsubscribe_token,
    prefer,
    preferences,
    send,
    unsubscribe,
    unsubscribe_token,
)
from cloud_api.notifications.letters import Letter, Mail, NewSignIn, PasswordChanged, ResetPassword
from cloud_api.notifications.mailer import MailDelayedError, MailRefusedError
from cloud_api.notifications.rules import AddressUnusableError
from cloud_api.notifications.store import Preference
from cloud_api.notifications.wording import read_wording
from shared.errors import CorruptError
from tests.cloud_api.notifications.builders import open_account

pytestmark = pytest.mark.anyio

ANN = AccountId(UUID("01990000-0000-7000-8000-00000000000a"))
BEN = AccountId(UUID("01990000-0000-7000-8000-00000000000b"))
KEY = mail_key(b"k" * 32)
LINK = "https://cloud.example.org/reset#token=TOPSECRET"
RESET = ResetPassword(LINK, 30)
SIGN_IN = NewSignIn(datetime(2026, 11, 21, tzinfo=UTC), "Firefox", "192.0.2.0/24", LINK)


class Outbox:
    """A mailer that keeps what it was given, and fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.sent: list[EmailMessage] = []

    async def send(self, message: EmailMessage) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)


def post(db: Database, mailer: Outbox, *, later: timedelta = timedelta(0)) -> Post:
    return Post(
        db=db,
        mailer=mailer,
        wording=read_wording(),
        key=KEY,
        sender="Sunaiva <hello@example.org>",
        public_url="https://cloud.example.org",
        clock=lambda: datetime.now(UTC) + later,
    )


def mail(letter: Letter = RESET, *, account: AccountId | None = ANN, **more: str) -> Mail:
    fields = {"to": "ann@example.org", "language": "en"} | more
    return Mail(letter=letter, account=account, **fields)


async def deliveries(connection: Connection) -> list[Delivery]:
    cursor = await connection.execute(
        "SELECT (args->>'mail_id')::uuid, (args->>'account')::uuid FROM procrastinate_jobs "
        "WHERE task_name = 'notifications.deliver' ORDER BY id"
    )
    return [Delivery(*row) for row in await cursor.fetchall()]


async def sent(db: Database, mail: Mail) -> Delivery:
    async with db.transaction(mail.account) as connection:
        await send(connection, mail, key=KEY)
        return (await deliveries(connection))[-1]


async def states(db: Database, account: AccountId | None = ANN) -> list[tuple[str, bool]]:
    async with db.transaction(account) as connection:
        cursor = await connection.execute(
            "SELECT state, sealed IS NULL FROM mails ORDER BY created_at"
        )
        return [(state, is_gone) for state, is_gone in await cursor.fetchall()]


async def test_a_mail_is_sent_after_its_transaction_and_then_forgotten(db: Database) -> None:
    outbox = Outbox()
    asked = await sent(db, mail())
    await deliver(post(db, outbox), asked)
    (message,) = outbox.sent
    assert message["To"] == "ann@example.org"
    assert message["Message-ID"] == f"<{asked.mail_id}@example.org>"
    assert await states(db) == [("sent", True)]


async def test_no_mail_is_left_of_a_transaction_that_failed(db: Database) -> None:
    async def failing() -> None:
        async with db.transaction(ANN) as connection:
            await send(connection, mail(), key=KEY)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert await states(db) == []
    async with db.transaction() as connection:
        assert await deliveries(connection) == []


async def test_neither_address_nor_link_can_be_read_while_a_mail_waits(
    db: Database, database_url: str
) -> None:
    await sent(db, mail())
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("SET ROLE sunaiva_app; SET sunaiva.account = '" + str(ANN) + "'")
        cursor = await connection.execute(
            "SELECT (SELECT string_agg(m::text, '') FROM mails m) || "
            "(SELECT string_agg(j::text, '') FROM procrastinate_jobs j)"
        )
        row = await cursor.fetchone()
    assert row is not None
    kept = bytes.fromhex(row[0].split("\\x")[1].split('"')[0])
    for secret in ("TOPSECRET", "ann@example.org"):
        assert secret not in row[0]
        assert secret.encode() not in kept


async def test_a_mail_that_was_sent_is_not_sent_again_by_a_repeated_job(db: Database) -> None:
    outbox = Outbox()
    asked = await sent(db, mail())
    for _ in range(2):
        await deliver(post(db, outbox), asked)
    assert len(outbox.sent) == 1


async def test_a_cause_that_happens_twice_sends_one_mail(db: Database) -> None:
    for _ in range(2):
        await sent(db, mail(once="export:1"))
    await sent(db, mail(once="export:2"))
    async with db.transaction() as connection:
        assert len(await deliveries(connection)) == 2


async def test_a_delay_keeps_the_mail_for_the_next_attempt(db: Database) -> None:
    outbox = Outbox(MailDelayedError("busy"))
    asked = await sent(db, mail())
    with pytest.raises(MailDelayedError):
        await deliver(post(db, outbox), asked)
    assert await states(db) == [("waiting", False)]
    await deliver(post(db, outbox), asked)
    assert await states(db) == [("sent", True)]


async def test_a_refusal_ends_the_mail(db: Database) -> None:
    asked = await sent(db, mail())
    await deliver(post(db, Outbox(MailRefusedError("550"))), asked)
    assert await states(db) == [("refused", True)]


async def test_a_link_that_ran_out_is_not_sent_any_more(db: Database) -> None:
    outbox = Outbox()
    asked = await sent(db, mail())
    await deliver(post(db, outbox, later=timedelta(minutes=31)), asked)
    assert outbox.sent == []
    assert await states(db) == [("expired", True)]


async def test_somebody_without_an_account_can_be_written_to(db: Database) -> None:
    outbox = Outbox()
    await deliver(post(db, outbox), await sent(db, mail(account=None)))
    assert len(outbox.sent) == 1
    assert await states(db, None) == [("sent", True)]
    assert await states(db, ANN) == []


async def test_a_stranger_s_request_can_cause_a_mail_to_an_account(db: Database) -> None:
    outbox = Outbox()
    async with db.transaction() as connection:
        await send(connection, mail(account=ANN), key=KEY)
        (asked,) = await deliveries(connection)
    await deliver(post(db, outbox), asked)
    assert await states(db, ANN) == [("sent", True)]
    assert await states(db, BEN) == []


async def test_an_address_that_is_none_stops_the_transaction(db: Database) -> None:
    async with db.transaction(ANN) as connection:
        with pytest.raises(AddressUnusableError):
            await send(connection, mail(to="ann@example.org\r\nBcc: eve@example.org"), key=KEY)


async def test_a_language_that_we_have_no_words_in_becomes_one_that_we_have(db: Database) -> None:
    outbox = Outbox()
    for language in ("de-CH", "pt", "fr"):
        await deliver(post(db, outbox), await sent(db, mail(language=language)))
    assert [each["Content-Language"] for each in outbox.sent] == ["de", "en", "fr"]


async def test_who_unsubscribed_gets_no_more_of_that_kind_but_all_about_safety(
    db: Database,
) -> None:
    outbox = Outbox()
    await open_account(db, ANN)
    await unsubscribe(db, Unsubscribing(ANN, "new_sign_in"))
    changed = PasswordChanged(datetime(2026, 11, 21, tzinfo=UTC), LINK)
    for letter in (SIGN_IN, changed):
        await deliver(post(db, outbox), await sent(db, mail(letter)))
    assert [message["Subject"] for message in outbox.sent] == ["Your password was changed"]
    assert await states(db) == [("unwanted", True), ("sent", True)]


async def test_the_link_in_a_mail_unsubscribes_from_its_kind(db: Database) -> None:
    outbox = Outbox()
    await deliver(post(db, outbox), await sent(db, mail(SIGN_IN)))
    link = outbox.sent[0]["List-Unsubscribe"].strip("<>")
    asked = parse_unsubscribe_token(KEY, link.rpartition("/")[2])
    assert asked == Unsubscribing(ANN, "new_sign_in")
    await open_account(db, ANN)
    await unsubscribe(db, asked)
    async with db.transaction(ANN) as connection:
        assert await preferences(connection, ANN) == [Preference("new_sign_in", is_wanted=False)]


async def test_one_may_change_one_s_mind(db: Database) -> None:
    await open_account(db, ANN)
    async with db.transaction(ANN) as connection:
        for is_wanted in (False, True, True):
            await prefer(connection, ANN, Preference("new_sign_in", is_wanted))
        assert Preference("new_sign_in", is_wanted=True) in await preferences(connection, ANN)


@pytest.mark.parametrize("kind", ["password_changed", "nonsense"])
async def test_mails_about_safety_cannot_be_unsubscribed(db: Database, kind: str) -> None:
    async with db.transaction(ANN) as connection:
        with pytest.raises(KindNotOptionalError):
            await prefer(connection, ANN, Preference(kind, is_wanted=False))


@pytest.mark.parametrize("token", ["", "a", "ä", "AAAA" * 30, "%00", "Ag" * 40])
async def test_a_link_that_we_did_not_make_unsubscribes_nobody(token: str) -> None:
    with pytest.raises(UnsubscribeLinkError):
        parse_unsubscribe_token(KEY, token)


async def test_a_link_of_another_installation_unsubscribes_nobody() -> None:
    token = unsubscribe_token(mail_key(b"x" * 32), Unsubscribing(ANN, "new_sign_in"))
    with pytest.raises(UnsubscribeLinkError):
        parse_unsubscribe_token(KEY, token)


async def test_a_mail_of_a_former_key_says_so_and_is_kept(db: Database) -> None:
    async with db.transaction(ANN) as connection:
        await send(connection, mail(), key=mail_key(b"former key of 32 characters....."))
        (asked,) = await deliveries(connection)
    with pytest.raises(CorruptError, match="SUNAIVA_CLOUD_SECRET"):
        await deliver(post(db, Outbox()), asked)
    assert await states(db) == [("waiting", False)]


async def test_two_workers_that_deliver_at_once_leave_one_outcome(db: Database) -> None:
    outbox = Outbox()
    asked = await sent(db, mail())
    await asyncio.gather(*(deliver(post(db, outbox), asked) for _ in range(2)))
    assert len({message["Message-ID"] for message in outbox.sent}) == 1
    assert await states(db) == [("sent", True)]
