"""Words read by another process make the same segment as words read here, and its end is told."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mcp_server.index.inverting import Inverter, Told, inverted
from shared.clock import to_ms
from shared.errors import UnavailableError

WHEN_MS = to_ms(datetime(2026, 2, 1, tzinfo=UTC))
TOLD: list[Told] = [
    (number, f"Tea {number} for Ann's e-mail, 東京タワー", speaker, WHEN_MS + number)
    for number, speaker in enumerate(["Ann", None, "Анна"] * 20)
]


@pytest.fixture(scope="module")
def inverter() -> Iterator[Inverter]:
    inverter = Inverter()
    yield inverter
    inverter.close()


@pytest.mark.parametrize("told", [TOLD, TOLD[:1], []], ids=["many", "one", "none"])
def test_another_process_makes_the_same_bytes(inverter: Inverter, told: list[Told]) -> None:
    assert inverter.inverted(told) == inverted(told)


def test_when_the_process_ends_it_is_said() -> None:
    inverter = Inverter()
    unreadable: list[Told] = [(0, "tea", None, 1 << 62)]  # no date is so late: it ends
    with pytest.raises(UnavailableError):
        inverter.inverted(unreadable)
    inverter.close()
