"""Vaults and their sealed batches in the database.

Positions are gapless and follow the order of commits, because they are taken from the vault's row while it is locked. Whoever adds a
batch, an entry of the device list or bytes to a vault holds that lock.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.arrays import bigints, byteas
from cloud_api.db import AccountId, Connection
from cloud_api.devices.names import DeviceId, VaultId
from cloud_api.questions import Asked, Question
from sync_service.members.control import Members
from sync_service.relay import StreamHead


class VaultRow(Struct, frozen=True):
    id: UUID
    generation: UUID
    head_pos: int
    min_pos: int
    control_seq: int
    control_hash: bytes
    quota_bytes: int
    used_bytes: int
    created_at: datetime
    pushed_at: datetime | None


class Mark(Struct, frozen=True):
    """How far a vault has come. A position means something within its generation only."""

    generation: UUID
    control_seq: int
    head_pos: int


class StoredBatch(Struct, frozen=True):
    stream_id: bytes
    seq: int
    hash: bytes
    pos: int


class ListedVault(Struct, frozen=True):
    id: UUID
    account_id: UUID
    generation: UUID
    head_pos: int
    min_pos: int
    used_bytes: int
    quota_bytes: int
    created_at: datetime
    pushed_at: datetime | None


class NewBatch(Struct, frozen=True):
    pos: int
    stream: bytes
    seq: int
    hash: bytes
    frame: bytes


class PageRow(Struct, frozen=True):
    """Of a page: how the vault stands, with each batch. Without any batch one row, without a position."""

    generation: UUID
    head_pos: int
    min_pos: int
    is_member: bool
    pos: int | None
    frame: bytes | None


_VAULT = (
    "id, generation, head_pos, min_pos, control_seq, control_hash, quota_bytes, used_bytes, "
    "created_at, pushed_at"
)
_LOCK = Question(
    "lock_vault",
    f"SELECT {_VAULT} FROM vaults WHERE id = $1::uuid FOR UPDATE",  # noqa: S608 (ours)
    VaultRow,
)
_HEADS = Question(
    "heads",
    "SELECT id, seq, hash FROM streams WHERE vault_id = $1::uuid AND id = ANY($2::bytea[]) AND hash IS NOT NULL",
    lambda stream, seq, digest: (stream, StreamHead(seq, digest)),
)

# One statement, so that no batch can be compacted away between looking at the vault and reading the page.
_PAGE = """
SELECT v.generation, v.head_pos, v.min_pos,
    EXISTS (SELECT FROM devices d WHERE d.vault_id = v.id AND d.id = %(device)s AND d.revoked_at IS NULL) AS is_member,
    b.pos, b.frame
FROM vaults v LEFT JOIN LATERAL (
    SELECT p.pos, p.frame FROM (
        SELECT pos, frame, bytes, sum(bytes + 8) OVER (ORDER BY pos) AS total FROM (
            SELECT pos, frame, bytes FROM batches WHERE vault_id = v.id AND pos > %(after)s ORDER BY pos LIMIT %(most)s
        ) AS following
    ) AS p
    -- The first one goes however large it is: a page that never ends would be worse than one that is too large.
    WHERE p.total <= %(bytes)s OR p.total = p.bytes + 8
) AS b ON %(after)s >= v.min_pos
WHERE v.id = %(vault)s ORDER BY b.pos
"""

_MARK = Question(
    "mark",
    "SELECT v.generation, v.control_seq, v.head_pos FROM vaults v JOIN devices d ON d.vault_id = v.id "
    "WHERE v.id = $1::uuid AND d.id = $2::uuid AND d.revoked_at IS NULL",
    Mark,
)
_STORE = Question(
    "store_batches",
    """
WITH stored AS (
    INSERT INTO batches (account_id, vault_id, pos, stream_id, seq, hash, bytes, frame, received_at)
    SELECT $1::uuid, $2::uuid, pos, stream, seq, hash, length(frame), frame, $3::timestamptz
    FROM unnest($4::bigint[], $5::bytea[], $6::bigint[], $7::bytea[], $8::bytea[])
        AS new (pos, stream, seq, hash, frame)
), moved AS (
    UPDATE streams SET seq = head.seq, hash = head.hash
    FROM unnest($9::bytea[], $10::bigint[], $11::bytea[]) AS head (stream, seq, hash)
    WHERE streams.vault_id = $2 AND streams.id = head.stream
)
UPDATE vaults SET head_pos = $12::bigint, used_bytes = used_bytes + $13::bigint, pushed_at = $3 WHERE id = $2
""",
    lambda: None,
)


async def create(
    connection: Connection,
    account: AccountId,
    members: Members,
    *,
    quota_bytes: int,
    used_bytes: int,
    now: datetime,
) -> bool:
    """Whether nobody had it, whatever their account."""
    cursor = await connection.execute(
        "INSERT INTO vaults (account_id, id, control_seq, control_hash, quota_bytes, used_bytes, created_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
        [
            account,
            UUID(bytes=members.vault),
            members.seq,
            members.hash,
            quota_bytes,
            used_bytes,
            now,
        ],
    )
    return cursor.rowcount == 1


async def lock_account(connection: Connection, account: AccountId) -> None:
    """So that two new vaults at the same moment cannot both be the last that is allowed."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('vaults ' || %s::text, 0))", [account]
    )


