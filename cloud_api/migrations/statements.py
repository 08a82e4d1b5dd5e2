"""How a migration runs its SQL: as it is written, several statements at once, without SQLAlchemy reading colons and per cents
into it.
"""

from alembic import op


def run(statements: str) -> None:
    connection = op.get_bind().connection.dbapi_connection
    assert connection is not None
    connection.cursor().execute(statements)
