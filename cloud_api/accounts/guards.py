"""What stands before a route: logged in at all, a permission, or proof from just now.

    @get("/ledger", guards=[requires("ledger.read")])

All ask the database whether the session still lives: what is personal is neither shown nor changed by one that was ended, though its
token is good for up to a quarter of an hour. What a route has to read anyway may go `along` with that, in the same message:

    @get("/", guards=[requires("account.own")], opt={"along": store.own_things})

and the route takes it by `found_along`. Whoever is refused never gets that far.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from cloud_api.accounts.authentication import bearer_of, means_of
from cloud_api.accounts.roles import store
from cloud_api.accounts.roles.rules import Lack, Standing, lack_of_permission, lack_of_proof
from cloud_api.accounts.sessions.actions import SessionOverError
from cloud_api.accounts.sessions.store import is_live
from cloud_api.accounts.tokens import Bearer
from cloud_api.http.caller import identify
from cloud_api.questions import Asked
from shared.errors import ForbiddenError

Connected = ASGIConnection[Any, Any, Any, Any]
Along = Callable[[Bearer, datetime], Asked[Any]]

_FOUND = "sunaiva.found_along"


class PermissionMissingError(ForbiddenError):
    code = "permission_missing"

    def __init__(self) -> None:
        super().__init__(
            "Your account may not do this. Ask an administrator for the role that may."
        )


class SecondFactorMissingError(ForbiddenError):
    code = "second_factor_missing"

    def __init__(self) -> None:
        super().__init__(
            "This needs a second factor: set up an authenticator app or a passkey, then log in with it."
        )


class StepUpError(ForbiddenError):
    code = "step_up_needed"

    def __init__(self) -> None:
        super().__init__(
            "Confirm that it is you, at /api/v1/account/step-up, with the strongest means that your account has; "
            "then ask again."
        )


def requires(permission: str) -> Guard:
    async def guard(connection: Connected, _: BaseRouteHandler) -> None:
        standing = await _standing(connection)
        now = means_of(connection.scope).clock()
        _refuse(lack_of_permission(standing, permission, now))
        if permission in standing.staff_permissions - standing.permissions:
            identify(connection.scope, bearer_of(connection.scope).account, "staff")

    return guard


async def step_up(connection: Connected, _: BaseRouteHandler) -> None:
    """Proved within ten minutes: by the second factor where there is one, else by the password."""
    standing = await _standing(connection)
    _refuse(lack_of_proof(standing, means_of(connection.scope).clock()))


async def step_up_with_factor(connection: Connected, _: BaseRouteHandler) -> None:
    """The same, for what an account without a second factor may not do at all: changing where money goes."""
    standing = await _standing(connection)
    now = means_of(connection.scope).clock()
    _refuse(lack_of_proof(standing, now, factor_needed=True))


async def check_session(scope: Any) -> None:
    """For who answers before any guard is asked.

    Raises:
        NotLoggedInError, SessionOverError
    """
    bearer, means = bearer_of(scope), means_of(scope)
    async with means.db.transaction(bearer.account) as connection:
        if not await is_live(connection, bearer.account, bearer.session, now=means.clock()):
            raise SessionOverError


def found_along(scope: Any) -> list[Any]:
    """The rows that the route's `along` asked for."""
    found: list[Any] = scope[_FOUND]
    return found


async def _standing(connection: Connected) -> Standing:
    bearer, means = bearer_of(connection.scope), means_of(connection.scope)
    now = means.clock()
    along: Along | None = connection.route_handler.opt.get("along")
    more = [along(bearer, now)] if along else []
    standing, *found = await means.db.ask_all(
        bearer.account, store.standing(bearer, now=now), *more
    )
    if found:
        own: Any = connection.scope
        own[_FOUND] = found[0]
    return standing[0] if standing else store.GONE


def _refuse(lack: Lack | None) -> None:
    match lack:
        case "session":
            raise SessionOverError
        case "permission":
            raise PermissionMissingError
        case "factor":
            raise SecondFactorMissingError
        case "step_up":
            raise StepUpError
        case None:
            pass
