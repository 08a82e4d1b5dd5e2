"""Sync against `sunaiva-cloud serve` as a person runs it: several processes, killed, and searched through afterwards."""

import asyncio
import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import psycopg
import pytest

from bench.load.people import fill, signing
from cloud_api.settings import load
from sync_service.changes.clock import Hlc
from sync_service.changes.ops import Head, Set, encode_content
from tests.cloud_api.accounts.people import Person
from tests.cloud_api.readiness import await_ready
from tests.cloud_api.sync.vaults import ORIGIN, Device, founded
from tests.cloud_api.test_serving import COMMAND, START_SECONDS, STOP_SECONDS, _environ, _free_port

pytestmark = pytest.mark.anyio


class Serving:
    """A server process, and whoever asks it over sockets."""

    def __init__(self, home: Path, processes: int = 1) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._processes = processes
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.home / "serve.log").open("ab") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "serve"],
                env=_environ(
                    self.home,
                    SUNAIVA_CLOUD_PORT=self.url.rsplit(":", 1)[1],
                    SUNAIVA_CLOUD_URL=ORIGIN,
                    SUNAIVA_CLOUD_PROCESSES=str(self._processes),
                ),
                stdout=output,
                stderr=output,
            )
        await_ready(self.process, self.url, seconds=START_SECONDS, log=self.home / "serve.log")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)

    def database(self, user: str = "sunaiva") -> str:
        return f"postgresql://{user}@/sunaiva?host={self.home / 'run'}"

    async def person(self, client: httpx.AsyncClient) -> Person:
        """Somebody with an account who has just logged in."""
        bearers = fill(self.database("postgres"), 1, seed=7, asking=0)
        signs = await signing(
            load({"SUNAIVA_CLOUD_HOME": str(self.home), "SUNAIVA_CLOUD_URL": ORIGIN}),
            self.database(),
        )
        # Of the test client's methods, those that a client has as well.
        return Person(cast("Any", client), "person0@example.org", signs.tokens(bearers)[0])


@asynccontextmanager
async def served(home: Path, processes: int = 1) -> AsyncIterator[tuple[Serving, Device]]:
    serving = Serving(home, processes)
    try:
        serving.start()
        async with httpx.AsyncClient(base_url=serving.url, timeout=START_SECONDS) as client:
            yield serving, await founded(await serving.person(client), "phone")
    finally:
        serving.stop()


async def test_every_process_tells_its_devices_of_a_push_and_lets_them_go_when_it_ends(
    home: Path,
) -> None:
    listeners = (
        8  # over two processes: that all are with one of them happens once in a hundred runs
    )
    async with served(home, processes=2) as (serving, phone):
        laptop = await phone.paired("laptop")
        heads = asyncio.Queue[int]()

        async def listen() -> None:
            async with (
                httpx.AsyncClient(base_url=serving.url, timeout=START_SECONDS) as client,
                client.stream("GET", f"{laptop.url}/events", headers=laptop.headers) as events,
            ):
                assert events.headers["content-type"].startswith("text/event-stream")
                async for line in events.aiter_lines():
                    if data := line.removeprefix("data: "):
                        heads.put_nowait(msgspec.json.decode(data)["head_pos"])

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            tasks = [group.create_task(listen()) for _ in range(listeners)]
            assert [await heads.get() for _ in tasks] == [0] * listeners
            await phone.wrote(b"news")
            assert [await heads.get() for _ in tasks] == [1] * listeners
            # Asked to leave, the server ends what they listen to: a stream that was cut off would raise.
            await asyncio.to_thread(serving.stop)
    assert "refused to gracefully stop" not in (home / "serve.log").read_text()


async def test_what_was_acknowledged_before_a_kill_is_there_and_the_rest_can_be_sent_again(
    home: Path,
) -> None:
    async with served(home) as (serving, phone):
        enough = asyncio.Event()

        async def write() -> None:
            for count in itertools.count():
                frame = phone.seal(b"one of many")
                while (answer := await phone.push(frame)).status_code == 503:
                    pass  # a machine that is busy with other tests; devices send again, too
                assert answer.status_code == 200
                if count == 20:
                    enough.set()

        writing = asyncio.create_task(write())
        await enough.wait()
        serving.kill()
        with pytest.raises(httpx.TransportError):
            await writing
        serving.start()
        stored = [frame.raw for _, frame in await phone.read()]
        sent = [frame.raw for frame in phone.sealed]
        # The last one was never answered: it is there, or it is not.
        assert stored in (sent, sent[:-1])
        answer = await phone.push(*phone.sealed[-3:])
        places = [each["pos"] for each in answer.json()["placed"]]
        assert places == [len(sent) - 2, len(sent) - 1, len(sent)]


WORDS = "nineteen violet submarines rehearse the sarabande"
MEMORY = hashlib.sha256(b"the id of a memory").digest()[:16]
CLOCK = Hlc(0x1A2B3C4D5E6F7A8B >> 1)
TAG = "harpsichord-maintenance"


async def test_neither_database_nor_files_hold_a_word_an_id_or_a_clock(home: Path) -> None:
    content = encode_content(
        [Set(MEMORY, CLOCK, {1: b"\xa0" + WORDS.encode(), 3: TAG.encode()})],
        heads=[Head(b"stream-8", 3, hashlib.sha256(b"head").digest())],
        digest=hashlib.sha256(b"state").digest(),
    )
    async with served(home) as (serving, phone):
        await phone.wrote(content, content * 20, b"x")
        segment = phone.seal(content).raw
        phone.sealed.pop()
        assert (await phone.put(f"/segments/{'a' * 32}", segment)).status_code == 204
        manifest = phone.manifest([("a" * 32, segment)])
        assert (await phone.put("/manifests", manifest)).status_code == 200
        shown = dumped(serving.database("postgres"))
        assert phone.sealed[0].raw.hex().encode() in shown
        serving.stop()
    kept = everything_in(home)
    assert phone.sealed[0].raw[:64] in kept
    assert segment in kept
    for secret in secrets():
        assert secret not in kept
        assert secret not in shown
        assert secret.hex().encode() not in shown


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def secrets() -> list[bytes]:
    words = [word.encode() for word in (WORDS, *WORDS.split(), TAG) if len(word) > 3]
    clock = CLOCK.to_bytes(8, "big")
    return [
        *words,
        MEMORY,
        MEMORY.hex().encode(),
        clock,
        clock[::-1],
        str(int(CLOCK)).encode(),
        hashlib.sha256(b"state").digest(),
        hashlib.sha256(b"head").digest(),
    ]


def dumped(url: str) -> bytes:
    """Every row of every table, as text."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p', 'S') "
            "AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        found = []
        for (table,) in tables:
            with connection.cursor().copy(f"COPY (SELECT * FROM {table}) TO STDOUT") as rows:
                found += [bytes(row) for row in rows]
    return b"".join(found)


def test_the_console_script_knows_vaults(home: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from cloud_api.cli import main; main()", *arguments],
            env={**os.environ, **_environ(home)},
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    listed = run("admin", "vaults", "list")
    assert (listed.returncode, listed.stdout) == (0, ""), listed.stderr
    renewed = run("admin", "vaults", "new-generation")
    assert renewed.stdout == "No vault was found.\n", renewed.stderr
