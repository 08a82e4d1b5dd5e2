"""Connections to the database: how a process keeps them, and how long it waits for each. They must never wait for ever for a server
that has fallen silent.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from msgspec import Struct
from psycopg.abc import RV, PQGen
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from cloud_api.questions import Connection

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


@asynccontextmanager
async def taking(connection: Connection, seconds: float) -> AsyncIterator[None]:
    """In a transaction: what the block asks may take so long, because nobody waits for it but who wanted it."""
    # Both: the server must not end it, and we must not take it for one that has fallen silent.
    assert isinstance(connection, PatientConnection)
    usual = connection.answer_seconds
    await connection.execute(f"SET LOCAL statement_timeout = {round(seconds * 1000)}".encode())
    connection.answer_seconds = seconds + SILENCE_SECONDS
    try:
        yield
    finally:
        connection.answer_seconds = usual


def pool_of(url: str, connections_max: int, patience: Patience) -> AsyncConnectionPool[Connection]:
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
