"""Nothing of a person is missed by export and deletion."""

from collections.abc import Iterator

import psycopg
import pytest

from cloud_api.http.languages import LANGUAGES
from cloud_api.notifications.wording import read_wording
from cloud_api.rights.registry import PERSONAL, faults


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url) as connection:
        connection.execute("SET ROLE sunaiva_owner")
        yield connection


def test_every_table_and_column_of_a_person_is_declared(
    owner: psycopg.Connection,
) -> None:
    assert faults(owner) == []


def test_a_table_that_nobody_declared_is_refused(owner: psycopg.Connection) -> None:
    owner.execute("CREATE TABLE letters (account_id uuid)")
    assert faults(owner) == [
        "The table letters has an account_id, and no part of the cloud declares it: add it to that part's personal.py."
    ]


def test_a_column_that_nobody_declared_is_refused(
    owner: psycopg.Connection,
) -> None:
    owner.execute("ALTER TABLE consents ADD COLUMN reason text")
    assert faults(owner) == ["consents.reason is neither shown nor withheld: say which."]


def test_no_column_is_declared_that_is_not_there(
    owner: psycopg.Connection,
) -> None:
    owner.execute("ALTER TABLE consents DROP COLUMN version")
    assert faults(owner) == ["consents.version is declared, and not there."]


def test_no_table_is_declared_twice() -> None:
    names = [each.name for each in PERSONAL]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_kept_can_be_said_in_every_language(language: str) -> None:
    codes = {each.why for each in PERSONAL if each.why}
    assert codes <= read_wording().languages[language].kept.keys()


def test_what_is_kept_says_why_and_nothing_else_does() -> None:
    assert all((each.deletion == "kept") == (each.why is not None) for each in PERSONAL)
