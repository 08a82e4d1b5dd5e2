"""Setting up an authenticator app, and proving a typed code."""

from msgspec import Struct

from cloud_api.accounts import trail
from cloud_api.accounts.factors import store
from cloud_api.accounts.factors.rules import (
    CODE_CHARS_MAX,
    WrongCodeError,
    new_recovery_codes,
    new_totp_secret,
    recovery_digest,
    totp_step,
    totp_uri,
)
from cloud_api.accounts.factors.store import Factors, Method
from cloud_api.accounts.means import Means
from cloud_api.accounts.people import store as people_store
from cloud_api.accounts.people.actions import own
from cloud_api.accounts.telling import tell
from cloud_api.accounts.throttles import actions as throttles
from cloud_api.accounts.throttles.actions import throttle_key
from cloud_api.accounts.tokens import Bearer
from cloud_api.db import AccountId, Connection
from cloud_api.http.idempotency import done_here
from cloud_api.notifications.letters import FactorAdded, FactorRemoved
from shared import crypto
from shared.errors import ConflictError, NotFoundError


class TotpThereError(ConflictError):
    code = "totp_there"

    def __init__(self) -> None:
        super().__init__("There is an authenticator app already. Remove it first.")


class NoTotpError(NotFoundError):
    code = "no_totp"

    def __init__(self) -> None:
        super().__init__("There is no authenticator app to do this with. Set one up first.")


class NoFactorError(ConflictError):
    code = "no_second_factor"

    def __init__(self) -> None:
        super().__init__(
            "Recovery codes stand in for a second factor, and there is none. Set up an authenticator app or a passkey."
        )


class Proposal(Struct, frozen=True):
    secret: str
    uri: str


async def propose_totp(means: Means, bearer: Bearer) -> Proposal:
    """A secret for an authenticator app; it counts once a code of it was confirmed.

    Raises:
        TotpThereError
    """
    secret = new_totp_secret()
    sealed = crypto.seal(_key(means), secret.encode(), bound_to=bearer.account.bytes)
    async with means.db.transaction(bearer.account) as connection:
        person = await own(connection, bearer)
        if not await store.propose_totp(connection, bearer.account, sealed, now=means.clock()):
            raise TotpThereError
        await done_here(connection)
    return Proposal(secret, totp_uri(secret, person.mail))


async def confirm_totp(means: Means, bearer: Bearer, code: str) -> list[str]:
    """The app works: it is a second factor from now on. Returns recovery codes if these are the first.

    Raises:
        NoTotpError, TotpThereError, WrongCodeError, TooManyAttemptsError
    """
    key = await counted(means, bearer.account)
    async with means.db.transaction(bearer.account) as connection:
        await one_at_a_time(connection, bearer.account)
        row = await store.lock_totp(connection, bearer.account)
        if row is None:
            raise NoTotpError
        if row.confirmed_at is not None:
            raise TotpThereError
        before = await store.factors(connection, bearer.account)
        await _take_totp(connection, means, bearer.account, code)
        await throttles.succeeded(connection, key, "code")
        await done_here(connection)
        await trail.note(connection, bearer.account, "totp.added")
        await tell_added(connection, means, bearer.account)
        return await first_recovery_codes(connection, means, bearer.account, before)


async def remove_totp(means: Means, bearer: Bearer) -> None:
    """
    Raises:
        NoTotpError
    """
    async with means.db.transaction(bearer.account) as connection:
        await one_at_a_time(connection, bearer.account)
        if not await store.remove_totp(connection, bearer.account):
            raise NoTotpError
        await trail.note(connection, bearer.account, "totp.removed")
        await tell_removed(connection, means, bearer.account)
        await drop_idle_codes(connection, means, bearer.account)


async def renew_recovery_codes(means: Means, bearer: Bearer) -> list[str]:
    """Ten new codes; those from before are void.

    Raises:
        NoFactorError
    """
    async with means.db.transaction(bearer.account) as connection:
        await one_at_a_time(connection, bearer.account)
        if not (await store.factors(connection, bearer.account)).any:
            raise NoFactorError
        await done_here(connection)
        await trail.note(connection, bearer.account, "recovery_codes.renewed")
        return await _new_codes(connection, means, bearer.account)


