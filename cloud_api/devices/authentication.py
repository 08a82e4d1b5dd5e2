"""Which device sends a request: read from its pass, on routes that say `opt={"device": True}` and nowhere else.

On any other route a pass is nobody's: it must never open what belongs to the account. This module never answers a request itself.
"""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from cloud_api.accounts.guards import requires
from cloud_api.accounts.signed import Known
from cloud_api.accounts.tokens import NotLoggedInError
from cloud_api.devices.actions import Devices
from cloud_api.devices.passes import PASS, DevicePassError, Pass, issuer_of, pass_now
from cloud_api.http.caller import identify

_PASS = "sunaiva.device"  # noqa: S105 (where it is found, no secret)
_SCHEME = b"bearer "
_OWN = requires("account.own")


class DeviceAuthentication(ASGIMiddleware):
    scopes = (ScopeType.HTTP,)

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._known = Known(PASS)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        own: Any = scope  # ours beside what ASGI names
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if scope["route_handler"].opt.get("device") and len(given) == 1:
            try:
                found = await self._read(given[0])
            except (DevicePassError, NotLoggedInError):
                pass
            else:
                own[_PASS] = found
                identify(scope, found.account, "device")
        await next_app(scope, receive, send)

    async def _read(self, header: bytes) -> Pass:
        if header[: len(_SCHEME)].lower() != _SCHEME:
            raise DevicePassError
        token = header[len(_SCHEME) :].decode("latin-1").strip()
        devices = self._devices
        jwk = await devices.keys.public(self._known.key_id(token))
        claims = self._known.claims(token, jwk, issuer_of(devices.public_url))
        return pass_now(claims, now=devices.clock())


def pass_of(scope: Any) -> Pass | None:
    found: Pass | None = scope.get(_PASS)
    return found


async def by_device(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: a device with a good pass. Asynchronous, because Litestar would call another kind in a thread each time."""
    if pass_of(connection.scope) is None:
        raise DevicePassError


async def by_device_or_person(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """A guard: a device with a good pass, or the account itself, as long as no device has one."""
    if pass_of(connection.scope) is None:
        allowed = _OWN(connection, handler)
        assert allowed is not None, "it asks the database"
        await allowed
