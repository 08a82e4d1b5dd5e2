"""Adding, using and removing passkeys."""

import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from cloud_api.accounts import one_time, trail
from cloud_api.accounts.factors import actions as factors
from cloud_api.accounts.factors import recovery
from cloud_api.accounts.factors import store as factors_store
from cloud_api.accounts.login.actions import open_for, password_proved
from cloud_api.accounts.means import Means
from cloud_api.accounts.passkeys import ceremonies, store
from cloud_api.accounts.passkeys.ceremonies import (
    CHALLENGE_BYTES,
    Credential,
    PasskeyRefusedError,
)
from cloud_api.accounts.passkeys.store import PASSKEYS_MAX, PasskeyRow
from cloud_api.accounts.people import store as people_store
from cloud_api.accounts.people.actions import own
from cloud_api.accounts.people.store import Person
from cloud_api.accounts.sessions import store as sessions_store
from cloud_api.accounts.sessions.actions import Place, Tokens
from cloud_api.accounts.tokens import Bearer, digest_of, new_token
from cloud_api.db import AccountId
from cloud_api.http.idempotency import done_here
from shared.errors import ConflictError, ForbiddenError, NotFoundError, QuotaExceededError

CEREMONY_LIFE = timedelta(minutes=5)


class PasskeyKnownError(ConflictError):
    code = "passkey_known"

    def __init__(self) -> None:
        super().__init__("This passkey is registered already.")


class TooManyPasskeysError(QuotaExceededError):
    code = "too_many_passkeys"

    def __init__(self) -> None:
        super().__init__(
            f"There are {PASSKEYS_MAX} passkeys already. Remove one that is not used any more."
        )


class PasskeyNeedsPasswordError(ForbiddenError):
    code = "passkey_needs_password"

    def __init__(self) -> None:
        super().__init__(
            "The password was reset by mail since this passkey was last used. Log in with the new password first, and show the "
            "passkey as your second factor."
        )


class PasskeyUnknownError(NotFoundError):
    code = "passkey_unknown"

    def __init__(self) -> None:
        super().__init__("You have no such passkey. The list shows those there are.")


class Ceremony(Struct, frozen=True):
    handle: str
    """Comes back with what the authenticator says."""
    options: dict[str, Any]


class Added(Struct, frozen=True):
    passkey: PasskeyRow
    recovery_codes: list[str]


async def begin_adding(means: Means, bearer: Bearer) -> Ceremony:
    """
    Raises:
        TooManyPasskeysError
    """
    challenge, token = secrets.token_bytes(CHALLENGE_BYTES), new_token("passkey")
    async with means.db.transaction(bearer.account) as connection:
        person = await own(connection, bearer)
        known = await store.credential_ids(connection, bearer.account)
        if len(known) >= PASSKEYS_MAX:
            raise TooManyPasskeysError
        await one_time.give(
            connection,
            token,
            "passkey",
            bearer.account,
            detail=challenge,
            now=means.clock(),
            life=CEREMONY_LIFE,
        )
    options = ceremonies.registration_options(
        means.site, handle=bearer.account.bytes, name=person.mail, challenge=challenge, known=known
    )
    return Ceremony(token.text, options)


async def add(
    means: Means, bearer: Bearer, *, handle: str, credential: Credential, name: str
) -> Added:
    """
    Raises:
        PasskeyRefusedError, PasskeyKnownError, TooManyPasskeysError
    """
    digest = digest_of("passkey", handle)
    if digest is None:
        raise PasskeyRefusedError
    async with means.db.transaction(bearer.account) as connection:
        challenge = await one_time.take(connection, digest, "passkey", now=means.clock())
    if challenge is None:
        raise PasskeyRefusedError
    new = ceremonies.registered(means.site, credential, challenge)
    async with means.db.transaction(bearer.account) as connection:
        await factors.one_at_a_time(connection, bearer.account)
        before = await factors_store.factors(connection, bearer.account)
        if before.passkeys >= PASSKEYS_MAX:
            raise TooManyPasskeysError
        row = await store.add(
            connection,
            bearer.account,
            credential_id=new.id,
            public_key=new.public_key,
            sign_count=new.sign_count,
            name=name,
            now=means.clock(),
        )
        if row is None:
            raise PasskeyKnownError
        await done_here(connection)
        await trail.note(connection, bearer.account, "passkey.added")
        await factors.tell_added(connection, means, bearer.account)
        codes = await factors.first_recovery_codes(connection, means, bearer.account, before)
        return Added(row, codes)


