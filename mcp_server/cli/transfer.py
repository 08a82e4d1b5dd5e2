"""Commands that move memories in and out: import and export. Files are read and written here, memories by the agent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from mcp_server import exporters, importers
from mcp_server.cli import screen
from mcp_server.cli.screen import Json
from mcp_server.cli.session import agent, ask_passphrase
from mcp_server.client import AgentConnection
from mcp_server.exporters import ExportFormat
from mcp_server.importers import FormatName, Problem, own
from mcp_server.model import Draft, Memory
from shared.clock import system_clock
from shared.errors import CorruptError, InvalidError, SunaivaError

# One call is one transaction. Large enough that its cost is shared, small enough that Ctrl-C answers at once.
_BATCH = 200
_BATCH_CHARS = 2_000_000
_PROBLEMS_SHOWN = 20


class Imported(msgspec.Struct, kw_only=True):
    """What came of an import so far."""

    format: FormatName
    stored: int = 0
    known: int = 0
    redacted: dict[str, int] = msgspec.field(default_factory=dict)
    """How many of each kind of secret were taken out."""
    refused: int = 0
    problems: list[Problem] = msgspec.field(default_factory=list)


def import_(
    source: Path,
    /,
    format: FormatName | None = None,
    space: Annotated[str | None, Parameter(help="Put them into this space.")] = None,
    json: Json = False,
) -> None:
    """Import memories: ChatGPT, Claude, Claude Code, mem0, Markdown, our own exports. Repeating adds nothing."""
    path = source.expanduser()
    chosen = format or importers.detect(path)
    secret = ask_passphrase("Passphrase of the export: ") if own.is_sealed(path) else None
    result = Imported(format=chosen)
    items = importers.read(path, chosen, clock=system_clock, passphrase=secret)
    try:
        with (
            agent("sunaiva import") as connection,
            screen.progress(f"Importing {chosen}", total=importers.count(path, chosen)) as done,
        ):
            _take_all(connection, items, space, result, done)
    except KeyboardInterrupt:
        screen.warn(
            f"Interrupted: {result.stored:,} stored. Run the same command again to go on from there."
        )
        raise
    except SunaivaError:
        if result.stored or result.known:
            screen.warn(
                f"Before this: {_memories(result.stored)} stored, {result.known:,} known already. They stay."
            )
        raise
    screen.emit(result, as_json=json, show=_show_imported)


def export(
    to: Path,
    /,
    format: ExportFormat | None = None,
    passphrase: Annotated[
        bool, Parameter(negative="", help="Encrypt it (zip only); asks for a passphrase.")
    ] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> None:
    """Export every memory: JSONL, Markdown, SQLite, or one zip. The format follows the name if none is given."""
    path = to.expanduser()
    chosen = format or _format_of(path)
    secret = ask_passphrase("Passphrase for the export: ", twice=True) if passphrase else None
    with agent() as connection, screen.progress("Exporting", total=None) as done:
        report = exporters.write(
            _everything(connection, done),
            path,
            chosen,
            passphrase=secret,
            overwrite=overwrite,
            clock=system_clock,
        )
    screen.emit(report, as_json=json, show=_show_exported)


def _take_all(
    connection: AgentConnection,
    items: Iterator[importers.Item],
    space: str | None,
    result: Imported,
    done: "screen.Done",
) -> None:
    drafts: list[Draft] = []
    memories: list[Memory] = []
    chars = 0
    try:
        for item in items:
            if isinstance(item, Problem):
                result.problems.append(item)
                continue
            placed = item if space is None else msgspec.structs.replace(item, space=space)
            (drafts if isinstance(placed, Draft) else memories).append(placed)  # type: ignore[arg-type] # its own list
            chars += len(placed.text)
            if len(drafts) + len(memories) >= _BATCH or chars >= _BATCH_CHARS:
                _store(connection, drafts, memories, result)
                done(result.stored + result.known)
                chars = 0
    except CorruptError:
        # What came before the damage is good.
        _store(connection, drafts, memories, result)
        raise
    _store(connection, drafts, memories, result)


def _store(
    connection: AgentConnection, drafts: list[Draft], memories: list[Memory], result: Imported
) -> None:
    stored: list[dict[str, Any]] = []
    if drafts:
        stored += connection.call(
            "remember", {"drafts": msgspec.to_builtins(drafts), "action": "import"}
        )
        result.refused += len(drafts) - len(stored)
        for label in (label for one in stored for label in one["redacted"]):
            result.redacted[label] = result.redacted.get(label, 0) + 1
    if memories:
        stored += connection.call("take_in", {"memories": msgspec.to_builtins(memories)})
    drafts.clear()
    memories.clear()
    new = sum(one["status"] == "stored" for one in stored)
    result.stored += new
    result.known += len(stored) - new


def _everything(connection: AgentConnection, done: "screen.Done") -> Iterator[Memory]:
    after, number = None, 0
    while page := connection.call("export", {"after": after})["memories"]:
        yield from msgspec.convert(page, list[Memory])
        after, number = page[-1]["id"], number + len(page)
        done(number)


def _format_of(path: Path) -> ExportFormat:
    by_suffix: dict[str, ExportFormat] = {
        ".jsonl": "jsonl", ".zip": "zip", ".sealed": "zip", ".db": "sqlite", ".sqlite": "sqlite", "": "markdown",
    }  # fmt: skip
    chosen = by_suffix.get(path.suffix)
    if chosen is None:
        raise InvalidError(
            f"{path.name} does not say which format. Add --format jsonl, markdown, sqlite or zip."
        )
    return chosen


def _show_imported(result: Imported) -> None:
    screen.ok(
        f"{_memories(result.stored)} stored, {result.known:,} known already ({result.format})"
    )
    if result.redacted:
        taken = ", ".join(f"{label} ({number:,})" for label, number in result.redacted.items())
        screen.warn(f"Not stored, replaced by a mark: {taken}.")
    if result.refused:
        screen.warn(f"{_memories(result.refused)} refused: they hold what must not be stored.")
    for problem in result.problems[:_PROBLEMS_SHOWN]:
        screen.warn(f"{problem.where}: {problem.why}")
    if len(result.problems) > _PROBLEMS_SHOWN:
        screen.warn(
            f"… and {len(result.problems) - _PROBLEMS_SHOWN:,} more; --json lists them all."
        )


def _memories(number: int) -> str:
    return f"{number:,} {'memory' if number == 1 else 'memories'}"


def _show_exported(report: exporters.ExportReport) -> None:
    screen.ok(f"{_memories(report.memories)} in {report.path}")
    if report.note:
        screen.say(report.note)
