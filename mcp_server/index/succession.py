"""Which model is to follow the one that serves, and how far it has come.

What was asked for last counts. A model that cannot be used is refused and that is told; it never ends the one that serves.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from mcp_server.index.embedder import Embedder
from mcp_server.index.filling import Filling
from mcp_server.index.models import Models, Reindexing
from mcp_server.vault import vector_store
from mcp_server.vault.db import OpenVault
from shared.errors import SunaivaError

_log = logging.getLogger(__name__)


class Succession:
    """Of the models of one vault."""

    def __init__(
        self,
        vault: OpenVault,
        models: Models,
        changing: AbstractContextManager[object],
        serve: Callable[[Embedder], None],
    ) -> None:
        self.coming: Filling | None = None
        self.come = 0
        """How many vectors the coming model has made."""
        self.refused: str | None = None
        """Why the model asked for last cannot take over."""
        self._vault = vault
        self._models = models
        self._changing = changing
        self._serve = serve
        self._asked_for: list[Path | None] = []  # and not looked at yet

    @property
    def is_asked(self) -> bool:
        return bool(self._asked_for)

    def ask(self, folder: Path | None) -> None:
        self.refused = None
        self._asked_for.append(folder)

    def refuse(self, error: SunaivaError) -> None:
        self.refused = str(error)
        _log.warning("a model cannot be used: %s", error)

    def reindexing(self, total: int) -> Reindexing | None:
        preparing = self.is_asked  # first: what was asked for becomes what is coming
        coming = self.coming
        if preparing:
            return Reindexing(None, 0, total)
        if coming is not None:
            return Reindexing(coming.embedder.model_id, min(self.come, total), total)
        return None

    @contextmanager
    def looking(self, otherwise: Path | None = None) -> Iterator[Path | None]:
        """The folder asked for last, or the other if none was. What was asked for until now counts as looked at when the block
        ends, so that nobody is told it is over before they are told how."""
        number = len(self._asked_for)
        try:
            yield self._asked_for[number - 1] if number else otherwise
        finally:
            del self._asked_for[:number]

    def choose(self, folder: Path | None, *, present: Embedder | None) -> None:
        """Let the model of this folder come, or serve at once if none does.

        Raises:
            SunaivaError: it cannot be used.
        """
        wanted = self._models.prepare(folder)
        coming = None if self.coming is None else self.coming.embedder
        if present is None:
            self._serve(self._models.open(wanted))
        elif wanted == present.model_id:
            coming = None
        elif coming is None or wanted != coming.model_id:
            coming = self._models.open(wanted)
        with self._changing, self._vault.writing() as db:
            vector_store.choose(db, folder)
            number = None if coming is None else vector_store.model_number(db, coming.model_id)
            vector_store.keep_only(db, "vectors_coming", number)
            self.coming = None
            if coming is not None and number is not None:
                self.come = vector_store.count(db, "vectors_coming", number)
                self.coming = Filling("vectors_coming", coming, number)
