"""The application as `sunaiva-cloud serve` runs it, but for one thing: nobody is counted, because one machine asks here for hundreds."""

import sys

from litestar.types import ASGIApp
from msgspec import structs

from cloud_api import deps as wiring
from cloud_api.app import create_app
from cloud_api.settings import load
from cloud_api.telemetry.logs import configure_logs


class _Uncounted:
    async def hit(self, key: str, *, window: int, seconds: int) -> int:
        return 1

    async def close(self) -> None:
        return


def serving() -> ASGIApp:
    settings = load()
    assert settings.database_url is not None
    deps = wiring.build(settings, settings.database_url.reveal)
    configure_logs(sys.stderr, clock=deps.clock, account_key=wiring.account_key(deps))
    return create_app(structs.replace(deps, counters=_Uncounted()))
