"""Vaults of an account: set up, looked at, put back, exported and deleted."""

import io
import json
import re
import zipfile
from uuid import UUID

import psycopg
import pytest
from msgspec import structs

from cloud_api.db import AccountId
from cloud_api.deps import Deps
from cloud_api.devices.names import VaultId
from cloud_api.jobs import Tick
from cloud_api.rights import deletions
from cloud_api.rights.deletions import Due
from cloud_api.sync import deletion_store, vaults
from cloud_api.sync.commands import listed, renew_generations
from cloud_api.sync.rules import VAULTS_MAX
from tests.cloud_api.accounts.people import Hands, Mailbox, Person, code_of, drain
from tests.cloud_api.slowness import slow_to_delete_vaults
from tests.cloud_api.sync.test_snapshots import DATA, NAME, left, vouch
from tests.cloud_api.sync.vaults import Device, Vault, create, founded, new_vault, parts_of
from tests.sync.circle import adding, by

pytestmark = pytest.mark.anyio

TABLES = (
    "vaults",
    "devices",
    "streams",
    "batches",
    "control_entries",
    "segments",
    "manifests",
    "cosignatures",
    "compactions",
    "mailboxes",
    "spent_challenges",
    "vaults_deleted",
)


async def test_a_vault_that_is_set_up_again_is_the_same_one(phone: Device, ada: Person) -> None:
    again = await create(ada, phone.vault)
    listing = await ada.get("/vaults")
    assert (again.status_code, listing.json()) == (201, [again.json()])
    assert again.json()["id"] == str(phone.vault.id)
    beginning = Vault(phone.vault.members, list(phone.vault.chain))
    await phone.paired("laptop")
    assert (await create(ada, beginning)).status_code == 201
    other = new_vault("tablet")
    assert other.id == beginning.id
    conflict = await create(ada, other)
    assert (conflict.status_code, code_of(conflict)) == (409, "control_conflict")


async def test_an_account_has_eight_vaults_at_most(ada: Person) -> None:
    for number in range(VAULTS_MAX):
        await founded(ada, "phone", nonce=bytes([number]) * 16)
    more = await create(ada, new_vault("phone", nonce=b"more" * 4))
    assert (more.status_code, code_of(more)) == (403, "vaults_too_many")


async def test_the_device_list_comes_back_in_pages_as_it_was_signed(
    phone: Device, ada: Person
) -> None:
    await phone.paired("laptop")
    assert parts_of((await phone.get("/control")).content) == phone.vault.chain
    assert parts_of((await phone.get("/control", after=3)).content) == phone.vault.chain[3:]
    with_account = await ada.get(f"/vaults/{phone.vault.id}/control?after=4")
    assert (with_account.status_code, with_account.content) == (200, b"")


async def test_after_a_restore_devices_hear_of_another_generation(
    phone: Device, ada: Person, database_url: str
) -> None:
    generation = (await phone.pull()).headers["sunaiva-generation"]
    assert [each.id for each in await listed(database_url)] == [phone.vault.id]
    assert await renew_generations(database_url, UUID(int=1)) == "No vault was found."
    assert (await renew_generations(database_url, None)).startswith(
        "Vaults with a new generation: 1"
    )
    assert code_of(await phone.pull(generation=generation)) == "generation_changed"
    new = (await phone.get()).json()["vault"]["generation"]
    assert new != generation
    assert await renew_generations(database_url, phone.vault.id) != ""
    assert (await phone.get()).json()["vault"]["generation"] not in (generation, new)


async def test_a_server_that_was_put_back_takes_again_what_it_lost(
    phone: Device, laptop: Device, here: Deps, database_url: str
) -> None:
    await phone.wrote(b"one")
    await phone.wrote(b"two")
    await put_back(phone, here, 1)
    await renew_generations(database_url, None)
    assert len(await laptop.read()) == 1
    # Another device has pulled it, and heals the server with bytes that it cannot have made.
    answer = await laptop.push(phone.sealed[1])
    assert [each["pos"] for each in answer.json()["placed"]] == [2]


async def put_back(device: Device, here: Deps, kept: int) -> None:
    """As the database was after `kept` batches of the device."""
    last = device.sealed[kept - 1]
    async with here.db.transaction(await account_of(device.person)) as connection:
        await connection.execute("DELETE FROM batches WHERE pos > %s", [kept])
        await connection.execute("UPDATE vaults SET head_pos = %s", [kept])
        await connection.execute(
            "UPDATE streams SET seq = %s, hash = %s WHERE id = %s", [kept, last.hash, device.stream]
        )


async def account_of(person: Person) -> AccountId:
    return AccountId(UUID((await person.get("/account")).json()["id"]))


async def test_a_deleted_vault_leaves_no_row_and_no_file(
    phone: Device, laptop: Device, here: Deps, database_url: str
) -> None:
    await everything(phone, laptop)
    assert (await phone.person.delete(f"/vaults/{phone.vault.id}")).status_code == 204
    await drain(here)
    assert await counted(phone.person, here) == {
        "spent_challenges": 2,
        "mailboxes": 1,
        "vaults_deleted": 1,
    }
    assert files(here) == []


