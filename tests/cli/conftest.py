"""People at terminals: one with a vault of the module's own, and one who can do anything to theirs."""

from collections.abc import Iterator

import pytest

from tests.computer import Device, computer
from tests.people import Person


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Has a vault with a running agent; shared by a module, so its tests use words of their own."""
    with computer(tmp_path_factory.mktemp("person")) as device:
        someone = Person(device)
        someone.gets("init")
        yield someone


@pytest.fixture
def newcomer(device: Device) -> Person:
    """Has nothing yet."""
    return Person(device)


@pytest.fixture
def owner(newcomer: Person) -> Person:
    """Has an empty vault of their own."""
    newcomer.gets("init")
    return newcomer
