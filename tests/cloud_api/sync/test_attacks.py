"""What a thief, a stranger, a removed device or a clone tries: each is refused by its own code, and nothing of it is stored."""

from typing import Any

import pytest
from msgspec import structs

from cloud_api.sync.rules import No, Yes
from sync_service.members import amend
from sync_service.sealed.frames import NO_HASH, Frame, parse
from tests.cloud_api.accounts.people import Hands, Person, code_of
from tests.cloud_api.sync.vaults import Device, Subscription, create, founded, new_vault, text
from tests.sync.circle import adding, by, seeds_of

pytestmark = pytest.mark.anyio


def flipped(frame: Frame, place: int) -> Frame:
    raw = bytearray(frame.raw)
    raw[place] ^= 1
    return parse(bytes(raw))


async def test_every_flipped_bit_is_refused_and_nothing_is_stored(phone: Device) -> None:
    await phone.wrote(b"one")
    frame = phone.seal(b"two")
    for place in (5, 21, 35, 37, 41, 45, 80, 101, 121, -65, -64, -1):
        answer = await phone.push(flipped(frame, place))
        assert answer.status_code in (400, 403, 409), (place, answer.text)
        assert code_of(answer) in (
            "batch_wrong_vault",
            "batch_unknown_device",
            "batch_forged",
        )
    assert [pos for pos, _ in await phone.read()] == [1]


async def test_one_bad_batch_keeps_the_whole_push_out(phone: Device) -> None:
    frames = [phone.seal(b"%d" % number) for number in range(20)]
    answer = await phone.push(*frames[:19], flipped(frames[19], -1))
    assert (answer.status_code, code_of(answer)) == (403, "batch_forged")
    assert await phone.read() == []
    assert (await phone.push(*frames)).status_code == 200


async def test_a_gap_names_the_number_that_is_expected(phone: Device) -> None:
    frames = [phone.seal(b"%d" % number) for number in range(3)]
    await phone.push(frames[0])
    answer = await phone.push(frames[2])
    assert (answer.status_code, code_of(answer)) == (409, "batch_gap")
    assert answer.json()["about"] == {"stream": phone.stream.hex(), "expected_seq": 2}
    swapped = await phone.push(frames[2], frames[1])
    assert code_of(swapped) == "batch_gap"
    assert len(await phone.read()) == 1


async def test_a_clone_is_told_that_its_place_is_taken(phone: Device) -> None:
    clone = structs.replace(phone, sealed=[])
    await phone.wrote(b"mine", b"mine too")
    answer = await clone.push(clone.seal(b"of the clone"))
    assert (answer.status_code, code_of(answer)) == (409, "batch_fork")
    assert answer.json()["about"] == {"stream": phone.stream.hex(), "seq": 1}
    clone.seal(b"second")
    clone.seal(b"third")
    assert code_of(await clone.push(clone.sealed[2])) == "batch_chain_broken"
    assert len(await phone.read()) == 2


async def test_a_clone_goes_on_under_its_next_incarnation(phone: Device) -> None:
    await phone.wrote(b"one")
    entry = amend.new_stream(phone.vault.members, seeds_of("phone"), incarnation=2)
    assert (await phone.append(entry)).status_code == 200
    again = structs.replace(phone, incarnation=2, sealed=[])
    assert await again.wrote(b"under another stream") == [2]


async def test_a_batch_of_another_vault_or_of_a_stranger_is_refused(
    phone: Device, bob: Person
) -> None:
    other = await founded(bob, "tablet", nonce=b"1" * 16)
    assert code_of(await phone.push(other.seal())) == "batch_wrong_vault"
    eve = structs.replace(phone, name="eve", sealed=[])
    assert code_of(await phone.push(eve.seal())) == "batch_unknown_device"
    assert await phone.read() == []


async def test_a_batch_below_the_floor_is_refused(phone: Device) -> None:
    before = phone.seal()
    entry = amend.policy(phone.vault.members, by("phone"), suite_floor=2, min_reader=1)
    assert (await phone.append(entry)).status_code == 200
    assert (await phone.push(before)).status_code == 200, "sealed before the floor rose"
    answer = await phone.push(phone.seal())
    assert (answer.status_code, code_of(answer)) == (403, "batch_downgrade")


async def test_a_batch_waits_for_the_device_list_it_was_made_under(phone: Device) -> None:
    answer = await phone.push(phone.seal(control_seq=99))
    assert (answer.status_code, code_of(answer)) == (409, "batch_ahead_of_control")


