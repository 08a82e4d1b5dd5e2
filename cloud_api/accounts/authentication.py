"""Who sends a request: read from its access token before limits are counted and before any route runs.

It needs no database, but for a key it does not know yet. A request without a token, or with a bad one, goes on as nobody's: what
needs somebody has a guard. This module must never answer a request itself.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from jwt import PyJWK
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from cloud_api.accounts.means import Means
from cloud_api.accounts.tokens import (
    Bearer,
    Claims,
    Issuer,
    NotLoggedInError,
    bearer_now,
    claims_of,
    key_id_of,
    verification_key,
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


class _Known(Struct, frozen=True):
    """A token whose signature was good. Under another key or issuer it means nothing."""

    kid: str
    key: str
    issuer: Issuer
    claims: Claims


class KnownTokens:
    """What tokens say whose signature was good: to check one again costs as much as a question to the database. The least
    recently used go first. Their digests are kept, never they themselves.
    """

    def __init__(self, most: int = KNOWN_TOKENS_MAX) -> None:
        self._most = most
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._keys: dict[str, PyJWK] = {}

    def key_id(self, token: str) -> str:
        """
        Raises:
            NotLoggedInError: no access token looks like this.
        """
        known = self._known.get(_digest(token))
        return key_id_of(token) if known is None else known.kid

    def claims(self, token: str, public_jwk: Mapping[str, str], issuer: Issuer) -> Claims:
        """
        Raises:
            NotLoggedInError: forged, altered, made for somebody else, or by somebody else.
        """
        digest = _digest(token)
        known = self._known.get(digest)
        if known is None or known.key != public_jwk["x"] or known.issuer != issuer:
            claims = claims_of(token, self._key(public_jwk), issuer)
            known = _Known(public_jwk["kid"], public_jwk["x"], issuer, claims)
            self._known[digest] = known
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        self._known.move_to_end(digest)
        return known.claims

    def _key(self, public_jwk: Mapping[str, str]) -> PyJWK:
        # Kept, because the library works on a new one for as long as half a signature takes.
        if public_jwk["x"] not in self._keys:
            self._keys = {public_jwk["x"]: verification_key(public_jwk)}
        return self._keys[public_jwk["x"]]


async def authenticate(means: Means, token: str, known: KnownTokens) -> Bearer:
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


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _presented(scope: Scope) -> str | None:
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1:  # two are one too many to choose from
        return None
    scheme, _, token = given[0].decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
