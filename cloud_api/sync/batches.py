"""Pushing and pulling sealed batches. A push is stored whole or not at all; a position never moves and is never left out."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from cloud_api.db import Connection
from cloud_api.devices.names import VaultId
from cloud_api.devices.passes import Pass
from cloud_api.sync import rules, snapshot_store, store
from cloud_api.sync.refusals import (
    BatchMalformedError,
    CompactedError,
    DeviceRevokedError,
    GenerationChangedError,
    NotEntitledError,
    VaultFullError,
    error_of,
)
from cloud_api.sync.relay import Relay, locked, missing, seen
from cloud_api.sync.rules import No
from cloud_api.sync.store import NewBatch, PageRow, StoredBatch, VaultRow
from sync_service.control import Members, owner_of
from sync_service.frames import Frame, split
from sync_service.ops import MalformedError
from sync_service.relay import (
    BATCHES_PER_PUSH_MAX,
    Admitted,
    Duplicate,
    Refused,
    StreamHead,
    authenticate,
    place,
)

# A signature takes an eighth of a millisecond to verify; more than these are not done while others wait.
VERIFIED_HERE_MAX = 8


class Placed(Struct, frozen=True):
    stream: bytes
    seq: int
    pos: int


class Pushed(Struct, frozen=True):
    generation: UUID
    head_pos: int
    placed: list[Placed]


class Page(Struct, frozen=True):
    generation: UUID
    head_pos: int
    min_pos: int
    batches: list[tuple[int, bytes]]


async def push(relay: Relay, device_pass: Pass, body: bytes) -> Pushed:
    """Stores the batches of `body`, or says where they are stored already.

    Raises:
        BatchMalformedError and its relatives: the first batch that cannot be stored says why; none was.
        NotEntitledError, VaultFullError, VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    frames = _split(body)
    vault = device_pass.vault
    async with relay.turns.of(vault):
        await _authenticate(relay, device_pass, frames)
        async with relay.db.transaction(device_pass.account) as connection:
            row, members = await locked(relay, connection, device_pass)
            placed, new = await _placed(connection, row, members, frames)
            if new:
                await demand_entitlement(relay, connection, device_pass)
                demand_room(row, sum(len(batch.frame) for batch in new))
                await store.add(connection, device_pass.account, vault, new, now=relay.clock())
    head = new[-1].pos if new else row.head_pos
    if new:
        relay.nudges.tell(vault)
    return Pushed(row.generation, head, placed)


