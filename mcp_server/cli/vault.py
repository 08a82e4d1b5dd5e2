"""Commands about the vault itself: init, backup, restore, rekey, audit, permit, doctor, consolidate."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from mcp_server import backup as backups
from mcp_server import client, connect, opening
from mcp_server.cli import screen
from mcp_server.cli.screen import Json, printable
from mcp_server.cli.session import (
    agent,
    ask_passphrase,
    confirmed,
    require_vault,
    typed_line,
)
from mcp_server.cli.standing import alarms, said_of
from mcp_server.cli.words import show_words
from mcp_server.health import Health
from mcp_server.index.export import bundled_model_folder, export_in_child
from mcp_server.index.models import Reindexing
from mcp_server.launch import agent_command
from mcp_server.permissions import EVERY_SPACE, Access
from mcp_server.settings import Settings, load
from mcp_server.vault import audit as access_log
from mcp_server.vault import keys
from mcp_server.vault.protectors import Access as KeyAccess
from mcp_server.vault.protectors import ProtectorKind, protectors_available
from shared.clock import system_clock
from shared.errors import ForbiddenError, InvalidError, SunaivaError, UnavailableError
from shared.ids import short_id

Protect = Annotated[
    ProtectorKind | None,
    Parameter(help="keychain (the default where there is one), passphrase, or key_file."),
]
_PROBLEMS_SHOWN = 5
_KEY_FILE_NOTE = (
    "There is no keychain here, so the key is a file that only you can read, outside of the vault's folder ({folder}). "
    "Whoever can read both can read the vault. A passphrase protects it better: `sunaiva rekey --protect passphrase --keep-root`."
)


def init(
    protect: Protect = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="")] = False,
    json: Json = False,
) -> None:
    """Make the vault: an encrypted file, its key, and twelve recovery words."""
    settings = load()
    opening.require_none(settings)
    if not (yes or json or sys.stdin.isatty()):
        raise ForbiddenError(
            "Twelve recovery words are shown once, and nobody is here to write them down. Run `sunaiva init` in a terminal, "
            "or keep what it prints and add --yes. Nothing was made."
        )
    kind, given = protection(settings, protect)
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with client.alone(
        settings
    ):  # two at once would each think the other's half-made vault a leftover
        new = opening.make_vault(settings, kind, given, system_clock)
    model = _prepare_model(settings)
    answer = {
        "home": str(new.home),
        "protected_by": kind,
        "recovery_words": new.words,
        "model": model,
    }
    screen.emit(answer, as_json=json, show=lambda _: _show_new(new, settings))
    while not (yes or json or confirmed("Have you written the words down?")):
        screen.say("Take your time.")


def backup(to: Path, /, json: Json = False) -> None:
    """Write an encrypted backup of the whole vault into one file."""
    with agent() as connection, screen.watching("Backing up") as events:
        answer = connection.call("backup", {"path": str(to.expanduser().absolute())}, events)
    screen.emit(
        answer,
        as_json=json,
        show=lambda done: screen.ok(f"{done['path']} ({done['file_bytes']:,} bytes)"),
    )


def restore(
    source: Path,
    /,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="")] = False,
    json: Json = False,
) -> None:
    """Put a backup in the vault's place. The vault that is there is moved aside, never deleted."""
    settings = load()
    if (
        (settings.home / "vault.db").exists()
        and not yes
        and not confirmed(f"Replace the vault in {settings.home} by {source.name}?")
    ):
        raise ForbiddenError("Nothing was changed. To restore without being asked, add --yes.")
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with client.alone(settings):
        aside = backups.restore(source.expanduser(), settings.home, now=system_clock())
    answer = {"home": str(settings.home), "moved_aside": None if aside is None else str(aside)}
    screen.emit(answer, as_json=json, show=_show_restored)


