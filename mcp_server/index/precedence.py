"""Who answers somebody goes before who works in the background.

Python runs one thread at a time and lets a busy one go on for milliseconds, so a question of many small steps waits at each
of them. Work that nobody waits for comes in small pieces and asks here before each.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

# Whoever is asked without a pause still gets on with a piece so often.
_PATIENCE_SECONDS = 0.05
_Piece = TypeVar("_Piece")


class Precedence:
    """Counts the answers that are being made."""

    def __init__(self) -> None:
        self._answering = 0
        self._change = threading.Condition()

    @contextmanager
    def answering(self) -> Iterator[None]:
        with self._change:
            self._answering += 1
        try:
            yield
        finally:
            with self._change:
                self._answering -= 1
                self._change.notify_all()

    def give_way(self) -> None:
        """Wait until nobody is being answered, or for a while."""
        if self._answering:
            with self._change:
                self._change.wait_for(lambda: not self._answering, _PATIENCE_SECONDS)

    def in_between(self, pieces: Iterable[_Piece]) -> Iterator[_Piece]:
        """The same pieces, each made only when nobody is being answered."""
        self.give_way()
        for piece in pieces:
            yield piece
            self.give_way()
