"""Who sends a request: read from its access token before limits are counted and before any route runs.

It needs no database, but for a key it does not know yet. A request without a token, or with a bad one, goes on as nobody's: what
needs somebody has a guard. This module must never answer a request itself.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from cloud_api.accounts.means import Means
from cloud_api.accounts.tokens import (
    Bearer,
    Claims,
    Issuer,
    NotLoggedInError,
    bearer_now,
    claims_of,
    key_id_of,
)
from cloud_api.http.caller import identify

# Some 5 MB of each process.
KNOWN_TOKENS_MAX = 10_000
_BEARER = "sunaiva.bearer"
_MEANS = "sunaiva.accounts"


class Authentication(ASGIMiddleware):
    scopes = (ScopeType.HTTP,)

    def __init__(self, means: Means) -> None:
        self._means = means
        self._known = KnownTokens()

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        own: Any = scope  # ours beside what ASGI names
        own[_MEANS] = self._means
        token = _presented(scope)
        if token is not None:
            try:
                bearer = await authenticate(self._means, token, self._known)
            except NotLoggedInError:
                pass
            else:
                own[_BEARER] = bearer
                identify(scope, bearer.account)
        await next_app(scope, receive, send)


class KnownTokens:
    """What tokens say whose signature was good: to check one again costs as much as a small question to the database. The least
    recently used go first. Their digests are kept, never they themselves.
    """

    def __init__(self, most: int = KNOWN_TOKENS_MAX) -> None:
        self._most = most
        self._claims: OrderedDict[bytes, Claims] = OrderedDict()

    def claims(self, token: str, public_jwk: Mapping[str, str], issuer: Issuer) -> Claims:
        # With the key and the issuer: the same token means nothing under others.
        said = "\n".join([token, public_jwk["x"], issuer.issuer, issuer.audience])
        digest = hashlib.sha256(said.encode()).digest()
        known = self._claims.get(digest)
        if known is None:
            known = self._claims[digest] = claims_of(token, public_jwk, issuer)
            if len(self._claims) > self._most:
                self._claims.popitem(last=False)
        self._claims.move_to_end(digest)
        return known


async def authenticate(means: Means, token: str, known: KnownTokens) -> Bearer:
    """
    Raises:
        NotLoggedInError
    """
    jwk = await means.keys.public(key_id_of(token))
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
