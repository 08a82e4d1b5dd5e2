"""Sealed batches: pushed, pulled, and waited for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream
from msgspec import Struct

from cloud_api.devices.authentication import by_device
from cloud_api.http.octets import OCTETS, TakesOctets, octets
from cloud_api.http.refusing import refusals
from cloud_api.sync import batches, rules, waiting
from cloud_api.sync.relay import Relay
from cloud_api.sync.store import Mark
from cloud_api.sync.wire import GENERATION, HEAD_POS, MIN_POS, POSITION_MAX, own_pass
from sync_service.relay import bodies
from sync_service.sealed.frames import PUSH_BYTES_MAX


class PlacedAnswer(Struct, frozen=True):
    stream: str
    seq: int
    pos: int


class PushAnswer(Struct, frozen=True):
    """`placed` says where each batch is; one that was compacted away meanwhile is at 0."""

    generation: UUID
    head_pos: int
    placed: list[PlacedAnswer]


class MarkAnswer(Struct, frozen=True):
    """Positions are of this generation. In another one everything is read from the beginning."""

    generation: UUID
    control_seq: int
    head_pos: int


@post(
    "/api/v1/vaults/{vault:uuid}/batches",
    operation_id="pushBatches",
    summary="Store sealed batches: all of them, or none",
    description="Up to 256 batches, one after another, in the order of their streams. What is stored already is answered as if it "
    "were new. `batch_gap` names `stream` and `expected_seq` in `about`, `batch_fork` names `stream` and `seq`.",
    tags=["sync"],
    status_code=200,
    guards=[by_device],
    opt={"device": True},
    operation_class=TakesOctets,
    request_max_body_size=PUSH_BYTES_MAX,
    responses=refusals(409, 410, 413, 415, 507),
)
async def push_batches(
    request: Request[Any, Any, Any], vault: FromPath[UUID], relay: NamedDependency[Relay]
) -> PushAnswer:
    device_pass = own_pass(request, vault)
    pushed = await batches.push(relay, device_pass, await octets(request))
    placed = [PlacedAnswer(each.stream.hex(), each.seq, each.pos) for each in pushed.placed]
    return PushAnswer(pushed.generation, pushed.head_pos, placed)


@get(
    "/api/v1/vaults/{vault:uuid}/batches",
    operation_id="pullBatches",
    summary="Sealed batches after a position",
    description="Each with its position (8 bytes, big-endian) before it; the headers say how the vault stands. `generation_changed` "
    "names the new `generation` in `about`; `compacted` names the newest `manifest`.",
    tags=["sync"],
    media_type=OCTETS,
    guards=[by_device],
    opt={"device": True},
    responses=refusals(409, 410),
)
async def pull_batches(
    request: Request[Any, Any, Any],
    vault: FromPath[UUID],
    relay: NamedDependency[Relay],
    after: Annotated[int, QueryParameter(ge=0, le=POSITION_MAX)] = 0,
    max_bytes: Annotated[
        int, QueryParameter(ge=rules.PAGE_BYTES_MIN, le=rules.PAGE_BYTES_MAX)
    ] = rules.PAGE_BYTES_MAX,
    generation: Annotated[UUID | None, QueryParameter()] = None,
) -> Response[bytes]:
    page = await batches.pull(
        relay,
        own_pass(request, vault),
        after=after,
        max_bytes=max_bytes,
        generation=generation,
    )
    headers = {
        GENERATION: str(page.generation),
        HEAD_POS: str(page.head_pos),
        MIN_POS: str(page.min_pos),
    }
    return Response(b"".join(bodies(page.batches)), media_type=OCTETS, headers=headers)


@get(
    "/api/v1/vaults/{vault:uuid}/wait",
    operation_id="waitForBatches",
    summary="How far the vault has come, as soon as it is further than this or when the time is over",
    description="Further is a head beyond `after`, a device list longer than `control_seq`, or another generation than `generation`.",
    tags=["sync"],
    guards=[by_device],
    opt={"device": True},
    responses=refusals(410),
)
async def wait_for_batches(
    request: Request[Any, Any, Any],
    vault: FromPath[UUID],
    relay: NamedDependency[Relay],
    after: Annotated[int, QueryParameter(ge=0, le=POSITION_MAX)] = 0,
    generation: Annotated[UUID | None, QueryParameter()] = None,
    control_seq: Annotated[int | None, QueryParameter(ge=0, le=POSITION_MAX)] = None,
    seconds: Annotated[
        int, QueryParameter(ge=0, le=rules.WAIT_SECONDS_MAX)
    ] = rules.WAIT_SECONDS_MAX,
) -> MarkAnswer:
    return _mark_answer(
        await waiting.beyond(
            relay,
            own_pass(request, vault),
            after=after,
            generation=generation,
            control_seq=control_seq,
            seconds=seconds,
        )
    )


@get(
    "/api/v1/vaults/{vault:uuid}/events",
    operation_id="hearOfBatches",
    summary="How far the vault has come, whenever it moves: server-sent events",
    description="Each event's data is what `wait` answers. A comment comes every 25 seconds; the stream ends when the vault is deleted, and "
    "after a quarter of an hour, when the pass has to be renewed.",
    tags=["sync"],
    media_type="text/event-stream",
    guards=[by_device],
    opt={"device": True},
    responses=refusals(410),
)
async def hear_of_batches(
    request: Request[Any, Any, Any], vault: FromPath[UUID], relay: NamedDependency[Relay]
) -> Stream:
    device_pass = own_pass(request, vault)
    mark = await waiting.mark(relay, device_pass)
    relay.nudges.demand_room(device_pass.vault)
    marks = waiting.marks(relay, device_pass, after=mark)
    return Stream(_told(mark, marks), media_type="text/event-stream")


async def _told(mark: Mark, marks: AsyncIterator[Mark | None]) -> AsyncIterator[bytes]:
    yield _event(mark)
    with suppress(TimeoutError):
        async with asyncio.timeout(rules.LISTENING_SECONDS_MAX):
            async for each in marks:
                yield b":\n\n" if each is None else _event(each)


def _event(mark: Mark) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(_mark_answer(mark))


def _mark_answer(mark: Mark) -> MarkAnswer:
    return MarkAnswer(mark.generation, mark.control_seq, mark.head_pos)


ROUTES = (push_batches, pull_batches, wait_for_batches, hear_of_batches)
