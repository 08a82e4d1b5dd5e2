"""A command's line to the agent: settings, the passphrase if one is needed, the connection."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mcp_server import client
from mcp_server.client import AgentConnection
from mcp_server.settings import Settings, load
from mcp_server.vault import keys
from mcp_server.vault.db import DATABASE_NAME
from shared.errors import ForbiddenError, NotFoundError

TERMINAL = "terminal"
"""The name of this client in the access log."""


@contextmanager
def agent(name: str = TERMINAL) -> Iterator[AgentConnection]:
    """A connection to the agent, which is started if none runs; a passphrase is asked for only if it is needed."""
    settings = load()
    require_vault(settings)
    if client.running(settings) is None:
        unlockable(settings)
    with client.connect(settings, client=name) as connection:
        yield connection


def require_vault(settings: Settings) -> None:
    """Raises:
    NotFoundError: there is no vault yet.
    """
    if not (settings.home / DATABASE_NAME).exists():
        raise NotFoundError(
            f"There is no vault in {settings.home} yet. Make one with `sunaiva init`."
        )


def unlockable(settings: Settings) -> None:
    """See to it that an agent started from here can unlock the vault."""
    if settings.passphrase_given or keys.protected_by(settings.home) != "passphrase":
        return
    # The agent is a child of this process and takes the passphrase from its environment, which every program
    # of this account can read.
    os.environ["SUNAIVA_PASSPHRASE"] = ask_passphrase("Passphrase of the vault: ")  # noqa: TID251


def ask_passphrase(prompt: str, *, twice: bool = False) -> str:
    """What a person types, unseen.

    Raises:
        ForbiddenError: there is nobody to ask, or the two did not match.
    """
    if not sys.stdin.isatty():
        raise ForbiddenError(
            "A passphrase is needed, and there is no terminal to type it in. Run this in a terminal. The vault's own passphrase "
            "can also be given as SUNAIVA_PASSPHRASE."
        )
    typed = getpass.getpass(prompt)
    if twice and getpass.getpass("Once more: ") != typed:
        raise ForbiddenError("The two were not the same. Nothing was changed.")
    return typed


def confirmed(question: str) -> bool:
    """Whether a person says yes; without a terminal nobody does."""
    if not sys.stdin.isatty():
        return False
    return typed_line(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def typed_line(prompt: str = "") -> str:
    """The next line of stdin; nothing at its end (Ctrl-D)."""
    try:
        return input(prompt)
    except EOFError:
        return ""
