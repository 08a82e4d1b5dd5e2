"""What the person's own terminal may ask the agent for: everything, in every space, in one language with it.

Each call is a generator: it yields progress and returns the result, both as plain values. It parses its arguments once and
then calls the same use cases as the MCP tools.
"""

from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from mcp_server import (
    backup,
    conflicts,
    consolidate,
    context,
    findings,
    forgetting,
    health,
    memory,
    permissions,
    search,
)
from mcp_server.device import Device
from mcp_server.model import Draft, Kind, Memory
from mcp_server.sensitive import Policy
from mcp_server.terminal import Call, CallContext
from mcp_server.vault import audit, store
from mcp_server.vault.store import Selection
from mcp_server.when import parse_as_of, parse_span
from shared.errors import InvalidError
from shared.ids import MemoryId

EXPORT_PAGE = 500
FORGET_SHOWN = 10
"""Of the memories that are about to be forgotten; a person looks at no more."""
# Five times what the terminal names in one call: each may have superseded others, and all are held in memory.
_FORGOTTEN_AT_ONCE_MAX = 5_000
_AS_TYPED = Policy(secrets="allow", personal="allow")

Arguments = TypeVar("Arguments", bound=Struct)
Owner = TypeVar("Owner")
Steps = Generator[Any, None, Any]


class Filters(Struct, kw_only=True):
    """How the terminal narrows down: the words a person typed."""

    space: str | None = None
    tags: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    when: str | None = None
    conversation: str | None = None
    superseded: bool = False

    def selection(self, now: datetime) -> Selection:
        span = None if self.when is None else parse_span(self.when, now=now)
        return Selection(
            spaces=None if self.space is None else (self.space,),
            tags=self.tags or None,
            kinds=self.kinds or None,
            conversation=self.conversation,
            since=span.since if span else None,
            until=span.until if span else None,
            superseded=self.superseded,
        )


class RememberArgs(Struct, kw_only=True):
    drafts: list[Draft]
    action: Literal["remember", "import"] = "remember"
    allow_secrets: bool = False
    """The person typed it, and wants it kept as it is."""


class TakeInArgs(Struct, kw_only=True):
    memories: list[Memory]


class RecallArgs(Filters, kw_only=True):
    query: str
    max_tokens: int = 2_000
    limit: int = 20
    as_of: str | None = None
    cursor: str | None = None


class ListArgs(Filters, kw_only=True):
    limit: int = 50
    cursor: str | None = None


class ShowArgs(Struct, kw_only=True):
    id: str


class ReviseArgs(Struct, kw_only=True):
    id: str
    version: int
    changes: memory.Changes
    allow_secrets: bool = False


class ForgetArgs(Struct, kw_only=True):
    ids: tuple[str, ...]
    confirm: str | None = None
    verify: bool = False


class ExportArgs(Struct, kw_only=True):
    after: MemoryId | None = None


class AuditArgs(Struct, kw_only=True):
    before: int | None = None
    limit: int = 50
    verify: bool = False


class PermitArgs(Struct, kw_only=True):
    client: str
    space: str
    access: permissions.Access | None
    """None takes the rule away."""


class PathArgs(Struct, kw_only=True):
    path: str


class ContextArgs(Struct, kw_only=True):
    topic: str | None = None
    space: str | None = None
    max_tokens: int = 1_000


class FindingsArgs(Struct, kw_only=True):
    about: MemoryId | None = None
    limit: int = 50


class ResolveArgs(Struct, kw_only=True):
    number: int
    decision: findings.Decision


class ConsolidateArgs(Struct, kw_only=True):
    undo: bool = False
    dry_run: bool = False


class ReindexArgs(Struct, kw_only=True):
    model: str | None = None


class NoArgs(Struct):
    pass