async def own_factors(means: Means, bearer: Bearer) -> Factors:
    async with means.db.transaction(bearer.account) as connection:
        return await store.factors(connection, bearer.account)


async def one_at_a_time(connection: Connection, account: AccountId) -> None:
    """Whoever adds, removes or renews factors decides by how many there are, which nobody else changes then."""
    await people_store.lock_person(connection, account)


async def first_recovery_codes(
    connection: Connection, means: Means, account: AccountId, before: Factors
) -> list[str]:
    """Codes for whoever has got a first factor; nobody else's are replaced unasked."""
    return [] if before.any else await _new_codes(connection, means, account)


async def drop_idle_codes(connection: Connection, means: Means, account: AccountId) -> None:
    """Without a factor there is nothing to recover, and a code that still opens something is forgotten about."""
    if not (await store.factors(connection, account)).any:
        await store.replace_recovery_codes(connection, account, [], now=means.clock())


async def tell_added(connection: Connection, means: Means, account: AccountId) -> None:
    link = f"{means.site.public_url}/account/forgotten"
    await tell(connection, means, account, FactorAdded(at=means.clock(), link=link))


async def tell_removed(connection: Connection, means: Means, account: AccountId) -> None:
    link = f"{means.site.public_url}/account/forgotten"
    await tell(connection, means, account, FactorRemoved(at=means.clock(), link=link))


async def prove_code(means: Means, account: AccountId, code: str) -> Method:
    """Takes a code of the app or a recovery code, whichever it looks like; it is used up.

    Raises:
        WrongCodeError, TooManyAttemptsError
    """
    key = await counted(means, account)
    async with means.db.transaction(account) as connection:
        return await take_code(connection, means, account, code, key)


async def take_code(
    connection: Connection, means: Means, account: AccountId, code: str, key: bytes
) -> Method:
    """In a transaction of the account; `key` is what `counted` gave.

    Raises:
        WrongCodeError
    """
    method = await _take_code(connection, means, account, code)
    await throttles.succeeded(connection, key, "code")
    return method


async def counted(means: Means, account: AccountId) -> bytes:
    """One more try.

    Raises:
        TooManyAttemptsError
    """
    # In a transaction of its own: what follows may fail, and must be counted all the same.
    key = throttle_key(means.key, "code", str(account))
    async with means.db.transaction(account) as connection:
        await throttles.count(connection, key, "code", now=means.clock())
    return key


async def _take_code(connection: Connection, means: Means, account: AccountId, code: str) -> Method:
    if len(code) > CODE_CHARS_MAX:
        raise WrongCodeError
    if code.replace(" ", "").isdigit():
        row = await store.lock_totp(connection, account)
        if row is None or row.confirmed_at is None:
            raise WrongCodeError
        await _take_totp(connection, means, account, code)
        return "totp"
    if not await store.take_recovery_code(connection, account, recovery_digest(code)):
        raise WrongCodeError
    await trail.note(connection, account, "recovery_code.used")
    return "recovery_code"


async def _take_totp(connection: Connection, means: Means, account: AccountId, code: str) -> None:
    row = await store.lock_totp(connection, account)
    if row is None:
        raise WrongCodeError
    secret = crypto.open_sealed(_key(means), row.sealed, bound_to=account.bytes).decode()
    now = means.clock()
    step = totp_step(secret, code, now=now, last_step=row.last_step)
    if step is None:
        raise WrongCodeError
    await store.took_step(connection, account, step, now=now)


async def _new_codes(connection: Connection, means: Means, account: AccountId) -> list[str]:
    codes = new_recovery_codes()
    digests = [recovery_digest(code) for code in codes]
    await store.replace_recovery_codes(connection, account, digests, now=means.clock())
    return codes


def _key(means: Means) -> bytes:
    return crypto.derive(means.key, "cloud/totp secrets")
