"""The command line: every command by its name, and the one place where an error becomes a sentence and an exit code.

0: done. 1: it could not be done, and the sentence on stderr says why. 2: the command line itself was wrong. 130: Ctrl-C.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import msgspec
from cyclopts import App, CycloptsError, Group

from mcp_server.cli import screen
from mcp_server.version import __version__
from shared.errors import InvalidError, SunaivaError

_DAILY = Group("Memories", sort_key=1)
_MOVING = Group("In and out", sort_key=2)
_ASSISTANTS = Group("Assistants", sort_key=3)
_VAULT = Group("The vault", sort_key=4)
_SYNC = Group("Your other devices", sort_key=5)

app = App(
    name="sunaiva",
    help="Memory that belongs to you: encrypted, on this device, for you and your AI assistants.",
    version=__version__,
    console=screen.out,
    error_console=screen.err,
    result_action="return_value",
)
# Each by where it is: a command loads what it needs itself, and not what all the others need.
for place, name, group in (
    ("memories:remember", "remember", _DAILY),
    ("memories:recall", "recall", _DAILY),
    ("memories:list_", "list", _DAILY),
    ("memories:show", "show", _DAILY),
    ("memories:edit", "edit", _DAILY),
    ("memories:forget", "forget", _DAILY),
    ("findings:resolve", "resolve", _DAILY),
    ("transfer:import_", "import", _MOVING),
    ("transfer:export", "export", _MOVING),
    ("assistants:connect_", "connect", _ASSISTANTS),
    ("assistants:mcp", "mcp", _ASSISTANTS),
    ("assistants:agent", "agent", _ASSISTANTS),
    ("vault:permit", "permit", _ASSISTANTS),
    ("vault:init", "init", _VAULT),
    ("vault:backup", "backup", _VAULT),
    ("vault:restore", "restore", _VAULT),
    ("vault:rekey", "rekey", _VAULT),
    ("vault:audit", "audit", _VAULT),
    ("vault:doctor", "doctor", _VAULT),
    ("vault:reindex", "reindex", _VAULT),
    ("vault:consolidate", "consolidate", _VAULT),
    ("accounts:login", "login", _SYNC),
    ("accounts:logout", "logout", _SYNC),
    ("devices:pair", "pair", _SYNC),
    ("accounts:recover", "recover", _SYNC),
    ("devices:devices", "devices", _SYNC),
    ("sync:sync", "sync", _SYNC),
    ("findings:conflicts", "conflicts", _SYNC),
):
    app.command(f"mcp_server.cli.{place}", name=name, group=group)
app.command("mcp_server.cli.assistants:hook", name="hook", show=False)
app.register_install_completion_command(name="install-completion", group=_VAULT)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        _refuse_broken_text(arguments)
        if not arguments or arguments[0] in ("--help", "-h"):
            _load_all()
        code = app(_with_dash_last(arguments), exit_on_error=False, print_error=True)
    except CycloptsError as error:
        _tell_program(arguments, InvalidError.code, str(error))
        return 2
    except SunaivaError as error:
        _tell_program(arguments, error.code, str(error))
        screen.fail(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


def _load_all() -> None:
    """The list of all commands says what each is for."""
    for name in app:
        app[name]


def _leave(number: int, frame: FrameType | None) -> None:
    """A closed terminal ends us the ordinary way, so that temporary files with memories in them are removed."""
    sys.exit(128 + number)


def _with_dash_last(arguments: Sequence[str]) -> Sequence[str]:
    """A lone `-` means stdin everywhere; cyclopts would take it for an option without a name."""
    if "-" not in arguments or "--" in arguments:
        return arguments
    at = arguments.index("-")
    if at and arguments[at - 1] == "--words-file":
        return [*arguments[: at - 1], "--words-file=-", *arguments[at + 1 :]]
    return [*(argument for argument in arguments if argument != "-"), "--", "-"]


def _tell_program(arguments: Sequence[str], code: str, message: str) -> None:
    if "--json" in arguments:
        answer = {"error": {"code": code, "message": message}}
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")


def _refuse_broken_text(arguments: Sequence[str]) -> None:
    """Python lets bytes that are no UTF-8 through as lone surrogates, which nothing after this could write down."""
    for number, argument in enumerate(arguments, 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InvalidError(f"Argument {number} is not UTF-8. Nothing was done.") from None
