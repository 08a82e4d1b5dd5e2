"""Device lists of vaults that this process has met, read and verified once.

What is kept is only believed if the vault's row names the same last entry: a process can be behind, never wrong.
"""

import asyncio
from collections import OrderedDict
from uuid import UUID

from cloud_api.db import Connection
from cloud_api.devices.names import VaultId
from cloud_api.sync import control_store, rules
from cloud_api.sync.store import VaultRow
from shared.errors import CorruptError, ForbiddenError
from sync_service.changes.ops import MalformedError
from sync_service.members.control import Members, begin, extend

KNOWN_MAX = 5_000  # some 5 kB each with three devices
# Each entry takes a tenth of a millisecond to verify; more than these are not done while others wait.
VERIFIED_HERE_MAX = 16


class ChainCorruptError(CorruptError):
    code = "control_corrupt"


class Chains:
    """Owns the lists that this process keeps. The least recently used go first."""

    def __init__(self, most: int = KNOWN_MAX) -> None:
        self._most = most
        self._known: OrderedDict[VaultId, Members] = OrderedDict()

    def known(self, vault: VaultId) -> Members | None:
        """Possibly behind; what it says about who owns a stream stays true."""
        return self._known.get(vault)

    def keep(self, members: Members) -> None:
        vault = VaultId(UUID(bytes=members.vault))
        self._known[vault] = members
        self._known.move_to_end(vault)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    async def current(self, connection: Connection, row: VaultRow) -> Members:
        """The list as the vault's row, which was read in this transaction, says that it is.

        Raises:
            ChainCorruptError: what is stored is no list.
        """
        vault = VaultId(row.id)
        known = self._known.get(vault)
        if known is not None and (known.seq, known.hash) == (row.control_seq, row.control_hash):
            self._known.move_to_end(vault)
            return known
        is_ahead = known is not None and known.seq >= row.control_seq
        after = 0 if known is None or is_ahead else known.seq
        found = await control_store.entries(
            connection, vault, after=after, most=rules.CONTROL_ENTRIES_MAX
        )
        entries = [each.entry for each in found]
        try:
            members = await _replayed(known if after else None, entries)
        except (ForbiddenError, MalformedError):
            if not after:
                raise _corrupt() from None
            # Put back from a backup under our feet: what is kept here is of another history.
            del self._known[vault]
            return await self.current(connection, row)
        if (members.seq, members.hash) != (row.control_seq, row.control_hash):
            raise _corrupt()
        self.keep(members)
        return members


async def _replayed(known: Members | None, entries: list[bytes]) -> Members:
    if len(entries) > VERIFIED_HERE_MAX:
        return await asyncio.to_thread(_extended, known, entries)
    return _extended(known, entries)


def _extended(members: Members | None, entries: list[bytes]) -> Members:
    for entry in entries:
        members = begin(entry) if members is None else extend(members, entry)
    if members is None:
        raise _corrupt()
    return members


def _corrupt() -> ChainCorruptError:
    return ChainCorruptError(
        "What is stored of this vault's device list is damaged. Nothing was changed; whoever runs this server has to put it back."
    )
