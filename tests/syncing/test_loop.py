"""When rounds happen, on a clock that the tests move."""

import queue
from collections.abc import Iterator

import pytest

from mcp_server.syncing.loop import Loop, Round, retry_seconds
from shared.errors import ForbiddenError, SunaivaError, UnavailableError
from sync_service.transport import NoVaultError, VaultDeletedError

PATIENCE_SECONDS = 30.0


class Work:
    """Does what it is told, round by round."""

    def __init__(self) -> None:
        self.begun: queue.Queue[int] = queue.Queue()
        self.outcomes: queue.Queue[Round | SunaivaError | Exception] = queue.Queue()
        self.nudges: queue.Queue[bool | SunaivaError] = queue.Queue()
        self._rounds = 0

    def round(self) -> Round:
        self._rounds += 1
        self.begun.put(self._rounds)
        outcome = self.outcomes.get(timeout=PATIENCE_SECONDS)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def wait(self, *, seconds: float) -> bool:
        nudge = self.nudges.get(timeout=PATIENCE_SECONDS)
        if isinstance(nudge, SunaivaError):
            raise nudge
        return nudge

    def interrupt(self) -> None:
        self.nudges.put(False)
        self.outcomes.put(Round(off=True))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(work: Work, clock: Clock) -> Iterator[Loop]:
    made = Loop(work, seconds=clock, chance=lambda: 0.0)
    made.start()
    yield made
    made.close()


def begins(work: Work) -> int:
    return work.begun.get(timeout=PATIENCE_SECONDS)


def done(loop: Loop, number: int) -> None:
    assert loop.finished(number, seconds=PATIENCE_SECONDS)


def test_nothing_happens_after_a_round_that_found_nothing_to_do(loop: Loop, work: Work) -> None:
    begins(work)
    work.outcomes.put(Round(off=True))
    done(loop, 1)
    loop.wake()
    assert loop.state().doing == "off"
    assert work.begun.empty()


def test_before_its_first_round_is_over_it_is_starting_and_not_off(loop: Loop, work: Work) -> None:
    begins(work)
    assert loop.state().doing == "starting"
    work.outcomes.put(Round(off=True))
    done(loop, 1)
    loop.hurry()
    begins(work)
    assert loop.state().doing == "starting"
    work.outcomes.put(Round())
    done(loop, 2)


def test_a_change_here_goes_out_at_once(loop: Loop, work: Work) -> None:
    begins(work)
    work.outcomes.put(Round())
    done(loop, 1)
    assert loop.state().doing == "waiting"
    number = loop.hurry()
    assert begins(work) == 2
    work.outcomes.put(Round())
    done(loop, number)


def test_a_nudge_brings_a_round(loop: Loop, work: Work) -> None:
    begins(work)
    work.outcomes.put(Round())
    work.nudges.put(True)
    assert begins(work) == 2
    work.outcomes.put(Round())
    done(loop, 2)


def test_who_is_not_let_wait_any_more_looks_at_once(loop: Loop, work: Work) -> None:
    begins(work)
    work.outcomes.put(Round())
    work.nudges.put(NoVaultError("The vault is gone."))
    assert begins(work) == 2
    work.outcomes.put(Round())
    done(loop, 2)


def test_a_server_that_is_away_is_asked_more_and_more_seldom() -> None:
    waits = [retry_seconds(failures, 0.0) for failures in range(50)]
    assert waits[:4] == [1, 2, 4, 8]
    assert max(waits) == waits[-1] == 300


def test_devices_do_not_come_back_at_one_moment() -> None:
    assert retry_seconds(20, 0.0) == 2 * retry_seconds(20, 1.0)


def test_a_change_here_does_not_hurry_a_server_that_is_away(loop: Loop, work: Work) -> None:
    begins(work)
    work.outcomes.put(UnavailableError("away"))
    done(loop, 1)
    loop.wake()
    assert loop.state().doing == "offline"
    assert work.begun.empty()


@pytest.mark.parametrize(
    ("outcome", "doing"),
    [
        (ForbiddenError("removed"), "stopped"),
        (ZeroDivisionError(), "offline"),
    ],
    ids=["what needs the person", "a defect of ours"],
)
def test_an_error_is_shown_and_ends_nothing(
    loop: Loop, work: Work, outcome: Exception, doing: str
) -> None:
    begins(work)
    work.outcomes.put(outcome)
    done(loop, 1)
    state = loop.state()
    assert state.doing == doing
    assert state.problem is not None
    number = loop.hurry()
    begins(work)
    work.outcomes.put(Round())
    done(loop, number)
    assert loop.state().problem is None


def test_what_only_a_person_ends_is_looked_at_once_in_an_hour(
    loop: Loop, work: Work, clock: Clock
) -> None:
    begins(work)
    work.outcomes.put(VaultDeletedError("deleted"))
    done(loop, 1)
    clock.now += 3_590
    with pytest.raises(queue.Empty):
        work.begun.get(timeout=0.05)
    number = loop.hurry()
    assert begins(work) == number
    work.outcomes.put(Round())
    done(loop, number)


def test_what_is_left_is_done_at_once(loop: Loop, work: Work) -> None:
    begins(work)
    work.outcomes.put(Round(more=True))
    assert begins(work) == 2
    work.outcomes.put(Round())
    done(loop, 2)
