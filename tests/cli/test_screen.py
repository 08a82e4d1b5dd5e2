"""What a log of a command holds, where nobody sees a bar move."""

from collections.abc import Sequence

import pytest

from mcp_server.cli import screen


@pytest.mark.parametrize(
    ("moments", "told"),
    [
        ((0, 0.5, 1, 1.5), []),
        ((0, 1, 4, 5), ["Forgetting 200 of 300"]),
        ((0, 4, 5, 8), ["Forgetting 100 of 300", "Forgetting 300 of 300"]),
    ],
    ids=["soon done", "once", "every few seconds"],
)
def test_a_log_gets_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], moments: Sequence[float], told: list[str]
) -> None:
    passing = iter(moments)
    with screen.watching("Forgetting", seconds=lambda: next(passing)) as events:
        for done in (100, 200, 300):
            events({"doing": "Forgetting", "done": done, "total": 300})
    assert capsys.readouterr().err.splitlines() == told
