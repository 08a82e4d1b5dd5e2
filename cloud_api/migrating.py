"""Brings a database to the schema of this code: roles first, then every migration it does not have, each in a transaction.

Old processes may still run beside: a migration of phase "before" must not disturb them, and one that waits too long for a
lock gives up rather than stand in everybody's way. Two that migrate at once do it one after the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Literal

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from cloud_api import migrations
from shared.errors import ForbiddenError, UnavailableError

Phase = Literal["before", "after"]

# A lock that is waited for stops everyone behind it; five seconds of that is an outage that nobody notices yet.
LOCK_SECONDS = 5
# Whatever rewrites a large table for longer has to be cut into pieces.
STATEMENT_SECONDS = 600

_ONE_AT_A_TIME = 0x53756E61  # any number, as long as it is always the same: "Suna"


def migrate(url: str, *, phase: Phase = "after", to: str | None = None) -> str:
    """The revision that the database has afterwards. `phase="before"` leaves out what old processes would not survive.

    Raises:
        ForbiddenError: the login may not make our roles.
        UnavailableError: no database there, or something held a lock for too long.
    """
    with _connected(url) as connection:
        target = to or _last_of(phase, current=_revision(connection))
        command.upgrade(_config(connection), target)
        return target


def undo(url: str, *, to: str) -> None:
    """Back to an earlier revision, `base` for none. For development and tests: production goes forward."""
    with _connected(url) as connection:
        command.downgrade(_config(connection), to)


def head() -> str:
    revision = _scripts().get_current_head()
    assert revision is not None
    return revision


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool
    )
    try:
        with psycopg.connect(url, autocommit=True) as keeper:
            keeper.execute("SELECT pg_advisory_lock(%s)", [_ONE_AT_A_TIME])
            _make_roles(keeper)
            with engine.connect() as connection:
                connection.exec_driver_sql(
                    f"SET lock_timeout = '{LOCK_SECONDS}s'; SET statement_timeout = '{STATEMENT_SECONDS}s'; "
                    "SET ROLE sunaiva_owner"
                )
                connection.commit()
                yield connection
    except psycopg.OperationalError as error:
        raise UnavailableError(
            f"The database cannot be migrated now ({type(error).__name__}). Nothing of the step that failed was kept."
        ) from error
    finally:
        engine.dispose()


def _make_roles(connection: psycopg.Connection) -> None:
    try:
        connection.execute(resources.files(migrations).joinpath("roles.sql").read_text("utf-8"))
    except psycopg.errors.InsufficientPrivilege as error:
        raise ForbiddenError(
            f"The database's login may not set up our roles ({error.diag.message_primary}). Give it CREATEROLE and the "
            "database, or name one that has them by DATABASE_MIGRATION_URL."
        ) from error


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": "schema_version"})
    revision = context.get_current_revision()
    connection.rollback()
    return revision


def _last_of(phase: Phase, *, current: str | None) -> str:
    last = current
    # Revisions are four digits, so their order is that of their names.
    pending = [
        script
        for script in _scripts().iterate_revisions("head", "base")
        if current is None or script.revision > current
    ]
    for script in reversed(pending):
        if phase == "before" and script.module.PHASE == "after":
            break
        last = script.revision
    return last or "base"


def _config(connection: Connection) -> Config:
    config = _plain_config()
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_plain_config())


def _plain_config() -> Config:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(migrations.__file__).parent).replace("%", "%%")
    )
    return config
