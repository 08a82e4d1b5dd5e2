"""`sunaiva-cloud serve`: database, API and worker as one thing that starts and ends together.

The parent owns the embedded database and outlives its children: on SIGTERM or SIGINT Granian's processes answer what they
have begun, then the worker finishes its jobs, and the database is stopped last, so nothing is lost on the way.
"""

import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from granian.constants import Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server import Server

from cloud_api.embedded import embedded
from cloud_api.migrating import migrate
from cloud_api.settings import Settings, is_for_this_machine
from cloud_api.ties import tied
from cloud_api.worker import GRACE_SECONDS
from shared.errors import UnavailableError

# Requests are cut off by their database timeouts long before.
REQUESTS_GRACE_SECONDS = 15
# A worker that dies at once, each time, must not keep the machine busy with dying.
RESPAWN_SECONDS = 5.0
# Waiting connections, all processes together; what comes on top is told by the kernel to try again.
BACKLOG = 4096
# Open connections of one process, most of them idle; Granian calls it backpressure and would take the backlog's size,
# after which it no longer accepts anybody until somebody leaves.
CONNECTIONS_MAX = 16_384
# Headers come in one packet or two; who needs longer than this holds a connection open.
HEADER_MS = 10_000
# As much as HTTP/1.1 may have here.
HEADER_BYTES_MAX = 400 * 1024
# Over HTTP/2 a connection whose other end has gone away is noticed by asking.
PING_MS = 30_000
PING_ANSWER_SECONDS = 20

logger = structlog.get_logger(__name__)


def serve(settings: Settings) -> int:
    """Until told to stop; the exit code.

    Raises:
        SunaivaError: the database cannot be had or migrated.
    """
    # Until Granian has handlers of its own; without this a SIGTERM would leave the database running.
    signal.signal(signal.SIGTERM, _leave)
    with _database(settings) as (url, migration_url):
        refuse_taken_port(settings)
        _warn(settings)
        logger.info("migrated", revision=migrate(migration_url))
        # Children read their settings as we did; this is the one that they cannot know.
        os.environ["DATABASE_URL"] = url  # noqa: TID251 (for the children)
        with _worker():
            _answer(settings)
    return 0


def refuse_taken_port(settings: Settings) -> None:
    """Granian's processes share their port, and would share it with another server's too: each of the two would get some requests.

    Raises:
        UnavailableError
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.create_server((settings.host, settings.port), family=family):
            pass
    except OSError as error:
        raise UnavailableError(
            f"Cannot listen at {settings.host}, port {settings.port} ({os.strerror(error.errno or 0)}). End what uses it, or choose "
            "others by SUNAIVA_CLOUD_HOST and SUNAIVA_CLOUD_PORT."
        ) from None


def _warn(settings: Settings) -> None:
    is_open = not is_for_this_machine(settings.host)
    if is_open and settings.environment == "development":
        # Links go by unencrypted, and mails may lie in a folder: good for a trusted network at most.
        logger.warning("development_open_to_network", url=settings.public_url)
    if not is_for_this_machine(settings.admin_host):
        logger.warning("figures_open_to_network")


def _leave(*_: object) -> None:
    sys.exit(0)


@contextmanager
def _database(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.database_url is not None:
        given = settings.database_url.reveal
        yield given, settings.migration_url.reveal if settings.migration_url else given
        return
    with embedded(settings.home, lost=_end_ourselves) as server:
        yield server.url(), server.url()


def _end_ourselves() -> None:
    """In order: whoever supervises us sees an exit code, and may start everything anew."""
    os.kill(os.getpid(), signal.SIGTERM)


def _answer(settings: Settings) -> None:
    _allow_open_files()
    # Forked children would share our threads' locks; `spawn` starts them clean.
    multiprocessing.set_start_method("spawn", force=True)
    server = Server(
        "cloud_api.app:serving",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.processes,
        backlog=BACKLOG,
        backpressure=CONNECTIONS_MAX,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MS),
        http2_settings=HTTP2Settings(
            keep_alive_interval=PING_MS,
            keep_alive_timeout=PING_ANSWER_SECONDS,
            max_headers_size=HEADER_BYTES_MAX,
        ),
        workers_kill_timeout=REQUESTS_GRACE_SECONDS,
        respawn_failed_workers=True,
        respawn_interval=RESPAWN_SECONDS,
        websockets=False,
        log_access=False,
        log_dictconfig={"loggers": {"_granian": {"propagate": True}}},  # to our own handler
    )
    logger.info("serving", url=settings.public_url, processes=settings.processes)
    server.serve()


def _allow_open_files() -> None:
    """As many as the machine allows: each connection is one, and what a shell allows by default is often 1,024."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _worker() -> Iterator[None]:
    stopping = threading.Event()
    keeper = threading.Thread(target=_keep, args=(stopping,), name="worker-keeper")
    keeper.start()
    try:
        yield
    finally:
        stopping.set()
        keeper.join()


def _keep(stopping: threading.Event) -> None:
    """One worker process, started again when it dies, until we are told to stop."""
    command = [sys.executable, "-P", "-c", "from cloud_api.cli import main; main()", "worker"]
    while not stopping.is_set():
        # In a session of its own: a Ctrl-C in the terminal is for the parent, who stops it after the API.
        child = subprocess.Popen(command, start_new_session=True)
        with tied(child.pid, signal.SIGTERM):
            while child.poll() is None and not stopping.wait(0.2):
                pass
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(GRACE_SECONDS + 5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        elif not stopping.is_set():
            logger.error("worker_died", code=child.returncode)
            stopping.wait(RESPAWN_SECONDS)
