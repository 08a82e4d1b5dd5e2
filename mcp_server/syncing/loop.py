"""When to sync: at once after a change here or a nudge from there, seldom otherwise, and ever more seldom while nobody answers.

Owns two threads: one does the rounds, one waits for nudges. Neither is ever waited for by somebody who asks or remembers. What a round
does is not known here.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from shared.errors import SunaivaError, UnavailableError

logger = logging.getLogger(__name__)

# A change after a quiet time goes out as soon as what belongs to it is stored, too. Whether more is gathered for a batch is for the
# round to say.
GATHER_SECONDS = 0.15
# Nobody answers: twice as long each time, less a random part, so that a thousand devices do not come back at one moment.
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 300.0
# What only a person ends is looked at again all the same, at least so often.
STOPPED_SECONDS_MAX = 3_600.0
# A nudge may get lost: looked for all the same now and then, sooner where none can come.
LOOK_SECONDS = 900.0
LOOK_UNNUDGED_SECONDS = 30.0
NUDGE_SECONDS = 55.0
# A round ends between two of its steps; one that hangs in the network is left behind.
_LEAVE_SECONDS = 3.0
_DOUBLINGS_MAX = 10
_UNFORESEEN = (
    "Sync failed in a way that nobody foresaw. The agent's log says where; it is tried again."
)

Doing = Literal["off", "starting", "syncing", "waiting", "offline", "stopped"]
"""off: nowhere to sync, or paused. starting: the first round is not over. stopped: it cannot go on without the person."""


class Round(Struct, frozen=True):
    """What came of one round."""

    more: bool = False
    """There is more to do at once."""
    due_in_seconds: float | None = None
    """When something that waits has to be sent."""
    off: bool = False
    """Nothing is to be done until the person says so: no place to sync with, or paused."""
    unavailable: str | None = None
    """Why nothing went through."""
    after_seconds: float = 0.0
    """The other side asked for so much rest."""


class Work(Protocol):
    def round(self) -> Round:
        """
        Raises:
            UnavailableError: nobody answers now.
            SunaivaError: it cannot go on without the person.
        """
        ...

    def wait(self, *, seconds: float) -> bool:
        """Whether there is something new, as soon as there is or when the time is over.

        Raises:
            SunaivaError
        """
        ...

    def interrupt(self) -> None:
        """End what waits in the network."""


class State(Struct, frozen=True):
    doing: Doing
    problem: SunaivaError | None
    next_in_seconds: float | None
    """Until the next try, while nobody answers."""


def retry_seconds(failures: int, chance: float) -> float:
    """How long to leave a server alone that did not answer, after so many times before."""
    doubled = RETRY_SECONDS_MIN * 2 ** min(failures, _DOUBLINGS_MAX)
    return float(min(doubled, RETRY_SECONDS_MAX) * (1 - 0.5 * chance))


class Loop:
    def __init__(
        self,
        work: Work,
        *,
        seconds: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._work = work
        self._seconds = seconds
        self._chance = chance
        self._change = threading.Condition()
        self._stop = False
        self._due = 0.0
        self._begun = 0
        self._done = 0
        self._failures = 0
        self._problem: SunaivaError | None = None
        self._doing: Doing = "starting"
        self._hurries = 0
        self._off = False
        self._nudged = False
        self._threads = [
            threading.Thread(target=self._rounds, name="sync", daemon=True),
            threading.Thread(target=self._nudges, name="sync-nudges", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        with self._change:
            self._stop = True
            self._change.notify_all()
        self._work.interrupt()
        for thread in self._threads:
            thread.join(_LEAVE_SECONDS)

    def wake(self) -> None:
        """Something changed here. Whoever calls this goes on at once."""
        if threading.current_thread() is self._threads[0]:
            return  # what a round changed came from elsewhere
        with self._change:
            if self._off or self._failures:
                return  # it goes out with the rest, once there is a way
            due = self._seconds() + GATHER_SECONDS
            if due < self._due:
                self._due = due
                self._change.notify_all()

    def hurry(self) -> int:
        """A round at once, whatever is; its number, for `finished`."""
        with self._change:
            self._due = self._seconds()
            self._failures = 0
            self._hurries += 1
            self._off = False
            if self._doing == "off":
                self._doing = "starting"
            self._change.notify_all()
            return self._begun + 1

    def finished(self, number: int, *, seconds: float) -> bool:
        """Whether this round is over, as soon as it is or when the time is over."""
        with self._change:
            return self._change.wait_for(lambda: self._done >= number or self._stop, seconds)

    def state(self) -> State:
        with self._change:
            waits = self._doing == "offline"
            left = max(0.0, self._due - self._seconds()) if waits else None
            return State(self._doing, self._problem, left)

    def _rounds(self) -> None:
        while self._await_due():
            try:
                done = self._work.round()
            except UnavailableError as error:
                self._note_failed(error, "offline")
            except SunaivaError as error:
                self._note_failed(error, "stopped", rest=getattr(error, "after_seconds", 0.0))
            except Exception:  # allow broad-except: a defect ends one round, not all
                if self._stop:
                    return
                logger.exception("a round of sync failed")
                self._note_failed(UnavailableError(_UNFORESEEN), "offline")
            else:
                if done.unavailable is None:
                    self._note_done(done)
                else:
                    self._note_failed(
                        UnavailableError(done.unavailable), "offline", rest=done.after_seconds
                    )

    def _await_due(self) -> bool:
        with self._change:
            while not self._stop and (left := self._due - self._seconds()) > 0:
                self._change.wait(min(left, threading.TIMEOUT_MAX))
            if self._stop:
                return False
            self._begun += 1
            self._due = float("inf")
            if self._doing == "waiting":
                self._doing = "syncing"
            return True

    def _note_done(self, done: Round) -> None:
        with self._change:
            self._done = self._begun
            self._failures = 0
            self._problem = None
            now = self._seconds()
            self._off = done.off
            if done.off:
                self._doing = "off"
            else:
                self._doing = "syncing" if done.more else "waiting"
                look = LOOK_SECONDS if self._nudged else LOOK_UNNUDGED_SECONDS
                pause = 0.0 if done.more else look * (1 - 0.2 * self._chance())
                if done.due_in_seconds is not None:
                    pause = min(pause, max(done.due_in_seconds, GATHER_SECONDS))
                self._due = min(self._due, now + pause)
            self._change.notify_all()

    def _note_failed(self, error: SunaivaError, doing: Doing, *, rest: float = 0.0) -> None:
        with self._change:
            self._done = self._begun
            pause = retry_seconds(self._failures, self._chance())
            self._failures += 1
            self._problem = error
            self._doing = doing
            if doing == "stopped":
                late = max(RETRY_SECONDS_MAX, min(rest, STOPPED_SECONDS_MAX))
            else:
                late = max(pause, min(rest, LOOK_SECONDS))
            self._due = min(self._due, self._seconds() + late)
            self._change.notify_all()

    def _nudges(self) -> None:
        while self._await_answering():
            began = self._seconds()
            try:
                new = self._work.wait(seconds=NUDGE_SECONDS)
            except SunaivaError as error:
                logger.info("no nudges for now: %s", type(error).__name__)
                self._nudged = False
                # Whom it answers but does not let wait, its vault may have gone: a round finds out.
                new = not isinstance(error, UnavailableError)
            except Exception:  # allow broad-except: without nudges it still looks by itself
                if self._stop:
                    return
                logger.exception("waiting for nudges failed")
                new, self._nudged = False, False
            else:
                self._nudged = True
            if new:
                self._come()
            if not self._nudged or (not new and self._seconds() - began < RETRY_SECONDS_MIN):
                self._rest()

    def _await_answering(self) -> bool:
        """Until somebody answers our rounds: before, nothing may be sent, and there is nobody to nudge."""
        with self._change:
            self._change.wait_for(lambda: self._stop or self._doing in ("waiting", "syncing"))
            return not self._stop

    def _come(self) -> None:
        """A nudge: a round at once. The next nudge is waited for after it."""
        with self._change:
            self._due = min(self._due, self._seconds())
            number = self._begun + 1
            self._change.notify_all()
            self._change.wait_for(lambda: self._stop or self._done >= number, timeout=NUDGE_SECONDS)

    def _rest(self) -> None:
        """Leave a line alone that was cut, unless the person wants something now."""
        with self._change:
            before = self._hurries
            self._change.wait_for(
                lambda: self._stop or self._hurries != before,
                LOOK_UNNUDGED_SECONDS * self._chance(),
            )
