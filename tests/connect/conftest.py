"""A computer with assistants on it, each with the configuration that it, and its owner, would have written."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import Struct

from mcp_server import connect
from shared.clock import Clock

CONFIGS = Path(__file__).parent / "configs"

WRITTEN = {
    "claude-desktop": ("claude_desktop_config.json",),
    "claude-code": ("claude.json", "claude_settings.json"),
    "cursor": ("cursor_mcp.json",),
    "vscode": ("vscode_mcp.json",),
    "codex": ("codex_config.toml", "codex_hooks.json"),
    "gemini": ("gemini_settings.json",),
    "windsurf": ("windsurf_mcp_config.json",),
    "zed": ("zed_settings.json",),
}


class Computer(Struct, frozen=True):
    places: connect.Places
    launch: connect.Launch
    backups: Path
    clock: Clock

    def client(self, name: str) -> connect.Client:
        return connect.client_named(self.places, name)

    def install(self, name: str, write: Callable[[str], str] = lambda text: text) -> connect.Client:
        """The client with its configuration files, changed by `write` before they reach the disk."""
        client = self.client(name)
        for path, source in zip(paths(client), WRITTEN[name], strict=True):
            put(path, write((CONFIGS / source).read_text(encoding="utf-8")))
        return client

    def add(self, client: connect.Client, *, hooks: bool = True) -> connect.Applied:
        made = connect.plan(client, self.launch, hooks=hooks)
        return connect.apply(made, self.backups, self.clock)

    def undo(self, client: connect.Client) -> connect.Applied:
        made = connect.plan_undo(client, self.backups)
        return connect.apply(made, self.backups, self.clock)

    def status(self, client: connect.Client) -> connect.Status:
        return connect.status(client, self.launch)


def paths(client: connect.Client) -> list[Path]:
    both = [client.server.path, *([client.hooks.path] if client.hooks else [])]
    return list(dict.fromkeys(both))


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    seconds = iter(range(1_000))
    return Computer(
        places=connect.Places(home=tmp_path / "me", platform="linux"),
        launch=connect.Launch(command=Path("/opt/My Tools/bin/sunaiva")),
        backups=tmp_path / "backups",
        clock=lambda: datetime(2025, 3, 1, tzinfo=UTC) + timedelta(seconds=next(seconds)),
    )


@pytest.fixture(params=WRITTEN)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)