async def own_passkeys(means: Means, bearer: Bearer) -> list[PasskeyRow]:
    async with means.db.transaction(bearer.account) as connection:
        return await store.of(connection, bearer.account)


async def remove(means: Means, bearer: Bearer, passkey: UUID) -> None:
    """
    Raises:
        PasskeyUnknownError: it is not one of this person's.
    """
    async with means.db.transaction(bearer.account) as connection:
        await factors.one_at_a_time(connection, bearer.account)
        if not await store.remove(connection, bearer.account, passkey):
            raise PasskeyUnknownError
        await trail.note(connection, bearer.account, "passkey.removed")
        await factors.tell_removed(connection, means, bearer.account)
        await factors.drop_idle_codes(connection, means, bearer.account)


async def begin_login(means: Means) -> Ceremony:
    challenge, token = secrets.token_bytes(CHALLENGE_BYTES), new_token("passkey")
    async with means.db.transaction() as connection:
        await store.add_challenge(
            connection, token.digest, challenge, expires_at=means.clock() + CEREMONY_LIFE
        )
    return Ceremony(token.text, ceremonies.login_options(means.site, challenge=challenge))


async def log_in(
    means: Means, *, handle: str, credential: Credential, place: Place, challenge: str | None = None
) -> Tokens:
    """Both factors at once; with the challenge that a password was answered with, the second one. No count of failures stands in
    its way: a signature is not guessed.

    Raises:
        PasskeyRefusedError, PasskeyNeedsPasswordError
        SessionOverError: the challenge has run out, or was used.
    """
    person = await _prove(means, handle, credential, challenge=challenge)
    signer = await means.keys.signing()
    return await open_for(means, person, place, signer, with_factor=True)


async def confirm(means: Means, bearer: Bearer, *, handle: str, credential: Credential) -> None:
    """Proves again that the person is there.

    Raises:
        PasskeyRefusedError: also when it is somebody else's.
    """
    person = await _prove(means, handle, credential, known=bearer.account)
    async with means.db.transaction(person.id) as connection:
        await recovery.proved(connection, person.id)
        await sessions_store.proved(
            connection, person.id, bearer.session, with_factor=True, now=means.clock()
        )


async def _prove(
    means: Means,
    handle: str,
    credential: Credential,
    *,
    challenge: str | None = None,
    known: AccountId | None = None,
) -> Person:
    """`challenge` and `known` say that the person has shown more than this passkey: the password, or a session."""
    digest = digest_of("passkey", handle)
    if digest is None:
        raise PasskeyRefusedError
    named = ceremonies.credential_id(credential)
    async with means.db.transaction() as connection:
        # Committed before it is looked at: a challenge is good for one attempt.
        asked = await store.take_challenge(connection, digest, now=means.clock())
    if asked is None:
        raise PasskeyRefusedError
    async with means.db.transaction() as connection:
        if challenge is not None:
            known = (await password_proved(connection, means, challenge)).account
        account = await store.owner(connection, named)
        row = account and await store.lock_credential(connection, account, named)
        if account is None or not row or known not in (None, account):
            raise PasskeyRefusedError
        count = ceremonies.proved(
            means.site, credential, asked, public_key=row.public_key, sign_count=row.sign_count
        )
        if row.needs_password and known is None:
            raise PasskeyNeedsPasswordError
        await store.used(connection, account, row.id, sign_count=count, now=means.clock())
        person = await people_store.person(connection, account)
    if person is None:
        raise PasskeyRefusedError
    return person
