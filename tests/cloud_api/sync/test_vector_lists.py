"""Lists of vectors beside snapshots: kept for those who ask for them, and for nothing else."""

import hashlib
from collections.abc import Sequence
from uuid import UUID

import pytest

from cloud_api.deps import Deps
from cloud_api.sync import rules
from cloud_api.sync.compaction import remove_spare_segments
from sync_service.sealed import vectors
from sync_service.sealed.manifests import cosign
from sync_service.sealed.pieces import Segment
from sync_service.sealed.vectors import VectorList
from tests.cloud_api.accounts.people import Hands, code_of
from tests.cloud_api.sync.vaults import Device, parts_of, text

pytestmark = pytest.mark.anyio

NAME, OTHER = "0" * 31 + "1", "0" * 31 + "2"
DATA = hashlib.sha256(b"vectors").digest() * 100


def listing(device: Device, segments: Sequence[tuple[str, bytes]]) -> bytes:
    made = VectorList(
        vault=device.vault.members.vault,
        device=device.id.bytes,
        segments=tuple(
            Segment(name, len(data), hashlib.sha256(data).digest()) for name, data in segments
        ),
        sealed=b"",
    )
    return vectors.write(made, device.seeds.sign)


async def left(device: Device, name: str = NAME) -> bytes:
    assert (await device.put(f"/segments/{name}", DATA)).status_code == 204
    raw = listing(device, [(name, DATA)])
    answer = await device.put("/manifests", raw)
    assert (answer.status_code, answer.json()) == (200, {"id": str(UUID(bytes=vectors.id_of(raw)))})
    return raw


async def lists(device: Device) -> list[bytes]:
    return parts_of((await device.get("/manifests", of="vectors")).content)


async def used(device: Device) -> int:
    found: int = (await device.get()).json()["vault"]["used_bytes"]
    return found


async def test_a_list_is_shown_to_those_who_ask_for_it(phone: Device, laptop: Device) -> None:
    await phone.wrote(b"one")
    raw = await left(phone)
    assert await lists(laptop) == [raw]
    assert parts_of((await laptop.get("/manifests")).content) == []
    assert (await laptop.get(f"/segments/{NAME}")).content == DATA
    before = await used(phone)
    await left(phone)
    assert await used(phone) == before
    assert (await laptop.get("/manifests", of="others")).status_code == 400


async def test_a_devices_next_list_takes_the_place_of_its_last(
    phone: Device, laptop: Device, here: Deps, clock: Hands
) -> None:
    theirs = await left(laptop, "f" * 32)
    await left(phone)
    before = await used(phone)
    newer = await left(phone, OTHER)
    assert await lists(phone) == [newer, theirs]
    assert await used(phone) == before + len(DATA)
    clock.now += rules.SPARE_SEGMENTS_KEPT
    assert await remove_spare_segments(here.relay) == 1
    await phone.let_in()
    assert code_of(await phone.get(f"/segments/{NAME}")) == "segment_not_found"
    assert (await phone.get(f"/segments/{OTHER}")).content == DATA
    assert await used(phone) == before


async def test_a_list_names_what_is_here_and_is_its_own_devices(
    phone: Device, laptop: Device
) -> None:
    unsent = listing(phone, [(OTHER, DATA)])
    assert code_of(await phone.put("/manifests", unsent)) == "manifest_ahead"
    await phone.put(f"/segments/{NAME}", DATA)
    other = listing(phone, [(NAME, b"other bytes")])
    assert code_of(await phone.put("/manifests", other)) == "manifest_ahead"
    phones = listing(phone, [(NAME, DATA)])
    assert code_of(await laptop.put("/manifests", phones)) == "manifest_refused"
    forged = bytes([*phones[:-1], phones[-1] ^ 1])
    assert code_of(await phone.put("/manifests", forged)) == "manifest_forged"
    half = phones[:40]
    assert code_of(await phone.put("/manifests", half)) == "manifest_refused"
    assert await lists(phone) == []


async def test_nobody_vouches_for_a_list(phone: Device, laptop: Device) -> None:
    list_id = vectors.id_of(await left(phone))
    signature = cosign(list_id, phone.vault.members.vault, laptop.seeds.sign)
    answer = await laptop.post(
        f"/manifests/{UUID(bytes=list_id)}/cosign", {"signature": text(signature)}
    )
    assert (answer.status_code, code_of(answer)) == (404, "manifest_not_found")
