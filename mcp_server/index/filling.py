"""A table that one model fills, memory by memory, the oldest first: vectors, those of a model that is to take over, codes of tokens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mcp_server.index import late
from mcp_server.index.embedder import Embedder
from mcp_server.index.entries import memory_text
from mcp_server.index.words import HEAD_CHARS
from mcp_server.vault import vector_store

if TYPE_CHECKING:
    from sqlite_utils import Database

# One batch is one transaction and holds the write lock for some 150 ms of embedding; a `remember` meanwhile waits no longer.
_BATCH = 32

Waiting = Sequence[tuple[int, str, str | None]]
"""Row, text and speaker of memories that the model has not read."""


class Filling:
    def __init__(self, table: vector_store.Table, embedder: Embedder, number: int) -> None:
        self.table: vector_store.Table = table
        self.embedder = embedder
        self.number = number
        """The model's, in this vault."""
        self.below = 0
        """Every row up to this one has its vector or is gone."""

    def next_batch(self, db: "Database") -> Waiting:
        return vector_store.next_waiting(
            db, self.table, self.number, after=self.below, chars=HEAD_CHARS, limit=_BATCH
        )

    def read(self, waiting: Waiting) -> list[Any]:
        """What the model makes of each."""
        texts = [memory_text(text, speaker) for _, text, speaker in waiting]
        if self.table == "token_codes":
            return [late.encode(self.embedder.tokens(text).states) for text in texts]
        return list(self.embedder.embed(texts))
