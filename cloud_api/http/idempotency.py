"""A request sent twice is done once: with an `Idempotency-Key`, a route of `opt={"idempotent": True}` answers a repetition with
the answer it gave the first time.

A request is never done twice under one key. The work notes in its own transaction that it is done (`done_here`; such a route says
`"bound": True` as well), so that one of two things is known when the first request ended without leaving its answer: its work was
committed, and a repetition is told so, or it was not, and the key can be taken again once its lease is over. A route that is not
bound tells a repetition that nobody knows: a second payment is worse than a question.
"""

import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any

import msgspec
from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct, structs
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud_api.db import AccountId, Connection, Database
from cloud_api.http.caller import caller
from cloud_api.http.refusals import (
    InvalidFieldError,
    KeyReusedError,
    OutcomeNotKnownError,
    StillRunningError,
)
from shared import crypto
from shared.errors import UnavailableError

# A UUID is the usual key. Shorter ones could be guessed, and longer ones are something else pasted there.
KEY = re.compile(r"[\x21-\x7e]{16,128}")
KEPT_HOURS = (
    24  # as the best known payment API does: a client that still repeats after a day is broken
)
# No request takes as long as this: its database statements are cut off at five seconds each. Whoever does finds the key taken
# from it when it wants to commit.
LEASE_SECONDS = 60
# Larger answers are not what creating something returns; they are given, and not kept.
ANSWER_BYTES_MAX = 256 * 1024

# For the `opt` of a POST that creates something.
CREATES = {"idempotent": True, "bound": True}

_REPLAYED = (b"idempotency-replayed", b"true")
_KEPT_HEADERS = (b"content-type", b"content-language", b"location", b"etag")


class _Claim(Struct, frozen=True, kw_only=True):
    """Whose key, and for what."""

    account: AccountId | None
    caller: bytes
    key: bytes
    request: bytes
    answer_key: bytes
    """Made from the Idempotency-Key, which only its sender has: an answer may hold a secret that is shown once."""
    can_be_retaken: bool
    taken_at: datetime | None = None


class _Kept(Struct, frozen=True):
    request: bytes
    status: int | None
    headers: dict[str, str] | None
    answer: bytes | None
    done_at: datetime | None
    is_over: bool
    """Its lease."""


# Of the request that is being answered: what does the work is called by the route, which knows nothing of this.
_WORKING: ContextVar[_Claim | None] = ContextVar("idempotency_claim", default=None)


async def done_here(connection: Connection) -> None:
    """For the transaction that does the work of a route with `"bound": True`: it is done exactly if this transaction commits.

    Raises:
        StillRunningError: it took so long that somebody else has taken the key; nothing is done here.
    """
    claim = _WORKING.get()
    if claim is None:
        return
    noted = await connection.execute(
        "UPDATE idempotency_keys SET done_at = now() WHERE caller = %s AND key = %s AND created_at = %s",
        [claim.caller, claim.key, claim.taken_at],
    )
    if not noted.rowcount:
        raise StillRunningError(
            "This took too long, and the same request was begun again meanwhile. Wait for that one."
        )


class Idempotency(ASGIMiddleware):
    """Needs the caller to be identified before it."""

    scopes = (ScopeType.HTTP,)

    def __init__(
        self, db: Database, key: bytes, check_session: Callable[[Any], Awaitable[None]]
    ) -> None:
        """`check_session` raises for a scope whose session is over: a kept answer is given before any guard is asked."""
        self._db = db
        self._check_session = check_session
        self._key = crypto.derive(key, "cloud/idempotency")

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        opt = scope["route_handler"].opt
        if not opt.get("idempotent"):
            await next_app(scope, receive, send)
            return
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        key = request.headers.get("idempotency-key")
        if key is None:
            await next_app(scope, receive, send)
            return
        if not KEY.fullmatch(key):
            raise InvalidFieldError(
                "Idempotency-Key",
                "An Idempotency-Key has 16 to 128 visible ASCII characters. A UUID is good.",
                source="header",
            )
        # Litestar keeps the body with the request, so that the route reads it again.
        body = await request.body()
        claim = _claim(self._key, request, key, body, is_bound=bool(opt.get("bound")))
        async with self._db.transaction(claim.account) as connection:
            taken = await _take(connection, claim)
        if isinstance(taken, datetime):
            claim = structs.replace(claim, taken_at=taken)
            await self._answer(claim, scope, receive, send, next_app)
        else:
            if claim.account is not None:
                await self._check_session(scope)
            status, headers, answer = _again(taken, claim)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": answer, "more_body": False})

    async def _answer(
        self, claim: _Claim, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp
    ) -> None:
        messages: list[Message] = []

        async def hold(message: Message) -> None:
            messages.append(message)

        token = _WORKING.set(claim)
        try:
            await next_app(scope, receive, hold)
        finally:
            _WORKING.reset(token)
        try:
            async with self._db.transaction(claim.account) as connection:
                await _settle(connection, claim, messages)
        except UnavailableError:
            # What was done is done, and the caller has to hear it; a repetition will be told that the answer is lost.
            pass
        for message in messages:
            await send(message)


