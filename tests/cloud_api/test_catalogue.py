"""Which table may be without row-level security, and why."""

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from cloud_api.catalogue import NOT_PERSONAL, faults


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url) as opened:
        opened.execute("SET ROLE sunaiva_owner")
        yield opened


def test_every_table_protects_people_or_says_why_not(connection: psycopg.Connection) -> None:
    assert faults(connection) == []


def test_no_table_is_excused_that_is_not_there(connection: psycopg.Connection) -> None:
    tables = {
        name
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
        )
    }
    assert set(NOT_PERSONAL) - tables == set()


def test_a_login_that_may_not_become_our_roles_is_told_how_it_may(database_url: str) -> None:
    login = f"stranger_{uuid4().hex[:8]}"
    parts = urlsplit(database_url)
    url = urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {login} LOGIN")
        try:
            with psycopg.connect(url) as stranger:
                found = faults(stranger)
        finally:
            owner.execute(f"DROP ROLE {login}")
    assert found == [
        f"The login {login} may not become {role}. As an administrator: GRANT {role} TO {login}."
        for role in ("sunaiva_app", "sunaiva_read")
    ]


def test_a_table_without_protection_is_refused(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE letters (account_id uuid)")
    assert faults(connection) == [
        "The table letters has no forced row-level security: SELECT protect('letters')."
    ]


def test_a_protected_table_is_in_order(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE letters (account_id uuid); SELECT protect('letters')")
    assert faults(connection) == []


def test_a_function_with_its_owners_rights_is_refused(connection: psycopg.Connection) -> None:
    connection.execute(
        "CREATE FUNCTION peek() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"
    )
    assert faults(connection) == [
        "The function peek() runs with another's rights: SELECT as_lookup('peek()').",
        "The function peek() needs SET search_path = public, pg_temp.",
    ]
