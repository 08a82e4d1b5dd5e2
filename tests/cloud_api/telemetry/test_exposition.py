import asyncio

import pytest

from cloud_api.telemetry.exposition import metrics_shown
from cloud_api.telemetry.metrics import Metrics
from shared.errors import UnavailableError


async def ask(request: bytes, port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


def test_every_scrape_is_refreshed_and_nothing_else_is_answered() -> None:
    metrics = Metrics()

    async def refresh() -> None:
        metrics.observe_jobs({"failed": 2})

    async def scrape() -> tuple[bytes, bytes]:
        async with metrics_shown(
            metrics, host="127.0.0.1", first_port=0, ports=1, refresh=refresh
        ) as port:
            return (
                await ask(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", port),
                await ask(b"GET /api/v1/account HTTP/1.1\r\nhost: x\r\n\r\n", port),
            )

    shown, refused = asyncio.run(scrape())

    assert shown.startswith(b"HTTP/1.1 200 OK")
    assert b'sunaiva_jobs{state="failed"} 2.0' in shown
    assert refused.startswith(b"HTTP/1.1 404")


def test_each_process_takes_the_next_port_until_there_is_none() -> None:
    async def refresh() -> None:
        return

    async def take() -> tuple[int, int]:
        metrics = Metrics()
        async with (
            metrics_shown(
                metrics, host="127.0.0.1", first_port=0, ports=1, refresh=refresh
            ) as first,
            metrics_shown(
                metrics, host="127.0.0.1", first_port=first, ports=20, refresh=refresh
            ) as second,
        ):
            with pytest.raises(UnavailableError, match="SUNAIVA_CLOUD_ADMIN_PORT"):
                async with metrics_shown(
                    metrics, host="127.0.0.1", first_port=first, ports=1, refresh=refresh
                ):
                    pass
            return first, second

    first, second = asyncio.run(take())
    assert first < second <= first + 19
