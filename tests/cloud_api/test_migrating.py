"""From nothing to the present schema, back, and there again."""

import threading

import psycopg
import pytest

from cloud_api.catalogue import faults
from cloud_api.migrating import head, migrate, undo
from shared.errors import UnavailableError

_SHAPE = """
SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || coalesce(' ' || column_default, '')
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT tablename || policyname || coalesce(qual, '') || coalesce(with_check, '') FROM pg_policies
UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT relname || ' ' || coalesce(relacl::text, '') FROM pg_class WHERE relnamespace = 'public'::regnamespace
ORDER BY 1
"""


def _shape(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [line for (line,) in connection.execute(_SHAPE)]


def test_an_empty_database_gets_the_present_schema(empty_database_url: str) -> None:
    assert migrate(empty_database_url) == head()
    with psycopg.connect(empty_database_url) as connection:
        assert faults(connection) == []


def test_every_migration_can_be_undone_and_done_again(empty_database_url: str) -> None:
    migrate(empty_database_url)
    before = _shape(empty_database_url)
    undo(empty_database_url, to="base")
    assert [line for line in _shape(empty_database_url) if "schema_version" not in line] == []
    migrate(empty_database_url)
    assert _shape(empty_database_url) == before


def test_migrating_a_database_that_is_at_head_changes_nothing(database_url: str) -> None:
    before = _shape(database_url)
    assert migrate(database_url) == head()
    assert _shape(database_url) == before


def test_two_that_migrate_at_once_do_it_one_after_the_other(empty_database_url: str) -> None:
    reached: list[str] = []
    threads = [
        threading.Thread(target=lambda: reached.append(migrate(empty_database_url)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert reached == [head()] * 3


def test_no_database_is_said_in_a_sentence() -> None:
    with pytest.raises(UnavailableError, match="cannot be migrated now"):
        migrate("postgresql://nobody@127.0.0.1:9/none?connect_timeout=1")
