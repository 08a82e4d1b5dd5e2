"""Where somebody is logged in, and ending that."""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Request, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from cloud_api.accounts.authentication import bearer_of
from cloud_api.accounts.guards import found_along
from cloud_api.accounts.means import Means
from cloud_api.accounts.sessions import actions
from cloud_api.accounts.tokens import Bearer, SessionId
from cloud_api.http.refusing import refusals


class SessionAnswer(Struct, frozen=True):
    id: UUID
    device: str | None
    network: str
    started_at: datetime
    used_at: datetime
    expires_at: datetime
    is_this: bool


class SessionsAnswer(Struct, frozen=True):
    items: list[SessionAnswer]


class Ended(Struct, frozen=True):
    ended: int


@get(
    "/sessions",
    summary="Where you are logged in",
    opt={"along": actions.live_sessions},
    responses=refusals(401),
)
async def own_sessions(request: Request[Any, Any, Any]) -> SessionsAnswer:
    bearer = bearer_of(request.scope)
    return SessionsAnswer(
        [
            SessionAnswer(
                id=row.id,
                device=row.device,
                network=row.network,
                started_at=row.started_at,
                used_at=row.used_at,
                expires_at=row.expires_at,
                is_this=row.id == bearer.session,
            )
            for row in found_along(request.scope)
        ]
    )


@delete(
    "/sessions/{session_id:uuid}",
    summary="End one of your sessions",
    responses=refusals(401, 404),
)
async def revoke(
    session_id: FromPath[UUID], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> None:
    await actions.revoke(accounts, bearer, SessionId(session_id))


@delete(
    "/sessions", status_code=200, summary="End all your other sessions", responses=refusals(401)
)
async def revoke_others(bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]) -> Ended:
    return Ended(await actions.revoke_others(accounts, bearer))


OWN = [own_sessions, revoke, revoke_others]