async def forget_keys(connection: Connection, *, before: datetime, most: int) -> int:
    cursor = await connection.execute("SELECT forget_idempotency_keys(%s, %s)", [before, most])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


def _claim(
    own: bytes, request: Request[Any, Any, Any], key: str, body: bytes, *, is_bound: bool
) -> _Claim:
    account = caller(request.scope).account
    # Somebody without an account may change address between two attempts: a telephone does.
    who = "anonymous" if account is None else str(account)
    asked = f"{request.method} {request.scope['path']}\n{key}"
    return _Claim(
        account=account,
        # Keyed: a body may hold a password, and from a plain hash one could be guessed.
        caller=crypto.mac(own, b"caller\n" + who.encode()),
        key=crypto.mac(own, b"key\n" + asked.encode()),
        request=crypto.mac(own, b"request\n" + request.scope["query_string"] + b"\n" + body),
        answer_key=crypto.derive(own + asked.encode(), "cloud/kept answers"),
        can_be_retaken=is_bound,
    )


async def _take(connection: Connection, claim: _Claim) -> datetime | _Kept:
    """A time: the key is ours since then."""
    taken = await connection.execute(
        "INSERT INTO idempotency_keys AS k (caller, key, account_id, request) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (caller, key) DO UPDATE SET created_at = now() WHERE %s AND k.status IS NULL AND k.done_at IS NULL "
        "AND k.request = excluded.request AND k.created_at < now() - make_interval(secs => %s) RETURNING created_at",
        [
            claim.caller,
            claim.key,
            claim.account,
            claim.request,
            claim.can_be_retaken,
            LEASE_SECONDS,
        ],
    )
    if row := await taken.fetchone():
        taken_at: datetime = row[0]
        return taken_at
    async with connection.cursor(row_factory=class_row(_Kept)) as cursor:
        await cursor.execute(
            "SELECT request, status, headers, answer, done_at, created_at < now() - make_interval(secs => %s) AS is_over "
            "FROM idempotency_keys WHERE caller = %s AND key = %s",
            [LEASE_SECONDS, claim.caller, claim.key],
        )
        kept = await cursor.fetchone()
    if kept is None:
        raise StillRunningError(
            "The first request with this Idempotency-Key has just ended. Send it again."
        )
    return kept


def _again(kept: _Kept, claim: _Claim) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    if not crypto.equal(kept.request, claim.request):
        raise KeyReusedError(
            "This Idempotency-Key was used for another request. Take a new key for a new request."
        )
    if kept.status is None or kept.headers is None or kept.answer is None:
        if not kept.is_over:
            raise StillRunningError(
                "The first request with this Idempotency-Key is still running. Wait for it."
            )
        if kept.done_at is not None:
            raise OutcomeNotKnownError(
                "The first request with this Idempotency-Key was done, and its answer is lost. Look at what there is now."
            )
        raise OutcomeNotKnownError(
            "The first request with this Idempotency-Key ended without an answer. Look whether it was done; if it was not, "
            "send it with a new key."
        )
    headers = [(name.encode(), value.encode("latin-1")) for name, value in kept.headers.items()]
    answer = crypto.open_sealed(claim.answer_key, kept.answer, bound_to=claim.key)
    return kept.status, [*headers, _REPLAYED], answer


async def _settle(connection: Connection, claim: _Claim, messages: list[Message]) -> None:
    """Keep the answer; or free the key, when nothing was done and the same may be tried again."""
    status, headers, answer = _read(messages)
    if 400 <= status < 500 or (status == 503 and not _may_be_done(answer)):
        await connection.execute(
            "DELETE FROM idempotency_keys WHERE caller = %s AND key = %s AND created_at = %s",
            [claim.caller, claim.key, claim.taken_at],
        )
    elif status < 400 and len(answer) <= ANSWER_BYTES_MAX:
        sealed = crypto.seal(claim.answer_key, answer, bound_to=claim.key)
        await connection.execute(
            "UPDATE idempotency_keys SET status = %s, headers = %s, answer = %s "
            "WHERE caller = %s AND key = %s AND created_at = %s",
            [status, Jsonb(headers), sealed, claim.caller, claim.key, claim.taken_at],
        )


def _read(messages: list[Message]) -> tuple[int, dict[str, str], bytes]:
    status, headers, answer = 500, {}, b""
    for message in messages:
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {
                name.decode(): value.decode("latin-1")
                for name, value in message["headers"]
                if name.lower() in _KEPT_HEADERS
            }
        elif message["type"] == "http.response.body":
            answer += message["body"]
    return status, headers, answer


class _Code(Struct):
    code: str


def _may_be_done(answer: bytes) -> bool:
    return msgspec.json.decode(answer, type=_Code).code == "outcome_unknown"
