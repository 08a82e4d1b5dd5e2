"""Pushing and pulling over HTTP, on a real database."""

import asyncio
import hashlib

import pytest

from cloud_api.sync.rules import PAGE_BYTES_MIN
from sync_service.sealed.frames import FRAME_BYTES_MAX, PUSH_BYTES_MAX
from tests.cloud_api.accounts.people import code_of
from tests.cloud_api.sync.vaults import Device

pytestmark = pytest.mark.anyio


def noise(number: int, chunks: int) -> bytes:
    """What no compressor makes smaller."""
    return b"".join(hashlib.sha256(b"%d %d" % (number, each)).digest() for each in range(chunks))


async def test_what_one_device_pushes_another_pulls_byte_by_byte(
    phone: Device, laptop: Device
) -> None:
    frames = [phone.seal(b"one"), phone.seal(b"two")]
    answer = await phone.push(*frames)
    stream = phone.stream.hex()
    assert answer.json()["placed"] == [
        {"stream": stream, "seq": 1, "pos": 1},
        {"stream": stream, "seq": 2, "pos": 2},
    ]
    assert await laptop.wrote(b"three") == [3]
    page = await laptop.pull()
    assert [(pos, frame.raw) for pos, frame in await laptop.read()] == [
        (1, frames[0].raw),
        (2, frames[1].raw),
        (3, laptop.sealed[0].raw),
    ]
    assert {name: page.headers[f"sunaiva-{name}"] for name in ("head-pos", "min-pos")} == {
        "head-pos": "3",
        "min-pos": "0",
    }
    assert page.headers["sunaiva-generation"] == answer.json()["generation"]


async def test_an_answer_that_was_lost_is_given_again(phone: Device) -> None:
    frames = [phone.seal(), phone.seal()]
    first = await phone.push(*frames)
    again = await phone.push(*frames)
    assert (again.status_code, again.json()) == (200, first.json())
    third = phone.seal()
    mixed = await phone.push(*frames, third)
    assert [each["pos"] for each in mixed.json()["placed"]] == [1, 2, 3]
    assert len(await phone.read()) == 3


@pytest.mark.parametrize("size", [0, 1, 6, 7, 8, 14])
async def test_pages_of_any_number_of_batches_leave_none_out(phone: Device, size: int) -> None:
    contents = [noise(number, 280) for number in range(size)]  # seven fill a page
    if contents:
        await phone.wrote(*contents)
    after, seen = 0, []
    while page := await phone.read(after, max_bytes=PAGE_BYTES_MIN):
        assert len(page) <= 7
        seen += page
        after = page[-1][0]
    assert [pos for pos, _ in seen] == list(range(1, size + 1))
    assert [frame.raw for _, frame in seen] == [frame.raw for frame in phone.sealed]


async def test_a_batch_larger_than_the_page_comes_alone(phone: Device) -> None:
    await phone.wrote(b"small", noise(1, 10_000), b"small")
    assert [pos for pos, _ in await phone.read(0, max_bytes=PAGE_BYTES_MIN)] == [1]
    assert [pos for pos, _ in await phone.read(1, max_bytes=PAGE_BYTES_MIN)] == [2]
    assert [pos for pos, _ in await phone.read(2, max_bytes=PAGE_BYTES_MIN)] == [3]
    assert [pos for pos, _ in await phone.read()] == [1, 2, 3]


async def test_nothing_follows_the_head(phone: Device) -> None:
    await phone.wrote(b"one")
    assert await phone.read(1) == []
    assert await phone.read(9_000_000) == []


@pytest.mark.usefixtures("at_once")
async def test_positions_are_gapless_under_eight_writers_at_once(
    phone: Device, laptop: Device
) -> None:
    devices = [phone, laptop, *[await phone.paired(f"device {number}") for number in range(6)]]

    async def write(device: Device) -> list[int]:
        return [pos for _ in range(6) for pos in await device.wrote(b"a", b"b")]

    places = await asyncio.gather(*map(write, devices))
    assert sorted(pos for each in places for pos in each) == list(range(1, 97))
    assert all(each == sorted(each) for each in places)
    page = await phone.read()
    assert [pos for pos, _ in page] == list(range(1, 97))
    for device in devices:
        own = [frame.raw for _, frame in page if frame.header.stream == device.stream]
        assert own == [frame.raw for frame in device.sealed]


async def test_another_generation_than_expected_is_said(phone: Device) -> None:
    answer = await phone.pull(generation="0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20")
    generation = (await phone.pull()).headers["sunaiva-generation"]
    assert (answer.status_code, code_of(answer)) == (409, "generation_changed")
    assert answer.json()["about"] == {"generation": generation}
    assert (await phone.pull(generation=generation)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "batch_malformed"),
        (b"SV" + bytes(200), 400, "batch_malformed"),
        (bytes(FRAME_BYTES_MAX), 400, "batch_malformed"),
        (bytes(PUSH_BYTES_MAX + 1), 413, "too_large"),
    ],
    ids=["nothing", "half a batch", "zeros", "too much"],
)
async def test_bytes_that_are_no_batches_are_refused(
    phone: Device, body: bytes, status: int, code: str
) -> None:
    answer = await phone.put("/batches", body, method="POST")
    assert (answer.status_code, code_of(answer)) == (status, code)


async def test_256_batches_go_at_once_and_257_do_not(phone: Device) -> None:
    frames = [phone.seal() for _ in range(257)]
    assert code_of(await phone.push(*frames)) == "batch_malformed"
    assert await phone.read() == []
    assert (await phone.push(*frames[:256])).status_code == 200
    assert len(await phone.read()) == 256


async def test_only_bytes_that_say_so_are_taken(phone: Device) -> None:
    answer = await phone.post("/batches", {"batches": []})
    assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")
