"""Messages of two devices that pair: of one account only, and gone soon."""

import pytest
from httpx import Response

from cloud_api.deps import Deps
from cloud_api.devices import store
from cloud_api.devices.rules import MESSAGE_BYTES_MAX, MESSAGES_MAX
from cloud_api.jobs import Tick
from tests.cloud_api.accounts.people import Hands, Person, code_of

pytestmark = pytest.mark.anyio

NAME = "0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20"


async def put(person: Person, slot: str, message: bytes, name: str = NAME) -> Response:
    headers = {
        "authorization": f"Bearer {person.access_token}",
        "content-type": "application/octet-stream",
    }
    return await person.client.put(
        f"/api/v1/mailboxes/{name}/{slot}", content=message, headers=headers
    )


async def read(person: Person, slot: str, name: str = NAME) -> Response:
    return await person.get(f"/mailboxes/{name}/{slot}")


async def test_a_message_is_read_as_it_was_left(ada: Person) -> None:
    assert code_of(await read(ada, "offer")) == "mailbox_empty"
    assert (await put(ada, "offer", b"\x00keys")).status_code == 204
    assert (await read(ada, "offer")).content == b"\x00keys"
    assert (await put(ada, "offer", b"\x00keys")).status_code == 204
    taken = await put(ada, "offer", b"other keys")
    assert (taken.status_code, code_of(taken)) == (409, "mailbox_slot_taken")
    assert code_of(await read(ada, "answer")) == "mailbox_empty"


async def test_nobody_reads_or_takes_the_messages_of_another_account(
    ada: Person, bob: Person
) -> None:
    await put(ada, "offer", b"ada's")
    assert code_of(await read(bob, "offer")) == "mailbox_empty"
    assert (await put(bob, "offer", b"bob's")).status_code == 204
    assert (await read(ada, "offer")).content == b"ada's"


async def test_a_message_is_gone_after_a_quarter_of_an_hour(ada: Person, clock: Hands) -> None:
    await put(ada, "offer", b"old")
    clock.forward(minutes=15)
    await ada.log_in()
    assert code_of(await read(ada, "offer")) == "mailbox_empty"
    assert (await put(ada, "offer", b"new")).status_code == 204
    assert (await read(ada, "offer")).content == b"new"


async def test_what_has_run_out_is_forgotten_in_pieces(
    ada: Person, deps: Deps, clock: Hands
) -> None:
    for slot in ("one", "two", "three"):
        await put(ada, slot, b"old")
    clock.forward(minutes=15)
    async with deps.db.transaction() as connection:
        assert await store.forget_run_out(connection, clock(), 2) == 2
    await run_sweep(deps)
    async with deps.db.transaction() as connection:
        assert await store.forget_run_out(connection, clock(), 2) == 0


async def run_sweep(deps: Deps) -> None:
    (sweep,) = [job for job in deps.jobs if job.task.name == "devices.sweep"]
    await sweep.run(Tick(deps.clock()))


@pytest.mark.parametrize(
    ("slot", "message", "code"),
    [
        ("offer", b"", "invalid_field"),
        ("offer", bytes(MESSAGE_BYTES_MAX + 1), "too_large"),
        ("Offer", b"x", "invalid_field"),
        ("a" * 21, b"x", "invalid_field"),
        ("..%2Fx", b"x", "not_found"),
    ],
)
async def test_what_is_no_message_is_refused(
    ada: Person, slot: str, message: bytes, code: str
) -> None:
    assert code_of(await put(ada, slot, message)) == code


async def test_an_account_leaves_so_many_messages_at_a_time(ada: Person) -> None:
    for number in range(MESSAGES_MAX):
        assert (await put(ada, f"slot-{number}", b"x")).status_code == 204
    full = await put(ada, "one-more", b"x")
    assert (full.status_code, code_of(full)) == (403, "mailboxes_full")
