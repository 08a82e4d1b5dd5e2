"""Devices whose clocks are up to ten years wrong, and jump: through the whole engine, what a person sees is what they said last."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sync_service.changes.clock import AHEAD_MS_MAX, COUNTER_BITS
from sync_service.device import log
from tests.sync.crashing import is_dying
from tests.sync.devices import Device, Time, memory, pair, settle
from tests.sync.fake_relay import Relay, Shown

TEN_YEARS_MS = 10 * 365 * 24 * 3_600_000
MEMORIES = 3
skews = st.integers(-TEN_YEARS_MS, TEN_YEARS_MS)


def test_a_step_that_dies_leaves_the_clock_where_it_was() -> None:
    """A clock moves in the transaction of what it has heard, or not at all."""
    for at in range(30):
        first, second = pair()
        first.skew_ms = AHEAD_MS_MAX // 2
        first.write(1)
        first.sync()
        before = _clock(second)
        died = is_dying(second, at)
        assert (_clock(second) > before) == (second.text(1) == "tea"), at
        if not died:
            return
    raise AssertionError("it dies for ever")


def test_a_clock_that_is_set_right_does_not_keep_a_device_waiting_for_years() -> None:
    first, second = pair()
    second.skew_ms = TEN_YEARS_MS
    first.write(1)
    first.sync()
    second.line.tamper = _altered
    second.sync()
    assert "forged" in second.alarms()
    second.line.tamper = lambda shown: shown
    second.skew_ms = 0
    for _ in range(3):
        second.time.pass_ms(60_000)
        second.sync()
    assert second.text(1) == "tea"
    assert second.alarms() == set()


def _altered(shown: Shown) -> Shown:
    return tuple((pos, raw[:-1] + bytes([raw[-1] ^ 1])) for pos, raw in shown)


def _clock(device: Device) -> int:
    (hlc,) = device.replica.db.execute("SELECT hlc FROM sync_self").fetchone()
    return int(hlc)


class Clocks(RuleBasedStateMachine):
    """Three engines and a relay; every write, wait, jump and step in any order."""

    @initialize(given=st.lists(skews, min_size=3, max_size=3))
    def begin(self, given: list[int]) -> None:
        time, relay = Time(), Relay(page_frames=2)
        self.devices = [
            Device(relay, time, seed, skew_ms=skew) for seed, skew in enumerate(given, 1)
        ]
        first, *others = self.devices
        first.found()
        for other in others:
            other.join()
        self.furthest_ms = max(device.now_ms for device in self.devices)
        self.told = 0

    def look(self, device: Device) -> None:
        self.furthest_ms = max(self.furthest_ms, device.now_ms)

    @rule(which=st.integers(0, 2), number=st.integers(0, MEMORIES - 1))
    def write(self, which: int, number: int) -> None:
        device = self.devices[which]
        self.look(device)
        self.told += 1
        device.write(number, f"text {self.told}")
        state = device.replica.states()[memory(number)]
        assert state.forgotten or device.text(number) == f"text {self.told}", "an edit sticks"

    @rule(which=st.integers(0, 2), skew=skews)
    def jump(self, which: int, skew: int) -> None:
        self.devices[which].skew_ms = skew
        self.look(self.devices[which])

    @rule(ms=st.integers(0, 40 * 3_600_000))
    def wait(self, ms: int) -> None:
        self.devices[0].time.pass_ms(ms)
        for device in self.devices:
            self.look(device)

    @rule(which=st.integers(0, 2))
    def sync(self, which: int) -> None:
        assert self.devices[which].sync().unavailable is None

    @rule(which=st.integers(0, 2))
    def write_much_in_a_millisecond(self, which: int) -> None:
        """As an import of more than 65,536 would: the count carries into the milliseconds."""
        db = self.devices[which].replica.db
        db.execute("UPDATE sync_self SET hlc = hlc + ?", [1 << COUNTER_BITS])
        self.furthest_ms += 1

    @invariant()
    def no_clock_runs_away(self) -> None:
        for device in getattr(self, "devices", ()):
            assert _clock(device) >> COUNTER_BITS <= self.furthest_ms + AHEAD_MS_MAX + 1_000

    def teardown(self) -> None:
        if not hasattr(self, "devices"):
            return
        settle(self.devices)
        assert len({device.digest() for device in self.devices}) == 1
        assert all(not log.outbox_count(device.replica.db) for device in self.devices)
        assert all(device.alarms() == set() for device in self.devices)
        # Whoever has seen everything has the last word, be their clock ten years behind.
        last = self.devices[self.told % 3]
        last.skew_ms = -TEN_YEARS_MS
        for number in range(MEMORIES):
            last.write(number, "the last word")
        settle(self.devices)
        assert {device.text(number) for device in self.devices for number in range(MEMORIES)} == {
            "the last word"
        }


# Each step runs whole engines.
Clocks.TestCase.settings = settings(
    max_examples=max(5, settings().max_examples // 3), stateful_step_count=14
)
TestClocks = Clocks.TestCase