async def test_a_vault_is_deleted_however_long_its_batches_take(
    phone: Device, here: Deps, database_url: str
) -> None:
    account = await account_of(phone.person)
    await phone.wrote(b"one")
    async with slow_to_delete_vaults(database_url) as db:
        await vaults.delete(structs.replace(here.relay, db=db), account, VaultId(phone.vault.id))
    assert (await phone.person.get("/vaults")).json() == []


async def test_a_deleted_vault_stays_deleted_until_its_owner_takes_that_back(
    phone: Device, laptop: Device
) -> None:
    await phone.wrote(b"one")
    ada = phone.person
    assert (await ada.delete(f"/vaults/{phone.vault.id}")).status_code == 204
    sealed = phone.seal()
    for answer in (
        await phone.get(),
        await phone.pull(),
        await phone.push(sealed),
        await phone.get("/wait", seconds=50),
        await phone.get("/events"),
        await phone.get("/control"),
        await phone.get("/manifests"),
        await phone.put(f"/segments/{NAME}", DATA),
        await phone.put("/manifests", phone.manifest([(NAME, DATA)])),
        await phone.append(adding(phone.vault.members, "tablet", by("phone"))),
        await laptop.let_in(),
        await create(ada, phone.vault),
        await ada.get(f"/vaults/{phone.vault.id}/control"),
        await ada.delete(f"/vaults/{phone.vault.id}"),
    ):
        assert (answer.status_code, code_of(answer)) == (410, "vault_deleted")
    for _ in range(2):
        assert (await ada.delete(f"/vaults/{phone.vault.id}/deletion")).status_code == 204
    assert (await phone.pull()).status_code == 404
    # The devices have everything: they set it up anew.
    assert (await create(ada, phone.vault)).status_code == 201
    assert (await laptop.let_in()).status_code == 200
    again = await phone.push(*phone.sealed)
    assert [each["pos"] for each in again.json()["placed"]] == [1, 2]


async def test_a_vault_deleted_in_one_account_may_be_set_up_in_another(
    phone: Device, bob: Person
) -> None:
    assert (await phone.person.delete(f"/vaults/{phone.vault.id}")).status_code == 204
    assert (await create(bob, phone.vault)).status_code == 201
    assert (await phone.let_in()).status_code == 200
    assert (await phone.push(phone.seal())).status_code == 200
    stranger = Device(bob, phone.vault, "stranger")
    assert (await stranger.let_in()).status_code == 401


async def test_deletions_are_remembered_for_the_thousand_latest(phone: Device, here: Deps) -> None:
    account = await account_of(phone.person)
    async with here.db.transaction(account) as connection:
        await connection.execute(
            "INSERT INTO vaults_deleted SELECT %s, lpad(to_hex(number), 32, '0')::uuid, %s - make_interval(secs => number) "
            "FROM generate_series(1, 1000) AS number",
            [account, here.clock()],
        )
        newest = VaultId(UUID(int=0))
        await deletion_store.remember(connection, account, newest, here.clock())
        asked = [newest, VaultId(UUID(int=1)), VaultId(UUID(int=999)), VaultId(UUID(int=1000))]
        kept = [await deletion_store.is_deleted(connection, vault) for vault in asked]
    assert kept == [True, True, True, False]


async def everything(phone: Device, laptop: Device) -> None:
    """A row in every table."""
    await phone.wrote(b"one")
    await vouch(laptop, await left(phone))
    await phone.person.client.put(
        "/api/v1/mailboxes/0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20/offer",
        content=b"hello",
        headers={
            "content-type": "application/octet-stream",
            "authorization": f"Bearer {phone.person.access_token}",
        },
    )


async def counted(person: Person | None, here: Deps) -> dict[str, int]:
    account = None if person is None else await account_of(person)
    found = {}
    async with here.db.transaction(account) as connection:
        for table in TABLES:
            cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
            found[table] = ((await cursor.fetchone()) or (0,))[0]
    return {table: count for table, count in found.items() if count}


def files(here: Deps) -> list[str]:
    folder = here.settings.home / "blobs" / "segments"
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_no_row_is_seen_by_another_account_or_by_nobody(
    phone: Device, laptop: Device, bob: Person, here: Deps
) -> None:
    await everything(phone, laptop)
    seen = await counted(phone.person, here)
    assert set(TABLES) - set(seen) == {"compactions", "vaults_deleted"}
    assert await counted(bob, here) == {}
    assert await counted(None, here) == {}
    async with here.db.transaction(await account_of(bob)) as connection:
        for table in TABLES:
            gone = await connection.execute(f"DELETE FROM {table}".encode())
            assert gone.rowcount == 0
    assert await counted(phone.person, here) == seen


