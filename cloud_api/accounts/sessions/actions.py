"""Opening, refreshing and ending sessions."""

from datetime import datetime
from typing import assert_never

from msgspec import Struct

from cloud_api.accounts import trail
from cloud_api.accounts.events import SessionOpened
from cloud_api.accounts.means import Means
from cloud_api.accounts.possession import act_as
from cloud_api.accounts.sessions import store
from cloud_api.accounts.sessions.rules import (
    Family,
    Over,
    Presented,
    Repeat,
    Reuse,
    Rotate,
    expiry,
    on_refresh,
)
from cloud_api.accounts.sessions.store import NewSession, PresentedRow, SessionRow
from cloud_api.accounts.signed import SigningKey
from cloud_api.accounts.tokens import (
    Bearer,
    NotLoggedInError,
    SessionId,
    digest_of,
    new_token,
    sign_access_token,
)
from cloud_api.db import AccountId, Connection
from cloud_api.events import record
from cloud_api.http.refusals import NotAuthenticatedError
from cloud_api.questions import Asked
from shared import crypto
from shared.errors import NotFoundError


class SessionOverError(NotAuthenticatedError):
    code = "session_over"

    def __init__(self) -> None:
        super().__init__("This session is over. Log in again.")


class SessionUnknownError(NotFoundError):
    code = "session_unknown"

    def __init__(self) -> None:
        super().__init__(
            "You have no such session, or it is over already. The list shows those there are."
        )


class Place(Struct, frozen=True):
    """Where a session is used: what the person recognises it by."""

    device: str | None
    network: str


class Tokens(Struct, frozen=True):
    access_token: str
    refresh_token: str

    def __repr__(self) -> str:
        return "Tokens(…)"


class Opening(Struct, frozen=True, kw_only=True):
    account: AccountId
    place: Place
    proved_at: datetime | None
    """When the person proved to be there; None for a device that was approved from elsewhere."""
    with_factor: bool


async def start(
    connection: Connection, means: Means, opening: Opening, signer: SigningKey
) -> Tokens:
    """A new session in a transaction of its account. `signer` is fetched before, so that no second connection is needed."""
    now = means.clock()
    expires_at = expiry(now, now)
    session = await store.open_session(
        connection,
        NewSession(
            account=opening.account,
            device=opening.place.device,
            network=opening.place.network,
            now=now,
            expires_at=expires_at,
            proved_at=opening.proved_at,
            factor_at=opening.proved_at if opening.with_factor else None,
        ),
    )
    refresh = new_token("refresh")
    await store.add_refresh_token(
        connection,
        refresh.digest,
        account=opening.account,
        session=session,
        now=now,
        expires_at=expires_at,
    )
    await trail.note(connection, opening.account, "session.opened", session=session)
    await record(connection, SessionOpened(account=opening.account, at=now))
    bearer = Bearer(account=opening.account, session=session)
    return Tokens(_access_token(means, bearer, signer), refresh.text)


async def refresh(means: Means, token: str, network: str) -> Tokens:
    """The next pair of tokens. A token that was spent ends its session, for whoever has it and for whoever had it.

    Raises:
        SessionOverError: there is nothing to go on with.
    """
    digest = digest_of("refresh", token)
    if digest is None:
        raise SessionOverError
    signer = await means.keys.signing()
    async with means.db.transaction() as connection:
        account = await store.account_of_refresh_token(connection, digest)
        await act_as(connection, account)
        presented = await store.lock_presented(connection, digest)
        tokens = presented and await _refreshed(
            connection, means, presented, token=token, network=network, signer=signer
        )
    # Raised only here: what the theft of a token led to has to be committed.
    if not tokens:
        raise SessionOverError
    return tokens


async def log_out(means: Means, bearer: Bearer) -> None:
    """Ends the session of this access token; again does nothing."""
    async with means.db.transaction(bearer.account) as connection:
        now = means.clock()
        if await store.end(connection, bearer.account, bearer.session, why="logout", now=now):
            await trail.note(connection, bearer.account, "session.ended", session=bearer.session)


