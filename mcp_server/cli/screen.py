"""How the terminal shows things: for people with colour, for programs as JSON, for nobody with control characters.

A memory can hold anything, escape sequences that would take over a terminal included: everything goes through `printable`.
Progress and words for people go to stderr when the answer itself is JSON.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mcp_server.model import Memory
from shared.ids import short_id

Json = Annotated[
    bool, Parameter(name="--json", negative="", help="One JSON value on stdout, for programs.")
]

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {
    0x7F: 0x2421
}
_PICTURES |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
# Bidirectional overrides can make a line read as another one; isolates and marks of honest RTL text stay.
_PICTURES |= dict.fromkeys((0x202D, 0x202E), 0xFFFD)

# A log is read later, and somebody who watches it wonders after some seconds.
_LOG_SECONDS = 3.0

Done = Callable[[int], None]
"""Tells a progress bar how many are done."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read us has seen enough, which is no error: told to the one place that answers, not ended here."""
        raise BrokenPipeError


out = _Console(highlight=False, soft_wrap=True)
err = _Console(highlight=False, stderr=True)


def printable(text: str) -> str:
    """The text with its control characters made visible, so that they do nothing."""
    return text.translate(_PICTURES)


def emit(value: Any, *, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print the answer, either as one JSON value or by `show`."""
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(value, enc_hook=_path) + b"\n")
        sys.stdout.flush()
    else:
        show(value)


def _path(value: Any) -> str:
    assert isinstance(value, Path), f"{type(value)} is not for programs"
    return str(value)


def ok(sentence: str) -> None:
    out.print(Text.assemble(("✓ ", "green"), printable(sentence)))


def say(sentence: str, to: Console = err) -> None:
    """A sentence to the person, apart from the answer; on stdout where it is part of it."""
    _tell(Text(printable(sentence)), to)


def warn(sentence: str, to: Console = err) -> None:
    """On stdout where it is part of the answer."""
    _tell(Text.assemble(("! ", "bold yellow"), printable(sentence)), to)


def fail(sentence: str, to: Console = err) -> None:
    """On stdout where it is part of the answer."""
    _tell(Text.assemble(("✗ ", "bold red"), printable(sentence)), to)


def _tell(line: Text, to: Console = err) -> None:
    # Never wrapped: a log keeps a sentence on one line, and a terminal wraps by itself.
    to.print(line, soft_wrap=True)


def memories(
    found: Sequence[Memory], *, texts: Sequence[str] | None = None, to: Console = out
) -> None:
    """Memories as a list: id, date, who, what."""
    for number, memory in enumerate(found):
        text = printable(memory.text if texts is None else texts[number])
        to.print(
            Text.assemble(
                (short_id(memory.id), "cyan"),
                ("  " + day(memory.occurred_at or memory.created_at), "green"),
                ("  " + printable(memory.speaker) + ":" if memory.speaker else "", "bold"),
                ("  ★" if memory.pinned else "", "yellow"),
                ("  (superseded)" if memory.superseded_by else "", "dim"),
                ("  (archived)" if memory.archived else "", "dim"),
                "  " + text,
            )
        )


def number(count: int, one: str, many: str) -> str:
    """As a person says it: 1 device, 2 devices."""
    return f"{count:,} {one if count == 1 else many}"


def day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def table(*headings: str) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    return shown


@contextmanager
def progress(doing: str, *, total: int | None) -> Iterator[Done]:
    """A progress bar on stderr; call what it gives with the number done so far."""
    with watching(doing) as show:
        known = {} if total is None else {"total": total}
        yield lambda done: show({"doing": doing, "done": done} | known)


@contextmanager
def watching(
    doing: str, *, seconds: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A spinner and a bar on stderr that show the events of a call: `{"doing", "done"?, "total"?}`. Where stderr is no terminal,
    a line now and then."""
    if not err.is_terminal:
        yield _Log(seconds).show
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    ) as bar:
        task = bar.add_task(doing, total=None)

        def show(event: dict[str, Any]) -> None:
            bar.update(
                task,
                description=_counted(event),
                total=event.get("total"),
                completed=event.get("done"),
            )

        yield show


class _Log:
    """Remembers when it last said something, and what."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._said_at = seconds()
        self._waits_for: str | None = None

    def show(self, event: dict[str, Any]) -> None:
        now = self._seconds()
        if now - self._said_at < _LOG_SECONDS:
            return
        # Who only waits has said so: that less time is left is no news in a log.
        waits_for = None if event.get("done") else event["doing"].partition(" (")[0]
        if waits_for is None or waits_for != self._waits_for:
            say(_counted(event))
        self._said_at, self._waits_for = now, waits_for


def _counted(event: dict[str, Any]) -> str:
    doing, done, total = event["doing"], event.get("done", 0), event.get("total")
    if total:
        return f"{doing} {done:,} of {total:,}"
    return f"{doing} {done:,}" if done else f"{doing}"
