"""All routes of accounts: what strangers may call, and what is of one's own account only."""

from litestar import Router
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from cloud_api.accounts.guards import requires
from cloud_api.accounts.routes import factors, grants, login, passkeys, people, sessions
from cloud_api.accounts.routes.keys import jwks
from cloud_api.accounts.wire import provide_bearer

BODY_BYTES_MAX = 64 * 1024  # the largest is a passkey's registration, some kilobytes

auth = Router(
    "/api/v1/auth",
    route_handlers=[*people.PUBLIC, *login.LOGIN, *grants.PUBLIC],
    tags=["auth"],
    request_max_body_size=BODY_BYTES_MAX,
)
account = Router(
    "/api/v1/account",
    route_handlers=[
        *people.OWN,
        *sessions.OWN,
        *factors.OWN,
        *passkeys.OWN,
        *grants.OWN,
        login.STEP_UP,
    ],
    guards=[requires("account.own")],
    dependencies={"bearer": Provide(provide_bearer, sync_to_thread=False)},
    tags=["account"],
    request_max_body_size=BODY_BYTES_MAX,
)
ROUTES = (auth, account, jwks)


def of_own_account(*handlers: ControllerRouterHandler) -> Router:
    """Routes about one's own account that stand in parts below, which know no sessions."""
    return Router("/", route_handlers=handlers, guards=[requires("account.own")])
