"""The assistants that can be connected: where each keeps its configuration, in which form, and with which hooks.

Nothing here reads the environment or a file's content; folders that a person may have moved arrive in `Places`.
"""

from pathlib import Path
from typing import Literal

from msgspec import Struct

from mcp_server.connect.jsonc import Dialect
from shared.errors import NotFoundError

Quoting = Literal["posix", "cmd", "powershell"]
HookCall = Literal["session-start", "pre-compact", "session-end"]

_HOOK_SECONDS = 30
"""A cold agent answers in some three seconds; a hook that hangs must not hold up the person's session."""

_STORE_PACKAGE = Path("Packages", "Claude_pzs8sxrjxfjjc", "LocalCache", "Roaming", "Claude")
"""Claude Desktop from the Microsoft Store sees this folder where others see %APPDATA%/Claude."""


class Places(Struct, frozen=True, kw_only=True):
    home: Path
    platform: str
    """As `sys.platform` says it; whatever is neither darwin nor win32 is taken for Linux."""
    config_folder: Path | None = None
    """$XDG_CONFIG_HOME on Linux, %APPDATA% on Windows, where they differ from the usual."""
    local_folder: Path | None = None
    """%LOCALAPPDATA% on Windows."""
    claude_folder: Path | None = None
    """$CLAUDE_CONFIG_DIR"""
    codex_folder: Path | None = None
    """$CODEX_HOME"""


class ServerFile(Struct, frozen=True, kw_only=True):
    path: Path
    form: Dialect | Literal["toml"]
    key: str
    """The name of the object that holds the servers."""
    fixed: dict[str, str] = {}
    """What this client wants in an entry besides command, args and env."""


class HookFile(Struct, frozen=True, kw_only=True):
    """All clients with hooks that are served here share the form {event: [{hooks: [{type, command}]}]}."""

    path: Path
    dialect: Dialect
    calls: dict[str, HookCall]
    """The client's event → what `sunaiva hook` is asked to do."""
    quoting: Quoting
    """Of the shell to which the client hands its hooks."""
    timeout: int
    """In the client's own unit."""


class Client(Struct, frozen=True, kw_only=True):
    name: str
    title: str
    folder: Path
    """Exists if the client is installed."""
    server: ServerFile
    hooks: HookFile | None = None
    next_step: str
    """What the person does so that the client sees the change."""


def all_clients(places: Places) -> list[Client]:
    return [
        _claude_desktop(places),
        _claude_code(places),
        _cursor(places),
        _vscode(places),
        _codex(places),
        _gemini(places),
        _windsurf(places),
        _zed(places),
    ]


def find_clients(places: Places) -> list[Client]:
    """The clients that are installed here: their folder or their configuration exists."""
    return [
        client
        for client in all_clients(places)
        if client.folder.exists() or client.server.path.exists()
    ]


def client_named(places: Places, name: str) -> Client:
    """
    Raises:
        NotFoundError: no client has this name; the sentence lists those there are.
    """
    known = {client.name: client for client in all_clients(places)}
    if name not in known:
        raise NotFoundError(f"No assistant is called {name!r}. Known are: {', '.join(known)}.")
    return known[name]


def _claude_desktop(places: Places) -> Client:
    folder = _app_folder(places) / "Claude"
    if places.platform == "win32":
        packaged = _local_folder(places) / _STORE_PACKAGE
        folder = packaged if packaged.exists() else folder
    return Client(
        name="claude-desktop",
        title="Claude Desktop",
        folder=folder,
        server=ServerFile(
            path=folder / "claude_desktop_config.json", form="json", key="mcpServers"
        ),
        next_step="Quit Claude Desktop completely and open it again.",
    )


