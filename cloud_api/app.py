"""The API: one Litestar application, made from its parts, with what every answer shares wrapped around it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.types import ASGIApp
from msgspec import structs

from cloud_api import deps as wiring
from cloud_api.accounts.guards import check_session
from cloud_api.deps import Deps
from cloud_api.http.bodies import JsonBodies, StrictRequest
from cloud_api.http.described import SCHEMES
from cloud_api.http.edge import edge
from cloud_api.http.health import health_router
from cloud_api.http.idempotency import Idempotency
from cloud_api.http.problems import problem_handlers
from cloud_api.http.rate_limits import RateLimits
from cloud_api.http.reference import document_router, front_door, reference
from cloud_api.http.refusing import Refusing, ShownDocument, shown
from cloud_api.http.request_ids import request_id
from cloud_api.settings import SECRET_CHARS_MIN, Secret, load
from cloud_api.telemetry.logs import configure_logs
from cloud_api.telemetry.requests import ObservedRequests
from cloud_api.ties import leave_with_parent

# A sealed batch of changes is the largest thing anybody sends; a route that takes less says so.
BODY_BYTES_MAX = 1024 * 1024
API_VERSION = "1"


def serving() -> ASGIApp:
    """What Granian calls in each of its processes."""
    leave_with_parent()
    settings = load()
    assert settings.database_url is not None, "`sunaiva-cloud serve` names the database"
    deps = wiring.build(settings, settings.database_url.reveal)
    configure_logs(sys.stderr, clock=deps.clock, account_key=wiring.account_key(deps))
    return create_app(deps, beside=[wiring.figures, _leaving])


Beside = Callable[[Deps], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _leaving(deps: Deps) -> AsyncIterator[None]:
    """Granian asks its processes to leave by SIGTERM, and they answer first what they have begun: those who wait for news would be waited
    for. Its own handler, which this one stands in for, hears SIGINT as well.
    """

    def leave() -> None:
        deps.relay.nudges.end()
        signal.raise_signal(signal.SIGINT)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    yield


def create_app(deps: Deps, beside: Sequence[Beside] = ()) -> ASGIApp:
    """The whole API. Its lifespan opens and closes what `deps` hold, and what else shall be there `beside` it."""
    observed: Any = ObservedRequests(
        litestar(deps, beside), metrics=deps.metrics, tracing=deps.tracing, request_id=request_id
    )
    return edge(
        observed,
        new_id=deps.new_id,
        proxies=deps.settings.proxies,
        is_https=deps.settings.public_url.startswith("https://"),
    )


def litestar(deps: Deps, beside: Sequence[Beside] = ()) -> Litestar:
    """The application without its edge: for what asks it for its routes and its OpenAPI document."""
    return Litestar(
        route_handlers=[health_router, front_door, reference, *deps.routes],
        dependencies=_provided(deps),
        middleware=[
            *deps.authentication,
            RateLimits(deps.counters, deps.clock),
            JsonBodies(),
            Idempotency(deps.db, deps.key, check_session),
        ],
        request_class=StrictRequest,
        plugins=[Refusing()],
        exception_handlers=problem_handlers(deps.messages),
        cors_config=_cors(deps),
        openapi_config=OpenAPIConfig(
            title="Sunaiva",
            version=API_VERSION,
            description="Accounts, sync, subscriptions and partners. Every refusal is a problem document (RFC 9457).",
            openapi_router=document_router(),
            components=SCHEMES,
            render_plugins=[ShownDocument(path="/openapi.json")],
        ),
        request_max_body_size=BODY_BYTES_MAX,
        lifespan=[lambda _app: wiring.opened(deps), *(_opening(each, deps) for each in beside)],
        logging_config=None,
        debug=False,
    )


def document() -> bytes:
    """The OpenAPI document of this version, as it is kept in `docs/api`."""
    # Wiring asks for a secret, a database and a place for files; a document is made without any, and leaves no folder.
    settings = structs.replace(
        load({"SUNAIVA_CLOUD_SECRET": "for no installation".ljust(SECRET_CHARS_MIN)}),
        blobs_url=Secret("memory:///"),
    )
    schema = litestar(wiring.build(settings, "postgresql://")).openapi_schema.to_schema()
    return msgspec.json.format(msgspec.json.encode(shown(schema)), indent=2) + b"\n"


def _opening(each: Beside, deps: Deps) -> Any:
    return lambda _app: each(deps)


def _provided(deps: Deps) -> dict[str, Provide]:
    values: dict[str, Any] = {
        "db": deps.db,
        "clock": deps.clock,
        "cursors": deps.cursors,
        "counters": deps.counters,
        "channels": deps.channels,
        "settings": deps.settings,
        **deps.injected,
    }
    return {name: Provide(_giving(value), sync_to_thread=False) for name, value in values.items()}


def _giving(value: Any) -> Any:
    def give() -> Any:
        return value

    return give


def _cors(deps: Deps) -> CORSConfig | None:
    if not deps.settings.origins:
        return None
    return CORSConfig(
        allow_origins=list(deps.settings.origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            "authorization",
            "content-type",
            "idempotency-key",
            "if-match",
            "x-request-id",
            "accept-language",
        ],
        expose_headers=[
            "etag",
            "location",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "x-request-id",
            "idempotency-replayed",
        ],
        max_age=600,
    )
