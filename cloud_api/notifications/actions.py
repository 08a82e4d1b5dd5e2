"""Sending a mail and unsubscribing from one.

`send` belongs into the transaction that causes the mail: both happen, or neither. Address and letter are sealed until the mail has
left, because its link may open an account; the job carries the mail's id only. A mail may be delivered twice if the worker dies in
the wrong moment, and then has the same Message-ID both times.
"""

import base64
import binascii
from contextlib import suppress
from email.message import EmailMessage
from typing import NewType
from uuid import UUID

import msgspec
import psycopg
from msgspec import Struct

from cloud_api.audit.actions import note
from cloud_api.audit.rules import Entry
from cloud_api.db import AccountId, Connection, Database
from cloud_api.http.caller import AccountGoneError
from cloud_api.http.languages import preferred
from cloud_api.jobs import Task, enqueue
from cloud_api.notifications import store
from cloud_api.notifications.letters import (
    OPTIONAL_KINDS,
    Mail,
    MailId,
    SealedPart,
    decode,
    encode,
    is_optional,
    kind_of,
)
from cloud_api.notifications.mailer import Mailer, MailRefusedError
from cloud_api.notifications.rules import Envelope, compose, is_stale, parse_address
from cloud_api.notifications.store import Outcome, Preference, WaitingMail
from cloud_api.notifications.wording import Wording
from shared.clock import Clock
from shared.crypto import derive, open_sealed, seal
from shared.errors import CorruptError, ForbiddenError, InvalidError, NotFoundError

MailKey = NewType("MailKey", bytes)


class Delivery(Struct, frozen=True, forbid_unknown_fields=True):
    mail_id: UUID
    account: UUID | None


DELIVER = Task("notifications.deliver", Delivery)


class UnsubscribeLinkError(NotFoundError):
    code = "unsubscribe_link_unknown"


class KindNotOptionalError(InvalidError):
    code = "mail_kind_not_optional"


class Post(Struct, frozen=True):
    """Everything that delivering needs."""

    db: Database
    mailer: Mailer
    wording: Wording
    key: MailKey
    sender: str
    public_url: str
    clock: Clock


def mail_key(secret: bytes) -> MailKey:
    """The key of mails, derived from the installation's secret."""
    return MailKey(derive(secret, "cloud/mails"))


async def send(connection: Connection, mail: Mail, *, key: MailKey) -> None:
    """Have it sent once this transaction has committed.

    Raises:
        AddressUnusableError: the address is not exactly one address.
    """
    parse_address(mail.to)
    mail_id = await store.new_id(connection)
    sealed = seal(key, encode(SealedPart(mail.to, mail.letter)), bound_to=mail_id.bytes)
    is_new = await store.add(
        connection,
        mail_id,
        account=mail.account,
        kind=kind_of(mail.letter),
        language=preferred(mail.language),
        once=mail.once,
        sealed=sealed,
    )
    if is_new:
        await enqueue(connection, DELIVER, Delivery(mail_id, mail.account))


async def deliver(post: Post, asked: Delivery) -> None:
    """Hands one mail to the mailer, unless that was done, it is not wanted, or its link has run out.

    Raises:
        MailDelayedError: it has to be tried again.
        CorruptError: it was sealed under another key.
    """
    mail_id = MailId(asked.mail_id)
    account = None if asked.account is None else AccountId(asked.account)
    async with post.db.transaction(account) as connection:
        mail = await store.waiting(connection, mail_id)
        if mail is None:
            return
        is_wanted = await _is_wanted(connection, account, mail.kind)
    part = _opened(post.key, mail_id, mail)
    outcome: Outcome
    if not is_wanted:
        outcome = "unwanted"
    elif is_stale(part.letter, written_at=mail.created_at, now=post.clock()):
        outcome = "expired"
    else:
        outcome = await _hand_over(post, _message(post, mail_id, account, mail, part))
    async with post.db.transaction(account) as connection:
        await store.finish(connection, mail_id, outcome)


