"""Snapshots, and the deletion of what they cover."""

import hashlib
from datetime import timedelta
from uuid import UUID

import pytest

from cloud_api.db import AccountId
from cloud_api.deps import Deps
from cloud_api.sync import rules
from cloud_api.sync.chains import ChainCorruptError
from cloud_api.sync.compaction import compact_due, remove_spare_segments
from sync_service.sealed.keys import sign_public
from sync_service.sealed.manifests import cosign, id_of, is_cosigned
from tests.cloud_api.accounts.people import Hands, Person, code_of, drain
from tests.cloud_api.sync.vaults import Device, founded, parts_of, text
from tests.sync.circle import seeds_of

pytestmark = pytest.mark.anyio

NAME, OTHER = "0" * 31 + "1", "0" * 31 + "2"
DATA = hashlib.sha256(b"a segment").digest() * 100


async def vouch(device: Device, manifest: bytes, *, by: str | None = None) -> dict[str, bool]:
    signature = cosign(
        id_of(manifest), device.vault.members.vault, seeds_of(by or device.name).sign
    )
    answer = await device.post(
        f"/manifests/{UUID(bytes=id_of(manifest))}/cosign", {"signature": text(signature)}
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, bool] = answer.json()
    return found


async def left(device: Device, *, seq: int | None = None, name: str = NAME) -> bytes:
    """A snapshot up to a batch of the device's."""
    assert (await device.put(f"/segments/{name}", DATA)).status_code == 204
    manifest = device.manifest([(name, DATA)], seq=seq)
    answer = await device.put("/manifests", manifest)
    assert (answer.status_code, answer.json()) == (200, {"id": str(UUID(bytes=id_of(manifest)))})
    return manifest


async def test_a_snapshot_comes_back_as_it_was_left(phone: Device, laptop: Device) -> None:
    await phone.wrote(b"one")
    manifest = await left(phone)
    assert parts_of((await laptop.get("/manifests")).content) == [manifest]
    assert (await laptop.get(f"/segments/{NAME}")).content == DATA
    used = (await phone.get()).json()["vault"]["used_bytes"]
    await left(phone)
    assert (await phone.get()).json()["vault"]["used_bytes"] == used


async def test_who_would_start_from_a_snapshot_is_shown_who_vouches(
    phone: Device, laptop: Device
) -> None:
    await phone.wrote(b"one")
    manifest = await left(phone)
    url = f"/manifests/{UUID(bytes=id_of(manifest))}/cosignatures"
    assert (await laptop.get(url)).content == b""
    await vouch(laptop, manifest)
    signed = (await phone.get(url)).content
    members = phone.vault.members
    assert is_cosigned(signed, id_of(manifest), members.vault, sign_public(seeds_of("laptop")))
    assert (await phone.get(f"/manifests/{UUID(int=7)}/cosignatures")).content == b""


async def test_a_name_is_given_once_and_a_missing_one_is_said(phone: Device) -> None:
    await phone.put(f"/segments/{NAME}", DATA)
    other = await phone.put(f"/segments/{NAME}", b"another")
    assert (other.status_code, code_of(other)) == (409, "segment_taken")
    missing = await phone.get(f"/segments/{OTHER}")
    assert (missing.status_code, code_of(missing)) == (404, "segment_not_found")
    empty = await phone.put(f"/segments/{OTHER}", b"")
    assert (empty.status_code, code_of(empty)) == (400, "segment_malformed")


async def test_a_manifest_names_what_is_here_and_is_its_own_devices(
    phone: Device, laptop: Device
) -> None:
    await phone.wrote(b"one")
    unsent = phone.manifest([(OTHER, DATA)])
    assert code_of(await phone.put("/manifests", unsent)) == "manifest_ahead"
    await phone.put(f"/segments/{NAME}", DATA)
    other = phone.manifest([(NAME, b"other bytes")])
    assert code_of(await phone.put("/manifests", other)) == "manifest_ahead"
    phone.seal(b"not pushed")
    ahead = phone.manifest([(NAME, DATA)])
    assert code_of(await phone.put("/manifests", ahead)) == "manifest_ahead"
    phones = phone.manifest([(NAME, DATA)], seq=1)
    assert code_of(await laptop.put("/manifests", phones)) == "manifest_refused"
    forged = bytes([*phones[:-1], phones[-1] ^ 1])
    assert code_of(await phone.put("/manifests", forged)) == "manifest_forged"
    assert code_of(await phone.put("/manifests", b"\xc1" * 99)) == "manifest_refused"
    assert parts_of((await phone.get("/manifests")).content) == []


