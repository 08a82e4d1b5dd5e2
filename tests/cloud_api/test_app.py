"""The application while its database goes away and comes back."""

import subprocess

import pytest
from litestar.testing import AsyncTestClient

from cloud_api import deps as wiring
from cloud_api.app import create_app
from cloud_api.embedded import Server, embedded
from cloud_api.migrating import migrate
from cloud_api.settings import Settings
from tests.cloud_api.conftest import cloud_folder

pytestmark = pytest.mark.anyio


def _control(server: Server, *arguments: str) -> None:
    subprocess.run(
        [server.bin / "pg_ctl", "-D", server.cluster, "-s", "-w", *arguments],
        user=server.user,
        cwd=server.cluster,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def test_while_the_database_is_down_it_is_said_and_afterwards_all_is_well(
    settings: Settings,
) -> None:
    with cloud_folder() as home, embedded(home) as server:
        migrate(server.url())
        deps = wiring.build(settings, server.url())
        async with AsyncTestClient(create_app(deps)) as client:
            assert (await client.get("/health/ready")).status_code == 200
            _control(server, "stop", "-m", "immediate")
            down = await client.get("/health/ready")
            assert (down.status_code, down.headers["retry-after"]) == (503, "3")
            assert (await client.get("/health/live")).status_code == 200
            _control(server, "start", "-l", str(server.cluster / "server.log"))
            answers = [await client.get("/health/ready") for _ in range(3)]
            assert answers[-1].status_code == 200, [each.status_code for each in answers]
