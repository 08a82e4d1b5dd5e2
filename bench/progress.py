"""How far a measurement is, on stderr, so that stdout holds the figures and nothing else; and when its time is up."""

from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import TypeVar

import rich.progress
from rich.console import Console

Item = TypeVar("Item")


class Progress:
    """Shows bars and keeps the deadline. `over` ends early when time is up, and `complete` then says so."""

    def __init__(self, seconds: float) -> None:
        self._console = Console(stderr=True)
        self._ends = monotonic() + seconds
        self.complete = True

    def say(self, line: str) -> None:
        self._console.print(line, style="dim", highlight=False)

    def time_is_up(self) -> bool:
        if monotonic() < self._ends:
            return False
        self.complete = False
        return True

    def over(self, items: Sequence[Item], label: str) -> Iterator[Item]:
        for item in self._shown(items, label):
            if self.time_is_up():
                return
            yield item

    def _shown(self, items: Sequence[Item], label: str) -> Iterable[Item]:
        if not self._console.is_terminal:  # a bar drawn into a log file is a hundred lines
            self.say(f"{label} ({len(items):,})")
            return items
        return rich.progress.track(items, description=label, console=self._console, transient=True)
