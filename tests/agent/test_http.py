"""Streamable HTTP: for this machine and the bearer of the token only."""

import stat

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_server.http import Address, open_port
from shared.errors import ForbiddenError, UnavailableError

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.fixture
def served(stage):
    stage.start("agent", option="http")
    stage.terminal().close()
    return stage


def bearer(stage):
    return {"authorization": f"Bearer {(stage.home / 'http.token').read_text().strip()}"}


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic abc"])
def test_without_the_token_nothing_is_served(served, given):
    answer = httpx2.post(served.agent().url, json=PING, headers=JSON | {"authorization": given})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_real_client_with_the_token_works(served, mode):
    async def session():
        async with httpx2.AsyncClient(headers=bearer(served)) as http:
            transport = streamable_http_client(served.agent().url, http_client=http)
            async with Client(transport, mode=mode) as client:
                return await client.call_tool("note", {"id": "over http"})

    assert anyio.run(session).structured_content == {"result": 1}


@pytest.mark.parametrize("header", ["host", "origin"])
def test_page_that_rebinds_its_name_to_this_machine_is_refused(served, header):
    foreign = {"host": "evil.example", "origin": "http://evil.example"}[header]
    headers = JSON | bearer(served) | {header: foreign}
    answer = httpx2.post(served.agent().url, json=PING, headers=headers)

    assert answer.status_code in (403, 421)


def test_token_is_for_the_person_only(served):
    httpx2.post(served.agent().url, json=PING, headers=JSON)

    assert stat.S_IMODE((served.home / "http.token").stat().st_mode) == 0o600


def test_other_hosts_than_this_machine_are_refused():
    with pytest.raises(ForbiddenError, match="on this machine only"):
        open_port(Address(host="0.0.0.0", port=0))


def test_taken_port_is_said():
    with open_port(Address(port=0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"Port {port} of 127.0.0.1 cannot be used"):
            open_port(Address(port=port))
