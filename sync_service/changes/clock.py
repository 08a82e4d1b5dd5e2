"""Hybrid logical clocks (Kulkarni et al. 2014) that no wrong clock can stop or poison.

A clock value is 64 bits: 48 of milliseconds since 1970, 16 of a counter that carries into the milliseconds. Nothing here refuses
a value for being early or late; a value from the far future is merged, and the local clock does not follow it.
"""

from typing import NewType

Hlc = NewType("Hlc", int)

COUNTER_BITS = 16
# Further ahead than an honest device's clock drifts between two corrections; beyond it only the value itself is kept.
AHEAD_MS_MAX = 60_000
# 2100-01-01. A clock that says so is broken, and time goes on from what was last written: between here and LATEST there is room
# to beat anything that an honest device ever writes.
BELIEVED_MS_MAX = 4_102_444_800_000
# 2200-01-01. No device writes such a value by mistake: what carries one is set aside, or it could never be beaten.
LATEST = Hlc(7_258_118_400_000 << COUNTER_BITS)


def tick(last: Hlc, now_ms: int) -> Hlc:
    """The clock of something that is written now: later than everything this device wrote or follows."""
    return Hlc(max(_believed(now_ms) << COUNTER_BITS, last + 1))


def heard(last: Hlc, remote: Hlc, now_ms: int) -> Hlc:
    """The local clock after `remote` was merged."""
    followed = milliseconds(remote) <= _believed(now_ms) + AHEAD_MS_MAX
    return max(last, remote) if followed else last


def beating(hlc: Hlc, seen: Hlc) -> Hlc:
    """`hlc`, or the least value above `seen`: an edit wins over what its author saw, whatever the clocks say."""
    return hlc if hlc > seen else Hlc(seen + 1)


def milliseconds(hlc: Hlc) -> int:
    return hlc >> COUNTER_BITS


def _believed(now_ms: int) -> int:
    return now_ms if 0 <= now_ms <= BELIEVED_MS_MAX else 0
