"""What staff does with vaults from a terminal. Nothing of what is inside can be read here, as anywhere."""

from uuid import UUID

from cloud_api.db import Database
from cloud_api.sync import store
from cloud_api.sync.store import ListedVault

LISTED_MAX = 1_000


async def listed(url: str) -> list[ListedVault]:
    """The largest first."""
    async with Database(url, connections_max=2) as db, db.transaction() as connection:
        return await store.listed(connection, LISTED_MAX)


async def renew_generations(url: str, vault: UUID | None) -> str:
    """After the database was put back from a backup: devices then send again what it has lost."""
    async with Database(url, connections_max=2) as db, db.transaction() as connection:
        renewed = await store.renew_generations(connection, vault)
    if not renewed:
        return "No vault was found."
    return (
        f"Vaults with a new generation: {renewed}. Their devices send again what is missing here."
    )
