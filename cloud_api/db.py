"""The database: connections, and transactions in which a row of another account cannot be seen.

Whoever needs it takes a transaction; it is committed when the block ends and rolled back when it raises, and nobody calls
commit. What is only read is asked in one message, by `ask`, which is a transaction as well; what is decided on rows that are read
first takes two, by `deciding`. Every transaction takes on a role with few rights, and names the account that row-level security
lets it see. A transaction must never be held across a call to another machine. A database that is down, slow or full is an
`UnavailableError`, and heals by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, NewType, Self, TypeVar
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from cloud_api import questions
from cloud_api.connections import Patience, SilentServerError, pool_of
from cloud_api.questions import Asked, Asking, Role
from cloud_api.telemetry.tracing import Tracing
from shared.errors import UnavailableError

AccountId = NewType("AccountId", UUID)

Connection = questions.Connection

A = TypeVar("A")

_IN_TRANSACTION = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class DatabaseUnavailableError(UnavailableError):
    """Down, slow, full, or more asked of it than it can do. Nothing was written."""

    code = "database_unavailable"


class OutcomeUnknownError(UnavailableError):
    """The connection broke during COMMIT: what was asked may have been done, or not."""

    code = "outcome_unknown"


class Deciding(Struct, frozen=True):
    """A transaction between its two messages."""

    connection: Connection
    """For what has to be asked besides."""
    found: list[list[Any]]
    """The rows of each question."""
    writes: list[Asked[Any]]
    """Goes out with COMMIT once the block ends."""


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
        self._primary = pool_of(url, connections_max, patience)
        self._replica = pool_of(replica_url, connections_max, patience) if replica_url else None

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

    @asynccontextmanager
    async def deciding(
        self, account: AccountId | None, *asked: Asked[Any]
    ) -> AsyncIterator[Deciding]:
        """A transaction as above that begins with questions, and waits for the database twice in all.

        Raises:
            DatabaseUnavailableError: nothing was written. Do not retry at once.
            OutcomeUnknownError: the connection broke while committing.
        """

        async def begun(connection: Connection) -> list[list[Any]]:
            return await self._asking.begin(connection, "sunaiva_app", _named(account), asked)

        with self._tracing.span("transaction", "deciding"):
            connection, found = await _first_said(self._primary, begun, self._patience)
            try:
                between = Deciding(connection, found, [])
                try:
                    yield between
                except psycopg.OperationalError as error:
                    raise _unavailable(error) from error
                await self._ended(connection, between.writes)
            finally:
                await asyncio.shield(self._left(connection))

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

        async def answers(connection: Connection) -> list[list[Any]]:
            return await self._asking.answers(connection, role, _named(account), asked)

        with self._tracing.span("transaction", "asking"):
            try:
                return await _said(pool, answers, self._patience)
            except DatabaseUnavailableError:
                if pool is self._primary:
                    raise
                return await _said(self._primary, answers, self._patience)

    async def _ended(self, connection: Connection, writes: Sequence[Asked[Any]]) -> None:
        try:
            async with asyncio.timeout(self._patience.answer_seconds):
                await self._asking.end(connection, writes)
        except TimeoutError:
            await connection.close()
            raise _unknown() from None
        except psycopg.Error as error:
            await connection.close()
            if not isinstance(error, psycopg.OperationalError):
                raise
            raise (_unknown() if error.sqlstate is None else _unavailable(error)) from error

    async def _left(self, connection: Connection) -> None:
        """Given back without a transaction; closed if there is half an answer on it."""
        if connection.info.transaction_status in _IN_TRANSACTION:
            try:
                async with asyncio.timeout(self._patience.answer_seconds):
                    await self._asking.give_up(connection)
            except (psycopg.Error, TimeoutError):
                await connection.close()
        elif connection.info.transaction_status != TransactionStatus.IDLE:
            await connection.close()
        await self._primary.putconn(connection)

    @property
    def _pools(self) -> list[AsyncConnectionPool[Connection]]:
        return [pool for pool in (self._primary, self._replica) if pool is not None]


def _begin(role: Role, account: AccountId | None) -> bytes:
    """One message for all four: a round trip each would double what a small request costs. A UUID needs no quoting."""
    mode = " READ ONLY" if role == "sunaiva_read" else ""
    name = "" if account is None else str(UUID(str(account)))
    return f"BEGIN{mode}; SET LOCAL ROLE {role}; SET LOCAL sunaiva.account = '{name}'".encode()


def _named(account: AccountId | None) -> str:
    return "" if account is None else str(account)


async def _said(
    pool: AsyncConnectionPool[Connection],
    say: Callable[[Connection], Awaitable[A]],
    patience: Patience,
) -> A:
    connection, answer = await _first_said(pool, say, patience)
    await pool.putconn(connection)
    return answer


async def _first_said(
    pool: AsyncConnectionPool[Connection],
    say: Callable[[Connection], Awaitable[A]],
    patience: Patience,
) -> tuple[Connection, A]:
    """The first message of a transaction, and the connection that answered it."""
    # As in `_begun`, and here nothing can have happened at all.
    for attempt in range(pool.max_size + 1):
        connection = await _checked_out(pool)
        try:
            async with asyncio.timeout(patience.answer_seconds):
                return connection, await say(connection)
        except TimeoutError:
            await _discard(pool, connection)
            raise _unavailable(SilentServerError("The server does not answer.")) from None
        except psycopg.OperationalError as error:
            is_stale = connection.closed and attempt < pool.max_size
            await _discard(pool, connection)
            if not is_stale:
                raise _unavailable(error) from error
        except BaseException:
            await _discard(pool, connection)
            raise
    raise AssertionError("the last attempt returns or raises")


async def _discard(pool: AsyncConnectionPool[Connection], connection: Connection) -> None:
    await connection.close()
    await pool.putconn(connection)


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
        raise _unknown() from error


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


def _unknown() -> OutcomeUnknownError:
    return OutcomeUnknownError(
        "The connection to the database broke at the last moment. Look whether it was done before trying again."
    )
