"""What every test may ask for: a device of its own. Nothing here reaches the vault or the settings of who runs it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.computer import Device, computer

settings.register_profile("ci", max_examples=50, derandomize=True, deadline=None)
settings.register_profile("nightly", max_examples=2_000, deadline=None)
settings.load_profile("ci")  # `pytest --hypothesis-profile nightly` takes the other one


def pytest_configure() -> None:
    # A shell ignores Ctrl-C in what it runs in the background, and so would every program that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with computer(tmp_path) as made:
        yield made
