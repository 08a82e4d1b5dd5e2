"""Two questions of whoever operates this: does the process live, and can it serve now?"""

import psycopg
from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Struct

from cloud_api.db import Database
from shared.errors import UnavailableError


class Health(Struct, frozen=True):
    status: str
    """`ok`, or `unavailable`."""


@get("/live", opt={"unlimited": True}, summary="Whether the process runs")
async def live() -> Health:
    return Health("ok")


@get(
    "/ready",
    opt={"unlimited": True},
    summary="Whether it can serve requests now",
    responses={503: ResponseSpec(Health, generate_examples=False, description="Not now")},
)
async def ready(db: NamedDependency[Database]) -> Response[Health]:
    try:
        async with db.reading() as connection:
            await connection.execute("SELECT version_num FROM schema_version")
    except (UnavailableError, psycopg.errors.UndefinedTable):
        # No problem document: a load balancer reads the status, and this is no request that failed.
        return Response(Health("unavailable"), status_code=503, headers={"retry-after": "3"})
    return Response(Health("ok"))


health_router = Router("/health", route_handlers=[live, ready], tags=["health"])
