"""Streamable HTTP: for this machine and the bearer of the token only."""

import stat
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_server.http import TOKEN_NAME, Address, open_port, token
from shared.errors import ForbiddenError, UnavailableError
from tests.agent.conftest import Stage

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.fixture
def served(stage: Stage) -> Stage:
    stage.terminal(option="http").close()
    return stage


def bearer(stage: Stage) -> dict[str, str]:
    return {"authorization": f"Bearer {(stage.home / 'http.token').read_text().strip()}"}


def test_without_the_token_nothing_is_served(served: Stage) -> None:
    for given in ("", "Bearer", "Bearer wrong", "Basic abc"):
        headers = JSON | {"authorization": given}
        answer = httpx2.post(served.url(), json=PING, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), given


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_real_client_with_the_token_works(served: Stage, mode: Any) -> None:
    async def session() -> Any:
        async with httpx2.AsyncClient(headers=bearer(served)) as http:
            transport = streamable_http_client(served.url(), http_client=http)
            async with Client(transport, mode=mode) as client:
                return await client.call_tool("note", {"id": "over http"})

    assert anyio.run(session).structured_content == {"result": 1}


@pytest.mark.parametrize("header", ["host", "origin"])
def test_page_that_rebinds_its_name_to_this_machine_is_refused(served: Stage, header: str) -> None:
    foreign = {"host": "evil.example", "origin": "http://evil.example"}[header]
    headers = JSON | bearer(served) | {header: foreign}
    answer = httpx2.post(served.url(), json=PING, headers=headers)

    assert answer.status_code in (403, 421)


def test_token_is_for_the_person_only(served: Stage) -> None:
    httpx2.post(served.url(), json=PING, headers=JSON)

    assert stat.S_IMODE((served.home / "http.token").stat().st_mode) == 0o600


def test_a_token_that_a_crash_left_half_written_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / TOKEN_NAME).touch(mode=0o600)
    made = token(tmp_path)

    assert len(made) > 32
    assert token(tmp_path) == made
    assert [each.name for each in tmp_path.iterdir()] == [TOKEN_NAME]


def test_other_hosts_than_this_machine_are_refused() -> None:
    with pytest.raises(ForbiddenError, match="on this machine only"):
        open_port(Address(host="0.0.0.0", port=0))


def test_taken_port_is_said() -> None:
    with open_port(Address(port=0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"Port {port} of 127.0.0.1 cannot be used"):
            open_port(Address(port=port))
