"""Both eras of the protocol through the installed `sunaiva mcp`: the handshake of 2025, and requests that introduce themselves."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp.types import ElicitRequestParams, ElicitResult, Implementation, TextResourceContents

from mcp_server.rendezvous import ask_to_leave
from tests.agent.conftest import INTRODUCTION, Assistant
from tests.computer import Device, model_cache

SUNAIVA = Path(sys.executable).with_name("sunaiva")
ERAS = {"legacy": "2025-11-25", "2026-07-28": "2026-07-28", "auto": "2026-07-28"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """One for all tests here: starting an agent takes longer than all they ask of it."""
    # A unix socket's path may have some 100 bytes only, and pytest's folders are long.
    runtime = Path(tempfile.mkdtemp(prefix="sunaiva-"))
    folder = tmp_path_factory.mktemp("eras")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SUNAIVA_")}
    environ |= {
        "SUNAIVA_HOME": str(folder / "vault"),
        "SUNAIVA_MODEL_CACHE": str(model_cache()),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_RUNTIME_DIR": str(runtime),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    subprocess.run(
        [SUNAIVA, "init", "--yes", "--json"], env=environ, check=True, capture_output=True
    )
    home = folder / "vault"
    yield Device(home, folder, runtime, environ)
    ask_to_leave(home)
    shutil.rmtree(runtime)


def client(device: Device, mode: Any, *, name: str = "era-test", **more: Any) -> Client:
    server = StdioServerParameters(command=str(SUNAIVA), args=["mcp"], env=device.environ)
    info = Implementation(name=name, version="1")
    return Client(server, mode=mode, client_info=info, **more)


@pytest.fixture
def assistant(vault: Device) -> Iterator[Assistant]:
    process = subprocess.Popen(
        [SUNAIVA, "mcp"], env=vault.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assistant = Assistant(process)
    yield assistant
    assistant.close()


@pytest.mark.parametrize("mode", ERAS)
def test_client_of_either_era_finds_what_it_stored(vault: Device, mode: str) -> None:
    fact = f"Ann moved to Hamburg {mode}"

    async def session() -> None:
        async with client(vault, mode) as connection:
            tools = [tool.name for tool in (await connection.list_tools()).tools]
            stored = await connection.call_tool("remember", {"memories": [fact]})
            found = await connection.call_tool("recall", {"query": fact})
            recent = (await connection.read_resource("memory://recent")).contents[0]
            prompts = [each.name for each in (await connection.list_prompts()).prompts]

            assert connection.protocol_version == ERAS[mode]
        assert tools[:2] == ["remember", "recall"]
        assert stored.structured_content["stored"][0]["status"] == "stored"
        assert found.structured_content["memories"][0]["text"] == fact
        assert isinstance(recent, TextResourceContents)
        assert fact in recent.text
        assert "recap" in prompts

    anyio.run(session)


@pytest.mark.parametrize("consent", [True, False])
@pytest.mark.parametrize("mode", ERAS)
def test_person_is_asked_before_a_forget_in_either_era(
    vault: Device, mode: str, consent: bool
) -> None:
    secret = f"The gate stays open {mode} {consent}"
    asked: list[str] = []

    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"forget": consent})

    async def session() -> Any:
        async with client(vault, mode, elicitation_callback=answer) as connection:
            stored = await connection.call_tool("remember", {"memories": [secret]})
            ids = [one["id"] for one in stored.structured_content["stored"]]
            forgotten = await connection.call_tool("forget", {"ids": ids})
            return forgotten.structured_content["forgotten"]

    assert anyio.run(session) == int(consent)
    assert len(asked) == 1
    assert secret in asked[0]


def test_handshake_of_2025_is_answered_with_the_version_asked_for(assistant: Assistant) -> None:
    assistant.send("initialize", INTRODUCTION | {"protocolVersion": "2025-11-25"})
    result = assistant.read()["result"]

    assert result["protocolVersion"] == "2025-11-25"
    assert result["serverInfo"]["name"] == "sunaiva"
    assert {"tools", "resources", "prompts"} <= result["capabilities"].keys()


def test_request_that_introduces_itself_needs_no_handshake(assistant: Assistant) -> None:
    assistant.send("server/discover", {"_meta": META})
    discovered = assistant.read()["result"]
    arguments = {"memories": ["Bob lives in Bonn"]}
    assistant.send("tools/call", {"name": "remember", "arguments": arguments, "_meta": META})
    stored = assistant.read()["result"]

    assert "2026-07-28" in discovered["supportedVersions"]
    assert stored["resultType"] == "complete"
    assert stored["structuredContent"]["stored"][0]["status"] == "stored"


def test_client_without_a_name_is_served(assistant: Assistant) -> None:
    nameless = {name: value for name, value in META.items() if not name.endswith("clientInfo")}
    assistant.send("tools/call", {"name": "browse", "arguments": {}, "_meta": nameless})

    assert "memories" in assistant.read()["result"]["structuredContent"]


@pytest.mark.parametrize("mode", ERAS)
def test_access_log_names_the_client_in_either_era(vault: Device, mode: str) -> None:
    async def session() -> None:
        async with client(vault, mode, name=f"client of {mode}") as connection:
            await connection.call_tool("browse", {})

    anyio.run(session)
    run = subprocess.run(
        [SUNAIVA, "audit", "--json"], env=vault.environ, check=True, capture_output=True
    )

    assert f"client of {mode}" in run.stdout.decode()


def test_unknown_revision_is_refused_with_the_known_ones(assistant: Assistant) -> None:
    meta = META | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    assistant.send("tools/list", {"_meta": meta})
    error = assistant.read()["error"]

    assert "2026-07-28" in error["data"]["supported"]
    assert error["data"]["requested"] == "2099-01-01"