async def preferences(connection: Connection, account: AccountId) -> list[Preference]:
    """Every kind of mail that one may do without, and whether this person does."""
    said = {each.kind: each.is_wanted for each in await store.preferences(connection, account)}
    return [Preference(kind, said.get(kind, True)) for kind in sorted(OPTIONAL_KINDS)]


async def prefer(connection: Connection, account: AccountId, preference: Preference) -> None:
    """
    Raises:
        KindNotOptionalError: nobody can do without mails of this kind, or there is no such kind.
        AccountGoneError: it was deleted meanwhile.
    """
    if not is_optional(preference.kind):
        raise KindNotOptionalError(
            f"Mails of this kind are always sent. Those that one can do without: {', '.join(sorted(OPTIONAL_KINDS))}."
        )
    try:
        is_new = await store.prefer(connection, account, preference)
    except psycopg.errors.ForeignKeyViolation:
        raise AccountGoneError from None
    if is_new:
        wanted = "mail.wanted" if preference.is_wanted else "mail.unwanted"
        detail = {"kind": preference.kind}
        await note(connection, Entry(action=wanted, account=account, actor="person", detail=detail))


class Unsubscribing(Struct, frozen=True, forbid_unknown_fields=True):
    """What a link in a mail asks for. It works for ever, as RFC 8058 wants, and does nothing that harms."""

    account: UUID
    kind: str


def unsubscribe_token(key: MailKey, asked: Unsubscribing) -> str:
    sealed = seal(_unsubscribe_key(key), msgspec.msgpack.encode(asked), bound_to=b"unsubscribe")
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def parse_unsubscribe_token(key: MailKey, token: str) -> Unsubscribing:
    """
    Raises:
        UnsubscribeLinkError: we did not make this.
    """
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        opened = open_sealed(_unsubscribe_key(key), sealed, bound_to=b"unsubscribe")
        return msgspec.msgpack.decode(opened, type=Unsubscribing)
    except (binascii.Error, ValueError, CorruptError, ForbiddenError):
        raise UnsubscribeLinkError(
            "This link to unsubscribe is not one of ours, or it was cut off. Copy all of it from the mail."
        ) from None


async def unsubscribe(db: Database, asked: Unsubscribing) -> None:
    account = AccountId(asked.account)
    # Nobody writes to an account that is gone.
    with suppress(AccountGoneError):
        async with db.transaction(account) as connection:
            await prefer(connection, account, Preference(asked.kind, is_wanted=False))


async def _is_wanted(connection: Connection, account: AccountId | None, kind: str) -> bool:
    if account is None or not is_optional(kind):
        return True
    said = await store.preferences(connection, account)
    return Preference(kind, is_wanted=False) not in said


def _opened(key: MailKey, mail_id: MailId, mail: WaitingMail) -> SealedPart:
    try:
        return decode(open_sealed(key, mail.sealed, bound_to=mail_id.bytes))
    except ForbiddenError:
        raise CorruptError(
            "A mail that waits was sealed under another key: SUNAIVA_CLOUD_SECRET was changed while mails were waiting. Set it "
            "back, replay the job, and change it when no mail waits."
        ) from None


def _message(
    post: Post, mail_id: MailId, account: AccountId | None, mail: WaitingMail, part: SealedPart
) -> EmailMessage:
    link = None
    if account is not None and is_optional(mail.kind):
        token = unsubscribe_token(post.key, Unsubscribing(account, mail.kind))
        link = f"{post.public_url}/api/v1/mail/unsubscribe/{token}"
    envelope = Envelope(
        id=mail_id,
        sender=post.sender,
        to=part.to,
        written_at=mail.created_at,
        unsubscribe_link=link,
    )
    words = post.wording.in_language(mail.language)
    return compose(part.letter, words, post.wording.layout, envelope)


async def _hand_over(post: Post, message: EmailMessage) -> Outcome:
    try:
        await post.mailer.send(message)
    except MailRefusedError:
        # Not a dead letter: nobody at our end can mend an address that does not exist.
        return "refused"
    return "sent"


def _unsubscribe_key(key: MailKey) -> bytes:
    return derive(key, "cloud/mails/unsubscribe")
