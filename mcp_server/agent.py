"""The agent: the one process on a person's device that has the vault open, for every assistant and terminal.

It listens on a socket only that person can open, holds the vault's lock for as long as it lives, and outlives every
client: an error of one connection never ends it, and a client that goes away never cuts a write short. What it logs
names places in the code, never what a memory says.
"""

import asyncio
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Literal, Protocol

import anyio
import msgspec
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from msgspec import Struct

from mcp_server import rendezvous
from mcp_server.http import TOKEN_NAME, Address, HttpServer, http_server, open_port, token, url
from mcp_server.launch import LOG_BYTES_MAX
from mcp_server.lines import Lines
from mcp_server.rendezvous import AgentInfo
from mcp_server.session import DRAIN_SECONDS, Session, parse
from mcp_server.settings import Settings
from mcp_server.terminal import CALL_THREADS_MAX, Call, Terminal
from mcp_server.version import __version__
from shared.clock import Clock, system_clock
from shared.errors import ConflictError, InvalidError, SunaivaError, UnavailableError

logger = logging.getLogger(__name__)

CONNECTIONS_MAX = 256  # assistants open one per window; beyond this something opens them in a loop

_HELLO_SECONDS = 5.0
_LAST_SECONDS = 2.0
# A vault closes in milliseconds, but may first fold a large WAL into its file.
_CLOSE_SECONDS = 10.0
# An agent that cannot start stays this long, so that whoever waits for it hears why.
_REFUSING_SECONDS = 0.5
_HOUSEKEEPING_SECONDS = 30.0
_ASYNCIO_LINES_A_MINUTE = 10
_FILES_WANTED = 65_536


class AgentApp(Protocol):
    """What the agent serves."""

    @property
    def server(self) -> MCPServer[Any]: ...

    @property
    def calls(self) -> Mapping[str, Call]: ...

    def start(self) -> None:
        """Opens the vault, and returns: models and indexes load behind. Clients wait for this.

        Raises:
            SunaivaError: there is nothing to serve; every waiting client is told so and the agent ends.
        """

    def close(self) -> None:
        """Leaves everything on disk. May come while a call is still running, and then ends it."""


def serve(
    app: AgentApp,
    settings: Settings,
    *,
    http: Address | None = None,
    idle_seconds: float | None = None,
    drain_seconds: float = DRAIN_SECONDS,
    clock: Clock = system_clock,
    version: str = __version__,
) -> int:
    """Serves until asked to leave; the exit code of the process. 0 at once if an agent already has the vault.

    Raises:
        SunaivaError: the vault is held by another program, or nothing can be listened on.
    """
    _log_to_stderr()
    lock = _take_lock(settings)
    if lock is None:
        logger.info("an agent already has this vault")
        return 0
    _allow_many_connections()
    os.chdir("/")  # not the project folder of the window that happened to start us

    async def main() -> int:
        agent = _Agent(app, settings, version, drain_seconds)
        return await agent.run(http, idle_seconds, clock)

    try:
        return asyncio.run(main())
    except OSError as error:
        raise rendezvous.folder_problem(settings.home, error) from error
    finally:
        os.close(lock)


def serve_stdio(app: AgentApp, settings: Settings) -> int:
    """The same server for one client on our own stdin and stdout, without an agent: for containers.

    Raises:
        ConflictError: an agent has the vault.
        SunaivaError: the vault cannot be opened.
    """
    _log_to_stderr()
    lock = _take_lock(settings)
    if lock is None:
        raise ConflictError(
            "The memory agent of this vault is running. Connect the assistant with `sunaiva mcp`, without "
            "`--in-process`, or end the agent first."
        )
    try:
        app.start()
        try:
            return asyncio.run(_serve_stdio(app))
        finally:
            app.close()
    finally:
        os.close(lock)


class _Hello(Struct):
    """Who connects: an assistant (mcp), a terminal (calls), or somebody who wants to know (ping) or have us gone (leave)."""

    sunaiva: Literal["mcp", "calls", "ping", "leave"]
    client: str | None = None


