"""A request sent twice is done once: with an `Idempotency-Key`, a route of `opt={"idempotent": True}` answers a repetition with
the answer it gave the first time.

A request is never done twice under one key. When the first ended without leaving its answer (a crash between its work and
this), the repetition is told that nobody knows, rather than being done again: a second payment is worse than a question.
"""

import hashlib
import re
from datetime import datetime, timedelta
from typing import Any

import msgspec
from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct
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
from shared.clock import Clock
from shared.errors import UnavailableError

# A UUID is the usual key. Shorter ones could be guessed, and longer ones are something else pasted there.
KEY = re.compile(r"[\x21-\x7e]{16,128}")
KEPT_HOURS = (
    24  # as the best known payment API does: a client that still repeats after a day is broken
)
# No request takes as long as this: its database statements are cut off at five seconds each.
RUNNING_SECONDS_MAX = 60
# Larger answers are not what creating something returns; they are given, and not kept.
ANSWER_BYTES_MAX = 256 * 1024

_REPLAYED = (b"idempotency-replayed", b"true")
_KEPT_HEADERS = (b"content-type", b"content-language", b"location", b"etag")


class _Claim(Struct, frozen=True, kw_only=True):
    """Whose key, and for what."""

    account: AccountId | None
    caller: bytes
    key: bytes
    request: bytes


class _Kept(Struct, frozen=True):
    request: bytes
    status: int | None
    headers: dict[str, str] | None
    answer: bytes | None
    created_at: datetime


class Idempotency(ASGIMiddleware):
    """Needs the caller to be identified before it."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if not scope["route_handler"].opt.get("idempotent"):
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
            )
        # Litestar keeps the body with the request, so that the route reads it again.
        claim = _claim(request, key, await request.body())
        async with self._db.transaction(claim.account) as connection:
            kept = await _take(connection, claim)
        if kept is None:
            await self._answer(claim, scope, receive, send, next_app)
        else:
            status, headers, answer = _again(kept, claim, self._clock())
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": answer, "more_body": False})

    async def _answer(
        self, claim: _Claim, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp
    ) -> None:
        messages: list[Message] = []

        async def hold(message: Message) -> None:
            messages.append(message)

        await next_app(scope, receive, hold)
        try:
            async with self._db.transaction(claim.account) as connection:
                await _settle(connection, claim, messages)
        except UnavailableError:
            # What was done is done, and the caller has to hear it; a repetition will be told that nobody knows.
            pass
        for message in messages:
            await send(message)


def _claim(request: Request[Any, Any, Any], key: str, body: bytes) -> _Claim:
    account = caller(request.scope).account
    # Somebody without an account may change address between two attempts: a telephone does.
    who = "anonymous" if account is None else str(account)
    asked = f"{request.method} {request.scope['path']}\n{key}"
    return _Claim(
        account=account,
        caller=hashlib.sha256(who.encode()).digest(),
        key=hashlib.sha256(asked.encode()).digest(),
        request=hashlib.sha256(request.scope["query_string"] + b"\n" + body).digest(),
    )


async def _take(connection: Connection, claim: _Claim) -> _Kept | None:
    """None: the key is ours now."""
    taken = await connection.execute(
        "INSERT INTO idempotency_keys (caller, key, account_id, request) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (caller, key) DO NOTHING",
        [claim.caller, claim.key, claim.account, claim.request],
    )
    if taken.rowcount:
        return None
    async with connection.cursor(row_factory=class_row(_Kept)) as cursor:
        await cursor.execute(
            "SELECT request, status, headers, answer, created_at FROM idempotency_keys WHERE caller = %s AND key = %s",
            [claim.caller, claim.key],
        )
        kept = await cursor.fetchone()
    if kept is None:
        raise StillRunningError(
            "The first request with this Idempotency-Key has just ended. Send it again."
        )
    return kept


def _again(
    kept: _Kept, claim: _Claim, now: datetime
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    if kept.request != claim.request:
        raise KeyReusedError(
            "This Idempotency-Key was used for another request. Take a new key for a new request."
        )
    if kept.status is None or kept.headers is None or kept.answer is None:
        if now - kept.created_at < timedelta(seconds=RUNNING_SECONDS_MAX):
            raise StillRunningError(
                "The first request with this Idempotency-Key is still running. Wait for it."
            )
        raise OutcomeNotKnownError(
            "The first request with this Idempotency-Key ended without an answer. Look whether it was done; if it was not, "
            "send it with a new key."
        )
    headers = [(name.encode(), value.encode("latin-1")) for name, value in kept.headers.items()]
    return kept.status, [*headers, _REPLAYED], kept.answer


async def _settle(connection: Connection, claim: _Claim, messages: list[Message]) -> None:
    """Keep the answer; or free the key, when nothing was done and the same may be tried again."""
    status, headers, answer = _read(messages)
    if 400 <= status < 500 or (status == 503 and not _may_be_done(answer)):
        await connection.execute(
            "DELETE FROM idempotency_keys WHERE caller = %s AND key = %s", [claim.caller, claim.key]
        )
    elif status < 400 and len(answer) <= ANSWER_BYTES_MAX:
        await connection.execute(
            "UPDATE idempotency_keys SET status = %s, headers = %s, answer = %s WHERE caller = %s AND key = %s",
            [status, Jsonb(headers), answer, claim.caller, claim.key],
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
