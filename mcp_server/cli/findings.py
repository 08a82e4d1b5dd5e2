"""The command about findings: resolve lists what was noticed, and takes the person's decision."""

from collections.abc import Iterable
from typing import Any

import msgspec
from rich.text import Text

from mcp_server.cli import screen
from mcp_server.cli.screen import Json
from mcp_server.cli.session import agent
from mcp_server.findings import Finding, Similar
from mcp_server.memory import Decision
from shared.errors import InvalidError
from shared.ids import short_id


def resolve(
    number: int | None = None,
    decision: Decision | None = None,
    /,
    limit: int = 50,
    json: Json = False,
) -> None:
    """List likely duplicates, contradictions and updates, or decide one: the one not kept is superseded, never erased."""
    if (number is None) != (decision is None):
        raise InvalidError(
            "To decide a finding, give its number and keep_both, keep_first or keep_second; to list them, give neither."
        )
    with agent() as connection:
        if number is not None:
            connection.call("resolve", {"number": number, "decision": decision})
        answer = connection.call("findings", {"limit": limit})
    screen.emit(answer, as_json=json, show=_show_findings)


def show_similar(similar: Iterable[Similar]) -> None:
    """What was noticed about a memory just written."""
    for near in similar:
        screen.warn(f"{near.relation.replace('_', ' ')}: {short_id(near.id)}  {near.text[:200]}")


def _show_findings(value: Any) -> None:
    found = msgspec.convert(value, list[Finding])
    if not found:
        screen.say("Nothing to resolve.")
    for finding in found:
        screen.out.print(
            Text.assemble((f"{finding.number}", "cyan"), f"  {finding.relation.replace('_', ' ')}")
        )
        screen.memories([finding.first, finding.second])
