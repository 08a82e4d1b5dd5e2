"""Questions to the database that go out in one message: begin, role, account, what is asked, and commit, with one wait for all.
What is written takes two: what it is decided on, and what was decided with COMMIT.

Most requests only read. Through a cursor each of these steps is a round trip, and turning to something else and back while it is on
its way costs this process more than the answer costs the database. A question is prepared on each connection when it is first asked
there; its parameters are bound, never written into it. This module must never leave a connection with half an answer on it:
when anything fails, whoever asked has to close it.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, Generic, Literal, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from msgspec import Struct
from psycopg import abc, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import TupleRow

Connection = psycopg.AsyncConnection[TupleRow]
Role = Literal["sunaiva_app", "sunaiva_read"]

R = TypeVar("R")


class Question(Struct, Generic[R], frozen=True):
    """One statement, mostly a SELECT. Its parameters are `$1::uuid`, `$2::timestamptz` and so on: each says its type where it first stands."""

    name: str
    """No other question's: it is prepared under this."""
    sql: str
    row: Callable[..., R]
    """Makes something of a row's columns, in their order."""

    def of(self, *parameters: object) -> "Asked[R]":
        return Asked(self, parameters)


class Asked(Struct, Generic[R], frozen=True):
    """A question with its parameters."""

    question: Question[R]
    parameters: tuple[object, ...]

    async def within(self, connection: Connection) -> list[R]:
        """Asked in a transaction that is under way."""
        async with psycopg.AsyncRawCursor(connection) as cursor:
            await cursor.execute(self.question.sql.encode(), self.parameters)
            return [self.question.row(*row) for row in await cursor.fetchall()]


# The same for all: whatever is prepared on a connection, this was the first, and what was deallocated is noticed by it.
_BEGIN: Asked[None] = Question("begin", "BEGIN", lambda: None).of()
# As SET LOCAL does, which takes no parameters.
_ACT: Question[None] = Question(
    "act",
    "SELECT set_config('role', $1::text, true), set_config('sunaiva.account', $2::text, true), "
    "set_config('transaction_read_only', $3::text, true)",
    lambda *_: None,
)
_COMMIT: Asked[None] = Question("commit", "COMMIT", lambda: None).of()
# Through a cursor it would have psycopg deallocate all that is prepared.
_ROLLBACK: Asked[None] = Question("rollback", "ROLLBACK", lambda: None).of()


class Asking:
    """Knows what is prepared on which connection."""

    def __init__(self) -> None:
        self._prepared: WeakKeyDictionary[Connection, dict[str, str]] = WeakKeyDictionary()

    async def answers(
        self, connection: Connection, role: Role, account: str, asked: Sequence[Asked[Any]]
    ) -> list[list[Any]]:
        """The rows of each, read in one transaction by `role`, which sees what is of `account`. After an error the connection is of no use.

        Raises:
            psycopg.Error
        """
        return await self._begun(connection, _ACT.of(role, account, "on"), asked, [_COMMIT])

    async def begin(
        self, connection: Connection, role: Role, account: str, asked: Sequence[Asked[Any]]
    ) -> list[list[Any]]:
        """The same in a transaction that may write and goes on: `end` or `give_up` ends it.

        Raises:
            psycopg.Error
        """
        return await self._begun(connection, _ACT.of(role, account, "off"), asked, [])

    async def end(self, connection: Connection, asked: Sequence[Asked[Any]]) -> None:
        """What is still to be done in a transaction, and COMMIT.

        Raises:
            psycopg.Error: with a `sqlstate` nothing was done; without one it may have been.
        """
        await self._said(connection, [*asked, _COMMIT])

    async def give_up(self, connection: Connection) -> None:
        """
        Raises:
            psycopg.Error
        """
        await self._said(connection, [_ROLLBACK])

    async def _begun(
        self,
        connection: Connection,
        act: Asked[None],
        asked: Sequence[Asked[Any]],
        after: Sequence[Asked[Any]],
    ) -> list[list[Any]]:
        message = [_BEGIN, act, *asked, *after]
        try:
            results = await self._said(connection, message)
        except psycopg.errors.InvalidSqlStatementName:
            # After a ROLLBACK psycopg deallocates all that is prepared, its own and ours. So BEGIN failed, and nothing has happened.
            del self._prepared[connection]
            results = await self._said(connection, message)
        shaping = Transformer(connection)
        answers = zip(asked, results[2:], strict=False)
        return [_rows(shaping, each, result) for each, result in answers]

    async def _said(self, connection: Connection, message: Sequence[Asked[Any]]) -> list[PGresult]:
        """In one message; what was answered to each."""
        pgconn, shaping = connection.pgconn, Transformer(connection)
        prepared = self._prepared.setdefault(connection, {})
        pgconn.enter_pipeline_mode()
        is_answer: list[bool] = []
        for each in message:
            name, sql = each.question.name, each.question.sql
            if name not in prepared:
                prepared[name] = sql
                pgconn.send_prepare(name.encode(), sql.encode())
                is_answer.append(False)
            assert prepared[name] == sql, f"two questions are called {name}"
            _send(pgconn, shaping, each)
            is_answer.append(True)
        pgconn.pipeline_sync()
        results = await _results(pgconn)
        pgconn.exit_pipeline_mode()
        for result in results:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)
        return list(compress(results, is_answer))


def _send(pgconn: PGconn, shaping: abc.Transformer, asked: Asked[Any]) -> None:
    if not asked.parameters:
        pgconn.send_query_prepared(asked.question.name.encode(), None)
        return
    # Text: PostgreSQL then reads it as the type that the question says, not as one that its value suggests. Bytes are what they are.
    formats = [
        PyFormat.BINARY if isinstance(each, bytes) else PyFormat.TEXT for each in asked.parameters
    ]
    parameters = shaping.dump_sequence(asked.parameters, formats)
    pgconn.send_query_prepared(asked.question.name.encode(), parameters, shaping.formats)


async def _results(pgconn: PGconn) -> list[PGresult]:
    loop = asyncio.get_running_loop()
    while pgconn.flush():
        await _signal(loop.add_writer, loop.remove_writer, pgconn.socket)
    found: list[PGresult] = []
    while True:
        while pgconn.is_busy():
            await _signal(loop.add_reader, loop.remove_reader, pgconn.socket)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:  # stands between two of them, or for ever once the connection is lost
            if pgconn.status != pq.ConnStatus.OK:
                raise psycopg.OperationalError("The connection was lost.")
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            return found
        else:
            found.append(result)


async def _signal(add: Callable[..., None], remove: Callable[[int], object], socket: int) -> None:
    """Once the socket can be read, or written."""
    came = asyncio.get_running_loop().create_future()
    add(socket, _come, came)
    try:
        await came
    finally:
        remove(socket)


def _come(came: "asyncio.Future[None]") -> None:
    # The loop may call twice before whoever waits has its turn.
    if not came.done():
        came.set_result(None)


def _rows(shaping: abc.Transformer, asked: Asked[R], result: PGresult) -> list[R]:
    shaping.set_pgresult(result)
    return shaping.load_rows(0, result.ntuples, lambda row: asked.question.row(*row))
