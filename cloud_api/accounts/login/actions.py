"""Logging in with a password, the second step where there is one, and proving again that the person is there."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from cloud_api.accounts import one_time
from cloud_api.accounts.addresses import parse_mail_address
from cloud_api.accounts.factors import actions as factors
from cloud_api.accounts.factors import recovery
from cloud_api.accounts.factors import store as factors_store
from cloud_api.accounts.factors.store import Method
from cloud_api.accounts.means import Means
from cloud_api.accounts.people import store as people_store
from cloud_api.accounts.people.actions import WrongPasswordError, own
from cloud_api.accounts.people.store import Person
from cloud_api.accounts.possession import act_as
from cloud_api.accounts.sessions import actions as sessions
from cloud_api.accounts.sessions import store as sessions_store
from cloud_api.accounts.sessions.actions import Opening, Place, SessionOverError, Tokens
from cloud_api.accounts.signed import SigningKey
from cloud_api.accounts.throttles import actions as throttles
from cloud_api.accounts.throttles.actions import TooManyAttemptsError, throttle_key
from cloud_api.accounts.throttles.rules import Scope
from cloud_api.accounts.tokens import Bearer, digest_of, new_token
from cloud_api.db import AccountId, Connection
from cloud_api.http.refusals import NotAuthenticatedError
from cloud_api.notifications import actions as notifications
from cloud_api.notifications.letters import Mail, NewSignIn
from shared.errors import ForbiddenError

# Long enough to find the telephone.
SECOND_FACTOR_LIFE = timedelta(minutes=5)
# Who logged in from here within this time is taken to be at home here.
USUAL_NETWORK = timedelta(days=30)


class WrongCredentialsError(NotAuthenticatedError):
    code = "wrong_credentials"

    def __init__(self) -> None:
        super().__init__(
            "Mail address and password do not fit together. A password can be reset by mail."
        )


class SecondFactorNeededError(ForbiddenError):
    code = "second_factor_needed"

    def __init__(self) -> None:
        super().__init__(
            "This needs your second factor. Confirm with a code or a passkey, then ask again."
        )


class Attempt(Struct, frozen=True, kw_only=True):
    mail: str
    password: str
    place: Place
    network: str
    """As attempts are counted, finer than what is kept of a session's place."""


class LoggedIn(Struct, frozen=True):
    tokens: Tokens


class SecondFactorWanted(Struct, frozen=True):
    challenge: str
    methods: list[Method]


class _Step(Struct, frozen=True):
    """The second step goes on from here; where it is used is decided by the first."""

    device: str | None
    network: str


class _Counted(Struct, frozen=True):
    person: Person | None
    """Who may be tried now."""
    keys: list[tuple[Scope, bytes]]
    """What a success clears."""
    refusal: TooManyAttemptsError | None
    """What is said unless the password is right: the address is locked for strangers."""


async def log_in(means: Means, attempt: Attempt) -> LoggedIn | SecondFactorWanted:
    """
    Raises:
        WrongCredentialsError: whatever was wrong, and after the same time.
        TooManyAttemptsError, TooManyLoginsError, InvalidMailAddressError
    """
    counted = await _count(means, attempt)
    person = counted.person
    fits = await means.hasher.fits(attempt.password, person.password_hash if person else None)
    if person is None or not fits:
        raise counted.refusal or WrongCredentialsError
    again = None
    if not means.hasher.is_current(person.password_hash):
        again = await means.hasher.hash(attempt.password)
    signer = await means.keys.signing()
    async with means.db.transaction(person.id) as connection:
        locked = await people_store.lock_person(connection, person.id)
        if locked is None or locked.password_hash != person.password_hash:
            raise WrongCredentialsError
        if again is not None:
            await people_store.set_hash(connection, person.id, again)
        for scope, key in counted.keys:
            await throttles.succeeded(connection, key, scope)
        present = await factors_store.factors(connection, person.id)
        if present.any and not await recovery.remove_when_due(
            connection, means, person.id, now=means.clock()
        ):
            token = new_token("second_factor")
            step = msgspec.msgpack.encode(_Step(attempt.place.device, attempt.place.network))
            await one_time.give(
                connection,
                token,
                "second_factor",
                person.id,
                detail=step,
                now=means.clock(),
                life=SECOND_FACTOR_LIFE,
            )
            return SecondFactorWanted(token.text, present.methods)
    return LoggedIn(await open_for(means, person, attempt.place, signer, with_factor=False))


async def second_factor(means: Means, challenge: str, code: str) -> Tokens:
    """
    Raises:
        SessionOverError: the challenge has run out or was used.
        WrongCodeError: the challenge is still good.
        TooManyAttemptsError
    """
    digest = digest_of("second_factor", challenge)
    if digest is None:
        raise SessionOverError
    async with means.db.transaction() as connection:
        account = await one_time.owner(connection, digest, "second_factor")
        detail = await one_time.detail_of(connection, digest, "second_factor", now=means.clock())
        person = await people_store.person(connection, account)
    if account is None or detail is None or person is None:
        raise SessionOverError
    key = await factors.counted(means, account)
    signer = await means.keys.signing()
    async with means.db.transaction() as connection:
        # Together: of codes that come with one challenge at once, one is used up and the others stay.
        first = await password_proved(connection, means, challenge)
        await factors.take_code(connection, means, account, code, key)
    return await open_for(means, person, first.place, signer, with_factor=True)


