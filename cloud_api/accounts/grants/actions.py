"""Device authorisation, from both ends: the terminal that asks and the person who decides."""

from msgspec import Struct

from cloud_api.accounts import trail
from cloud_api.accounts.grants import store
from cloud_api.accounts.grants.rules import (
    GRANT_LIFE,
    POLL_INTERVAL,
    AccessDeniedError,
    Answer,
    Approved,
    AuthorizationPendingError,
    Denied,
    Expired,
    GrantOverError,
    Pending,
    PollSlowerError,
    SlowDown,
    UserCodeUnknownError,
    new_user_code,
    on_poll,
    shown_user_code,
    typed_user_code,
)
from cloud_api.accounts.grants.store import GrantRow, NewGrant
from cloud_api.accounts.means import Means
from cloud_api.accounts.people import store as people_store
from cloud_api.accounts.possession import act_as
from cloud_api.accounts.sessions import actions as sessions
from cloud_api.accounts.sessions import store as sessions_store
from cloud_api.accounts.sessions.actions import Opening, Place, SessionOverError, Tokens
from cloud_api.accounts.signed import SigningKey
from cloud_api.accounts.telling import tell
from cloud_api.accounts.throttles import actions as throttles
from cloud_api.accounts.throttles.actions import throttle_key
from cloud_api.accounts.tokens import Bearer, digest_of, new_token
from cloud_api.db import Connection
from cloud_api.notifications.letters import DeviceApproved
from shared import crypto
from shared.errors import UnavailableError

# 20⁸ codes and some thousands that wait: a second collision in a row is a fault, not chance.
USER_CODE_TRIES = 3


class Begun(Struct, frozen=True):
    device_code: str
    user_code: str


async def begin(means: Means, place: Place) -> Begun:
    now = means.clock()
    for _ in range(USER_CODE_TRIES):
        token, user_code = new_token("device"), new_user_code()
        grant = NewGrant(
            digest=token.digest,
            user_code=_kept(means, user_code),
            device=place.device or "terminal",
            network=place.network,
            now=now,
            expires_at=now + GRANT_LIFE,
            interval=POLL_INTERVAL,
        )
        async with means.db.transaction() as connection:
            if await store.add(connection, grant):
                return Begun(token.text, user_code)
    raise UnavailableError("There is no free code at this moment. Try again.")


async def poll(means: Means, device_code: str, network: str) -> Tokens:
    """The session, once a person has approved.

    Raises:
        AuthorizationPendingError, PollSlowerError, AccessDeniedError, GrantOverError
    """
    digest = digest_of("device", device_code)
    if digest is None:
        raise GrantOverError
    signer = await means.keys.signing()
    async with means.db.transaction() as connection:
        row = await store.lock_by_device_code(connection, digest)
        answer = on_poll(row.grant, means.clock()) if row else Expired()
        tokens = row and await _answered(
            connection, means, digest, row, answer, network=network, signer=signer
        )
    # Raised only here: that it was asked has to be remembered.
    match answer:
        case Pending():
            raise AuthorizationPendingError
        case SlowDown(interval=interval):
            raise PollSlowerError(interval)
        case Denied():
            raise AccessDeniedError
        case Expired():
            raise GrantOverError
        case Approved():
            assert tokens
            return tokens


async def look(means: Means, bearer: Bearer, user_code: str) -> tuple[str, GrantRow]:
    """What a person is about to approve: the code as it is shown, which device asks, and from where.

    Raises:
        UserCodeUnknownError, TooManyAttemptsError
    """
    letters = _typed(user_code)
    kept = await _counted(means, bearer, letters)
    async with means.db.transaction(bearer.account) as connection:
        row = await store.by_user_code(connection, kept, now=means.clock())
        if row is None:
            raise UserCodeUnknownError
        await throttles.succeeded(connection, _guesses(means, bearer), "code")
        return shown_user_code(letters), row


async def decide(means: Means, bearer: Bearer, user_code: str, *, approved: bool) -> None:
    """
    Raises:
        UserCodeUnknownError, TooManyAttemptsError
        SessionOverError: all sessions were ended at this moment.
    """
    kept = await _counted(means, bearer, _typed(user_code))
    async with means.db.transaction(bearer.account) as connection:
        now = means.clock()
        # Whoever ends all sessions takes the same lock, and finds what was approved before.
        await people_store.lock_person(connection, bearer.account)
        if not await sessions_store.is_live(connection, bearer.account, bearer.session, now=now):
            raise SessionOverError
        grant = await store.by_user_code(connection, kept, now=now)
        if grant is None or not await store.decide(
            connection, kept, bearer.account, approved=approved, now=now
        ):
            raise UserCodeUnknownError
        await throttles.succeeded(connection, _guesses(means, bearer), "code")
        what = "device.approved" if approved else "device.denied"
        await trail.note(connection, bearer.account, what)
        if approved:
            letter = DeviceApproved(
                at=now,
                device=grant.device,
                network=grant.network,
                link=f"{means.site.public_url}/account/forgotten",
            )
            await tell(connection, means, bearer.account, letter)


async def _answered(
    connection: Connection,
    means: Means,
    digest: bytes,
    row: GrantRow,
    answer: Answer,
    *,
    network: str,
    signer: SigningKey,
) -> Tokens | None:
    now = means.clock()
    interval = answer.interval if isinstance(answer, SlowDown) else row.grant.interval
    await store.polled(connection, digest, interval=interval, now=now)
    if not isinstance(answer, Approved):
        return None
    assert row.account_id is not None, "the table says so"
    await store.redeem(connection, digest, now=now)
    await act_as(connection, row.account_id)
    # The person was at another device: this one has proved nothing yet, and asks before anything sensitive.
    opening = Opening(
        account=row.account_id,
        place=Place(row.device, network),
        proved_at=None,
        with_factor=False,
    )
    return await sessions.start(connection, means, opening, signer)


def _typed(user_code: str) -> str:
    letters = typed_user_code(user_code)
    if letters is None:
        raise UserCodeUnknownError
    return letters


async def _counted(means: Means, bearer: Bearer, letters: str) -> bytes:
    async with means.db.transaction(bearer.account) as connection:
        await throttles.count(connection, _guesses(means, bearer), "code", now=means.clock())
    return _kept(means, letters)


def _guesses(means: Means, bearer: Bearer) -> bytes:
    return throttle_key(means.key, "code", f"user code {bearer.account}")


def _kept(means: Means, user_code: str) -> bytes:
    return crypto.mac(
        crypto.derive(means.key, "cloud/user codes"), user_code.replace("-", "").encode()
    )
