"""How a transaction comes to see a row: as the account it turns out to be about, or as the holder of what was presented.

Row-level security asks for one of the two; this is the only place that says them after a transaction has begun. It must
never be given an account that was not looked up from a secret or an address in the same transaction.
"""

from cloud_api.db import AccountId, Connection


async def act_as(connection: Connection, account: AccountId | None) -> None:
    """From here on the transaction sees this account's rows. For nobody it does the same work and sees none."""
    value = "" if account is None else str(account)
    await connection.execute("SELECT set_config('sunaiva.account', %s, true)", [value])


async def hold(connection: Connection, digest: bytes) -> None:
    """From here on the transaction sees the rows that belong to this digest and to no account yet."""
    await connection.execute("SELECT set_config('sunaiva.holding', %s, true)", [digest.hex()])
