"""What a log of a command holds, where nobody sees a bar move."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from mcp_server.cli import screen, words


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


def test_a_log_says_once_what_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    passing = iter(range(0, 1_000, 4))
    with screen.watching("Pairing", seconds=lambda: float(next(passing))) as events:
        for left in ("9:58", "9:54", "9:50"):
            events({"doing": f"Waiting for the other device ({left} left)"})
        for left in ("9:46", "9:42"):
            events({"doing": f"Waiting for the yes at the other device ({left} left)"})
    assert capsys.readouterr().err.splitlines() == [
        "Waiting for the other device (9:58 left)",
        "Waiting for the yes at the other device (9:46 left)",
    ]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_words_stand_in_a_box_that_fits_beside_their_numbers(
    columns: int,
) -> None:
    written = io.StringIO()
    words.show_words(" ".join(["umbrella"] * 12), Console(file=written, width=columns))
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= min(columns, 80)
    assert all(
        any(f"{number:2}.\u00a0umbrella" in line for line in lines) for number in range(1, 13)
    )
