"""Where language models come from, and how far another one is on its way."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from mcp_server.index.cross import CrossEncoder
from mcp_server.index.embedder import Embedder


class Models(Struct, frozen=True):
    """Where models come from."""

    prepare: Callable[[Path | None], str]
    """Makes the model of a folder (None: of the settings) ready, which may take minutes the first time; its id."""
    open: Callable[[str], Embedder]
    """The model of this id. It was made ready before, or an `UnavailableError` says that it was not."""
    cross: Callable[[], CrossEncoder] | None = None
    """The person's cross-encoder, if recall shall use one."""


class Reindexing(Struct, frozen=True):
    """Another model is on its way."""

    model: str | None
    """None while it is being made ready."""
    done: int
    total: int


class IndexState(Struct, frozen=True):
    listed: bool
    """The catalogue is complete: filters, neighbours and conversations are known."""
    meaning: bool
    """Questions are searched by meaning, too."""
    waiting: int
    """Memories without a vector yet."""
    trouble: str | None
    """Why search by meaning is not coming, if it is not."""
    unread: int = 0
    """Memories that are not found by their words yet: those of an older vault, until its keyword index is made."""
    reindexing: Reindexing | None = None
    refused: str | None = None
    """Why the model last asked for cannot take over; the one before goes on."""