def rekey(
    protect: Protect = None,
    recovery_words: Annotated[
        bool,
        Parameter(negative="", help="Unlock with the twelve words instead of the everyday key."),
    ] = False,
    keep_root: Annotated[
        bool,
        Parameter(
            negative="",
            help="Change only what unlocks the vault, not the key it is encrypted with.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Give the vault a new key, and twelve new words; former keys, words and protectors open it no more."""
    settings = load()
    require_vault(settings)
    with client.alone(settings):
        root = _root(settings, recovery_words=recovery_words)
        syncs = opening.syncs(settings.home, root)
        # What is lost is what opened it; with the words in hand, the everyday protector is made anew.
        kind = protect or (
            _usual_protector(settings) if recovery_words else keys.protected_by(settings.home)
        )
        given = _access(settings, kind, new=True)
        if keep_root:
            left = keys.protect_with(settings.home, root, kind, given)
            words = None
        else:
            words, left = opening.change_key(
                settings.home,
                root,
                kind,
                given,
                clock=system_clock,
                show=lambda words: None if json else show_words(words),
            )
    if words is not None and syncs and (also := _tell_sync(words)):
        left = also if left is None else f"{left} {also}"
    answer = {"protected_by": kind, "recovery_words": words, "left_to_do": left}
    screen.emit(
        answer,
        as_json=json,
        show=lambda _: screen.ok(
            f"The vault has {'a new key' if words else 'its key as before'}, now protected by {_named(kind)}."
        ),
    )
    if left:
        screen.warn(left)


def _tell_sync(words: str) -> str | None:
    """Let the new words recover what is synced, too; what is left to do, where that could not be said now."""
    try:
        with agent() as connection, screen.watching("Telling the other devices") as events:
            connection.call("sync_words", {"words": words}, events)
    except SunaivaError as error:
        return (
            f"What is synced is still recovered by the former words ({error}). Say the new ones with `sunaiva sync words` when you are "
            "online."
        )
    return None


def audit(
    verify: Annotated[
        bool, Parameter(negative="", help="Check that no line was changed or removed.")
    ] = False,
    limit: int = 50,
    before: int | None = None,
    json: Json = False,
) -> int:
    """Show who read or wrote which memories, when."""
    with agent() as connection:
        answer = connection.call("audit", {"limit": limit, "before": before, "verify": verify})
    screen.emit(answer, as_json=json, show=_show_log)
    if answer["broken_at"] is None:
        return 0
    screen.fail(f"The access log was changed from outside at line {answer['broken_at']}.")
    return 1


def permit(
    client: str | None = None,
    space: str = EVERY_SPACE,
    access: Access | None = None,
    /,
    remove: Annotated[bool, Parameter(negative="", help="Take this rule away.")] = False,
    json: Json = False,
) -> None:
    """Say what an assistant may do in a space: none, read or write. Without arguments, list the rules."""
    with agent() as connection:
        if client is not None:
            if (access is None) != remove:
                raise InvalidError(
                    "Say what is allowed: `sunaiva permit CLIENT SPACE none|read|write`; or take a rule away: "
                    "`sunaiva permit CLIENT SPACE --remove`."
                )
            connection.call("permit", {"client": client, "space": space, "access": access})
        rules = connection.call("permissions", {})
    screen.emit(rules, as_json=json, show=_show_rules)


def doctor(
    rebuild: Annotated[
        bool, Parameter(negative="", help="Make the indexes anew from the memories.")
    ] = False,
    json: Json = False,
) -> int:
    """Examine everything and say what is wrong and what to do."""
    settings = load()
    require_vault(settings)
    running = client.running(settings)
    with agent() as connection, screen.watching("Examining") as events:
        found = msgspec.convert(
            connection.call("rebuild" if rebuild else "health", {}, events), Health
        )
        standing = connection.call("sync_status", {})
    assistants = _assistants(settings)
    answer = {
        "home": str(settings.home),
        "protected_by": keys.protected_by(settings.home),
        "agent_was_running": running is not None,
        **msgspec.to_builtins(found),
        "assistants": assistants,
        "sync": standing,
    }
    screen.emit(
        answer, as_json=json, show=lambda _: _show_doctor(settings, found, assistants, standing)
    )
    return 1 if found.problems else 0


def _assistants(settings: Settings) -> dict[str, str]:
    """Each assistant found here, and how it stands to this vault; a configuration that cannot be read says why."""
    launch = connect.Launch(command=Path(agent_command()[0]), home=settings.home_if_unusual)
    found = {}
    for one in connect.find_clients(settings.places):
        try:
            status = connect.status(one, launch)
        except SunaivaError as error:
            found[one.title] = str(error)
        else:
            hooks = (
                ", without its hooks"
                if status.hooks is False and status.state == "connected"
                else ""
            )
            found[one.title] = status.state.replace("_", " ") + hooks
    return found


def reindex(
    model: Annotated[
        Path | None,
        Parameter(
            help="Folder of a sentence-transformers model. Without it: the one that the settings say."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Let another model read all memories; recall goes on with the present one meanwhile."""
    folder = None if model is None else str(model.expanduser().absolute())
    with agent() as connection, screen.watching("Reading with the new model") as events:
        found = msgspec.convert(connection.call("reindex", {"model": folder}, events), Health)
    screen.emit(
        {"model": found.model, "memories": found.memories, "embedded": found.embedded},
        as_json=json,
        show=lambda _: screen.ok(f"{found.embedded:,} memories are searched with {found.model}."),
    )


def consolidate(
    dry_run: Annotated[bool, Parameter(negative="", help="Only say what it would save.")] = False,
    undo: Annotated[
        bool,
        Parameter(
            negative="", help="Take it back; nothing is consolidated by itself from then on."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Store the same memories in less space. Nothing is lost; the agent does it by itself when it has nothing to do."""
    if undo and dry_run:
        raise InvalidError("Give --undo or --dry-run, not both.")
    with agent() as connection, screen.watching("Consolidating") as events:
        answer = connection.call("consolidate", {"undo": undo, "dry_run": dry_run}, events)
    screen.emit(answer, as_json=json, show=_show_consolidated)


def protection(settings: Settings, wanted: ProtectorKind | None) -> tuple[ProtectorKind, KeyAccess]:
    """What is to open a new vault every day."""
    kind = wanted or _usual_protector(settings)
    return kind, _access(settings, kind, new=True)


def _usual_protector(settings: Settings) -> ProtectorKind:
    if settings.passphrase_given:
        return "passphrase"
    available = protectors_available()
    return "keychain" if "keychain" in available else "key_file"


def _access(settings: Settings, kind: ProtectorKind, *, new: bool) -> KeyAccess:
    typed = None
    if kind == "passphrase" and not settings.passphrase_given:
        typed = ask_passphrase("New passphrase: " if new else "Passphrase: ", twice=new)
    return opening.access(settings, passphrase=typed)


def _root(settings: Settings, *, recovery_words: bool) -> bytes:
    if recovery_words:
        screen.say("Type the twelve recovery words:")
        return opening.settled_root_by_words(settings.home, typed_line(), opening.access(settings))
    return opening.settled_root(
        settings.home, _access(settings, keys.protected_by(settings.home), new=False)
    )


def _prepare_model(settings: Settings) -> str:
    """Export the model now, while somebody watches, rather than at the first question. No vault depends on it."""
    try:
        with screen.watching("Preparing the language model (once, about half a minute)"):
            return str(
                export_in_child(
                    settings.model_folder or bundled_model_folder(), settings.model_cache
                ).name
            )
    except UnavailableError as error:
        screen.warn(f"Memories will be found by keyword only. {error}")
        return "none"


def _named(kind: ProtectorKind) -> str:
    return {
        "keychain": "the keychain of this login",
        "passphrase": "a passphrase",
        "key_file": "a key file",
    }[kind]


def _on_its_way(coming: Reindexing) -> str:
    if coming.model is None:
        return (
            "Another model is being prepared, for about half a minute. Recall goes on with the present one; what is stored "
            "meanwhile is found by its words, and by meaning as soon as that is done."
        )
    return (
        f"{coming.model} has read {coming.done:,} of {coming.total:,} memories; then it takes over."
    )


def _show_new(new: opening.NewVault, settings: Settings) -> None:
    screen.ok(f"Your vault is in {new.home}, encrypted, protected by {_named(new.protected_by)}.")
    if new.protected_by == "key_file":
        screen.warn(_KEY_FILE_NOTE.format(folder=settings.key_folder))
    show_words(new.words)


def _show_restored(answer: dict[str, Any]) -> None:
    screen.ok(f"The backup is in place in {answer['home']}.")
    if answer["moved_aside"]:
        screen.say(f"The vault that was there is now in {answer['moved_aside']}.")


def _show_consolidated(answer: dict[str, Any]) -> None:
    memories, text, packed = answer["memories"], answer["text_bytes"], answer["block_bytes"]
    before, after = _size(answer["file_bytes_before"]), _size(answer["file_bytes_after"])
    if answer["did"] == "undone":
        screen.ok(
            f"{memories:,} memories stand alone again; the vault went from {before} to {after}."
        )
    elif not memories:
        screen.ok("There is nothing to save: what could be stored in less space already is.")
    else:
        said = f"{memories:,} memories: {_size(text)} of text in {_size(packed)} ({1 - packed / text:.0%} less)"
        if answer["did"] == "estimated":
            screen.ok(f"It would store {said}. Nothing was changed.")
        else:
            screen.ok(f"{said}; the vault went from {before} to {after}.")


def _size(number_bytes: int) -> str:
    """In the unit in which it is no nought."""
    if number_bytes < 1_000:
        return f"{number_bytes} bytes"
    return (
        f"{number_bytes / 1e3:,.1f} kB" if number_bytes < 1e5 else f"{number_bytes / 1e6:,.1f} MB"
    )


def _show_log(answer: dict[str, Any]) -> None:
    table = screen.table("line", "when", "client", "did", "memories")
    for line in msgspec.convert(answer["lines"], list[access_log.Access]):
        shown = ", ".join(short_id(each) for each in line.memories[:4])
        more = f" +{line.count - 4}" if line.count > 4 else ""
        table.add_row(
            str(line.seq),
            f"{line.at:%Y-%m-%d %H:%M:%S}",
            printable(line.client),
            line.action,
            shown + more,
        )
    screen.out.print(table)
    if answer["verified"] and answer["broken_at"] is None:
        screen.ok("The log holds together: no line was changed, none is missing before the last.")


def _show_rules(rules: list[list[str]]) -> None:
    if not rules:
        screen.say("No rules: every assistant may read and write every space.")
        return
    table = screen.table("client", "space", "may")
    for rule in rules:
        table.add_row(*map(printable, rule))
    screen.out.print(table)


def _show_health(settings: Settings, found: Health, assistants: dict[str, str]) -> None:
    _show_contents(settings, found)
    screen.ok(f"Protected by {_named(keys.protected_by(settings.home))}")
    if found.trouble:
        screen.fail(found.trouble)
    elif found.searched == "full":
        screen.ok(f"Search by words and meaning ({found.model})")
    else:
        screen.warn(
            f"Search by words; {found.embedded:,} of {found.memories or 0:,} also by meaning so far"
        )
    if found.consolidated:
        done = found.consolidated
        screen.ok(
            f"Consolidation {'undone' if done.did == 'undone' else 'last done'} on {done.at:%Y-%m-%d}; {found.packed:,} memories are in blocks"
        )
    if found.reindexing:
        screen.warn(_on_its_way(found.reindexing))
    if found.refused:
        screen.warn(f"A model that was asked for is not used. {found.refused}")
    for title, state in assistants.items():
        (screen.ok if state == "connected" else screen.warn)(f"{title}: {state}")
    for problem in found.problems[:_PROBLEMS_SHOWN]:
        screen.fail(problem)
    if len(found.problems) > _PROBLEMS_SHOWN:
        screen.fail(
            f"… and {len(found.problems) - _PROBLEMS_SHOWN:,} more lines; --json has them all."
        )
    if not found.problems:
        screen.ok(
            "Every page is sound, the keyword index agrees (a sample), the access log holds together"
        )


def _show_doctor(
    settings: Settings, found: Health, assistants: dict[str, str], standing: dict[str, Any]
) -> None:
    _show_health(settings, found, assistants)
    if standing["state"] != "not_set_up":
        is_well = standing["state"] in ("waiting", "syncing") and not standing["alarms"]
        say = screen.ok if is_well else screen.warn
        say(f"Sync: {said_of(standing)} `sunaiva sync status` says more.")
    alarms(standing)


def _show_contents(settings: Settings, found: Health) -> None:
    if found.damage:
        screen.fail(found.damage)
    counted = (
        "its memories cannot be counted"
        if found.memories is None
        else f"{found.memories:,} memories in {found.spaces:,} spaces"
    )
    (screen.warn if found.damage else screen.ok)(
        f"Vault in {settings.home}: {counted}, {found.file_bytes / 1e6:,.1f} MB"
    )
