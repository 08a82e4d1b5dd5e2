"""The terms of sync: room, numbers, times; and who may store. Pure.

Whether somebody may push is one question, asked in one place. Whatever its answer, everything that is stored can be read, exported and
deleted.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Literal

from msgspec import Struct

from cloud_api.db import AccountId, Connection

# A million memories take some 160 MB, and a snapshot of them as much again.
QUOTA_BYTES = 2 * 1024**3
VAULTS_MAX = 8  # of one account; nearly everybody has one
ENTRIES_AT_ONCE_MAX = 64
ENTRY_BYTES_MAX = 256 * 1024
# One a week for twenty years would be a thousand; each is read when a process first meets the vault.
CONTROL_ENTRIES_MAX = 4_096
CONTROL_PAGE_BYTES_MAX = 1024 * 1024
PAGE_BYTES_MIN = 64 * 1024
PAGE_BYTES_MAX = 4 * 1024 * 1024
PAGE_BATCHES_MAX = 2_048
VECTOR_LISTS_MAX = 16  # shown of one vault: the last of each device
# Of one vault, in which some five hundred full ones fit: each is a file and a row, which weigh more than one of a byte counts for.
SEGMENTS_MAX = 16_384
MANIFESTS_MAX = 64  # of one vault; older ones go when a newer one was applied

# A device that was off for a month finds what it missed as batches, not as a snapshot.
GRACE = timedelta(days=30)
# An upload that was broken off goes on within days; what no manifest names after a week, nobody will.
SPARE_SEGMENTS_KEPT = timedelta(days=7)
COMPACTED_AT_ONCE_MAX = 10_000  # a second of the database's time
REMOVED_AT_ONCE_MAX = 500

WAIT_SECONDS_MAX = 55  # proxies cut off what says nothing for a minute
HEARTBEAT_SECONDS = 25
# Then a device comes again, and shows that it still belongs to the vault.
LISTENING_SECONDS_MAX = 15 * 60
LISTENERS_PER_VAULT_MAX = 64  # of one process


class Yes(Struct, frozen=True):
    pass


class No(Struct, frozen=True):
    reason: Literal["no_subscription", "account_closed"]


MayPush = Callable[[Connection, AccountId], Awaitable[Yes | No]]

SENTENCES = {
    "no_subscription": "Sync needs a subscription to take anything new. Everything that is stored can be fetched, exported and deleted, "
    "and your devices keep working by themselves.",
    "account_closed": "This account is closed for anything new. Everything that is stored can still be fetched, exported and deleted.",
}


def fitting(parts: Iterable[bytes], bytes_max: int) -> list[bytes]:
    """As many of the first as go into one answer, and the first one however large it is."""
    found: list[bytes] = []
    left = bytes_max
    for part in parts:
        left -= len(part)
        if found and left < 0:
            break
        found.append(part)
    return found


async def everybody_may(_: Connection, __: AccountId) -> Yes | No:
    """Until there is anything to pay for."""
    return Yes()
