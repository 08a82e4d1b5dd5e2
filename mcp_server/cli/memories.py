"""Commands about memories: remember, recall, list, show, edit, forget."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.text import Text

from mcp_server import search
from mcp_server.calls import Filters
from mcp_server.cli import screen
from mcp_server.cli.findings import show_similar
from mcp_server.cli.screen import Json, printable
from mcp_server.cli.session import TERMINAL, agent, confirmed
from mcp_server.client import AgentConnection
from mcp_server.findings import Finding, Similar
from mcp_server.forgetting import Evidence
from mcp_server.memory import Stored
from mcp_server.model import DEFAULT_SPACE, TEXT_BYTES_MAX, Draft, Kind, Memory, Source
from mcp_server.sensitive import marks
from mcp_server.when import parse_moment
from shared.errors import ForbiddenError, InvalidError
from shared.ids import short_id

Tags = Annotated[tuple[str, ...], Parameter(name=["--tag", "-t"], negative="")]
Kinds = Annotated[tuple[Kind, ...], Parameter(name=["--kind", "-k"], negative="")]
When = Annotated[
    str | None, Parameter(help="2023-05, 'last week', '2023-01..2023-03', 'since March'.")
]
AllowSecrets = Annotated[
    bool, Parameter(negative="", help="Keep passwords, keys and card numbers in it as they are.")
]
_PAGE = 200
_LISTED_CHARS = 800  # of one memory in a list: half a screen, and more than most have
# In one call, which searches the whole vault once if that is asked for.
_FORGOTTEN_AT_ONCE = 1_000


def remember(
    *text: str,
    space: str = DEFAULT_SPACE,
    kind: Annotated[Kind, Parameter(name=["--kind", "-k"])] = "note",
    tag: Tags = (),
    at: Annotated[str | None, Parameter(help="When it happened, ISO 8601.")] = None,
    pin: Annotated[bool, Parameter(negative="")] = False,
    allow_secrets: AllowSecrets = False,
    json: Json = False,
) -> None:
    """Store a memory. Without a text, or with `-`, it is read from stdin."""
    said = " ".join(text) if text and text != ("-",) else _from_stdin()
    draft = Draft(
        text=said,
        source=Source(trust="said_by_user", client=TERMINAL, tool="remember"),
        kind=kind,
        space=space,
        tags=tag,
        occurred_at=None if at is None else parse_moment(at),
        pinned=pin,
    )
    with agent() as connection:
        answer = connection.call(
            "remember",
            {"drafts": [msgspec.to_builtins(draft)], "allow_secrets": allow_secrets},
        )
    screen.emit(answer[0], as_json=json, show=_show_stored)


def recall(
    *query: str,
    space: str | None = None,
    tag: Tags = (),
    kind: Kinds = (),
    when: When = None,
    as_of: Annotated[str | None, Parameter(help="What was true then, ISO 8601.")] = None,
    limit: int = 10,
    max_tokens: int = search.TOKENS_MAX,
    json: Json = False,
) -> None:
    """Find memories by meaning, words and time."""
    filters = Filters(space=space, tags=tag, kinds=kind, when=when)
    asked = msgspec.to_builtins(filters) | {
        "query": " ".join(query),
        "as_of": as_of,
        "limit": limit,
        "max_tokens": max_tokens,
    }
    with agent() as connection:
        answer = connection.call("recall", asked)
    screen.emit(answer, as_json=json, show=_show_answer)


def list_(
    space: str | None = None,
    tag: Tags = (),
    kind: Kinds = (),
    when: When = None,
    conversation: str | None = None,
    superseded: Annotated[
        bool, Parameter(negative="", help="Also what was superseded or archived.")
    ] = False,
    limit: int = 50,
    cursor: str | None = None,
    json: Json = False,
) -> None:
    """List memories, newest first."""
    filters = Filters(
        space=space,
        tags=tag,
        kinds=kind,
        when=when,
        conversation=conversation,
        superseded=superseded,
    )
    with agent() as connection:
        answer = connection.call(
            "list", msgspec.to_builtins(filters) | {"limit": limit, "cursor": cursor}
        )
    screen.emit(answer, as_json=json, show=_show_page)


def show(id: str, /, json: Json = False) -> None:
    """Show one memory with everything known about it."""
    with agent() as connection:
        answer = connection.call("show", {"id": id})
    screen.emit(answer, as_json=json, show=_show_one)


def edit(
    id: str,
    text: str | None = None,
    /,
    *,
    kind: Kind | None = None,
    space: str | None = None,
    tag: Annotated[tuple[str, ...] | None, Parameter(name=["--tag", "-t"], negative="")] = None,
    pin: bool | None = None,
    archive: bool | None = None,
    allow_secrets: AllowSecrets = False,
    json: Json = False,
) -> None:
    """Correct a memory. A new text supersedes the old one; without any change, $EDITOR opens."""
    with agent() as connection:
        old = msgspec.convert(connection.call("show", {"id": id})["memory"], Memory)
        changes: dict[str, Any] = {
            name: value
            for name, value in {
                "text": text, "kind": kind, "space": space, "tags": tag, "pinned": pin, "archived": archive,
            }.items()
            if value is not None
        }  # fmt: skip
        if not changes:
            changes = {"text": _edited(old.text)}
        answer = connection.call(
            "revise",
            {
                "id": old.id,
                "version": old.version,
                "changes": changes,
                "allow_secrets": allow_secrets,
            },
        )
        found = connection.call("findings", {"about": answer["id"]}) if not json else []
    screen.emit(answer, as_json=json, show=lambda new: _show_revised(old, new))
    show_similar(
        Similar(other.id, other.text, finding.relation)
        for finding in msgspec.convert(found, list[Finding])
        for other in (finding.first, finding.second)
        if other.id != answer["id"]
    )


def forget(
    *ids: str,
    conversation: str | None = None,
    space: str | None = None,
    verify: Annotated[
        bool,
        Parameter(
            negative="", help="Afterwards, search every page of the vault for what was forgotten."
        ),
    ] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")] = False,
    json: Json = False,
) -> int:
    """Erase memories for good, with the older versions they superseded."""
    if ids and (conversation is not None or space is not None):
        raise InvalidError("Give either ids, or --conversation and --space. Nothing was forgotten.")
    with agent() as connection:
        doomed = list(ids) if ids else _all_of(connection, conversation, space)
        if not doomed:
            raise InvalidError("There is nothing to forget. Give ids, --conversation or --space.")
        preview = connection.call("forget", {"ids": doomed[:_FORGOTTEN_AT_ONCE]})
        if not yes and not _agreed(preview["memories"], max(len(doomed), preview["number"])):
            raise ForbiddenError("Nothing was forgotten. To forget without being asked, add --yes.")
        forgotten, evidence = _erase(connection, doomed, verify=verify)
    left = sorted({trace for each in evidence for trace in each.left})
    result = {
        "forgotten": forgotten,
        "verified": {
            "pages": sum(each.pages for each in evidence),
            "files": max(each.files for each in evidence),
            "pieces": sum(each.pieces for each in evidence),
            "words": sum(each.words for each in evidence),
            "left": left,
        }
        if verify
        else None,
    }
    screen.emit(result, as_json=json, show=_show_forgotten)
    if not left:
        return 0
    screen.fail("Traces are left. Run `sunaiva doctor --rebuild`, and tell us: this should not be.")
    return 1


def _erase(
    connection: AgentConnection, doomed: list[str], *, verify: bool
) -> tuple[list[str], list[Evidence]]:
    """What was forgotten, older versions included, and what each search for it found."""
    forgotten: dict[str, None] = {}
    evidence: list[Evidence] = []
    with screen.watching("Forgetting") as events:

        def tell(event: dict[str, Any]) -> None:
            events(_of_all(event, len(forgotten), len(doomed)))

        for start in range(0, len(doomed), _FORGOTTEN_AT_ONCE):
            some = doomed[start : start + _FORGOTTEN_AT_ONCE]
            asked = {"ids": [one for one in some if one not in forgotten]}
            if asked["ids"]:
                token = connection.call("forget", asked)["confirm"]
                confirmation = asked | {"confirm": token, "verify": verify}
                answer = connection.call("forget", confirmation, tell)
                forgotten |= dict.fromkeys(answer["forgotten"])
                if verify:
                    evidence.append(msgspec.convert(answer["evidence"], Evidence))
    return list(forgotten), evidence


def _of_all(event: dict[str, Any], before: int, total: int) -> dict[str, Any]:
    """What one call of several reports, as a part of the whole. Older versions may make that more than was named."""
    done = before + event.get("done", 0)
    return event | {"done": done, "total": max(done, total)}


def _all_of(connection: AgentConnection, conversation: str | None, space: str | None) -> list[str]:
    if conversation is None and space is None:
        return []
    found: list[str] = []
    cursor = None
    while True:
        filters = Filters(space=space, conversation=conversation, superseded=True)
        page = connection.call(
            "list", msgspec.to_builtins(filters) | {"limit": _PAGE, "cursor": cursor}
        )
        found += [each["id"] for each in page["memories"]]
        cursor = page["cursor"]
        if cursor is None:
            return found


def _agreed(memories: list[dict[str, Any]], number: int) -> bool:
    shown = msgspec.convert(memories, list[Memory])
    # Part of the question, and stdout is for the answer.
    screen.memories(shown, texts=[each.text[:160] for each in shown], to=screen.err)
    screen.say(
        f"{f'… and {number - len(shown):,} more. ' if number > len(shown) else ''}There is no undo."
    )
    return confirmed(f"Forget {number:,} {'memory' if number == 1 else 'memories'} for good?")


def _from_stdin() -> str:
    data = sys.stdin.buffer.read(TEXT_BYTES_MAX + 1)
    if len(data) > TEXT_BYTES_MAX:
        raise InvalidError(
            f"More than {TEXT_BYTES_MAX:,} bytes on stdin. Import it as a file: `sunaiva import FILE`."
        )
    try:
        # `echo` and editors end with a line end that nobody means.
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InvalidError(
            f"stdin is not UTF-8 (byte {error.start}). Nothing was stored."
        ) from error


def _edited(text: str) -> str:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"  # noqa: TID251 (the person's own choice)
    # The session's own runtime folder is in memory on most systems: what a killed editor leaves there never meets a disk.
    runtime = os.environ.get("XDG_RUNTIME_DIR")  # noqa: TID251 (the session's, not a setting of ours)
    with tempfile.TemporaryDirectory(prefix="sunaiva-", dir=runtime) as folder:
        file = Path(folder) / "memory.txt"
        file.touch(mode=0o600)
        file.write_bytes(text.encode())  # as bytes: line ends are part of the text
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
            edited = file.read_bytes().decode()
        except (OSError, subprocess.CalledProcessError) as error:
            raise InvalidError(
                f"The editor {editor!r} did not work: {error}. Nothing was changed. Set EDITOR, or give the new text."
            ) from error
        except UnicodeDecodeError as error:
            raise InvalidError("The edited text is not UTF-8. Nothing was changed.") from error
    # Editors add a last line end that nobody typed.
    edited = edited.removesuffix("\n") if not text.endswith("\n") else edited
    if edited == text:
        raise InvalidError("The text was not changed.")
    return edited


def _show_stored(value: Any) -> None:
    stored = msgspec.convert(value, Stored)
    known = " (known already)" if stored.status == "known" else ""
    screen.out.print(Text.assemble(("✓ ", "green"), (short_id(stored.id), "cyan"), known))
    _show_redacted(stored.redacted)
    show_similar(stored.similar)


def _show_redacted(labels: Sequence[str]) -> None:
    if labels:
        screen.warn(
            f"Not stored: {', '.join(dict.fromkeys(labels))}. To keep it as it is, add --allow-secrets."
        )


def _show_answer(value: Any) -> None:
    answer = msgspec.convert(value, search.Answer)
    screen.memories(
        [each.memory for each in answer.found], texts=[each.text for each in answer.found]
    )
    if not answer.found:
        screen.say("Nothing found.")
    if answer.note:
        screen.say(answer.note)


def _show_page(value: Any) -> None:
    listed = msgspec.convert(value["memories"], list[Memory])
    screen.memories(listed, texts=[_beginning(each) for each in listed])
    if not listed:
        screen.say("Nothing there.")
    if value["cursor"]:
        screen.say(f"More: --cursor {value['cursor']}")


def _beginning(memory: Memory) -> str:
    if len(memory.text) <= _LISTED_CHARS:
        return memory.text
    return f"{memory.text[:_LISTED_CHARS]}… ({len(memory.text):,} characters: `sunaiva show {short_id(memory.id)}`)"


def _show_one(value: Any) -> None:
    memory = msgspec.convert(value["memory"], Memory)
    table = screen.table("", "")
    table.show_header = False
    for name, shown in _facts(memory):
        table.add_row(Text(name, style="dim"), Text(printable(shown)))
    screen.out.print(Text(printable(memory.text)))
    screen.out.print()
    screen.out.print(table)
    older = msgspec.convert(value["older"], list[Memory])
    if older:
        screen.out.print(Text("\nIt superseded:", style="bold"))
        screen.memories(older)


def _facts(memory: Memory) -> list[tuple[str, str]]:
    facts = {
        "id": memory.id,
        "version": str(memory.version),
        "kind": memory.kind,
        "space": memory.space,
        "tags": ", ".join(memory.tags),
        "links": ", ".join(f"{link.relation} {short_id(link.target)}" for link in memory.links),
        "happened": memory.occurred_at and memory.occurred_at.isoformat(),
        "true from": memory.valid_from and memory.valid_from.isoformat(),
        "true until": memory.valid_to and memory.valid_to.isoformat(),
        "speaker": memory.speaker,
        "conversation": memory.conversation,
        "source": f"{memory.source.trust.replace('_', ' ')}, through {memory.source.client} ({memory.source.tool})",
        "superseded by": memory.superseded_by,
        "stored": memory.created_at.isoformat(),
        "changed": memory.updated_at.isoformat(),
    }
    return [(name, shown) for name, shown in facts.items() if shown]


def _show_revised(old: Memory, new: dict[str, Any]) -> None:
    what = "" if new["id"] == old.id else f", supersedes {short_id(old.id)}"
    screen.out.print(
        Text.assemble(
            ("✓ ", "green"), (short_id(new["id"]), "cyan"), f" version {new['version']}{what}"
        )
    )
    if what:
        _show_redacted([label for label in marks(new["text"]) if label not in marks(old.text)])


def _show_forgotten(result: dict[str, Any]) -> None:
    number = len(result["forgotten"])
    screen.out.print(
        Text.assemble(
            ("✓ ", "green"),
            f"{number:,} {'memory' if number == 1 else 'memories'} forgotten for good.",
        )
    )
    seen = result["verified"]
    if seen is not None:
        screen.out.print(
            f"  Looked through {seen['pages']:,} decrypted pages and {seen['files']:,} other files for {seen['pieces']:,} pieces of text and "
            f"vectors, and in the keyword index for {seen['words']:,} words: {'nothing left.' if not seen['left'] else 'FOUND:'}"
        )
        for trace in seen["left"]:
            screen.fail(trace)
    screen.say("Backups and exports made before still hold what they held.")
