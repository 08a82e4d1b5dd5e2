"""Commands about where this vault meets its other devices: login, logout, recover."""

import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.panel import Panel
from rich.text import Text

from mcp_server import client, opening
from mcp_server.cli import qr, screen
from mcp_server.cli.screen import Json, printable
from mcp_server.cli.session import agent, typed_line
from mcp_server.cli.vault import Protect, protection
from mcp_server.client import AgentConnection
from mcp_server.settings import Settings, load
from mcp_server.syncing.account import origin
from mcp_server.vault.db import DATABASE_NAME
from mcp_server.vault.words import entropy_of
from shared.clock import system_clock
from shared.errors import ForbiddenError, InvalidError, NotFoundError, UnavailableError

WordsFile = Annotated[
    Path | None,
    Parameter(help="Read the twelve recovery words from this file, or `-` from stdin."),
]
DeviceName = Annotated[
    str | None,
    Parameter(help="What your other devices call this one. Without it: this computer's name."),
]
Cloud = Annotated[
    str | None, Parameter(help="Address of the cloud. Without it: the setting SUNAIVA_CLOUD.")
]
# Twelve words have a hundred characters; a larger file is another one.
_WORDS_CHARS_MAX = 2_000
# Typing them all again helps against a slip, not against the wrong note.
_TRIES_MAX = 5
BEGIN = (
    "Sync begins with your twelve recovery words: they can bring the vault back when every device is lost, so this is also the check "
    "that you have written them down. They stay on this device."
)
_LATER = (
    "You are logged in. To begin to sync, give the twelve recovery words: run `sunaiva login` in a terminal, or add "
    "--words-file FILE."
)
_DELETED = (
    "This vault was deleted there, so nothing is sent or fetched. To sync it there again, put it back from this device: `sunaiva sync "
    "put-back`."
)
_JOIN = (
    "A vault of yours is synced there already. To join it, run `sunaiva pair` here and give the code it shows on a device that syncs "
    "(`sunaiva pair CODE`). If you have no such device any more: `sunaiva recover`."
)


def login(
    cloud: Cloud = None,
    open: Annotated[bool, Parameter(negative="", help="Open the page in a browser.")] = False,
    words_file: WordsFile = None,
    name: DeviceName = None,
    json: Json = False,
) -> None:
    """Log this device in at a cloud, and begin to sync. Nothing is sent anywhere before."""
    at = origin(cloud or load().cloud)
    with agent() as connection:
        answer = _logged_in(connection, at, name, open_page=open, as_json=json)
        if answer["deleted"]:
            following = "put back"
        elif answer["set_up"]:
            following = "sync goes on"
        elif answer["vaults"]:
            following = "join"
        elif words_file is None and not sys.stdin.isatty():
            following = "words"
        else:
            screen.say(BEGIN)
            set_up(connection, words_file, name)
            following = "sync began"
    screen.emit(answer | {"next": following}, as_json=json, show=_show_logged_in)


def logout(json: Json = False) -> None:
    """Sync no more: end this device's session at the cloud, or leave the folder. Memories stay, here and there."""
    with agent() as connection, screen.watching("Logging out") as events:
        answer = connection.call("logout", {}, events)
    screen.emit(answer, as_json=json, show=_show_logged_out)


def recover(
    cloud: Cloud = None,
    folder: Annotated[
        Path | None, Parameter(help="The folder that was synced through, instead of a cloud.")
    ] = None,
    words_file: WordsFile = None,
    name: DeviceName = None,
    protect: Protect = None,
    open: Annotated[bool, Parameter(negative="", help="Open the page in a browser.")] = False,
    json: Json = False,
) -> None:
    """Get your memories back with the twelve words, on a new computer or after everything was lost."""
    if cloud is not None and folder is not None:
        raise InvalidError("Give --cloud or --folder, not both.")
    settings = load()
    at = None if folder is not None else origin(cloud or settings.cloud)
    words = checked_words(words_file, entropy_of)
    is_new = not (settings.home / DATABASE_NAME).exists()
    if is_new:
        _make_vault(settings, words, protect)
    with agent() as connection:
        if folder is not None:
            enter_folder(connection, folder, name)
        else:
            assert at is not None
            _logged_in(connection, at, name, open_page=open, as_json=json)
        with screen.watching("Getting your memories") as events:
            status = connection.call("sync_recover", {"words": words, "name": name}, events)
    screen.emit({"made_vault": is_new, **status}, as_json=json, show=_show_recovered)


