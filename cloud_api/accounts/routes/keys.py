"""The public keys by which anybody can verify our access tokens (RFC 7517)."""

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct

from cloud_api.accounts.keys.rules import JWKS_KEPT
from cloud_api.accounts.means import Means


class KeySet(Struct, frozen=True):
    keys: list[dict[str, str]]


@get(
    "/.well-known/jwks.json",
    summary="The public keys of access tokens",
    tags=["keys"],
)
async def jwks(accounts: NamedDependency[Means]) -> Response[KeySet]:
    keys = await accounts.keys.published()
    return Response(
        KeySet(keys),
        headers={"cache-control": f"public, max-age={int(JWKS_KEPT.total_seconds())}"},
    )