async def vaults(connection: Connection, account: AccountId) -> list[VaultRow]:
    async with connection.cursor(row_factory=class_row(VaultRow)) as cursor:
        await cursor.execute(
            f"SELECT {_VAULT} FROM vaults WHERE account_id = %s ORDER BY created_at, id",  # noqa: S608 (ours)
            [account],
        )
        return await cursor.fetchall()


async def vault(connection: Connection, vault: VaultId) -> VaultRow | None:
    async with connection.cursor(row_factory=class_row(VaultRow)) as cursor:
        await cursor.execute(f"SELECT {_VAULT} FROM vaults WHERE id = %s", [vault])  # noqa: S608 (ours)
        return await cursor.fetchone()


def locked(vault: VaultId) -> Asked[VaultRow]:
    """The vault, if there is one, and its lock until the transaction ends."""
    return _LOCK.of(vault)


async def lock(connection: Connection, vault: VaultId) -> VaultRow | None:
    return next(iter(await locked(vault).within(connection)), None)


async def delete(connection: Connection, vault: VaultId) -> bool:
    """With everything that is of it."""
    cursor = await connection.execute("DELETE FROM vaults WHERE id = %s", [vault])
    return cursor.rowcount == 1


async def use_bytes(connection: Connection, vault: VaultId, more: int) -> None:
    await connection.execute(
        "UPDATE vaults SET used_bytes = greatest(0, used_bytes + %s) WHERE id = %s", [more, vault]
    )


async def is_member(connection: Connection, vault: VaultId, device: DeviceId) -> bool:
    cursor = await connection.execute(
        "SELECT FROM devices WHERE vault_id = %s AND id = %s AND revoked_at IS NULL",
        [vault, device],
    )
    return cursor.rowcount == 1


def heads(vault: VaultId, streams: Collection[bytes]) -> Asked[tuple[bytes, StreamHead]]:
    """The last batch of each of these streams that has any."""
    return _HEADS.of(vault, list(streams))


async def stored(
    connection: Connection, vault: VaultId, places: Sequence[tuple[bytes, int]]
) -> list[StoredBatch]:
    """What is at these places of streams."""
    async with connection.cursor(row_factory=class_row(StoredBatch)) as cursor:
        await cursor.execute(
            "SELECT b.stream_id, b.seq, b.hash, b.pos FROM unnest(%s::bytea[], %s::bigint[]) AS asked (stream, seq) "
            "JOIN batches b ON b.vault_id = %s AND b.stream_id = asked.stream AND b.seq = asked.seq",
            [[stream for stream, _ in places], [seq for _, seq in places], vault],
        )
        return await cursor.fetchall()


def added(
    account: AccountId, vault: VaultId, batches: Sequence[NewBatch], *, now: datetime
) -> Asked[None]:
    """In one statement: batches, the heads of their streams, and the vault's head."""
    last = {batch.stream: batch for batch in batches}
    return _STORE.of(
        account,
        vault,
        now,
        bigints(batch.pos for batch in batches),
        byteas(batch.stream for batch in batches),
        bigints(batch.seq for batch in batches),
        byteas(batch.hash for batch in batches),
        byteas(batch.frame for batch in batches),
        byteas(last),
        bigints(batch.seq for batch in last.values()),
        byteas(batch.hash for batch in last.values()),
        batches[-1].pos,
        sum(len(batch.frame) for batch in batches),
    )


async def page(
    connection: Connection,
    vault: VaultId,
    device: DeviceId,
    *,
    after: int,
    max_bytes: int,
    most: int,
) -> list[PageRow]:
    """Empty if there is no such vault."""
    async with connection.cursor(row_factory=class_row(PageRow), binary=True) as cursor:
        await cursor.execute(
            _PAGE,
            {"vault": vault, "device": device, "after": after, "bytes": max_bytes, "most": most},
        )
        return await cursor.fetchall()


def mark(vault: VaultId, device: DeviceId) -> Asked[Mark]:
    """None also for a device that was removed."""
    return _MARK.of(vault, device)


async def listed(connection: Connection, most: int) -> list[ListedVault]:
    """Vaults of all accounts, the largest first."""
    async with connection.cursor(row_factory=class_row(ListedVault)) as cursor:
        await cursor.execute(
            "SELECT id, account_id, generation, head_pos, min_pos, used_bytes, quota_bytes, created_at, pushed_at "
            "FROM vaults_listed(%s)",
            [most],
        )
        return await cursor.fetchall()


async def renew_generations(connection: Connection, vault: UUID | None) -> int:
    """Of one vault, or of all of every account; how many."""
    cursor = await connection.execute("SELECT renew_generations(%s)", [vault])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