def build_calls(open_device: Callable[[], Device]) -> Mapping[str, Call]:
    """Every call by its name."""

    def call(kind: type[Arguments], act: Callable[[Device, CallContext, Arguments], Steps]) -> Call:
        return call_of(open_device, kind, act)

    return {
        "remember": call(RememberArgs, _remember),
        "take_in": call(TakeInArgs, _take_in),
        "recall": call(RecallArgs, _recall),
        "list": call(ListArgs, _list),
        "show": call(ShowArgs, _show),
        "revise": call(ReviseArgs, _revise),
        "forget": call(ForgetArgs, _forget),
        "conflicts": call(FindingsArgs, _conflicts),
        "findings": call(FindingsArgs, _findings),
        "resolve": call(ResolveArgs, _resolve),
        "export": call(ExportArgs, _export),
        "audit": call(AuditArgs, _audit),
        "permit": call(PermitArgs, _permit),
        "permissions": call(NoArgs, _permissions),
        "backup": call(PathArgs, _backup),
        "context": call(ContextArgs, _context),
        "consolidate": call(ConsolidateArgs, _consolidate),
        "health": call(NoArgs, _health),
        "rebuild": call(NoArgs, _rebuild),
        "reindex": call(ReindexArgs, _reindex),
    }


def call_of(
    opened: Callable[[], Owner],
    kind: type[Arguments],
    act: Callable[[Owner, CallContext, Arguments], Steps],
) -> Call:
    """A call that parses its arguments once, and answers in plain values."""

    def run(ctx: CallContext, args: dict[str, Any]) -> Steps:
        try:
            parsed = msgspec.convert(args, kind)
        except msgspec.ValidationError as error:
            raise InvalidError(f"This cannot be understood: {error}.") from error
        result = yield from act(opened(), ctx, parsed)
        return msgspec.to_builtins(result)

    return run


def _remember(device: Device, ctx: CallContext, args: RememberArgs) -> Steps:
    """An import leaves out what must not be stored, so its answer may be shorter than what was sent."""
    yield from ()
    drafts = args.drafts
    if args.action == "import":
        drafts = memory.acceptable(device, drafts)
        if args.drafts and not drafts:
            return []
    policy = _AS_TYPED if args.allow_secrets else None
    return memory.remember(device, drafts, client=ctx.client, action=args.action, policy=policy)


def _take_in(device: Device, ctx: CallContext, args: TakeInArgs) -> Steps:
    yield from ()
    return memory.take_in(device, args.memories, client=ctx.client)


def _recall(device: Device, ctx: CallContext, args: RecallArgs) -> Steps:
    yield from ()
    chosen = args.selection(device.clock())
    asked = search.Asked(
        query=args.query,
        max_tokens=args.max_tokens,
        limit=args.limit,
        spaces=chosen.spaces,
        tags=chosen.tags,
        kinds=chosen.kinds,
        when=None if args.when is None else parse_span(args.when, now=device.clock()),
        as_of=None if args.as_of is None else parse_as_of(args.as_of, now=device.clock()),
        cursor=args.cursor,
    )
    return search.find(device, asked, client=ctx.client)


def _list(device: Device, ctx: CallContext, args: ListArgs) -> Steps:
    yield from ()
    memories, cursor = search.browse(
        device,
        args.selection(device.clock()),
        limit=args.limit,
        cursor=args.cursor,
        client=ctx.client,
    )
    return {"memories": memories, "cursor": cursor}


def _show(device: Device, ctx: CallContext, args: ShowArgs) -> Steps:
    yield from ()
    with device.vault.writing() as db:
        found = memory.present(db, args.id).memory
        older = [row.memory for row in store.superseded_chain(db, found.id)]
        device.note(db, "read", [found.id], client=ctx.client)
    return {"memory": found, "older": older}


def _revise(device: Device, ctx: CallContext, args: ReviseArgs) -> Steps:
    yield from ()
    policy = _AS_TYPED if args.allow_secrets else None
    return memory.revise(
        device, args.id, args.version, args.changes, client=ctx.client, policy=policy
    )


