"""Signing up, and everything about address and password.

Whether an address has an account is told to its mailbox only: each answer to a stranger is the same, and takes the same work,
whether there is one or not.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec
import psycopg
from msgspec import Struct

from cloud_api.accounts import one_time, trail
from cloud_api.accounts.addresses import MailAddress, parse_mail_address
from cloud_api.accounts.agreements import Agreements, check_agreements
from cloud_api.accounts.events import AccountOpened
from cloud_api.accounts.means import Means
from cloud_api.accounts.one_time import LinkOverError
from cloud_api.accounts.passwords.rules import WeakPasswordError
from cloud_api.accounts.people import store
from cloud_api.accounts.people.store import Person, SignUp
from cloud_api.accounts.possession import act_as, hold
from cloud_api.accounts.sessions import store as sessions_store
from cloud_api.accounts.throttles import actions as throttles
from cloud_api.accounts.throttles.actions import TooManyAttemptsError, throttle_key
from cloud_api.accounts.tokens import Bearer, SessionId, digest_of, new_token
from cloud_api.db import AccountId, Connection
from cloud_api.events import record
from cloud_api.http.caller import AccountGoneError
from cloud_api.http.idempotency import done_here
from cloud_api.jobs import Task, enqueue
from cloud_api.notifications import actions as notifications
from cloud_api.notifications.letters import (
    AddressChanging,
    AddressInUse,
    ConfirmNewAddress,
    Letter,
    Mail,
    PasswordChanged,
    ResetPassword,
    VerifyAddress,
)
from shared import crypto
from shared.errors import ForbiddenError

SIGN_UP_LIFE = timedelta(hours=24)
MAIL_CHANGE_LIFE = timedelta(hours=24)
# Whoever asks for it is waiting for it; a link that opens an account should not lie in a mailbox for long.
RESET_LIFE = timedelta(minutes=30)


class WrongPasswordError(ForbiddenError):
    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("This is not your present password. Type it again, or reset it by mail.")


class OtherSignUpError(ForbiddenError):
    code = "other_sign_up"

    def __init__(self) -> None:
        super().__init__(
            "This is not the password of this sign-up. If you signed up more than once, open the mail that belongs to your "
            "password; if it was somebody else, sign up yourself."
        )


class Wish(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody asked for a new password. The address is sealed: job rows are read for all accounts."""

    sealed: str
    language: str


ANSWER_RESET = Task("accounts.answer_reset", Wish)


class Asked(Struct, frozen=True, kw_only=True):
    """What somebody signs up with."""

    mail: str
    password: str
    name: str | None
    language: str
    agreed: Agreements


class _MailChange(Struct, frozen=True):
    shown: str
    key: str


async def sign_up(means: Means, asked: Asked) -> None:
    """Writes to the address; the account is made when that mail is answered.

    Raises:
        InvalidMailAddressError, WeakPasswordError, AgreementUnknownError: nothing was done.
    """
    check_agreements(asked.agreed, means.agreements)
    address = parse_mail_address(asked.mail)
    own_words = [address.shown, asked.name] if asked.name else [address.shown]
    password_hash = await hashed(means, asked.password, own_words)
    now, token = means.clock(), new_token("sign_up")
    waiting = SignUp(
        mail=address.shown,
        mail_key=address.key,
        name=asked.name,
        language=asked.language,
        password_hash=password_hash,
        terms=asked.agreed.terms,
        privacy=asked.agreed.privacy,
        created_at=now,
    )
    async with means.db.transaction() as connection:
        if not await _may_be_written_to(connection, means, "sign_up", address, now=now):
            return
        await done_here(connection)
        await hold(connection, token.digest)
        await store.add_sign_up(connection, token.digest, waiting, expires_at=now + SIGN_UP_LIFE)
        # Asked for only now, so that both ways do the same until here.
        is_known = await store.account_of_mail(connection, address) is not None
        letter: Letter = (
            AddressInUse(link=_page(means, "forgotten"))
            if is_known
            else VerifyAddress(link=_page(means, "verify", token.text), hours=_hours(SIGN_UP_LIFE))
        )
        await _write(connection, means, address.shown, asked.language, letter)