class _Agent:
    """State of the running process: its clients, and whether it is ready or about to leave."""

    def __init__(
        self, app: AgentApp, settings: Settings, version: str, drain_seconds: float
    ) -> None:
        self._app = app
        self._settings = settings
        self._version = version
        self._drain_seconds = drain_seconds
        self._ready: asyncio.Future[SunaivaError | None] = asyncio.Future()
        self._leaving = asyncio.Event()
        self._exit_code = 0
        self._http: HttpServer | None = None
        self._connections = 0
        self._serving: dict[asyncio.Task[None], Session | Terminal] = {}
        self._threads = anyio.CapacityLimiter(CALL_THREADS_MAX)
        self._idle_since = time.monotonic()

    async def run(self, http: Address | None, idle_seconds: float | None, clock: Clock) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._leaving.set)
        home = self._settings.home
        port = None if http is None else open_port(http)
        listener = rendezvous.listen(home, self._settings.runtime_folder)
        server = await asyncio.start_unix_server(self._accept, sock=listener)
        info = AgentInfo(
            pid=os.getpid(),
            version=self._version,
            protocol=rendezvous.PROTOCOL,
            socket=listener.getsockname(),
            started_at=clock().isoformat(),
            url=None if port is None else url(port),
        )
        rendezvous.announce(home, info)
        starting = asyncio.create_task(self._start(port))
        keeping = asyncio.create_task(self._keep_house(idle_seconds))
        await self._leaving.wait()
        server.close()
        keeping.cancel()
        await self._finish(starting)
        return self._exit_code

    async def _start(self, port: socket.socket | None) -> None:
        problem = await _in_thread(self._app.start)
        self._ready.set_result(problem)
        if problem is not None:
            logger.error("%s", problem)
            self._exit_code = 1
            await asyncio.sleep(_REFUSING_SECONDS)
            self._leaving.set()
        elif port is not None:
            logger.info(
                "MCP over HTTP at %s; the token is in %s",
                url(port),
                self._settings.home / TOKEN_NAME,
            )
            self._http = http_server(self._app.server, port, token(self._settings.home))
            await self._http.serve(sockets=[port])

    async def _keep_house(self, idle_seconds: float | None) -> None:
        interval = min(_HOUSEKEEPING_SECONDS, (idle_seconds or _HOUSEKEEPING_SECONDS) / 4)
        while True:
            await asyncio.sleep(interval)
            _shorten_log(self._settings)
            idle = time.monotonic() - self._idle_since
            if idle_seconds is not None and not self._connections and idle > idle_seconds:
                self._leaving.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            await self._welcome(Lines(reader), writer)
        except (OSError, InvalidError, TimeoutError):
            pass  # the client went away, or never spoke our language
        except Exception:  # an error of one connection never ends the agent
            logger.exception("a connection failed")
        except asyncio.CancelledError:
            pass  # the loop ends; asyncio 3.11 would log a traceback for each client still connected
        finally:
            self._connections -= 1
            self._idle_since = time.monotonic()
            writer.close()

    async def _welcome(self, lines: Lines, writer: asyncio.StreamWriter) -> None:
        with anyio.fail_after(_HELLO_SECONDS):
            hello = _hello(await lines.next())
        refusal = await self._refusal() if hello.sunaiva != "leave" else None
        if refusal is not None:
            answer: dict[str, Any] = {
                "sunaiva": "refused",
                "code": refusal.code,
                "message": str(refusal),
            }
        else:
            answer = {
                "sunaiva": "agent",
                "version": self._version,
                "protocol": rendezvous.PROTOCOL,
                "pid": os.getpid(),
            }
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        if refusal is None and hello.sunaiva == "mcp":
            session = Session(_messages(lines), _sender(writer), self._drain_seconds)
            await self._during(session, session.run(self._app.server))
        elif refusal is None and hello.sunaiva == "calls":
            name = hello.client or "terminal"
            terminal = Terminal(lines, writer, self._app.calls, client=name, threads=self._threads)
            await self._during(terminal, terminal.serve())
        elif hello.sunaiva == "leave":
            self._leaving.set()
            await asyncio.Event().wait()  # closed by our end, so that whoever asked sees it

    async def _refusal(self) -> SunaivaError | None:
        problem = await asyncio.shield(self._ready)
        if problem is None and self._connections > CONNECTIONS_MAX:
            return UnavailableError(
                f"The memory agent has {CONNECTIONS_MAX} connections open. Close some windows."
            )
        if problem is None and self._leaving.is_set():
            raise ConnectionAbortedError("leaving")
        return problem

    async def _during(self, client: Session | Terminal, work: Awaitable[None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = client
        try:
            await work
        finally:
            del self._serving[task]

    async def _finish(self, starting: asyncio.Task[None]) -> None:
        """Every request begun is answered and every write done, or the bounds below have passed."""
        if self._http is not None:
            self._http.should_exit = True
        for client in self._serving.values():
            client.stop()
        await _settled({*self._serving, starting}, self._drain_seconds + 1)
        for client in self._serving.values():
            if isinstance(client, Terminal):
                client.hurry()
        closing = asyncio.create_task(_in_thread(self._app.close))
        closed = await _settled({closing}, _CLOSE_SECONDS)
        done = await _settled({*self._serving, starting}, _LAST_SECONDS)
        rendezvous.dismiss(self._settings.home)
        if not (closed and done):
            # A thread hangs, and Python would wait for it forever. The kernel frees the lock with the process.
            logger.error("a request did not end in time; leaving without it")
            os._exit(1)


async def _serve_stdio(app: AgentApp) -> int:
    async with stdio_server() as (read, write):
        session = Session(aiter(read), write.send)
        left = asyncio.Event()

        def leave() -> None:
            left.set()
            session.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, leave)
        await session.run(app.server)
        await write.aclose()
        if left.is_set():
            app.close()
            os._exit(0)  # the SDK's thread reads stdin and cannot be told to stop
    return 0


async def _messages(lines: Lines) -> AsyncIterator[SessionMessage | Exception]:
    try:
        while (line := await lines.next()) is not None:
            if line.strip():
                yield parse(line)
    except InvalidError as error:
        yield error
    except ConnectionError:
        return


def _sender(writer: asyncio.StreamWriter) -> Callable[[SessionMessage], Awaitable[None]]:
    async def send(item: SessionMessage) -> None:
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        writer.write(text.encode() + b"\n")
        await writer.drain()

    return send


def _hello(line: bytes | None) -> _Hello:
    try:
        return msgspec.json.decode(line or b"", type=_Hello)
    except msgspec.MsgspecError as error:
        raise InvalidError(f"no hello: {error}") from None


async def _settled(tasks: set[asyncio.Task[Any]], seconds: float) -> bool:
    return not tasks or not (await asyncio.wait(tasks, timeout=seconds))[1]


async def _in_thread(work: Callable[[], None]) -> SunaivaError | None:
    """In a thread of its own: one that hangs, unlike a pool's, does not keep the process alive."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[SunaivaError | None] = loop.create_future()

    def run() -> None:
        problem: SunaivaError | None = None
        try:
            work()
        except SunaivaError as error:
            problem = error
        except Exception:  # told to whoever waits for the agent
            logger.exception("%s failed", work.__qualname__)
            problem = UnavailableError(
                "The memory agent failed in a way that nobody foresaw. Its log says where."
            )
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, problem)

    def tell(problem: SunaivaError | None) -> None:
        if not outcome.done():
            outcome.set_result(problem)

    threading.Thread(target=run, daemon=True).start()
    return await outcome


def _take_lock(settings: Settings) -> int | None:
    try:
        return rendezvous.take_lock(settings.home)
    except OSError as error:
        raise rendezvous.folder_problem(settings.home, error) from error


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlacesOnly("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("mcp", "uvicorn", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("asyncio").addFilter(_Sparse())
    threading.excepthook = _log_failed_thread


def _log_failed_thread(failed: threading.ExceptHookArgs) -> None:
    """Python's own way would write the error's words to stderr, which is our log."""
    name = failed.thread.name if failed.thread is not None else "?"
    if failed.exc_value is not None:
        logger.error("the thread %s failed", name, exc_info=failed.exc_value)


class _Sparse(logging.Filter):
    """A few lines a minute: out of file descriptors, asyncio says so for each connection that waits, ten thousand times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._minute = 0.0
        self._said = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created - self._minute > 60:
            self._minute, self._said = record.created, 0
        self._said += 1
        return self._said <= _ASYNCIO_LINES_A_MINUTE


def _allow_many_connections() -> None:
    """As many file descriptors as the system lets us have: another account's connections to the HTTP port must not use up those
    that the person's own assistants need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, _FILES_WANTED)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _PlacesOnly(logging.Formatter):
    """Tracebacks without the error's own words: those may quote a memory."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        return _place(ei[1])


def _shorten_log(settings: Settings) -> None:
    """Starts our log over when it is too long. A terminal's or a service's own stderr is left alone."""
    with suppress(OSError):
        ours = (settings.home / "logs" / "agent.log").stat()
        if os.path.samestat(os.fstat(2), ours) and ours.st_size > LOG_BYTES_MAX:
            os.ftruncate(2, 0)


def _place(error: BaseException) -> str:
    """Where it happened, never what it said: the words of an unexpected error may quote a memory."""
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    here = [*traceback.format_tb(error.__traceback__), type(error).__name__]
    return "\n".join(["".join(here), *(_place(each) for each in inner)])
