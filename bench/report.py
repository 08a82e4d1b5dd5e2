"""One shape for every measurement: the JSON object of the contract, a table for people, and the exit status.

A bar names what was promised beside what was measured; it never rounds its way to holding.
"""

import sys
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.machine import Machine

# Groups that the table shows by their main figures only; the JSON has them whole.
_DETAILED_GROUPS = frozenset({"by_category", "facts", "audited", "variants", "differences"})
_MAIN_FIGURES = frozenset(
    {"questions", "turn.any@10", "turn.recall@10", "session.any@5", "budget.any@2000"}
)
HELD, FELL_SHORT, NOT_MEASURED = 0, 1, 2


class Bar(Struct, frozen=True):
    name: str
    value: float
    bar: float
    better: Literal["higher", "lower"]
    holds: bool


class Report(Struct, frozen=True):
    bench: str
    commit: str
    machine: Machine
    options: dict[str, Any]
    results: dict[str, Any]
    bars: list[Bar]
    seconds: float


def at_least(name: str, value: float, bar: float) -> Bar:
    return Bar(name, value, bar, "higher", value >= bar)


def at_most(name: str, value: float, bar: float) -> Bar:
    return Bar(name, value, bar, "lower", value <= bar)


def status(report: Report) -> int:
    return HELD if all(bar.holds for bar in report.bars) else FELL_SHORT


def write_json(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")


def write_table(report: Report) -> None:
    console = Console()
    figures = Table(title=f"{report.bench}  ·  {report.commit}  ·  {report.seconds:.0f} s")
    figures.add_column("figure", overflow="fold")
    figures.add_column("value", justify="right")
    for name, value in flatten(report.results):
        if not _is_detail(name):
            figures.add_row(name, _shown(value))
    console.print(figures)
    if report.bars:
        bars = Table(title="bars")
        for heading in ("bar", "measured", "wanted", ""):
            bars.add_column(heading)
        for bar in report.bars:
            sign = "≥" if bar.better == "higher" else "≤"
            verdict = "[green]holds[/]" if bar.holds else "[red]falls short[/]"
            bars.add_row(bar.name, _shown(bar.value), f"{sign} {_shown(bar.bar)}", verdict)
        console.print(bars)
    about = report.machine
    console.print(
        f"{about.cpu}, {about.cores} cores, {about.memory_gib} GiB, Python {about.python}",
        style="dim",
    )


def flatten(figures: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested figures as (dotted name, value), in their order."""
    rows: list[tuple[str, Any]] = []
    for name, value in figures.items():
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            rows += flatten(value, path)
        else:
            rows.append((path, value))
    return rows


def _is_detail(name: str) -> bool:
    in_detail = not _DETAILED_GROUPS.isdisjoint(name.split("."))
    return in_detail and not any(name.endswith(main) for main in _MAIN_FIGURES)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return "…".join(_shown(part) for part in value)
    return str(value)
