"""What the figures of `bench load` mean: the search for a rate, and a latency that counts from the intended moment."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load import generator
from bench.load.mix import MIX, Kind
from bench.load.search import (
    GROWTH,
    NARROW,
    RATE_FIRST,
    RATE_LEAST,
    Tried,
    best_rate,
    held,
    next_rate,
    slope,
)

RUN = {
    "rate": 100.0,
    "intended": 1000,
    "answered_per_s": 99.0,
    "gave_up": False,
    "errors": {},
    "ms": {"p95": 150.0},
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"ms": {"p95": 200.0}}, False),
        ({"ms": {"p95": None}}, False),
        ({"gave_up": True}, False),
        ({"errors": {"503": 1}}, True),
        ({"errors": {"503": 1, "lost": 1}}, False),
        ({"answered_per_s": 94.0}, False),
    ],
)
def test_a_rate_holds_while_latency_errors_and_answers_do(change, expected) -> None:
    assert held(RUN | change) is expected


@given(st.floats(min_value=RATE_LEAST * 4, max_value=30_000))
def test_the_search_ends_close_below_what_a_server_can_do(limit) -> None:
    tried: list[Tried] = []
    while (rate := next_rate(tried)) is not None:
        tried.append(Tried(rate, rate <= limit))
        assert len(tried) < 30

    best = best_rate(tried)
    assert best is not None
    assert best <= limit < best * max(NARROW, 1.01) or limit < RATE_LEAST


def test_the_search_goes_up_first_and_down_if_that_was_too_much() -> None:
    assert next_rate([]) == RATE_FIRST
    assert next_rate([Tried(250, held=True)]) == 250 * GROWTH
    assert next_rate([Tried(250, held=False)]) == 62.5
    assert next_rate([Tried(12, held=False)]) is None


def test_a_rate_that_held_above_one_that_failed_is_not_believed() -> None:
    assert best_rate([Tried(100, held=True), Tried(200, held=False), Tried(300, held=True)]) == 100
    assert best_rate([Tried(100, held=False)]) is None


def test_the_slope_is_what_one_more_costs() -> None:
    assert slope([(1, 10), (4, 16), (10, 28)]) == pytest.approx(2)


def test_percentiles_are_nearest_ranks() -> None:
    seconds = [number / 1000 for number in range(1, 101)]

    assert generator.milliseconds(seconds) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert generator.milliseconds([]) == {"p50": None, "p95": None, "p99": None, "max": None}


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def asked_of(answer: Answering, *orders: dict[str, Any]) -> list[dict[str, Any]]:
    """What the generator's process says to these orders, with this server to ask."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    plan = {
        "seed": 7,
        "host": "127.0.0.1",
        "port": server.sockets[0].getsockname()[1],
        "sources": ["127.0.0.2", "127.0.0.3"],
        "tokens": ["one", "two"],
        "mix": [{"name": "/", "weight": 1, "text": "GET / {token}\r\n\r\n", "expected": 200}],
    }
    async with server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(generator.__file__)),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        lines = "".join(json.dumps(order) + "\n" for order in (plan, *orders))
        said, _ = await asyncio.wait_for(process.communicate(lines.encode()), 30)
    return [json.loads(line) for line in said.splitlines()]


CONNECT = {"do": "connect", "count": 4}
ORDER = {"do": "run", "rate": 200, "warm_up": 0, "seconds": 1}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_stall_of_the_server_is_counted_for_everybody_who_would_have_asked() -> None:
    stalled = False

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal stalled
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if not stalled:
                    stalled = True
                    # The whole server stands still, as in a long collection of garbage.
                    _stand_still(0.5)
                writer.write(ANSWER)
        except asyncio.IncompleteReadError:
            writer.close()

    connected, run = asyncio.run(asked_of(answer, CONNECT, ORDER))

    assert connected["connected"] == 4
    assert run["errors"] == {}
    # A closed loop of four connections would have seen four slow answers of two hundred: p95 would look fine.
    assert run["ms"]["p95"] > 300
    assert run["answered_per_s"] == pytest.approx(200, rel=0.2)


def test_refusals_and_closed_connections_are_errors() -> None:
    count = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                count += 1
                if count % 10 == 0:
                    break
                half = ANSWER if count % 10 != 5 else ANSWER.replace(b"200", b"503")
                writer.write(half[:20])
                writer.write(half[20:])
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    _connected, run = asyncio.run(asked_of(answer, CONNECT, ORDER))

    assert run["errors"]["503"] == pytest.approx(run["intended"] / 10, abs=4)
    assert run["errors"]["lost"] == pytest.approx(run["intended"] / 10, abs=4)
    assert run["reconnected"] >= run["errors"]["lost"]


def _stand_still(seconds: float) -> None:
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        pass


def test_a_request_that_writes_carries_its_body_and_says_its_length() -> None:
    kind = Kind(path="/note", weight=1.0, method="PATCH", body={"a": "b"})
    head, _, body = kind.text.partition("\r\n\r\n")
    assert kind.name == "PATCH /note"
    assert body == '{"a":"b"}'
    assert {"PATCH /note HTTP/1.1", "if-match: *", f"content-length: {len(body)}"} <= set(
        head.split("\r\n")
    )


def test_the_mix_is_whole_and_names_each_kind_once() -> None:
    assert sum(kind.weight for kind in MIX) == pytest.approx(1.0)
    assert len({kind.name for kind in MIX}) == len(MIX)
