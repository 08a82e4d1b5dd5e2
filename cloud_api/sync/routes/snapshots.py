"""Snapshots: segments, manifests, and the word of other devices for them."""

from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from cloud_api.devices.authentication import by_device
from cloud_api.http.octets import OCTETS, TakesOctets, octets
from cloud_api.http.refusing import refusals
from cloud_api.sync import rules, snapshots, vector_lists
from cloud_api.sync.relay import Relay
from cloud_api.sync.wire import lengths_and, own_pass
from sync_service.sealed import vectors
from sync_service.sealed.manifests import MANIFEST_BYTES_MAX
from sync_service.sealed.pieces import SEGMENT_BYTES_MAX


class Cosignature(Struct, frozen=True, forbid_unknown_fields=True):
    signature: Annotated[bytes, Meta(min_length=64, max_length=64, description="Base64")]


class ManifestAnswer(Struct, frozen=True):
    id: UUID


class VouchedAnswer(Struct, frozen=True):
    """Whether enough devices vouch for the snapshot. Thirty days later, what it covers is deleted."""

    vouched: bool


@put(
    "/api/v1/vaults/{vault:uuid}/segments/{name:uuid}",
    operation_id="putSegment",
    summary="Keep a sealed piece of a snapshot, under a random name",
    tags=["sync"],
    status_code=204,
    guards=[by_device],
    opt={"device": True},
    operation_class=TakesOctets,
    request_max_body_size=SEGMENT_BYTES_MAX,
    responses=refusals(409, 410, 413, 415, 507),
)
async def put_segment(
    request: Request[Any, Any, Any],
    vault: FromPath[UUID],
    name: FromPath[UUID],
    relay: NamedDependency[Relay],
) -> None:
    device_pass = own_pass(request, vault)
    await snapshots.put_segment(relay, device_pass, name, await octets(request))


@get(
    "/api/v1/vaults/{vault:uuid}/segments/{name:uuid}",
    operation_id="readSegment",
    summary="A sealed piece of a snapshot",
    tags=["sync"],
    media_type=OCTETS,
    guards=[by_device],
    opt={"device": True},
    responses=refusals(410),
)
async def read_segment(
    request: Request[Any, Any, Any],
    vault: FromPath[UUID],
    name: FromPath[UUID],
    relay: NamedDependency[Relay],
) -> Response[bytes]:
    found = await snapshots.segment(relay, own_pass(request, vault), name)
    return Response(found, media_type=OCTETS)


@put(
    "/api/v1/vaults/{vault:uuid}/manifests",
    operation_id="putManifest",
    summary="Say which segments make a snapshot up",
    description="Signed by the device that shows the pass. All of its segments and all the batches it covers have to be here. "
    "A list of vectors is taken, too; it takes the place of the device's last one.",
    tags=["sync"],
    guards=[by_device],
    opt={"device": True},
    operation_class=TakesOctets,
    request_max_body_size=MANIFEST_BYTES_MAX,
    responses=refusals(409, 410, 413, 415, 507),
)
async def put_manifest(
    request: Request[Any, Any, Any], vault: FromPath[UUID], relay: NamedDependency[Relay]
) -> ManifestAnswer:
    device_pass = own_pass(request, vault)
    raw = await octets(request)
    keep = vector_lists.put if vectors.is_list(raw) else snapshots.put_manifest
    return ManifestAnswer(await keep(relay, device_pass, raw))


@get(
    "/api/v1/vaults/{vault:uuid}/manifests",
    operation_id="listManifests",
    summary="Manifests, the newest first",
    description="As they were signed, each with its length (4 bytes, big-endian) before it; as many as go into 4 MiB. "
    "`of=vectors` lists the lists of vectors instead.",
    tags=["sync"],
    media_type=OCTETS,
    guards=[by_device],
    opt={"device": True},
    responses=refusals(410),
)
async def list_manifests(
    request: Request[Any, Any, Any],
    vault: FromPath[UUID],
    relay: NamedDependency[Relay],
    of: Annotated[Literal["snapshots", "vectors"], QueryParameter()] = "snapshots",
) -> Response[bytes]:
    device_pass = own_pass(request, vault)
    if of == "vectors":
        found = await vector_lists.lists(relay, device_pass)
    else:
        found = [row.manifest for row in await snapshots.manifests(relay, device_pass)]
    fitting = rules.fitting(found, rules.PAGE_BYTES_MAX)
    return Response(lengths_and(fitting), media_type=OCTETS)


@get(
    "/api/v1/vaults/{vault:uuid}/manifests/{manifest:uuid}/cosignatures",
    operation_id="readCosignatures",
    summary="What devices have signed of a snapshot",
    description="Signatures of 64 bytes, one after another; nothing if nobody has vouched for it, or it is not here.",
    tags=["sync"],
    media_type=OCTETS,
    guards=[by_device],
    opt={"device": True},
)
async def read_cosignatures(
    request: Request[Any, Any, Any],
    vault: FromPath[UUID],
    manifest: FromPath[UUID],
    relay: NamedDependency[Relay],
) -> Response[bytes]:
    found = await snapshots.cosignatures(relay, own_pass(request, vault), manifest)
    return Response(b"".join(found), media_type=OCTETS)


@post(
    "/api/v1/vaults/{vault:uuid}/manifests/{manifest:uuid}/cosign",
    operation_id="cosignManifest",
    summary="Vouch for a snapshot: this device has read it, and holds the same",
    tags=["sync"],
    status_code=200,
    guards=[by_device],
    opt={"device": True},
    responses=refusals(410),
)
async def cosign_manifest(
    request: Request[Any, Any, Any],
    vault: FromPath[UUID],
    manifest: FromPath[UUID],
    data: JSONBody[Cosignature],
    relay: NamedDependency[Relay],
) -> VouchedAnswer:
    device_pass = own_pass(request, vault)
    return VouchedAnswer(await snapshots.cosign(relay, device_pass, manifest, data.signature))


ROUTES = (
    put_segment,
    read_segment,
    put_manifest,
    list_manifests,
    read_cosignatures,
    cosign_manifest,
)