def _forget(device: Device, ctx: CallContext, args: ForgetArgs) -> Steps:
    rows = forgetting.chosen(device, ids=args.ids, most=_FORGOTTEN_AT_ONCE_MAX)
    token = forgetting.token(device, rows)
    if args.confirm is None:
        shown = [row.memory for row in rows[:FORGET_SHOWN]]
        return {"memories": shown, "number": len(rows), "confirm": token}
    forgetting.check_token(device, rows, args.confirm)
    traces = None
    if args.verify:
        yield {"doing": "Noting what to look for"}
        traces = forgetting.traces(device, rows)
    for done in forgetting.erasing(device, rows, client=ctx.client):
        yield {"doing": "Forgetting", "done": done, "total": len(rows)}
    evidence = None
    if traces is not None:
        yield {"doing": "Searching every page of the vault"}
        evidence = forgetting.verify(device, traces)
    return {"forgotten": [row.memory.id for row in rows], "evidence": evidence}


def _findings(device: Device, ctx: CallContext, args: FindingsArgs) -> Steps:
    yield from ()
    with device.vault.writing() as db:
        found = findings.open_findings(db, limit=args.limit, about=args.about)
        quoted = [each.id for finding in found for each in (finding.first, finding.second)]
        if quoted:
            device.note(db, "read", quoted, client=ctx.client)
    return found


def _conflicts(device: Device, ctx: CallContext, args: FindingsArgs) -> Steps:
    yield from ()
    with device.vault.writing() as db:
        found = conflicts.undecided(db, limit=args.limit)
        quoted = [each.id for conflict in found for each in (conflict.first, conflict.second)]
        if quoted:
            device.note(db, "read", quoted, client=ctx.client)
    return found


def _resolve(device: Device, ctx: CallContext, args: ResolveArgs) -> Steps:
    yield from ()
    conflicts.decide(device, args.number, args.decision, client=ctx.client)


def _export(device: Device, ctx: CallContext, args: ExportArgs) -> Steps:
    yield from ()
    with device.vault.writing() as db:
        page = [row.memory for row in store.in_order(db, after=args.after, limit=EXPORT_PAGE)]
        ids = [each.id for each in page]
        device.note(db, "export", ids, client=ctx.client)
    return {"memories": page}


def _audit(device: Device, ctx: CallContext, args: AuditArgs) -> Steps:
    yield from ()
    with device.vault.reading() as db:
        lines = audit.lines(db, before=args.before, limit=args.limit)
        broken = audit.broken_at(db, device.keys.audit) if args.verify else None
    return {"lines": lines, "verified": args.verify, "broken_at": broken}


def _permit(device: Device, ctx: CallContext, args: PermitArgs) -> Steps:
    yield from ()
    if args.access is None:
        permissions.remove(device, args.client, args.space, by=ctx.client)
    else:
        permissions.permit(device, args.client, args.space, args.access, by=ctx.client)


def _permissions(device: Device, ctx: CallContext, args: NoArgs) -> Steps:
    yield from ()
    with device.vault.reading() as db:
        return permissions.rules(db)


def _backup(device: Device, ctx: CallContext, args: PathArgs) -> Steps:
    yield {"doing": "Copying the vault"}
    made = backup.write(device, Path(args.path))
    return {"path": str(made.path), "file_bytes": made.file_bytes}


def _context(device: Device, ctx: CallContext, args: ContextArgs) -> Steps:
    yield from ()
    spaces = None if args.space is None else (args.space,)
    sections = context.gather(
        device, topic=args.topic, spaces=spaces, max_tokens=args.max_tokens, client=ctx.client
    )
    return [
        {"title": section.title, "lines": [context.line(told) for told in section.told]}
        for section in sections
    ]


def _consolidate(device: Device, ctx: CallContext, args: ConsolidateArgs) -> Steps:
    if args.undo:
        return (yield from consolidate.undo(device))
    return (yield from consolidate.run(device, stop=ctx.cancelled, dry=args.dry_run))


def _health(device: Device, ctx: CallContext, args: NoArgs) -> Steps:
    yield {"doing": "Checking every page"}
    return health.examine(device)


def _rebuild(device: Device, ctx: CallContext, args: NoArgs) -> Steps:
    yield from health.rebuild(device)
    return health.examine(device)


def _reindex(device: Device, ctx: CallContext, args: ReindexArgs) -> Steps:
    device.index.reindex(None if args.model is None else Path(args.model))
    return (yield from health.reindexed(device))
