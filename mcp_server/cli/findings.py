"""Commands about what waits for the person's decision: resolve for what was noticed, conflicts for what two devices changed at once."""

from collections.abc import Iterable
from typing import Any

import msgspec
from cyclopts import App
from rich.text import Text

from mcp_server.cli import screen
from mcp_server.cli.screen import Json
from mcp_server.cli.session import agent
from mcp_server.conflicts import Conflict
from mcp_server.findings import Decision, Finding, Similar
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


conflicts = App(
    name="conflicts", help="See and decide what two devices changed without knowing of each other."
)


@conflicts.default
def list_conflicts(limit: int = 50, json: Json = False) -> None:
    """List memories that two devices changed at once, and what other devices forgot that waits for you."""
    with agent() as connection:
        found = connection.call("conflicts", {"limit": limit})
        waiting = connection.call("sync_status", {})["waiting_to_forget"]
    answer = {"conflicts": found, "waiting_to_forget": waiting}
    screen.emit(answer, as_json=json, show=_show_conflicts)


@conflicts.command
def decide(number: int, decision: Decision, /, json: Json = False) -> None:
    """Say which version holds: keep_first (what is shown now), keep_second, or keep_both. It holds on every device."""
    with agent() as connection:
        connection.call("resolve", {"number": number, "decision": decision})
    screen.emit({"number": number, "decision": decision}, as_json=json, show=_show_decided)


@conflicts.command
def forget(json: Json = False) -> None:
    """Say yes to what other devices forgot, much of it at once: it is forgotten here, too."""
    _decide_forgets(True, json)


@conflicts.command
def keep(json: Json = False) -> None:
    """Say no to it: those memories are kept, and come back on all devices."""
    _decide_forgets(False, json)


def _decide_forgets(forget: bool, as_json: bool) -> None:
    with agent() as connection, screen.watching("Deciding") as events:
        answer = connection.call("sync_forgets", {"forget": forget}, events)
    done = "forgotten here, too" if forget else "kept"
    screen.emit(
        answer,
        as_json=as_json,
        show=lambda value: screen.ok(
            f"{screen.number(value['memories'], 'memory is', 'memories are')} {done}."
        ),
    )


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


def _show_conflicts(answer: Any) -> None:
    if not answer["conflicts"] and not answer["waiting_to_forget"]:
        screen.say("Nothing to decide.")
    for each in msgspec.convert(answer["conflicts"], list[Conflict]):
        screen.out.print(Text.assemble((f"{each.number}", "cyan"), "  changed on two devices"))
        for which, version, said in (
            ("first", each.first, each.first_said),
            ("second", each.second, each.second_said),
        ):
            screen.say(f"{which}, on {said.device}, {said.at:%Y-%m-%d %H:%M}:", screen.out)
            screen.memories([version])
    if answer["waiting_to_forget"]:
        screen.warn(
            f"Other devices forgot {screen.number(answer['waiting_to_forget'], 'memory', 'memories')} at once. Was that you? `sunaiva conflicts forget`, or "
            "`sunaiva conflicts keep`.",
            screen.out,
        )


def _show_decided(answer: Any) -> None:
    screen.ok("Decided, on every device.")