def _claude_code(places: Places) -> Client:
    folder = places.claude_folder or places.home / ".claude"
    return Client(
        name="claude-code",
        title="Claude Code",
        folder=folder,
        server=ServerFile(
            path=(places.claude_folder or places.home) / ".claude.json",
            form="json",
            key="mcpServers",
            fixed={"type": "stdio"},
        ),
        hooks=HookFile(
            path=folder / "settings.json",
            dialect="json",
            calls={
                "SessionStart": "session-start",
                "PreCompact": "pre-compact",
                "SessionEnd": "session-end",
            },
            quoting="posix",  # Git Bash on Windows
            timeout=_HOOK_SECONDS,
        ),
        next_step="Start a new session of Claude Code; /mcp lists the server.",
    )


def _cursor(places: Places) -> Client:
    # Cursor's own hooks answer in another form than all others here; it can run those of Claude Code as well.
    folder = places.home / ".cursor"
    return Client(
        name="cursor",
        title="Cursor",
        folder=folder,
        server=ServerFile(path=folder / "mcp.json", form="jsonc", key="mcpServers"),
        next_step="Restart Cursor; Settings → MCP lists the server.",
    )


def _vscode(places: Places) -> Client:
    folder = _app_folder(places) / "Code" / "User"
    return Client(
        name="vscode",
        title="VS Code",
        folder=folder,
        server=ServerFile(
            path=folder / "mcp.json", form="jsonc", key="servers", fixed={"type": "stdio"}
        ),
        next_step="Run “MCP: List Servers” in VS Code and start sunaiva once.",
    )


def _codex(places: Places) -> Client:
    folder = places.codex_folder or places.home / ".codex"
    return Client(
        name="codex",
        title="Codex",
        folder=folder,
        server=ServerFile(path=folder / "config.toml", form="toml", key="mcp_servers"),
        hooks=HookFile(
            path=folder / "hooks.json",
            dialect="json",
            # Its session files are not the form that the other two calls read.
            calls={"SessionStart": "session-start"},
            quoting="cmd" if places.platform == "win32" else "posix",
            timeout=_HOOK_SECONDS,
        ),
        next_step="Start Codex again and trust the new hook under /hooks: without that it never runs.",
    )


def _gemini(places: Places) -> Client:
    folder = places.home / ".gemini"
    return Client(
        name="gemini",
        title="Gemini CLI",
        folder=folder,
        server=ServerFile(path=folder / "settings.json", form="jsonc", key="mcpServers"),
        hooks=HookFile(
            path=folder / "settings.json",
            dialect="jsonc",
            # Its session files are not the form that the other two calls read.
            calls={"SessionStart": "session-start"},
            quoting="powershell" if places.platform == "win32" else "posix",
            timeout=_HOOK_SECONDS * 1000,
        ),
        next_step="Start Gemini CLI again; /mcp lists the server.",
    )


def _windsurf(places: Places) -> Client:
    folder = places.home / ".codeium" / "windsurf"
    return Client(
        name="windsurf",
        title="Windsurf",
        folder=folder,
        server=ServerFile(path=folder / "mcp_config.json", form="jsonc", key="mcpServers"),
        next_step="Press refresh in Windsurf's list of MCP servers.",
    )


def _zed(places: Places) -> Client:
    if places.platform == "darwin":
        folder = places.home / ".config" / "zed"
    else:
        folder = _app_folder(places) / ("Zed" if places.platform == "win32" else "zed")
    return Client(
        name="zed",
        title="Zed",
        folder=folder,
        server=ServerFile(
            path=folder / "settings.json",
            form="jsonc",
            key="context_servers",
            fixed={"source": "custom"},
        ),
        next_step="Zed loads it at once; the agent panel's settings show a green dot.",
    )


def _app_folder(places: Places) -> Path:
    if places.config_folder is not None:
        return places.config_folder
    match places.platform:
        case "darwin":
            return places.home / "Library" / "Application Support"
        case "win32":
            return places.home / "AppData" / "Roaming"
        case _:
            return places.home / ".config"


def _local_folder(places: Places) -> Path:
    return places.local_folder or places.home / "AppData" / "Local"