async def verify(means: Means, token: str, password: str) -> AccountId:
    """Makes the account of this sign-up, for who has both its mail and its password: of a mailbox's owner and a stranger who signed
    up with that address, neither has both unless they are one.

    Raises:
        LinkOverError: run out, used, or the address has an account by now.
        OtherSignUpError: the link is still good.
    """
    digest = digest_of("sign_up", token)
    if digest is None:
        raise LinkOverError
    async with means.db.transaction() as connection:
        await hold(connection, digest)
        chosen = await store.sign_up_hash(connection, digest, now=means.clock())
    if chosen is None:
        raise LinkOverError
    if not await means.hasher.fits(password, chosen):
        raise OtherSignUpError
    async with means.db.transaction() as connection:
        await hold(connection, digest)
        now = means.clock()
        waiting = await store.take_sign_up(connection, digest, now=now)
        account = await store.new_id(connection)
        await act_as(connection, account)
        if waiting is None or not await store.add_person(connection, account, waiting, now=now):
            raise LinkOverError
        await trail.note(connection, account, "account.opened")
        opened = AccountOpened(
            account=account,
            agreed_at=waiting.created_at,
            terms=waiting.terms,
            privacy=waiting.privacy,
        )
        await record(connection, opened)
        return account


async def ask_for_reset(means: Means, mail: str, language: str) -> None:
    """A mail with a link, to the owner of the address if there is one; the worker finds out, so that the answer cannot tell.

    Raises:
        InvalidMailAddressError
    """
    address = parse_mail_address(mail)
    sealed = crypto.seal(_wish_key(means), address.shown.encode(), bound_to=b"reset")
    async with means.db.transaction() as connection:
        if await _may_be_written_to(connection, means, "reset", address, now=means.clock()):
            await done_here(connection)
            await enqueue(connection, ANSWER_RESET, Wish(sealed=sealed.hex(), language=language))


async def answer_reset(means: Means, wish: Wish) -> None:
    opened = crypto.open_sealed(_wish_key(means), bytes.fromhex(wish.sealed), bound_to=b"reset")
    address = parse_mail_address(opened.decode())
    async with means.db.transaction() as connection:
        account = await store.account_of_mail(connection, address)
        await act_as(connection, account)
        person = await store.person(connection, account)
        if account is None or person is None:
            return
        token = new_token("reset")
        await one_time.take_all(connection, account, "reset")
        await one_time.give(connection, token, "reset", account, now=means.clock(), life=RESET_LIFE)
        minutes = int(RESET_LIFE.total_seconds()) // 60
        letter = ResetPassword(link=_page(means, "reset", token.text), minutes=minutes)
        await _write(connection, means, person.mail, person.language, letter, account)


async def change_password(means: Means, bearer: Bearer, *, present: str, password: str) -> None:
    """
    Raises:
        WrongPasswordError, WeakPasswordError, TooManyAttemptsError
    """
    key = throttle_key(means.key, "code", str(bearer.account))
    async with means.db.transaction(bearer.account) as connection:
        await throttles.count(connection, key, "code", now=means.clock())
        person = await own(connection, bearer)
    if not await means.hasher.fits(present, person.password_hash):
        raise WrongPasswordError
    password_hash = await hashed(means, password, person.own_words)
    async with means.db.transaction(bearer.account) as connection:
        # Whoever changed it meanwhile did not know what is typed here.
        locked = await store.lock_person(connection, bearer.account)
        if locked is None or locked.password_hash != person.password_hash:
            raise WrongPasswordError
        await throttles.succeeded(connection, key, "code")
        await change_to(
            connection, means, person, password_hash, but=bearer.session, now=means.clock()
        )


async def ask_for_mail_change(means: Means, bearer: Bearer, mail: str) -> None:
    """Writes to the new address, which has to answer, and to the old one, which may object.

    Raises:
        InvalidMailAddressError
    """
    address = parse_mail_address(mail)
    now, token = means.clock(), new_token("mail_change")
    async with means.db.transaction(bearer.account) as connection:
        person = await own(connection, bearer)
        if not await _may_be_written_to(connection, means, "mail_change", address, now=now):
            return
        await done_here(connection)
        await one_time.take_all(connection, bearer.account, "mail_change")
        detail = msgspec.msgpack.encode(_MailChange(address.shown, address.key))
        await one_time.give(
            connection,
            token,
            "mail_change",
            bearer.account,
            detail=detail,
            now=now,
            life=MAIL_CHANGE_LIFE,
        )
        is_taken = await store.account_of_mail(connection, address) is not None
        letter: Letter = (
            AddressInUse(link=_page(means, "forgotten"))
            if is_taken
            else ConfirmNewAddress(
                link=_page(means, "mail", token.text), hours=_hours(MAIL_CHANGE_LIFE)
            )
        )
        await _write(connection, means, address.shown, person.language, letter)
        warning = AddressChanging(at=now, link=_page(means, "forgotten"))
        await _write(connection, means, person.mail, person.language, warning, bearer.account)
        await trail.note(connection, bearer.account, "mail.change_asked")