class FirstStep(Struct, frozen=True):
    account: AccountId
    place: Place


async def password_proved(connection: Connection, means: Means, challenge: str) -> FirstStep:
    """Takes the challenge that the password was answered with; from then on the transaction sees that account. Who raises after
    this leaves the challenge good.

    Raises:
        SessionOverError: it has run out, or was used.
    """
    digest = digest_of("second_factor", challenge)
    if digest is None:
        raise SessionOverError
    account = await one_time.owner(connection, digest, "second_factor")
    detail = await one_time.take(connection, digest, "second_factor", now=means.clock())
    if account is None or detail is None:
        raise SessionOverError
    step = msgspec.msgpack.decode(detail, type=_Step)
    return FirstStep(account, Place(step.device, step.network))


async def open_for(
    means: Means, person: Person, place: Place, signer: SigningKey, *, with_factor: bool
) -> Tokens:
    """A session for somebody who has just proved who they are, and a mail when it is from somewhere new.

    Raises:
        SessionOverError: the account was deleted, or its password changed, meanwhile.
    """
    now = means.clock()
    async with means.db.transaction(person.id) as connection:
        # A reset or a deletion may have come between what was proved and this.
        locked = await people_store.lock_person(connection, person.id)
        if locked is None or locked.password_changed_at != person.password_changed_at:
            raise SessionOverError
        since = now - USUAL_NETWORK
        is_first = not await sessions_store.had_any(connection, person.id)
        is_usual = await sessions_store.was_at(
            connection, person.id, network=place.network, since=since
        )
        if with_factor:
            await recovery.proved(connection, person.id)
        opening = Opening(account=person.id, place=place, proved_at=now, with_factor=with_factor)
        tokens = await sessions.start(connection, means, opening, signer)
        if not (is_first or is_usual):
            letter = NewSignIn(
                at=now,
                device=place.device or "?",
                network=place.network,
                link=f"{means.site.public_url}/account/forgotten",
            )
            mail = Mail(to=person.mail, language=person.language, letter=letter, account=person.id)
            await notifications.send(connection, mail, key=means.mail_key)
        return tokens


async def confirm_password(means: Means, bearer: Bearer, password: str) -> None:
    """Proves again that the person is there, where a password is all that the account has.

    Raises:
        WrongPasswordError, SecondFactorNeededError, TooManyAttemptsError
    """
    key = throttle_key(means.key, "code", str(bearer.account))
    async with means.db.transaction(bearer.account) as connection:
        if (await factors_store.factors(connection, bearer.account)).any:
            raise SecondFactorNeededError
        await throttles.count(connection, key, "code", now=means.clock())
        person = await own(connection, bearer)
    if not await means.hasher.fits(password, person.password_hash):
        raise WrongPasswordError
    async with means.db.transaction(bearer.account) as connection:
        await throttles.succeeded(connection, key, "code")
        await sessions_store.proved(
            connection, bearer.account, bearer.session, with_factor=False, now=means.clock()
        )


async def confirm_code(means: Means, bearer: Bearer, code: str) -> None:
    """
    Raises:
        WrongCodeError, TooManyAttemptsError
    """
    await factors.prove_code(means, bearer.account, code)
    async with means.db.transaction(bearer.account) as connection:
        await recovery.proved(connection, bearer.account)
        await sessions_store.proved(
            connection, bearer.account, bearer.session, with_factor=True, now=means.clock()
        )


async def _count(means: Means, attempt: Attempt) -> _Counted:
    address = parse_mail_address(attempt.mail)
    now = means.clock()
    async with means.db.transaction() as connection:
        account: AccountId | None = await people_store.account_of_mail(connection, address)
        await act_as(connection, account)
        is_usual = await sessions_store.was_at(
            connection, account, network=attempt.place.network, since=now - USUAL_NETWORK
        )
        # Always in this order, so that two attempts never wait for each other.
        network = throttle_key(means.key, "network", attempt.network)
        await throttles.count(connection, network, "network", now=now)
        scope: Literal["account", "account_here"] = "account"
        refusal, is_tried = None, True
        try:
            await throttles.count(
                connection, throttle_key(means.key, scope, address.key), scope, now=now
            )
        except TooManyAttemptsError as locked:
            # What is answered from here on goes by this count alone, which an address without an account has as well: else a
            # neighbour of the owner could tell. Only the right password tells that the network is the owner's.
            refusal, scope = locked, "account_here"
            is_tried = is_usual and await _may_try(
                connection, throttle_key(means.key, scope, address.key), scope, now=now
            )
        person = await people_store.person(connection, account) if is_tried else None
    keys: list[tuple[Scope, bytes]] = [
        ("network", network),
        (scope, throttle_key(means.key, scope, address.key)),
    ]
    return _Counted(person, keys, refusal)


async def _may_try(connection: Connection, key: bytes, scope: Scope, *, now: datetime) -> bool:
    try:
        await throttles.count(connection, key, scope, now=now)
    except TooManyAttemptsError:
        return False
    return True
