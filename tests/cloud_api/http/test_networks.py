"""Which addresses are one customer, however they are spelt."""

import pytest
from msgspec import structs

from cloud_api.deps import Deps
from cloud_api.http.networks import counted_network, shown_network
from tests.cloud_api.clients import client_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("address", "counted", "shown"),
    [
        ("192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("192.0.2.7:443", "192.0.2.7/32", "192.0.2.0/24"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::FFFF:C000:0207", "192.0.2.7/32", "192.0.2.0/24"),
        ("0:0:0:0:0:ffff:192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
        ("unknown", "unknown", "unknown"),
    ],
)
def test_a_network_is_counted_by_customer_and_shown_by_neighbourhood(
    address: str, counted: str, shown: str
) -> None:
    assert (counted_network(address), shown_network(address)) == (counted, shown)


@pytest.mark.parametrize(
    "spellings",
    [
        [f"2001:db8:1:2::{number:x}" for number in range(4)],
        [f"8.8.8.8:{port}" for port in range(4)],
        ["::ffff:7.7.7.7", "::FFFF:7.7.7.7", "0:0:0:0:0:ffff:707:707", "7.7.7.7"],
    ],
)
async def test_one_customer_has_one_limit(deps: Deps, spellings: list[str]) -> None:
    proxied = structs.replace(deps, settings=structs.replace(deps.settings, proxies=1))
    async with client_of(proxied) as client:
        left = [
            (await client.get("/api/v1/consents", headers={"x-forwarded-for": each}))
            .headers["ratelimit"]
            .split(";")[1]
            for each in spellings
        ]
    assert left == ["r=119", "r=118", "r=117", "r=116"]
