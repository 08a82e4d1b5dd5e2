"""Pushing and pulling sealed batches. A push is stored whole or not at all; a position never moves and is never left out."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from cloud_api.db import AccountId, Connection
from cloud_api.devices.names import VaultId
from cloud_api.devices.passes import Pass
from cloud_api.sync import rules, snapshot_store, store
from cloud_api.sync.placing import Places, Pushed, Standing
from cloud_api.sync.refusals import (
    BatchMalformedError,
    CompactedError,
    DeviceRevokedError,
    GenerationChangedError,
    error_of,
)
from cloud_api.sync.relay import Relay, missing, seen
from cloud_api.sync.store import PageRow, StoredBatch
from cloud_api.sync.turns import Outcome, Push
from shared.errors import SunaivaError
from sync_service.changes.ops import MalformedError
from sync_service.members.control import Members, owner_of
from sync_service.relay import Refused, StreamHead, authenticate
from sync_service.sealed.frames import PUSH_FRAMES_MAX, Frame, split

# A signature takes an eighth of a millisecond to verify; more than these are not done while others wait.
VERIFIED_HERE_MAX = 8


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
    await _authenticate(relay, device_pass, frames)

    async def store_all(pushes: Sequence[Push]) -> list[Outcome]:
        return await _store(relay, device_pass.account, device_pass.vault, pushes)

    return await relay.turns.together(Push(device_pass, frames), store_all)


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


def _split(body: bytes) -> list[Frame]:
    try:
        frames = split(body, most=PUSH_FRAMES_MAX)
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


async def _store(
    relay: Relay, account: AccountId, vault: VaultId, pushes: Sequence[Push]
) -> list[Outcome]:
    frames = [frame for push in pushes for frame in push.frames]
    streams = {frame.header.stream for frame in frames}
    # Two messages: heads are read after the lock is there, so they are those that count.
    questions = store.locked(vault), store.heads(vault, streams)
    async with relay.db.deciding(account, *questions) as transaction:
        connection, (rows, heads) = transaction.connection, transaction.found
        if not rows:
            raise await missing(connection, vault)
        places = Places(
            Standing(
                rows[0],
                await relay.chains.current(connection, rows[0]),
                dict(heads),
                await _stored(connection, vault, frames, dict(heads)),
                await relay.may_push(connection, account),
            )
        )
        outcomes = [_outcome(places, push) for push in pushes]
        if places.new:
            transaction.writes.append(store.added(account, vault, places.new, now=relay.clock()))
    if places.new:
        relay.nudges.tell(vault)
    return outcomes


def _outcome(places: Places, push: Push) -> Outcome:
    try:
        return places.take(push.device_pass.device, push.frames)
    except SunaivaError as error:
        return error


async def _stored(
    connection: Connection,
    vault: VaultId,
    frames: Sequence[Frame],
    heads: dict[bytes, StreamHead],
) -> list[StoredBatch]:
    """What is stored already of what was sent: nothing, unless an answer was lost."""
    places = [
        (one.header.stream, one.header.seq)
        for one in frames
        if one.header.stream in heads and one.header.seq <= heads[one.header.stream].seq
    ]
    if not places:
        return []
    return await store.stored(connection, vault, places)


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
