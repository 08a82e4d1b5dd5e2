"""The database: connections, and transactions in which a row of another account cannot be seen.

Whoever needs it takes a transaction; it is committed when the block ends and rolled back when it raises, and nobody calls
commit. What is only read is asked in one message, by `ask`, which is a transaction as well. Every transaction takes on a role
with few rights, and names the account that row-level security lets it see. A transaction must never be held across a call to
another machine. A database that is down, slow or full is an `UnavailableError`, and heals by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, NewType, Self, TypeVar
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from cloud_api import questions
from cloud_api.questions import Asked, Asking, Role
from cloud_api.telemetry.tracing import Tracing
from shared.errors import UnavailableError

AccountId = NewType("AccountId", UUID)

Connection = questions.Connection

A = TypeVar("A")

# Someone waits for the answer: past this a request had better fail and be repeated than hold a connection.
STATEMENT_SECONDS = 5.0
LOCK_SECONDS = 2.0
IDLE_IN_TRANSACTION_SECONDS = 10.0
# A server that lives ends a statement by itself; so much later it is frozen, or its machine has gone without a word.
SILENCE_SECONDS = 2.0
# A free connection comes within milliseconds; two seconds of none is a database in trouble.
CHECKOUT_SECONDS = 2.0
CONNECT_SECONDS = 5
# For a machine that went away while nobody asked it anything, and for what was sent to it and never acknowledged.
KEPT_ALIVE: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# The pool waits twice as long after each attempt that failed; giving up early, it begins anew with the next request, and a
# database that has come back is found within seconds of it.
RECONNECT_SECONDS = 2.0
_LOOK_SECONDS = 0.1  # how often psycopg looks for an interruption
# So many may stand in line for each connection; the next is told at once to come back.
WAITING_PER_CONNECTION = 20


class DatabaseUnavailableError(UnavailableError):
    """Down, slow, full, or more asked of it than it can do. Nothing was written."""

    code = "database_unavailable"


class OutcomeUnknownError(UnavailableError):
    """The connection broke during COMMIT: what was asked may have been done, or not."""

    code = "outcome_unknown"


class SilentServerError(psycopg.OperationalError):
    """No answer came, not even that the statement took too long. The connection is closed."""


class PatientConnection(psycopg.AsyncConnection[TupleRow]):
    """One that does not wait for ever for a server that has fallen silent."""

    answer_seconds: float | None = None
    """None for what listens: nothing being said is usual there."""

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = _LOOK_SECONDS,
        timeout: float | None = None,  # noqa: ASYNC109 (as in the method that this stands in for)
    ) -> RV:
        if timeout is not None or self.answer_seconds is None:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, self.answer_seconds)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001 (psycopg's own way to say it)
            self.pgconn.finish()
            raise SilentServerError("The server does not answer.") from error


class Patience(Struct, frozen=True, kw_only=True):
    """How long one connection may take over things."""

    statement_seconds: float = STATEMENT_SECONDS
    silence_seconds: float = SILENCE_SECONDS
    lock_seconds: float = LOCK_SECONDS
    checkout_seconds: float = CHECKOUT_SECONDS

    @property
    def answer_seconds(self) -> float:
        """When a server that says nothing has fallen silent: it would have ended a statement that takes so long."""
        return self.statement_seconds + self.silence_seconds


class Database:
    """Pools of one process: for what is written, and for what is only read."""

    def __init__(
        self,
        url: str,
        *,
        replica_url: str | None = None,
        connections_max: int = 10,
        patience: Patience = Patience(),  # noqa: B008 (frozen)
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing or Tracing()
        self._patience = patience
        self._asking = Asking()
        self._primary = _pool(url, connections_max, patience)
        self._replica = _pool(replica_url, connections_max, patience) if replica_url else None

    async def __aenter__(self) -> Self:
        # Not waited for: a process that starts while the database is away answers 503 until it is there.
        for pool in self._pools:
            await pool.open(wait=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pool in self._pools:
            await pool.close()

    @property
    def pool(self) -> AsyncConnectionPool[Connection]:
        """For procrastinate, which has its own idea of transactions; everybody else uses `transaction`."""
        return self._primary

    @asynccontextmanager
    async def transaction(self, account: AccountId | None = None) -> AsyncIterator[Connection]:
        """A connection in one transaction that may write, and sees rows of `account` only.

        Raises:
            DatabaseUnavailableError: nothing was written.
            OutcomeUnknownError: the connection broke while committing.
        """
        begin = _begin("sunaiva_app", account)
        with self._tracing.span("transaction", "transaction"):
            async with _transaction(self._primary, begin) as connection:
                yield connection

    @asynccontextmanager
    async def reading(self, account: AccountId | None = None) -> AsyncIterator[Connection]:
        """A connection that cannot write, of the replica where there is one: it may lag behind, so who has to see what was
        written a moment ago takes `transaction`.

        Raises:
            DatabaseUnavailableError: it cannot be read now.
        """
        pool = self._replica or self._primary
        begin = _begin("sunaiva_read", account)
        with self._tracing.span("transaction", "reading"):
            async with _transaction(pool, begin, otherwise=self._primary) as connection:
                yield connection

    async def ask(
        self, account: AccountId | None, asked: Asked[A], *, may_lag: bool = False
    ) -> list[A]:
        """The rows of one question, which sees rows of `account` only; in one message, so that it costs a third of a transaction.
        One that `may_lag` is asked where `reading` reads.

        Raises:
            DatabaseUnavailableError: it cannot be read now.
        """
        return (await self.ask_all(account, asked, may_lag=may_lag))[0]

    async def ask_all(
        self, account: AccountId | None, *asked: Asked[Any], may_lag: bool = False
    ) -> list[list[Any]]:
        """The same for several questions, which one message and one transaction answers: the rows of each."""
        pool = (self._replica if may_lag else None) or self._primary
        role: Role = "sunaiva_read" if may_lag else "sunaiva_app"
        whose = "" if account is None else str(account)
        answer_seconds = self._patience.answer_seconds
        with self._tracing.span("transaction", "asking"):
            try:
                return await _answered(pool, self._asking, role, whose, asked, answer_seconds)
            except DatabaseUnavailableError:
                if pool is self._primary:
                    raise
                return await _answered(
                    self._primary, self._asking, role, whose, asked, answer_seconds
                )

    @property
    def _pools(self) -> list[AsyncConnectionPool[Connection]]:
        return [pool for pool in (self._primary, self._replica) if pool is not None]


def _pool(url: str, connections_max: int, patience: Patience) -> AsyncConnectionPool[Connection]:
    async def configure(connection: Connection) -> None:
        assert isinstance(connection, PatientConnection)
        # BEGIN is sent by us, in one message with the role and the account. Set here and not on connecting, because
        # procrastinate's listener connects with the pool's arguments and this one of its own.
        await connection.set_autocommit(True)
        connection.answer_seconds = patience.answer_seconds
        await connection.execute(_limits(patience))

    return AsyncConnectionPool(
        url,
        connection_class=PatientConnection,
        kwargs={"connect_timeout": CONNECT_SECONDS, "application_name": "sunaiva", **KEPT_ALIVE},
        min_size=1,
        max_size=connections_max,
        max_waiting=connections_max * WAITING_PER_CONNECTION,
        timeout=patience.checkout_seconds,
        reconnect_timeout=RECONNECT_SECONDS,
        configure=configure,
        open=False,
    )


def _limits(patience: Patience) -> bytes:
    limits = {
        "statement_timeout": patience.statement_seconds,
        "lock_timeout": patience.lock_seconds,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS,
    }
    settings = [f"SET {name} = {round(seconds * 1000)}" for name, seconds in limits.items()]
    # Whoever forgets to take a role can do nothing at all.
    return "; ".join([*settings, "SET ROLE sunaiva_app", "SET timezone = 'UTC'"]).encode()


def _begin(role: Role, account: AccountId | None) -> bytes:
    """One message for all four: a round trip each would double what a small request costs. A UUID needs no quoting."""
    mode = " READ ONLY" if role == "sunaiva_read" else ""
    name = "" if account is None else str(UUID(str(account)))
    return f"BEGIN{mode}; SET LOCAL ROLE {role}; SET LOCAL sunaiva.account = '{name}'".encode()


async def _answered(
    pool: AsyncConnectionPool[Connection],
    asking: Asking,
    role: Role,
    account: str,
    asked: Sequence[Asked[Any]],
    answer_seconds: float,
) -> list[list[Any]]:
    # As in `_begun`, and here nothing can have happened at all.
    for attempt in range(pool.max_size + 1):
        connection = await _checked_out(pool)
        try:
            async with asyncio.timeout(answer_seconds):
                return await asking.answers(connection, role, account, asked)
        except TimeoutError:
            await connection.close()
            raise _unavailable(SilentServerError("The server does not answer.")) from None
        except psycopg.OperationalError as error:
            is_stale = connection.closed and attempt < pool.max_size
            await connection.close()
            if not is_stale:
                raise _unavailable(error) from error
        except BaseException:
            await connection.close()
            raise
        finally:
            await pool.putconn(connection)
    raise AssertionError("the last attempt returns or raises")


@asynccontextmanager
async def _transaction(
    pool: AsyncConnectionPool[Connection],
    begin: bytes,
    otherwise: AsyncConnectionPool[Connection] | None = None,
) -> AsyncIterator[Connection]:
    try:
        connection = await _begun(pool, begin)
    except DatabaseUnavailableError:
        if otherwise is None or otherwise is pool:
            raise
        pool = otherwise
        connection = await _begun(pool, begin)
    try:
        try:
            yield connection
        except psycopg.OperationalError as error:
            raise _unavailable(error) from error
        await _commit(connection)
    finally:
        await _give_back(pool, connection)


async def _begun(pool: AsyncConnectionPool[Connection], begin: bytes) -> Connection:
    # After a restart of the database every pooled connection is dead, and BEGIN is what finds out: nothing has
    # happened yet, so the next one is tried, until a fresh one must have come.
    for attempt in range(pool.max_size + 1):
        connection = await _checked_out(pool)
        try:
            await connection.execute(begin)
        except psycopg.OperationalError as error:
            is_silent = isinstance(error, SilentServerError)  # and so will be all the others
            is_stale = connection.closed and not is_silent and attempt < pool.max_size
            await _give_back(pool, connection)
            if not is_stale:
                raise _unavailable(error) from error
        except BaseException:
            await _give_back(pool, connection)
            raise
        else:
            return connection
    raise AssertionError("the last attempt returns or raises")


async def _checked_out(pool: AsyncConnectionPool[Connection]) -> Connection:
    try:
        return await pool.getconn()
    except psycopg.OperationalError as error:
        raise _unavailable(error) from error


async def _commit(connection: Connection) -> None:
    try:
        await connection.execute("COMMIT")
    except psycopg.OperationalError as error:
        if isinstance(error, psycopg.errors.TransactionRollback):
            raise _unavailable(error) from error
        raise OutcomeUnknownError(
            "The connection to the database broke at the last moment. Look whether it was done before trying again."
        ) from error


async def _give_back(pool: AsyncConnectionPool[Connection], connection: Connection) -> None:
    """Without a transaction. Shielded, so that a request given up by its caller does not leave one behind."""
    await asyncio.shield(_rolled_back(pool, connection))


async def _rolled_back(pool: AsyncConnectionPool[Connection], connection: Connection) -> None:
    if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
        try:
            await connection.execute("ROLLBACK")
        except psycopg.Error:
            await connection.close()
    await pool.putconn(connection)


def _unavailable(error: psycopg.Error) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"The database cannot do this now ({type(error).__name__}). Try again in a few seconds."
    )