async def pull(
    relay: Relay, device_pass: Pass, *, after: int, max_bytes: int, generation: UUID | None
) -> Page:
    """What follows a position, as much as fits.

    Raises:
        GenerationChangedError: positions from before mean nothing any more.
        CompactedError: it is in a snapshot only.
        VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    async with relay.db.transaction(device_pass.account) as connection:
        rows = await store.page(
            connection,
            device_pass.vault,
            device_pass.device,
            after=after,
            max_bytes=max_bytes,
            most=rules.PAGE_BATCHES_MAX,
        )
        if not rows:
            raise await missing(connection, device_pass.vault)
        first = rows[0]
        if not first.is_member:
            raise DeviceRevokedError
        if generation not in (None, first.generation):
            raise GenerationChangedError(
                "This server began anew, perhaps from a backup. Read from the beginning, and send again what it lost.",
                generation=str(first.generation),
            )
        if after < first.min_pos:
            raise await _compacted(connection, device_pass.vault, first.min_pos)
    return Page(first.generation, first.head_pos, first.min_pos, _batches(rows))


async def demand_entitlement(relay: Relay, connection: Connection, device_pass: Pass) -> None:
    """
    Raises:
        NotEntitledError
    """
    verdict = await relay.may_push(connection, device_pass.account)
    if isinstance(verdict, No):
        raise NotEntitledError(rules.SENTENCES[verdict.reason], reason=verdict.reason)


def demand_room(row: VaultRow, more: int) -> None:
    """
    Raises:
        VaultFullError
    """
    if row.used_bytes + more > row.quota_bytes:
        raise VaultFullError(
            "This vault has no more room here. Nothing was stored, and your devices keep everything; a snapshot makes room.",
            quota_bytes=row.quota_bytes,
            used_bytes=row.used_bytes,
        )


def _split(body: bytes) -> list[Frame]:
    try:
        frames = split(body, most=BATCHES_PER_PUSH_MAX)
    except MalformedError as error:
        raise BatchMalformedError(str(error)) from None
    if not frames:
        raise BatchMalformedError("Nothing was sent. A push holds one batch or more.")
    return frames


async def _authenticate(relay: Relay, device_pass: Pass, frames: Sequence[Frame]) -> None:
    """Before the vault is locked: it takes time, and what is found stays true."""
    members = relay.chains.known(device_pass.vault)
    if members is None or any(owner_of(members, one.header.stream) is None for one in frames):
        async with relay.db.transaction(device_pass.account) as connection:
            row = await seen(relay, connection, device_pass)
            members = await relay.chains.current(connection, row)
    if len(frames) > VERIFIED_HERE_MAX:
        found = await asyncio.to_thread(_first_refused, members, frames)
    else:
        found = _first_refused(members, frames)
    if found is not None:
        frame, refused = found
        raise error_of(refused, stream=frame.header.stream)


def _first_refused(members: Members, frames: Sequence[Frame]) -> tuple[Frame, Refused] | None:
    for frame in frames:
        refused = authenticate(members, frame)
        if refused is not None:
            return frame, refused
    return None


async def _placed(
    connection: Connection, row: VaultRow, members: Members, frames: Sequence[Frame]
) -> tuple[list[Placed], list[NewBatch]]:
    vault = VaultId(row.id)
    found = await store.heads(connection, vault, list({one.header.stream for one in frames}))
    heads = {
        stream: StreamHead(head.seq, head.hash)
        for stream, head in found.items()
        if head.hash is not None
    }
    stored = await _stored(connection, vault, frames, heads)
    placed: list[Placed] = []
    new: list[NewBatch] = []
    for frame in frames:
        stream, seq = frame.header.stream, frame.header.seq
        known = stored.get((stream, seq))
        verdict = place(
            members, frame, heads.get(stream), stored=None if known is None else known.hash
        )
        match verdict:
            case Admitted(head):
                heads[stream] = head
                pos = row.head_pos + len(new) + 1
                new.append(NewBatch(pos, stream, seq, frame.hash, frame.raw))
                placed.append(Placed(stream, seq, pos))
            case Duplicate() if known is not None:
                placed.append(Placed(stream, seq, known.pos))
            case Duplicate():
                # Twice in this push, or compacted away: then its place is not a position any more.
                placed.append(Placed(stream, seq, _pos_of(placed, stream, seq)))
            case _:
                raise error_of(verdict, stream=stream)
    return placed, new


async def _stored(
    connection: Connection,
    vault: VaultId,
    frames: Sequence[Frame],
    heads: dict[bytes, StreamHead],
) -> dict[tuple[bytes, int], StoredBatch]:
    """What is stored already of what was sent: nothing, unless an answer was lost."""
    places = [
        (one.header.stream, one.header.seq)
        for one in frames
        if one.header.stream in heads and one.header.seq <= heads[one.header.stream].seq
    ]
    if not places:
        return {}
    found = await store.stored(connection, vault, places)
    return {(each.stream_id, each.seq): each for each in found}


def _pos_of(placed: Sequence[Placed], stream: bytes, seq: int) -> int:
    return next((one.pos for one in placed if (one.stream, one.seq) == (stream, seq)), 0)


async def _compacted(connection: Connection, vault: VaultId, min_pos: int) -> CompactedError:
    newest = await snapshot_store.newest_manifest(connection, vault)
    about: dict[str, str | int] = {"min_pos": min_pos}
    if newest is not None:
        about["manifest"] = str(newest)
    return CompactedError(
        "What happened so long ago is in a snapshot only. Read that first, then go on from its position.",
        **about,
    )


def _batches(rows: Sequence[PageRow]) -> list[tuple[int, bytes]]:
    return [(row.pos, row.frame) for row in rows if row.pos is not None and row.frame is not None]