async def test_nobody_writes_into_the_vault_of_another_account(
    phone: Device, bob: Person, here: Deps
) -> None:
    account = await account_of(phone.person)
    for statement in (
        "INSERT INTO batches VALUES (%(account)s, %(vault)s, 1, '\\x00', 1, sha256('x'), 1, 'x', now())",
        "INSERT INTO devices VALUES (%(account)s, %(vault)s, uuidv7(), sha256('x'), now())",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with here.db.transaction(await account_of(bob)) as connection:
                await connection.execute(
                    statement.encode(), {"account": account, "vault": phone.vault.id}
                )


async def test_an_export_says_what_is_here_of_ones_vaults(
    phone: Device, laptop: Device, mailbox: Mailbox
) -> None:
    await everything(phone, laptop)
    person = phone.person
    assert (await person.post("/account/exports")).status_code == 202
    mails = await mailbox.to(person.mail)
    link = re.findall(r"/api/v1/exports/\S+", mails[-1].text)[0]
    archive = zipfile.ZipFile(io.BytesIO((await person.client.get(link)).content))
    batches = json.loads(archive.read("batches.json"))
    assert [(each["pos"], each["seq"], each["bytes"]) for each in batches] == [
        (1, 1, len(phone.sealed[0].raw))
    ]
    assert len(json.loads(archive.read("devices.json"))) == 2
    assert json.loads(archive.read("segments.json"))[0]["bytes"] == len(DATA)
    assert json.loads(archive.read("vaults.json"))[0]["id"] == str(phone.vault.id)
    assert "frame" not in batches[0]


async def test_a_deleted_account_leaves_no_row_and_no_file(
    phone: Device, laptop: Device, here: Deps, clock: Hands
) -> None:
    await everything(phone, laptop)
    assert len(files(here)) == 1
    assert (await phone.person.post("/account/deletion")).status_code == 202
    clock.forward(days=15)
    await sweep(here)
    async with here.db.transaction() as connection:
        cursor = await connection.execute("SELECT count(*) FROM vaults_listed(10)")
        assert await cursor.fetchone() == (0,)
    assert files(here) == []


async def test_an_account_is_deleted_however_long_its_batches_take(
    phone: Device, here: Deps, clock: Hands, database_url: str
) -> None:
    account = await account_of(phone.person)
    await phone.wrote(b"one")
    await phone.person.post("/account/deletion")
    clock.forward(days=15)
    async with slow_to_delete_vaults(database_url) as db:
        await deletions.carry_out(structs.replace(here.injected["rights"], db=db), Due(account))
    assert (await phone.person.log_in()).status_code == 401


async def sweep(here: Deps) -> None:
    for job in here.jobs:
        if job.task.name == "rights.sweep":
            await job.run(Tick(here.clock()))
    await drain(here)


ID = "0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20"
HOT = {
    "the page of a pull": (
        "SELECT pos, frame, bytes FROM batches WHERE vault_id = '{ID}' AND pos > 5 ORDER BY pos LIMIT 10",
        "batches_pkey",
    ),
    "a batch that is sent again": (
        "SELECT hash, pos FROM batches WHERE vault_id = '{ID}' AND stream_id = '\\x00' AND seq = 7",
        "batches_vault_id_stream_id_seq_key",
    ),
    "the heads of a push": (
        "SELECT id, seq, hash FROM streams WHERE vault_id = '{ID}' AND id = ANY('{\\\\x00}'::bytea[])",
        "streams_pkey",
    ),
    "the lock of a push": (
        "SELECT id FROM vaults WHERE id = '{ID}' FOR UPDATE",
        "Index Scan using vaults_",
    ),
    "a log-in": (
        "SELECT account_id FROM devices WHERE vault_id = '{ID}' AND id = '{ID}' AND revoked_at IS NULL",
        "devices_pkey",
    ),
    "a challenge": (
        "SELECT digest FROM spent_challenges WHERE digest = '\\x00'",
        "spent_challenges_pkey",
    ),
    "the vaults of an account": (
        "SELECT id FROM vaults WHERE account_id = current_account()",
        "vaults_of_account",
    ),
    "the device list": (
        "SELECT entry FROM control_entries WHERE vault_id = '{ID}' AND seq > 3 ORDER BY seq LIMIT 9",
        "control_entries_pkey",
    ),
}


@pytest.mark.parametrize("asked", HOT)
async def test_what_every_sync_asks_is_found_by_an_index(here: Deps, asked: str) -> None:
    query, index = HOT[asked]
    async with here.db.transaction(AccountId(UUID(int=1))) as connection:
        # The tables of a test are so small that reading all of them is cheaper.
        await connection.execute("SET LOCAL enable_seqscan = off")
        cursor = await connection.execute(f"EXPLAIN {query}".replace("{ID}", ID).encode())
        plan = "\n".join(row[0] for row in await cursor.fetchall())
    assert index in plan
    assert "Seq Scan" not in plan