async def test_batches_go_thirty_days_after_a_second_device_has_vouched(
    phone: Device, laptop: Device, here: Deps, clock: Hands
) -> None:
    await phone.wrote(b"one", b"two")
    await laptop.wrote(b"three")
    await phone.wrote(b"four")
    manifest = await left(phone, seq=2)
    assert await vouch(phone, manifest) == {"vouched": False}
    assert await vouch(laptop, manifest) == {"vouched": True}
    before = (await phone.get()).json()["vault"]["used_bytes"]
    clock.now += rules.GRACE - timedelta(seconds=1)
    assert await compact_due(here.relay) == 0
    clock.forward(seconds=1)
    assert await compact_due(here.relay) == 2
    await phone.let_in()
    vault = (await phone.get()).json()["vault"]
    assert (vault["min_pos"], vault["head_pos"]) == (2, 4)
    assert vault["used_bytes"] == before - sum(len(one.raw) for one in phone.sealed[:2])
    gone = await phone.pull(1)
    assert (gone.status_code, code_of(gone)) == (410, "compacted")
    assert gone.json()["about"] == {"min_pos": 2, "manifest": str(UUID(bytes=id_of(manifest)))}
    assert [pos for pos, _ in await phone.read(2)] == [3, 4]
    # Resent, a batch that was compacted away is not said to be stored.
    assert code_of(await phone.push(phone.sealed[0])) == "batch_fork"
    assert await phone.wrote(b"five") == [5]
    assert await compact_due(here.relay) == 0


async def test_a_damaged_vault_does_not_keep_others_from_being_compacted(
    phone: Device, bob: Person, here: Deps, clock: Hands
) -> None:
    await phone.wrote(b"one")
    await vouch(phone, await left(phone))
    clock.forward(seconds=1)
    other = await founded(bob, "tablet", nonce=b"other" * 3 + b"!")
    await other.wrote(b"one")
    await vouch(other, await left(other))
    account = AccountId(UUID((await phone.person.get("/account")).json()["id"]))
    async with here.db.transaction(account) as connection:
        await connection.execute("UPDATE control_entries SET entry = '\\x00'")
    clock.now += rules.GRACE
    with pytest.raises(ChainCorruptError):
        await compact_due(here.relay)
    await other.let_in()
    assert (await other.get()).json()["vault"]["min_pos"] == 1


async def test_a_device_alone_vouches_by_itself_and_for_another_nobody_else_does(
    phone: Device, here: Deps, clock: Hands
) -> None:
    await phone.wrote(b"one")
    manifest = await left(phone)
    assert await vouch(phone, manifest) == {"vouched": True}
    # Before the time is over a second device comes, which has not vouched.
    await phone.paired("laptop")
    clock.now += rules.GRACE
    assert await compact_due(here.relay) == 0
    await phone.let_in()
    assert [pos for pos, _ in await phone.read()] == [1]


async def test_the_word_of_a_removed_device_counts_no_more(
    phone: Device, laptop: Device, here: Deps, clock: Hands
) -> None:
    await phone.paired("tablet")
    await phone.wrote(b"one")
    manifest = await left(phone)
    assert await vouch(laptop, manifest) == {"vouched": True}
    await phone.revoke(laptop)
    clock.now += rules.GRACE
    assert await compact_due(here.relay) == 0
    await phone.let_in()
    assert [pos for pos, _ in await phone.read()] == [1]


async def test_nobody_vouches_in_the_name_of_another(phone: Device, laptop: Device) -> None:
    await phone.wrote(b"one")
    manifest = await left(phone)
    url = f"/manifests/{UUID(bytes=id_of(manifest))}/cosign"
    stolen = cosign(id_of(manifest), phone.vault.members.vault, seeds_of("laptop").sign)
    answer = await phone.post(url, {"signature": text(stolen)})
    assert (answer.status_code, code_of(answer)) == (403, "manifest_forged")
    missing = await laptop.post(f"/manifests/{UUID(int=7)}/cosign", {"signature": text(bytes(64))})
    assert code_of(missing) == "manifest_not_found"