async def log_out_by_token(means: Means, token: str) -> None:
    """Ends the session of this refresh token, for a client whose access token has run out."""
    digest = digest_of("refresh", token)
    if digest is None:
        return
    async with means.db.transaction() as connection:
        account = await store.account_of_refresh_token(connection, digest)
        await act_as(connection, account)
        presented = await store.lock_presented(connection, digest)
        if presented is not None:
            now, session = means.clock(), presented.session_id
            if await store.end(connection, presented.account_id, session, why="logout", now=now):
                await trail.note(connection, presented.account_id, "session.ended", session=session)


def live_sessions(bearer: Bearer, now: datetime) -> Asked[SessionRow]:
    """Goes along with a guard."""
    return store.live(bearer.account, now=now)


async def revoke(means: Means, bearer: Bearer, session: SessionId) -> None:
    """
    Raises:
        SessionUnknownError: it is not one of this person's, or over already.
    """
    async with means.db.transaction(bearer.account) as connection:
        now = means.clock()
        if not await store.end(connection, bearer.account, session, why="revoked", now=now):
            raise SessionUnknownError
        await trail.note(connection, bearer.account, "session.revoked", session=session)


async def revoke_others(means: Means, bearer: Bearer) -> int:
    async with means.db.transaction(bearer.account) as connection:
        now = means.clock()
        ended = await store.end_all(
            connection, bearer.account, but=bearer.session, why="revoked", now=now
        )
        await trail.note(connection, bearer.account, "sessions.revoked")
        return ended


async def _refreshed(
    connection: Connection,
    means: Means,
    presented: PresentedRow,
    *,
    token: str,
    network: str,
    signer: SigningKey,
) -> Tokens | None:
    now = means.clock()
    bearer = Bearer(account=presented.account_id, session=presented.session_id)
    family = Family(presented.started_at, presented.ended_at)
    verdict = on_refresh(
        family, Presented(presented.issued_at, presented.used_at, presented.successor_used), now
    )
    match verdict:
        case Rotate(expires_at=expires_at):
            successor = await _rotate(connection, bearer, token, now=now, expires_at=expires_at)
            await store.touch(
                connection,
                bearer.account,
                bearer.session,
                network=network,
                now=now,
                expires_at=expires_at,
            )
        case Repeat():
            assert presented.successor_sealed is not None, "kept until the successor is used"
            sealing = _successor_key(token)
            successor = crypto.open_sealed(
                sealing, presented.successor_sealed, bound_to=b""
            ).decode()
        case Reuse():
            if await store.end(connection, bearer.account, bearer.session, why="reuse", now=now):
                await trail.note(
                    connection,
                    bearer.account,
                    "session.token_reused",
                    session=bearer.session,
                )
            return None
        case Over():
            return None
        case _:
            assert_never(verdict)
    return Tokens(_access_token(means, bearer, signer), successor)


async def _rotate(
    connection: Connection, bearer: Bearer, token: str, *, now: datetime, expires_at: datetime
) -> str:
    successor = new_token("refresh")
    digest = digest_of("refresh", token)
    if digest is None:
        raise NotLoggedInError
    await store.add_refresh_token(
        connection,
        successor.digest,
        account=bearer.account,
        session=bearer.session,
        now=now,
        expires_at=expires_at,
    )
    sealed = crypto.seal(_successor_key(token), successor.text.encode(), bound_to=b"")
    await store.spend(connection, digest, successor=successor.digest, sealed=sealed, now=now)
    return successor.text


def _successor_key(token: str) -> bytes:
    # From the token itself, of which the database has the hash only: who reads the database cannot open this.
    return crypto.derive(token.encode(), "cloud/refresh successor")


def _access_token(means: Means, bearer: Bearer, signer: SigningKey) -> str:
    return sign_access_token(
        signer,
        means.site.issuer,
        bearer,
        token_id=crypto.random_key().hex()[:32],
        now=means.clock(),
    )
