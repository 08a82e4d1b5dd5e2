"""`sunaiva-cloud` as a person runs it: a process of its own, on an embedded database."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import httpx
import psutil
import psycopg
import pytest

from cloud_api.embedded import embedded
from tests.cloud_api.homes import cloud_folder
from tests.cloud_api.readiness import await_ready

# Guards against what hangs, not promises: a machine that is busy with other things takes twenty times as long.
START_SECONDS = 180.0
STOP_SECONDS = 180.0
HEAL_SECONDS = 180.0
COMMAND = [sys.executable, "-c", "from cloud_api.cli import main; main()"]


def _environ(home: Path, **more: str) -> dict[str, str]:
    foreign = ("SUNAIVA_", "DATABASE_", "REDIS_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return (
        environ
        | {"SUNAIVA_CLOUD_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
        | more
    )


def _run(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=_environ(home, **more),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@contextmanager
def _serving(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = _free_port()
    log = home / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, "serve"],
            env=_environ(home, SUNAIVA_CLOUD_PORT=str(port)),
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await_ready(process, url, seconds=START_SECONDS, log=log)
        yield process, url
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)


def _postmaster(home: Path) -> Path:
    return home / "postgresql" / "postmaster.pid"


def test_serve_needs_no_configuration_and_ends_in_order(home: Path) -> None:
    with _serving(home) as (process, url):
        assert httpx.get(f"{url}/health/live").json() == {"status": "ok"}
        checked = _run(home, "check").stdout.splitlines()
        assert checked == [
            "Settings, database and its protection are in order.",
            "Each process shows its figures at http://127.0.0.1:PORT/metrics, on the first free port from 8401 to 8417.",
        ]
        second = _run(home, "serve")
        assert second.returncode == 1
        assert "Another sunaiva-cloud uses" in second.stderr
        refused = _run(home, "admin", "jobs", "replay", "7")
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "No dead job has the number 7" in refused.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0, (home / "serve.log").read_text()
    assert not _postmaster(home).exists()
    assert "Traceback" not in (home / "serve.log").read_text()


def test_a_killed_owner_leaves_no_process_behind(home: Path) -> None:
    with _serving(home) as (process, _):
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(STOP_SECONDS)
        _, alive = psutil.wait_procs(children, timeout=STOP_SECONDS)
        assert alive == []
    with _serving(home) as (process, url):
        assert httpx.get(f"{url}/health/ready").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0, (home / "serve.log").read_text()


def _killed_server(home: Path) -> int:
    """The process that was killed, without anybody being told."""
    pid = int(_postmaster(home).read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    return pid


def _ready(url: str) -> int:
    try:
        return httpx.get(f"{url}/health/ready", timeout=START_SECONDS).status_code
    except httpx.TransportError:
        return 0


def test_a_database_that_was_killed_is_started_again_and_requests_heal(home: Path) -> None:
    with _serving(home) as (process, url):
        _killed_server(home)
        statuses = {_ready(url)}
        deadline = monotonic() + HEAL_SECONDS
        while "database_restarted" not in (home / "serve.log").read_text():
            assert monotonic() < deadline, (home / "serve.log").read_text()
            statuses.add(_ready(url))
        while _ready(url) != 200:
            assert monotonic() < deadline, (home / "serve.log").read_text()
        # Who asks meanwhile waits for the database that is started, or is told to come back: nobody is cut off.
        assert statuses <= {200, 503}
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0, (home / "serve.log").read_text()
    assert not _postmaster(home).exists()


def test_a_database_that_keeps_dying_ends_serve_with_a_sentence(home: Path) -> None:
    with _serving(home) as (process, _):
        (home / "postgresql" / "sunaiva.conf").write_text("max_connections = none\n")
        _killed_server(home)
        assert process.wait(STOP_SECONDS) == 1
    log = (home / "serve.log").read_text()
    assert "database_given_up" in log
    assert "The embedded PostgreSQL died" in log.splitlines()[-1]


def test_a_request_in_flight_is_answered_before_the_end(home: Path) -> None:
    with _serving(home) as (process, url), ThreadPoolExecutor(1) as beside:
        database = f"postgresql://sunaiva@/sunaiva?host={home / 'run'}"
        with psycopg.connect(database) as connection:
            connection.execute("SET ROLE sunaiva_owner; LOCK TABLE schema_version")
            flying = beside.submit(httpx.get, f"{url}/health/ready", timeout=STOP_SECONDS)
            with psycopg.connect(database, autocommit=True) as watcher:
                while not watcher.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount:
                    assert not flying.done()
            process.send_signal(signal.SIGTERM)
            while "Shutting down granian" not in (home / "serve.log").read_text():
                assert process.poll() is None
            assert not flying.done()
        assert flying.result(STOP_SECONDS).status_code == 200
        assert process.wait(STOP_SECONDS) == 0


@pytest.mark.parametrize("sign", ["postgresql.new/PG_VERSION", "run/.s.PGSQL.5432.lock"])
def test_a_start_that_is_interrupted_leaves_nothing_behind(sign: str) -> None:
    with cloud_folder() as empty:
        process = subprocess.Popen(
            [*COMMAND, "serve"],
            env=_environ(empty, SUNAIVA_CLOUD_PORT=str(_free_port())),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        while not (empty / sign).exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        own = [each for each in psutil.process_iter(["cmdline"]) if str(empty) in str(each.info)]
        _, alive = psutil.wait_procs(own, timeout=STOP_SECONDS)
        assert alive == []
        with embedded(empty):
            pass


def test_a_port_that_is_taken_is_one_sentence_and_starts_nothing(home: Path) -> None:
    with socket.socket() as taken:
        # As Granian's own listeners, which would let another server of the same user in.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = _run(home, "serve", SUNAIVA_CLOUD_PORT=str(port))
    assert refused.returncode == 1
    last = refused.stderr.splitlines()[-1]
    assert last.startswith(f"sunaiva-cloud: Cannot listen at 127.0.0.1, port {port} (Address")
    assert "Traceback" not in refused.stderr


def test_serve_refuses_a_mail_server_that_it_cannot_understand_before_anything_starts() -> None:
    with cloud_folder() as home:
        refused = _run(home, "serve", SMTP_URL="smtp://name:hunter2@mail.example/path")
        assert list(home.iterdir()) == []
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "SMTP_URL is not understood" in refused.stderr
    assert "hunter2" not in refused.stderr


def test_a_status_that_no_job_has_is_refused() -> None:
    with cloud_folder() as home:
        refused = _run(home, "admin", "jobs", "list", "--status", "foo")
    assert refused.returncode != 0
    assert "todo" in refused.stdout + refused.stderr


def test_short_commands_bring_their_own_server_up_and_down() -> None:
    with cloud_folder() as home:
        empty = _run(home, "check")
        assert (empty.returncode, "Run `sunaiva-cloud migrate`" in empty.stdout) == (1, True)
        assert _run(home, "migrate").stdout.startswith("The database is at ")
        assert not _postmaster(home).exists()


def test_a_wrong_setting_is_one_sentence() -> None:
    with cloud_folder() as home:
        refused = _run(home, "check", SUNAIVA_CLOUD_PORT="none")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (
        refused.stderr
        == "sunaiva-cloud: SUNAIVA_CLOUD_PORT is 'none'; it can be a number from 1 to 65535.\n"
    )


def test_a_database_that_is_not_there_is_one_sentence() -> None:
    with cloud_folder() as home:
        refused = _run(home, "check", DATABASE_URL="postgresql://x@127.0.0.1:9/x")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "sunaiva-cloud: The database cannot be reached (OperationalError).\n"