async def test_a_removed_device_is_refused_everything_at_once(
    phone: Device, laptop: Device
) -> None:
    await laptop.wrote(b"before")
    last = (1, laptop.sealed[0].hash)
    assert (await phone.revoke(laptop, {laptop.stream: last})).status_code == 200
    for answer in (
        await laptop.push(laptop.seal(b"after")),
        await laptop.pull(),
        await laptop.get(),
        await laptop.get("/control"),
        await laptop.get("/wait", seconds=0),
        await laptop.get("/events"),
        await laptop.get("/manifests"),
        await laptop.get("/segments/0199f2f49c1e7a108f7e3f3b2a9c1d20"),
        await laptop.put("/segments/0199f2f49c1e7a108f7e3f3b2a9c1d20", b"x"),
    ):
        assert (answer.status_code, code_of(answer)) == (403, "device_revoked"), answer.url
    refused = await laptop.let_in()
    assert (refused.status_code, code_of(refused)) == (401, "device_refused")


async def test_what_a_removed_device_wrote_is_taken_from_others_up_to_its_last_batch(
    phone: Device, laptop: Device
) -> None:
    first, second = laptop.seal(b"before"), laptop.seal(b"back-dated")
    await phone.revoke(laptop, {laptop.stream: (1, first.hash)})
    assert code_of(await phone.push(first, second)) == "batch_revoked"
    assert await phone.read() == []
    assert (await phone.push(first)).status_code == 200
    assert code_of(await phone.push(second)) == "batch_revoked"


async def test_a_device_is_removed_only_with_all_that_is_stored_of_it(
    phone: Device, laptop: Device
) -> None:
    await laptop.wrote(b"one", b"two")
    first, second = laptop.sealed
    for last in ((0, NO_HASH), (1, first.hash), (2, first.hash)):
        answer = await phone.revoke(laptop, {laptop.stream: last})
        assert (answer.status_code, code_of(answer)) == (409, "control_conflict")
    assert len(await laptop.read()) == 2, "it is still in"
    assert (await phone.revoke(laptop, {laptop.stream: (2, second.hash)})).status_code == 200


async def test_a_removed_device_cannot_come_back_by_the_device_list(
    phone: Device, laptop: Device
) -> None:
    before = laptop.vault.members
    await phone.revoke(laptop)
    entry = adding(phone.vault.members, "eve", by("laptop"))
    with_account = await phone.person.client.post(
        f"{phone.url}/control",
        content=entry,
        headers={
            "content-type": "application/octet-stream",
            "authorization": f"Bearer {phone.person.access_token}",
        },
    )
    assert (with_account.status_code, code_of(with_account)) == (400, "control_refused")
    assert with_account.json()["about"] == {"reason": "revoked_device"}
    assert before.seq < phone.vault.members.seq


ROUTES = [
    ("GET", ""),
    ("GET", "/control"),
    ("POST", "/control"),
    ("GET", "/batches"),
    ("POST", "/batches"),
    ("GET", "/wait"),
    ("GET", "/events"),
    ("GET", "/manifests"),
    ("PUT", "/manifests"),
    ("GET", "/segments/0199f2f49c1e7a108f7e3f3b2a9c1d20"),
    ("PUT", "/segments/0199f2f49c1e7a108f7e3f3b2a9c1d20"),
    ("POST", "/manifests/0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20/cosign"),
    ("GET", "/manifests/0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20/cosignatures"),
    ("DELETE", ""),
]


def asked(method: str, url: str, token: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "content": b"x",
        "headers": {"content-type": "application/octet-stream"},
    }
    if url.endswith("/cosign"):
        body = {"json": {"signature": text(bytes(64))}, "headers": {}}
    body["headers"]["authorization"] = f"Bearer {token}"
    return {"method": method, "url": url, **body}


async def test_nobody_reaches_the_vault_of_another_account(phone: Device, bob: Person) -> None:
    await phone.wrote(b"ada's")
    tablet = await founded(bob, "tablet", nonce=b"1" * 16)
    for method, path in ROUTES:
        for token in (tablet.access_token, bob.access_token):
            answer = await bob.client.request(**asked(method, f"{phone.url}{path}", token))
            assert (answer.status_code, code_of(answer)) in (
                (404, "vault_not_found"),
                (401, "device_pass_needed"),
                (401, "not_logged_in"),
            ), (method, path, answer.text)
    assert len(await phone.read()) == 1


async def test_nobody_reaches_a_vault_without_a_token(phone: Device) -> None:
    for method, path in ROUTES:
        for token in ("", "x", "eyJhbGciOiJub25lIn0.e30."):
            answer = await phone.person.client.request(**asked(method, f"{phone.url}{path}", token))
            assert answer.status_code == 401, (method, path, answer.text)


async def test_a_pass_opens_nothing_of_the_account(phone: Device) -> None:
    for method, path in [
        ("GET", "/account"),
        ("GET", "/account/exports"),
        ("POST", "/account/exports"),
        ("POST", "/account/deletion"),
        ("GET", "/account/audit"),
        ("GET", "/vaults"),
        ("POST", "/vaults"),
        ("GET", "/mailboxes/0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20/offer"),
    ]:
        answer = await phone.person.client.request(
            method, f"/api/v1{path}", headers=phone.headers, json={"entries": [""]}
        )
        assert answer.status_code == 401, (path, answer.text)


