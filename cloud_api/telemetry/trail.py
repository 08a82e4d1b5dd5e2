"""Which request or job the present work belongs to, so that every line and span can say so without being told.

It follows the work through `await` and into tasks (a context variable). What is written of an account is `pseudonym`, never
its id: lines leave this machine, and whoever reads them must not be able to look an account up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec
from msgspec import Struct

from shared.crypto import mac

_PSEUDONYM_BYTES = 8  # enough to tell the accounts of a log apart; nothing is decided by it


class Trail(Struct, frozen=True):
    request: str | None = None
    account: str | None = None
    """Its id; made into a pseudonym by whoever writes it down, because few requests write a line."""
    job: str | None = None
    trace: str | None = None
    span: str | None = None


_NONE = Trail()
_present: ContextVar[Trail] = ContextVar("sunaiva_trail", default=_NONE)


def present() -> Trail:
    return _present.get()


@contextmanager
def following(trail: Trail) -> Iterator[None]:
    before = _present.set(trail)
    try:
        yield
    finally:
        _present.reset(before)


def name_account(account_id: str) -> None:
    """From here on the work at hand is of this account."""
    _present.set(msgspec.structs.replace(_present.get(), account=account_id))


def pseudonym(key: bytes, account_id: str) -> str:
    """The same for the same account and key, which serves for nothing else; without it nobody can tell whose it is."""
    return mac(key, account_id.encode())[:_PSEUDONYM_BYTES].hex()
