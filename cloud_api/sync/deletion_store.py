"""Which vaults an account has deleted: nothing of them but the name and the day.

Kept as long as the account, because a device may come after years.
"""

from datetime import datetime

from cloud_api.db import AccountId, Connection
from cloud_api.devices.names import VaultId

# Who makes and deletes vaults by the thousand fills no table: what is longest ago goes.
DELETED_KEPT_MAX = 1_000


async def remember(
    connection: Connection, account: AccountId, vault: VaultId, now: datetime
) -> None:
    await connection.execute(
        "INSERT INTO vaults_deleted (account_id, vault_id, deleted_at) VALUES (%s, %s, %s) "
        "ON CONFLICT (account_id, vault_id) DO UPDATE SET deleted_at = excluded.deleted_at",
        [account, vault, now],
    )
    await connection.execute(
        "DELETE FROM vaults_deleted WHERE account_id = %(account)s AND vault_id IN ("
        "SELECT vault_id FROM vaults_deleted WHERE account_id = %(account)s "
        "ORDER BY deleted_at DESC, vault_id OFFSET %(most)s)",
        {"account": account, "most": DELETED_KEPT_MAX},
    )


async def is_deleted(connection: Connection, vault: VaultId) -> bool:
    """By the account of this transaction."""
    cursor = await connection.execute("SELECT FROM vaults_deleted WHERE vault_id = %s", [vault])
    return cursor.rowcount == 1


async def take_back(connection: Connection, account: AccountId, vault: VaultId) -> None:
    await connection.execute(
        "DELETE FROM vaults_deleted WHERE account_id = %s AND vault_id = %s", [account, vault]
    )
