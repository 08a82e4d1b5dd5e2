"""The devices' own engine against the whole API: what they seal, this server keeps; what it keeps, they read."""

import asyncio
import hashlib
from collections.abc import Callable

import httpx
import pytest
from httpx import AsyncClient

from sync_service.device import healing, log, membership, snapshots
from sync_service.sealed import vectors
from sync_service.sealed.keys import Seeds
from sync_service.sealed.pieces import Segment
from sync_service.steps import engine
from sync_service.steps.step import Engine, Report
from sync_service.transports.http import DeviceLogin, HttpTransport
from tests.cloud_api.accounts.people import Hands, Person
from tests.cloud_api.sync.vaults import ORIGIN
from tests.sync.devices import RECOVERY, Time
from tests.sync.devices import Device as LocalDevice
from tests.sync.fake_relay import Relay

pytestmark = pytest.mark.anyio


class Bridge(httpx.BaseTransport):
    """From a worker's thread to the application in the test's own loop."""

    def __init__(self, client: AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self.client = client
        self.loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = self.client.request(
            request.method,
            str(request.url.copy_with(scheme=None, netloc=b"")),
            content=request.read(),
            headers=dict(request.headers),
        )
        answer = asyncio.run_coroutine_threadsafe(asked, self.loop).result(timeout=30)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class Online(LocalDevice):
    """A device whose line is the API."""

    def __init__(self, person: Person, clock: Hands, seed: int) -> None:
        super().__init__(Relay(), Time(), seed)
        self.now = clock
        self.person = person
        self.bridge = Bridge(person.client, asyncio.get_running_loop())
        self.vault: bytes | None = None
        self.login: DeviceLogin | None = None
        self.way = self.connected()

    @property
    def now_ms(self) -> int:
        return int(self.now().timestamp() * 1_000)

    def connected(self) -> HttpTransport:
        return HttpTransport(
            ORIGIN,
            vault=self.vault,
            login=self.login,
            account_token=lambda: self.person.access_token,
            sleep=lambda _: None,
            jitter=lambda: 0.0,
            client=httpx.Client(transport=self.bridge),
        )

    @property
    def engine(self) -> Engine:
        return Engine(replica=self.replica, transport=self.way, clock=self.now, random=self.random)

    def enter(self, vault: bytes | None) -> None:
        self.vault = vault
        self.way = self.connected()
        do = membership.found if vault is None else membership.join_by_words
        do(self.way, self.replica, recovery=RECOVERY, name="one", random=self.random)
        me = log.read(self.replica.db)
        self.vault, self.login = me.vault, DeviceLogin(me.vault, Seeds(me.sign_seed, me.kem_seed))
        self.way = self.connected()

    def step(self) -> Report:
        return self.sync()


async def _run(do: Callable[[], object]) -> None:
    await asyncio.to_thread(do)


async def test_two_devices_agree_through_the_api(ada: Person, clock: Hands) -> None:
    first, second = Online(ada, clock, 1), Online(ada, clock, 2)

    def together() -> None:
        first.enter(None)
        second.enter(first.vault)
        first.write(1, "tea", tags=["drink"])
        second.write(2, "coffee")
        for device in (first, second, first, second):
            report = device.step()
            assert report.reached_head, report
            assert report.alarms == []
        assert first.replica.states() == second.replica.states()
        assert first.digest() == second.digest()

    await _run(together)


async def test_a_snapshot_is_written_vouched_for_and_joined(ada: Person, clock: Hands) -> None:
    first, second, third = (Online(ada, clock, seed) for seed in (1, 2, 3))

    def together() -> None:
        first.enter(None)
        second.enter(first.vault)
        for number in range(10):
            first.write(number)
        for device in (first, second, first):
            device.step()
        members = log.members(first.replica.db)
        assert snapshots.write(first.way, first.replica, members, first.random, first.now_ms)
        engine.keep_house(second.engine)
        assert second.alarms() == set()
        third.enter(first.vault)
        third.step()
        assert third.digest() == first.digest()

    await _run(together)


async def test_lists_of_vectors_go_there_and_back_beside_snapshots(
    ada: Person, clock: Hands
) -> None:
    first, second = Online(ada, clock, 1), Online(ada, clock, 2)

    def together() -> None:
        first.enter(None)
        second.enter(first.vault)
        first.write(1)
        first.step()
        sealed, name = b"sealed vectors", "ab" * 16
        me = log.read(first.replica.db)
        made = vectors.VectorList(
            vault=me.vault,
            device=me.device,
            segments=(Segment(name, len(sealed), hashlib.sha256(sealed).digest()),),
            sealed=b"",
        )
        raw = vectors.write(made, me.sign_seed)
        first.way.put_segment(name, sealed)
        first.way.put_vector_list(raw)
        members = log.members(first.replica.db)
        assert snapshots.write(first.way, first.replica, members, first.random, first.now_ms)
        assert second.way.vector_lists() == [raw]
        assert second.way.segment(name) == sealed
        assert len(second.way.manifests()) == 1
        engine.keep_house(first.engine)
        assert len(second.way.manifests()) == 1

    await _run(together)


async def test_a_copied_device_goes_on_under_a_stream_that_the_api_takes(
    ada: Person, clock: Hands
) -> None:
    first, clone = Online(ada, clock, 1), Online(ada, clock, 9)

    def together() -> None:
        first.enter(None)
        first.step()
        first.replica.db.conn.backup(clone.replica.db.conn)
        clone.vault, clone.login = first.vault, first.login
        clone.way = clone.connected()
        first.write(1, "by one")
        clone.write(2, "by the other")
        for device in (first, clone, first, clone, first):
            device.step()
        assert first.replica.states() == clone.replica.states()
        assert "cloned" in clone.alarms()

    await _run(together)


async def test_what_its_owner_deletes_comes_back_only_when_a_device_puts_it_back(
    ada: Person, clock: Hands
) -> None:
    first, second, newcomer = (Online(ada, clock, seed) for seed in (1, 2, 3))

    def begin() -> None:
        first.enter(None)
        second.enter(first.vault)
        first.write(1, "tea")
        for device in (first, second):
            device.step()

    def sync() -> None:
        first.write(2, "coffee")
        for device in (first, second):
            assert device.step().deleted
        # Without the account, too: a device that only has its own key.
        second.way = HttpTransport(
            ORIGIN,
            vault=second.vault,
            login=second.login,
            account_token=lambda: None,
            sleep=lambda _: None,
            jitter=lambda: 0.0,
            client=httpx.Client(transport=second.bridge),
        )
        assert second.step().deleted
        assert first.alarms() == second.alarms() == {"deleted"}

    def put_back() -> None:
        healing.put_back(first.way, first.replica, first.now_ms)
        for device in (first, second, first):
            device.step()
        newcomer.enter(first.vault)
        for device in (newcomer, second, first):
            device.step()
        assert first.replica.states() == second.replica.states() == newcomer.replica.states()
        assert newcomer.text(2) == "coffee"
        assert first.alarms() == second.alarms() == newcomer.alarms() == set()

    await _run(begin)
    (there,) = (await ada.get("/vaults")).json()
    assert (await ada.delete(f"/vaults/{there['id']}")).status_code == 204
    await _run(sync)
    assert (await ada.get("/vaults")).json() == []
    await _run(put_back)
