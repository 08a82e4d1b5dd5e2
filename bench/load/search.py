"""Which rate to try next, and whether one held, as pure functions of what was tried. Nothing here measures."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

P95_MS = 200.0
# Beyond a thousandth somebody has to look; a single broken connection in a run is none.
ERRORS_SHARE = 0.001
# A Poisson stream of some seconds is this far off its rate now and then; a server that cannot keep up is further.
ANSWERED_SHARE = 0.95

RATE_FIRST = 250.0
RATE_LEAST = 10.0
RATE_MOST = 60_000.0  # what one generator of this kind can send
GROWTH = 1.6
NARROW = 1.12


class Tried(Struct, frozen=True):
    rate: float
    held: bool


def held(run: Mapping[str, Any]) -> bool:
    """Whether the server sustained this run's rate."""
    p95 = run["ms"]["p95"]
    errors = sum(run["errors"].values())
    return (
        not run["gave_up"]
        and p95 is not None
        and p95 < P95_MS
        and errors <= ERRORS_SHARE * run["intended"]
        and run["answered_per_s"] >= ANSWERED_SHARE * run["rate"]
    )


def next_rate(tried: Sequence[Tried]) -> float | None:
    """Upward until one does not hold, then between the best that held and the least that did not; None: close enough."""
    if not tried:
        return RATE_FIRST
    failed = min((each.rate for each in tried if not each.held), default=None)
    best = best_rate(tried)
    if failed is None:
        assert best is not None
        return best * GROWTH if best * GROWTH <= RATE_MOST else None
    if best is None:
        return failed / 4 if failed / 4 >= RATE_LEAST else None
    if failed / best <= NARROW:
        return None
    return float((failed * best) ** 0.5)


def best_rate(tried: Sequence[Tried]) -> float | None:
    """The highest rate below which nothing failed."""
    failed = min((each.rate for each in tried if not each.held), default=float("inf"))
    return max((each.rate for each in tried if each.held and each.rate < failed), default=None)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much y grows when x grows by one."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        return float("nan")
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