async def test_an_account_alone_pushes_and_pulls_nothing(phone: Device) -> None:
    frame = phone.seal()
    thief = structs.replace(phone, access_token=phone.person.access_token)
    for answer in (await thief.push(frame), await thief.pull(), await thief.get("/events")):
        assert (answer.status_code, code_of(answer)) == (401, "device_pass_needed")


async def test_a_challenge_is_good_once_for_a_minute_here_and_for_this_vault(
    phone: Device, bob: Person, clock: Hands
) -> None:
    client = phone.person.client

    async def challenge(url: str = phone.url) -> str:
        nonce: str = (await client.post(f"{url}/challenge")).json()["nonce"]
        return nonce

    used = await challenge()
    assert (await phone.answer(used)).status_code == 200
    assert code_of(await phone.answer(used)) == "device_refused"
    elsewhere = await phone.let_in("https://evil.example")
    assert code_of(elsewhere) == "device_refused"
    other = await founded(bob, "tablet", nonce=b"1" * 16)
    assert code_of(await phone.answer(await challenge(other.url))) == "device_refused"
    late = await challenge()
    clock.forward(seconds=60)
    assert code_of(await phone.answer(late)) == "device_refused"
    eve = structs.replace(phone, name="eve")
    assert code_of(await eve.let_in()) == "device_refused"
    body = {"device": str(phone.id), "nonce": await challenge(), "signature": text(bytes(64))}
    assert code_of(await client.post(f"{phone.url}/token", json=body)) == "device_refused"


async def test_a_pass_ends_after_a_quarter_of_an_hour(phone: Device, clock: Hands) -> None:
    assert (await phone.pull()).status_code == 200
    clock.forward(minutes=17)
    assert code_of(await phone.pull()) == "device_pass_needed"
    assert (await phone.let_in()).status_code == 200
    assert (await phone.pull()).status_code == 200


async def test_a_vault_of_another_account_cannot_be_taken(phone: Device, bob: Person) -> None:
    answer = await create(bob, phone.vault)
    assert (answer.status_code, code_of(answer)) == (409, "vault_taken")
    assert await phone.wrote(b"goes on") == [1]


async def test_without_entitlement_only_storing_is_refused(
    phone: Device, subscription: Subscription
) -> None:
    await phone.wrote(b"before")
    frame = phone.seal(b"after")
    subscription.verdict = No("no_subscription")
    answer = await phone.push(frame)
    assert (answer.status_code, code_of(answer)) == (403, "not_entitled")
    assert answer.json()["about"] == {"reason": "no_subscription"}
    assert "subscription" in answer.json()["detail"]
    standing = (await phone.get()).json()
    assert (standing["may_push"], standing["reason"]) == (False, "no_subscription")
    # What is stored already is no new thing; and everything can be read, exported and deleted.
    assert (await phone.push(phone.sealed[0])).status_code == 200
    assert len(await phone.read()) == 1
    assert (await phone.get("/control")).status_code == 200
    laptop = await phone.paired("laptop")
    assert len(await laptop.read()) == 1
    person = phone.person
    assert (await person.post("/account/exports")).status_code == 202
    assert (await person.delete(f"/vaults/{phone.vault.id}")).status_code == 204
    assert (await person.get("/vaults")).json() == []


async def test_with_entitlement_again_the_same_push_goes_through(
    phone: Device, subscription: Subscription
) -> None:
    frame = phone.seal()
    subscription.verdict = No("account_closed")
    assert code_of(await phone.push(frame)) == "not_entitled"
    subscription.verdict = Yes()
    assert (await phone.push(frame)).status_code == 200


async def test_a_device_list_is_only_made_longer_by_its_law(phone: Device, ada: Person) -> None:
    members = phone.vault.members
    entry = adding(members, "laptop", by("phone"))
    assert (await phone.append(entry)).status_code == 200
    assert (await phone.append(entry)).json() == {"control_seq": members.seq + 1}
    late = await phone.append(adding(members, "tablet", by("phone")))
    assert (late.status_code, code_of(late)) == (409, "control_conflict")
    assert late.json()["about"] == {"control_seq": members.seq + 1}
    stranger = await phone.append(adding(phone.vault.members, "eve", by("eve")))
    assert (stranger.status_code, code_of(stranger)) == (400, "control_refused")
    assert code_of(await phone.append(b"\xc1" * 100)) == "control_refused"
    other = new_vault("phone", nonce=b"2" * 16)
    assert code_of(await phone.append(other.chain[1])) == "control_refused"
    broken = structs.replace(other, chain=[other.chain[1]])
    assert code_of(await create(ada, broken)) == "control_refused"
