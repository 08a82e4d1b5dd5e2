"""Who sends a request: read from its access token before limits are counted and before any route runs.

It needs no database, but for a key it does not know yet. A request without a token, or with a bad one, goes on as nobody's: what
needs somebody has a guard. This module must never answer a request itself.
"""

from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from cloud_api.accounts.means import Means
from cloud_api.accounts.signed import Known
from cloud_api.accounts.tokens import ACCESS, Bearer, Claims, NotLoggedInError, bearer_now
from cloud_api.http.caller import caller, identify

_BEARER = "sunaiva.bearer"
_MEANS = "sunaiva.accounts"


class Authentication(ASGIMiddleware):
    scopes = (ScopeType.HTTP,)

    def __init__(self, means: Means) -> None:
        self._means = means
        self._known = Known(ACCESS)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        own: Any = scope  # ours beside what ASGI names
        own[_MEANS] = self._means
        # Who was identified by something else shows no access token.
        token = _presented(scope) if caller(scope).account is None else None
        if token is not None:
            try:
                bearer = await authenticate(self._means, token, self._known)
            except NotLoggedInError:
                pass
            else:
                own[_BEARER] = bearer
                identify(scope, bearer.account)
        await next_app(scope, receive, send)


async def authenticate(means: Means, token: str, known: Known[Claims]) -> Bearer:
    """
    Raises:
        NotLoggedInError
    """
    jwk = await means.keys.public(known.key_id(token))
    return bearer_now(known.claims(token, jwk, means.site.issuer), now=means.clock())


def bearer_of(scope: Any) -> Bearer:
    """
    Raises:
        NotLoggedInError: nobody has shown a token that is good.
    """
    found: Bearer | None = scope.get(_BEARER)
    if found is None:
        raise NotLoggedInError
    return found


def means_of(scope: Any) -> Means:
    means: Means = scope[_MEANS]
    return means


def _presented(scope: Scope) -> str | None:
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1:  # two are one too many to choose from
        return None
    scheme, _, token = given[0].decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
