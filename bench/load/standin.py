"""What is measured until accounts have a route of their own: the shipped application, with one route that reads the caller's row.

Everything around that route is the product's: Granian, edge, limits, problems, telemetry, pool, roles, row-level security.
"""

import os
from datetime import datetime
from typing import Any
from uuid import UUID

import jwt
from litestar import get
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct, structs
from psycopg.rows import class_row

from bench.load.people import ALGORITHM, AUDIENCE
from cloud_api import deps as wiring
from cloud_api.app import create_app
from cloud_api.db import AccountId, Database
from cloud_api.http.caller import caller, identify
from cloud_api.http.refusals import NotAuthenticatedError
from cloud_api.settings import load
from shared.errors import NotFoundError


class Person(Struct, frozen=True):
    id: UUID
    mail: str
    name: str
    created_at: datetime


class Authentication(ASGIMiddleware):
    scopes = (ScopeType.HTTP,)

    def __init__(self, public_key: str) -> None:
        self._key = jwt.PyJWK.from_json(public_key).key

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        given = dict(scope["headers"]).get(b"authorization")
        if given is not None:
            identify(scope, self._account(given.removeprefix(b"Bearer ").decode()))
        await next_app(scope, receive, send)

    def _account(self, token: str) -> AccountId:
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=AUDIENCE)
        except jwt.InvalidTokenError:
            raise NotAuthenticatedError("Log in.") from None
        return AccountId(UUID(claims["sub"]))


@get("/api/v1/account", summary="The caller's own row")
async def account(db: Database, scope: Scope) -> Person:
    who = caller(scope).account
    if who is None:
        raise NotAuthenticatedError("Log in.")
    async with db.reading(who) as connection:
        cursor = connection.cursor(row_factory=class_row(Person))
        await cursor.execute(
            "SELECT id, mail, name, created_at FROM load_people WHERE id = %s", [who]
        )
        found = await cursor.fetchone()
    if found is None:
        raise NotFoundError("There is nobody.")
    return found


def serving() -> Any:
    settings = load()
    assert settings.database_url is not None
    deps = wiring.build(settings, settings.database_url.reveal)
    return create_app(
        structs.replace(
            deps,
            routes=[account],
            authentication=[Authentication(os.environ["LOAD_BENCH_PUBLIC_KEY"])],
        )
    )
