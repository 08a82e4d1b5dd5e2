"""The command sync: how it stands, now, pause, resume, verify, folder."""

import sys
from pathlib import Path
from typing import Any

import msgspec
from cyclopts import App

from mcp_server.cli import screen
from mcp_server.cli.accounts import (
    BEGIN,
    DeviceName,
    WordsFile,
    enter_folder,
    recovery_words,
    set_up,
)
from mcp_server.cli.screen import Json, printable
from mcp_server.cli.session import agent
from mcp_server.cli.standing import alarms, said_of
from mcp_server.syncing.status import Status

sync = App(name="sync", help="See and steer how this vault keeps in step with your other devices.")

_JOIN = (
    "There is a vault in {place} already, and this device is not in it yet. To join it, run `sunaiva pair` here and give the code it shows "
    "on a device that syncs (`sunaiva pair CODE`). If you have no such device any more: `sunaiva recover --folder {place}`."
)
_OTHERS = "Your other devices join from there: `sunaiva sync folder {place}`, then `sunaiva pair`, and on this one `sunaiva pair CODE`."


@sync.command
def status(json: Json = False) -> int:
    """Say how sync stands, and what is wrong if anything is."""
    with agent() as connection:
        answer = connection.call("sync_status", {})
    screen.emit(answer, as_json=json, show=show_status)
    return 1 if answer["alarms"] else 0


@sync.command
def now(json: Json = False) -> None:
    """Send and fetch everything now."""
    with agent() as connection, screen.watching("Syncing") as events:
        answer = connection.call("sync_now", {}, events)
    screen.emit(answer, as_json=json, show=show_status)


@sync.command
def pause(json: Json = False) -> None:
    """Send and fetch nothing until `sunaiva sync resume`. What is stored meanwhile goes out then."""
    with agent() as connection:
        answer = connection.call("sync_pause", {})
    screen.emit(answer, as_json=json, show=show_status)


@sync.command
def resume(json: Json = False) -> None:
    """Go on after a pause."""
    with agent() as connection:
        answer = connection.call("sync_resume", {})
    screen.emit(answer, as_json=json, show=show_status)


@sync.command(name="put-back")
def put_back(json: Json = False) -> None:
    """Set the vault up anew where it was deleted, or where its folder is gone, with all that is here."""
    with agent() as connection, screen.watching("Putting the vault back") as events:
        answer = connection.call("sync_put_back", {}, events)
    screen.emit(answer, as_json=json, show=show_status)


@sync.command
def verify(json: Json = False) -> int:
    """Read everything that is there once more, and check it against what is here."""
    with agent() as connection, screen.watching("Verifying") as events:
        answer = connection.call("sync_verify", {}, events)
    screen.emit(answer, as_json=json, show=_show_verified)
    is_well = answer["sound"] and not answer["found"] and not answer["status"]["alarms"]
    return 0 if is_well else 1


@sync.command
def words(words_file: WordsFile = None, json: Json = False) -> None:
    """Let this vault's present recovery words be those of what is synced, after a rekey that could not say so."""
    given = recovery_words(words_file)
    with agent() as connection, screen.watching("Changing the recovery words") as events:
        answer = connection.call("sync_words", {"words": given}, events)
    screen.emit(
        answer,
        as_json=json,
        show=lambda _: screen.ok("These twelve words recover what is synced."),
    )


@sync.command
def folder(
    path: Path,
    /,
    words_file: WordsFile = None,
    name: DeviceName = None,
    json: Json = False,
) -> None:
    """Sync through a folder instead of a cloud: a synced drive, a network share, a USB stick. It holds sealed batches only."""
    with agent() as connection:
        answer = enter_folder(connection, path, name)
        following = "sync goes on"
        if not answer["set_up"]:
            following = "join"
            if not answer["vaults"]:
                following = "sync began"
                if words_file is None and sys.stdin.isatty():
                    screen.say(BEGIN)
                set_up(connection, words_file, name)
    screen.emit(answer | {"next": following}, as_json=json, show=_show_folder)


def show_status(answer: Any) -> None:
    """How sync stands."""
    found = msgspec.convert(answer, Status)
    said = said_of(answer)
    is_well = found.state in ("waiting", "syncing") and not (found.alarms or found.problem)
    if is_well:
        screen.ok(said)
    elif found.state in ("not_set_up", "starting"):
        screen.say(said, screen.out)
    else:
        screen.warn(said, screen.out)
    if found.problem:
        screen.fail(found.problem, screen.out)
    if found.device is not None:
        where = "" if found.place is None else f", through {found.place}"
        screen.out.print(
            printable(
                f"{screen.number(found.devices, 'device', 'devices')}{where}; this one is {found.device!r}."
            )
        )
        waiting = found.to_send + found.batches_to_send
        went = "never" if found.synced_at is None else f"{found.synced_at:%Y-%m-%d %H:%M:%S} UTC"
        screen.out.print(
            f"Last in touch: {went}. Sent {found.sent_bytes:,} bytes, received {found.received_bytes:,}."
            + (" Something waits to be sent." if waiting else "")
        )
    if spared := _spared(found):
        screen.say(spared, screen.out)
    if found.conflicts:
        screen.warn(
            f"{screen.number(found.conflicts, 'memory was', 'memories were')} changed on two devices at once. Look with `sunaiva conflicts`.",
            screen.out,
        )
    if found.waiting_to_forget:
        screen.warn(
            f"Other devices forgot {screen.number(found.waiting_to_forget, 'memory', 'memories')} at once, which waits for you: `sunaiva conflicts forget` does "
            "it here, too, `sunaiva conflicts keep` keeps them on all devices.",
            screen.out,
        )
    alarms(answer, screen.out)


def _spared(found: Status) -> str:
    """What waits because of the battery or the network; empty if nothing does."""
    waits = [
        *(["snapshots, because this network is metered"] if found.is_metered else []),
        *(
            ["reading by meaning and packing, because the battery is low"]
            if found.is_battery_low
            else []
        ),
    ]
    return f"What can wait does: {'; '.join(waits)}." if waits else ""


def _show_verified(answer: Any) -> None:
    if answer["sound"]:
        what = screen.number(answer["memories"], "memory", "memories")
        screen.ok(
            f"{what} here, forgotten ones counted: as this device has agreed on with the others."
        )
    else:
        screen.fail(
            "What is here is not what this device has agreed on with the others. Put a backup back with `sunaiva restore BACKUP`, and "
            "report this: it is a defect."
        )
    for sentence in answer["found"]:
        screen.warn(sentence, screen.out)
    if not answer["found"]:
        screen.ok(
            "What your devices have put where they meet was read again, and all of it is right."
        )
    show_status(answer["status"])


def _show_folder(answer: dict[str, Any]) -> None:
    place = answer["folder"]
    match answer["next"]:
        case "join":
            screen.say(_JOIN.format(place=place), screen.out)
        case "sync began":
            screen.ok(f"Sync has begun, through {place}.")
            screen.say(_OTHERS.format(place=place), screen.out)
        case _:
            screen.ok(f"Sync goes on, through {place}.")
