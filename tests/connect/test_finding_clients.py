from pathlib import Path

import pytest

from mcp_server import connect
from shared.errors import NotFoundError
from tests.connect.conftest import Computer, paths, put


def test_only_installed_clients_are_found(computer: Computer) -> None:
    assert connect.find_clients(computer.places) == []
    computer.install("codex")
    put(computer.client("claude-code").server.path, "{}")
    computer.client("zed").folder.mkdir(parents=True)
    found = [client.name for client in connect.find_clients(computer.places)]
    assert found == ["claude-code", "codex", "zed"]


def test_an_unknown_client_is_answered_with_those_there_are(computer: Computer) -> None:
    with pytest.raises(NotFoundError, match="claude-desktop, claude-code, cursor, vscode"):
        computer.client("emacs")


HOME = Path("/home/me")
KEPT_IN = {
    "linux": {
        "claude-desktop": ".config/Claude/claude_desktop_config.json",
        "claude-code": ".claude.json",
        "cursor": ".cursor/mcp.json",
        "vscode": ".config/Code/User/mcp.json",
        "codex": ".codex/config.toml",
        "gemini": ".gemini/settings.json",
        "windsurf": ".codeium/windsurf/mcp_config.json",
        "zed": ".config/zed/settings.json",
    },
    "darwin": {
        "claude-desktop": "Library/Application Support/Claude/claude_desktop_config.json",
        "claude-code": ".claude.json",
        "cursor": ".cursor/mcp.json",
        "vscode": "Library/Application Support/Code/User/mcp.json",
        "codex": ".codex/config.toml",
        "gemini": ".gemini/settings.json",
        "windsurf": ".codeium/windsurf/mcp_config.json",
        "zed": ".config/zed/settings.json",
    },
    "win32": {
        "claude-desktop": "AppData/Roaming/Claude/claude_desktop_config.json",
        "claude-code": ".claude.json",
        "cursor": ".cursor/mcp.json",
        "vscode": "AppData/Roaming/Code/User/mcp.json",
        "codex": ".codex/config.toml",
        "gemini": ".gemini/settings.json",
        "windsurf": ".codeium/windsurf/mcp_config.json",
        "zed": "AppData/Roaming/Zed/settings.json",
    },
}


@pytest.mark.parametrize("platform", KEPT_IN)
def test_each_platform_keeps_its_configurations_where_the_clients_look(platform: str) -> None:
    clients = connect.all_clients(connect.Places(home=HOME, platform=platform))
    found = {client.name: str(client.server.path.relative_to(HOME)) for client in clients}
    assert found == KEPT_IN[platform]


def test_folders_that_the_person_moved_are_followed() -> None:
    places = connect.Places(
        home=HOME,
        platform="linux",
        config_folder=Path("/cfg"),
        claude_folder=Path("/claude"),
        codex_folder=Path("/codex"),
    )
    files = {client.name: paths(client) for client in connect.all_clients(places)}
    assert files["claude-code"] == [Path("/claude/.claude.json"), Path("/claude/settings.json")]
    assert files["codex"] == [Path("/codex/config.toml"), Path("/codex/hooks.json")]
    assert files["vscode"] == [Path("/cfg/Code/User/mcp.json")]
    assert files["zed"] == [Path("/cfg/zed/settings.json")]


def test_claude_desktop_from_the_store_is_found_in_its_own_folder(tmp_path: Path) -> None:
    store = tmp_path / "Packages" / "Claude_pzs8sxrjxfjjc" / "LocalCache" / "Roaming" / "Claude"
    store.mkdir(parents=True)
    places = connect.Places(home=tmp_path, platform="win32", local_folder=tmp_path)
    client = connect.client_named(places, "claude-desktop")
    assert client.server.path == store / "claude_desktop_config.json"
