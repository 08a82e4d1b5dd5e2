"""The memory servers we stand beside: pinned versions, how each is installed, started, fed and asked.

Each is used as its own documentation says, with the search mode that is best for it; each gets the same text. A peer
that has no field for a date or a speaker gets them inside the text, which is how an assistant would store them.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

RESULTS_WANTED = 10

Call = tuple[str, dict[str, Any]]


class Turn(Struct, frozen=True):
    number: int
    text: str
    """`[date] speaker: what was said`."""

    @property
    def title(self) -> str:
        return f"turn {self.number:04}"


class Peer(Struct, frozen=True, kw_only=True):
    name: str
    version: str
    requirements: tuple[str, ...] = ()
    """What pip installs; empty for a peer from npm."""
    npm_package: str | None = None
    python_at_least: tuple[int, int] = (3, 11)
    loads_sqlite_extensions: bool = False
    """Needs a Python whose sqlite3 was built with loadable extensions."""
    program: tuple[str, ...]
    """Path inside the peer's own folder, and its arguments."""
    environment: tuple[tuple[str, str], ...] = ()
    """Beside HOME; `{home}` stands for the peer's home of this run."""
    model_folder: str | None = None
    """Where below its home the peer looks for all-MiniLM-L6-v2."""
    store: Callable[[Turn], Call]
    search: Callable[[str], Call]


def _entity(turn: Turn) -> Call:
    entity = {"name": turn.title, "entityType": "turn", "observations": [turn.text]}
    return "create_entities", {"entities": [entity]}


def _drawer(turn: Turn) -> Call:
    return "mempalace_add_drawer", {"wing": "person", "room": "chat", "content": turn.text}


def _note(turn: Turn) -> Call:
    return "write_note", {"title": turn.title, "content": turn.text, "directory": "turns"}


def _search_notes(question: str) -> Call:
    # Its default answer names titles only; an assistant needs the text.
    asked = {"query": question, "page_size": RESULTS_WANTED, "output_format": "json"}
    return "search_notes", asked


def _memory_search(mode: str) -> Callable[[str], Call]:
    return lambda question: (
        "memory_search",
        {"query": question, "limit": RESULTS_WANTED, "mode": mode},
    )


PEERS = (
    Peer(
        name="server-memory",
        version="2026.8.31",
        npm_package="@modelcontextprotocol/server-memory",
        program=("node_modules/.bin/mcp-server-memory",),
        environment=(("MEMORY_FILE_PATH", "{home}/memory.jsonl"),),
        store=_entity,
        search=lambda question: ("search_nodes", {"query": question}),
    ),
    Peer(
        name="mcp-memory-service",
        version="12.4.0",
        requirements=("mcp-memory-service==12.4.0", "onnxruntime", "tokenizers"),
        loads_sqlite_extensions=True,
        program=("bin/memory", "server"),
        # By default it refuses a turn that resembles an earlier one; a conversation is full of them.
        environment=(("MCP_SEMANTIC_DEDUP_ENABLED", "false"),),
        model_folder=".cache/mcp_memory/onnx_models/all-MiniLM-L6-v2/onnx",
        store=lambda turn: ("memory_store", {"content": turn.text}),
        search=_memory_search("hybrid"),
    ),
    Peer(
        name="basic-memory",
        version="0.24.1",
        requirements=("basic-memory==0.24.1",),
        python_at_least=(3, 12),
        program=("bin/basic-memory", "mcp"),
        store=_note,
        search=_search_notes,
    ),
    Peer(
        name="mempalace",
        version="3.11.0",
        requirements=("mempalace==3.11.0",),
        program=("bin/mempalace-mcp",),
        model_folder=".cache/chroma/onnx_models/all-MiniLM-L6-v2/onnx",
        store=_drawer,
        search=lambda question: (
            "mempalace_search",
            {"query": question, "limit": RESULTS_WANTED},
        ),
    ),
)