async def confirm_mail(means: Means, token: str) -> None:
    """
    Raises:
        LinkOverError: run out, used, or the address belongs to another account by now.
    """
    digest = digest_of("mail_change", token)
    if digest is None:
        raise LinkOverError
    async with means.db.transaction() as connection:
        account = await one_time.owner(connection, digest, "mail_change")
        now = means.clock()
        detail = await one_time.take(connection, digest, "mail_change", now=now)
        if account is None or detail is None:
            raise LinkOverError
        change = msgspec.msgpack.decode(detail, type=_MailChange)
        try:
            await store.set_mail(connection, account, MailAddress(change.shown, change.key))
        except psycopg.errors.UniqueViolation:
            raise LinkOverError from None
        # A link to the old address opens nothing any more.
        await one_time.take_all(connection, account, "reset", "mail_change")
        await trail.note(connection, account, "mail.changed")


async def own(connection: Connection, bearer: Bearer) -> Person:
    """
    Raises:
        AccountGoneError: it was deleted, and the access token is still good for some minutes.
    """
    person = await store.person(connection, bearer.account)
    if person is None:
        raise AccountGoneError
    return person


async def hashed(means: Means, password: str, own_words: list[str]) -> str:
    """
    Raises:
        WeakPasswordError, TooManyLoginsError
    """
    found = await means.hasher.weakness(password, own_words)
    if found is not None:
        raise WeakPasswordError(found)
    return await means.hasher.hash(password)


async def change_to(
    connection: Connection,
    means: Means,
    person: Person,
    password_hash: str,
    *,
    but: SessionId | None,
    now: datetime,
) -> None:
    """What every new password brings with it: other sessions end, and so does what was under way, and the owner is told."""
    await store.set_password(connection, person.id, password_hash, now=now)
    await sessions_store.end_all(connection, person.id, but=but, why="password", now=now)
    # Whoever had the old password may have asked for these.
    await one_time.take_all(
        connection, person.id, "reset", "mail_change", "second_factor", "passkey", "factors_lost"
    )
    letter = PasswordChanged(at=now, link=_page(means, "forgotten"))
    await _write(connection, means, person.mail, person.language, letter, person.id)
    await trail.note(connection, person.id, "password.changed")


async def _may_be_written_to(
    connection: Connection,
    means: Means,
    purpose: Literal["sign_up", "reset", "mail_change"],
    address: MailAddress,
    *,
    now: datetime,
) -> bool:
    # Each purpose apart: a stranger who uses up the sign-ups of an address does not use up its owner's resets, and who
    # uses up the resets has thereby sent the owner some.
    key = throttle_key(means.key, "mail_to", f"{purpose} {address.key}")
    try:
        await throttles.count(connection, key, "mail_to", now=now)
    except TooManyAttemptsError:
        # Said to nobody: that an address was written to often is about its owner, not about who asks.
        return False
    return True


async def _write(
    connection: Connection,
    means: Means,
    to: str,
    language: str,
    letter: Letter,
    account: AccountId | None = None,
) -> None:
    mail = Mail(to=to, language=language, letter=letter, account=account)
    await notifications.send(connection, mail, key=means.mail_key)


def _page(means: Means, page: str, token: str | None = None) -> str:
    # In the fragment, which no server, log or Referer ever sees.
    return f"{means.site.public_url}/account/{page}" + (f"#{token}" if token else "")


def _hours(life: timedelta) -> int:
    return int(life.total_seconds()) // 3600


def _wish_key(means: Means) -> bytes:
    return crypto.derive(means.key, "cloud/reset wishes")