def recovery_words(given: Path | None) -> str:
    """What the person types, or what a script hands over.

    Raises:
        ForbiddenError: there is nobody to ask.
    """
    if given is None:
        if not sys.stdin.isatty():
            raise ForbiddenError(
                "The twelve recovery words are needed, and there is no terminal to type them in. Give them with --words-file FILE, "
                "or --words-file - for stdin."
            )
        screen.say("Type the twelve recovery words:")
        return typed_line()
    if str(given) == "-":
        return sys.stdin.read(_WORDS_CHARS_MAX)
    try:
        with given.expanduser().open(encoding="utf-8") as file:
            return file.read(_WORDS_CHARS_MAX)
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {given}.") from None
    except (OSError, UnicodeDecodeError):
        raise UnavailableError(f"{given} cannot be read. Is it a text file, and yours?") from None


def checked_words(given: Path | None, check: Callable[[str], object]) -> str:
    """Words that pass the check; whoever types them and makes a mistake is asked again, unless they type none.

    Raises:
        InvalidError, ForbiddenError: they do not pass, or there is nobody to ask.
    """
    for tries_left in reversed(range(_TRIES_MAX)):
        words = recovery_words(given)
        try:
            check(words)
        except (InvalidError, ForbiddenError) as error:
            if given is not None or not words.strip() or not tries_left:
                raise
            screen.fail(str(error))
        else:
            return words
    raise AssertionError("the last try returns or raises")


def set_up(connection: AgentConnection, words_file: Path | None, name: str | None) -> None:
    """Begin to sync with this device as the first."""

    def found(words: str) -> None:
        entropy_of(words)  # a mistake in typing is seen before the agent is asked
        with screen.watching("Setting sync up") as events:
            connection.call("sync_found", {"words": words, "name": name}, events)

    checked_words(words_file, found)


def enter_folder(connection: AgentConnection, folder: Path, name: str | None) -> dict[str, Any]:
    path = str(folder.expanduser().absolute())
    with screen.watching("Looking into the folder") as events:
        answer: dict[str, Any] = connection.call(
            "sync_folder", {"path": path, "name": name}, events
        )
    return answer


def _logged_in(
    connection: AgentConnection, at: str, name: str | None, *, open_page: bool, as_json: bool
) -> dict[str, Any]:
    with screen.watching(f"Asking {at}") as show:

        def on_event(event: dict[str, Any]) -> None:
            if code := event.get("login"):
                _show_code(code, as_json=as_json)
                if open_page:
                    webbrowser.open(code["uri_complete"])
            show(event)

        answer: dict[str, Any] = connection.call("login", {"cloud": at, "name": name}, on_event)
    return answer


def _show_code(code: dict[str, str], *, as_json: bool) -> None:
    to = screen.err if as_json else screen.out
    qr.show(code["uri_complete"], to)
    shown = Text.assemble(
        "Open ",
        (printable(code["uri"]), "bold"),
        " in a browser, log in there, and enter the code ",
        (printable(code["user_code"]), "bold cyan"),
        ".",
    )
    to.print(shown, soft_wrap=True)  # one line, which a script can read, too


def _make_vault(settings: Settings, words: str, protect: Protect) -> None:
    """An empty vault that opens with the same words, so that there is one note to keep and not two."""
    kind, given = protection(settings, protect)
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with client.alone(settings):
        opening.make_vault(settings, kind, given, system_clock, words=words)


def _show_logged_in(answer: dict[str, Any]) -> None:
    screen.ok(f"Logged in at {answer['cloud']} as {answer['mail']}.")
    match answer["next"]:
        case "join":
            screen.say(_JOIN, screen.out)
        case "put back":
            screen.say(_DELETED, screen.out)
        case "words":
            screen.say(_LATER, screen.out)
        case "sync began":
            screen.ok("Sync has begun. Your other devices join with `sunaiva pair`.")
        case _:
            screen.ok("Sync goes on.")


def _show_logged_out(answer: dict[str, Any]) -> None:
    screen.ok("This device syncs no more. Its memories are all here.")
    if not answer["told"]:
        screen.warn(
            "The cloud could not be told; the session there ends by itself a week after it was last used."
        )


def _show_recovered(answer: dict[str, Any]) -> None:
    screen.ok("This device belongs to your vault again, and syncs.")
    if answer["made_vault"]:
        screen.out.print(
            Panel(
                Text(
                    "The vault on this computer opens with the same twelve words. Are other devices lost or stolen? Remove them: "
                    "`sunaiva devices`, `sunaiva devices revoke NAME`."
                ),
                border_style="yellow",
            ),
            soft_wrap=False,
        )
