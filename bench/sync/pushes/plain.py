"""The same writes without a server in front: what PostgreSQL on this machine takes in at this moment, to compare with."""

import asyncio
from time import monotonic

import psycopg

_TABLES = """
CREATE TABLE plain_vaults (id integer PRIMARY KEY, head bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE plain_batches (vault integer, pos bigint, stream integer, seq bigint, hash bytea, frame bytea,
    PRIMARY KEY (vault, pos), UNIQUE (vault, stream, seq));
ALTER TABLE plain_batches ALTER frame SET STORAGE EXTERNAL;
"""


async def plain_pushes(url: str, *, vaults: int, writers: int, pushes: int, batch: bytes) -> float:
    """Transactions a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS plain_vaults, plain_batches")
        connection.execute(_TABLES)
        connection.execute(
            "INSERT INTO plain_vaults (id) SELECT generate_series(0, %s - 1)", [vaults]
        )
    began = monotonic()
    await asyncio.gather(
        *(_write(url, writer, vaults, pushes // writers, batch) for writer in range(writers))
    )
    return pushes / (monotonic() - began)


async def _write(url: str, writer: int, vaults: int, pushes: int, batch: bytes) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for seq in range(pushes):
            vault = (seq * 8 + writer) % vaults
            async with connection.transaction():
                cursor = await connection.execute(
                    "UPDATE plain_vaults SET head = head + 1 WHERE id = %s RETURNING head", [vault]
                )
                head = (await cursor.fetchone() or (0,))[0]
                await connection.execute(
                    "INSERT INTO plain_batches VALUES (%s, %s, %s, %s, %s, %s)",
                    [vault, head, writer, seq, batch[-32:], batch],
                )