async def test_older_snapshots_go_with_the_segments_that_only_they_name(
    phone: Device, laptop: Device, here: Deps, clock: Hands
) -> None:
    await phone.wrote(b"one")
    old = await left(phone, name=OTHER)
    await vouch(laptop, old)
    clock.forward(days=1)
    await phone.let_in()
    await laptop.let_in()
    await phone.wrote(b"two")
    new = await left(phone, name=NAME)
    await vouch(laptop, new)
    clock.now += rules.GRACE
    assert await compact_due(here.relay) == 2
    assert await remove_spare_segments(here.relay) == 1
    await drain(here)
    await phone.let_in()
    assert parts_of((await phone.get("/manifests")).content) == [new]
    assert (await phone.get(f"/segments/{NAME}")).content == DATA
    assert code_of(await phone.get(f"/segments/{OTHER}")) == "segment_not_found"
    blobs = here.settings.home / "blobs" / "segments"
    assert [path.read_bytes() for path in blobs.rglob("*") if path.is_file()] == [DATA]


async def test_a_segment_that_no_manifest_ever_named_goes_after_a_week(
    phone: Device, here: Deps, clock: Hands
) -> None:
    before = (await phone.get()).json()["vault"]["used_bytes"]
    await phone.put(f"/segments/{NAME}", DATA)
    clock.now += rules.SPARE_SEGMENTS_KEPT
    assert await remove_spare_segments(here.relay) == 1
    await phone.let_in()
    assert (await phone.get()).json()["vault"]["used_bytes"] == before


async def test_a_segment_that_is_sent_again_outlives_the_removal_of_the_former_one(
    phone: Device, here: Deps, clock: Hands
) -> None:
    await phone.put(f"/segments/{NAME}", DATA)
    clock.now += rules.SPARE_SEGMENTS_KEPT
    assert await remove_spare_segments(here.relay) == 1
    await phone.let_in()
    await phone.put(f"/segments/{NAME}", DATA)
    await drain(here)
    assert (await phone.get(f"/segments/{NAME}")).content == DATA


async def test_compaction_in_pieces_comes_to_the_same(
    phone: Device, laptop: Device, here: Deps, clock: Hands
) -> None:
    await phone.wrote(*(b"%d" % number for number in range(7)))
    await vouch(laptop, await left(phone))
    clock.now += rules.GRACE
    assert await compact_due(here.relay, at_once=3) == 7
    await phone.let_in()
    assert (await phone.get()).json()["vault"]["min_pos"] == 7
    assert await phone.read(7) == []


async def test_a_vault_is_not_filled_with_segments_that_weigh_nothing(
    phone: Device, here: Deps
) -> None:
    account = AccountId(UUID((await phone.person.get("/account")).json()["id"]))
    async with here.db.transaction(account) as connection:
        await connection.execute(
            "INSERT INTO segments (account_id, vault_id, name, hash, bytes, blob, begun_at) "
            "SELECT %s, %s, gen_random_uuid(), sha256(''), 1, number::text, now() FROM generate_series(1, %s) AS number",
            [account, phone.vault.id, rules.SEGMENTS_MAX],
        )
    refused = await phone.put(f"/segments/{NAME}", b"x")
    assert (refused.status_code, code_of(refused)) == (507, "vault_full")


async def test_a_full_vault_takes_nothing_more_and_gives_everything(
    phone: Device, here: Deps
) -> None:
    await phone.wrote(b"one")
    row = (await phone.person.get("/vaults")).json()[0]
    await shrink(here, phone, row["used_bytes"] + 10)
    answer = await phone.push(phone.seal(b"two"))
    assert (answer.status_code, code_of(answer)) == (507, "vault_full")
    assert answer.json()["about"] == {
        "quota_bytes": row["used_bytes"] + 10,
        "used_bytes": row["used_bytes"],
    }
    assert code_of(await phone.put(f"/segments/{NAME}", DATA)) == "vault_full"
    assert len(await phone.read()) == 1


async def shrink(here: Deps, device: Device, quota: int) -> None:
    account = AccountId(UUID((await device.person.get("/account")).json()["id"]))
    async with here.db.transaction(account) as connection:
        await connection.execute("UPDATE vaults SET quota_bytes = %s", [quota])
