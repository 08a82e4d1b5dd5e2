"""How long to wait after how many failures: slow for who guesses, never for ever for who owns the account.

It must never answer differently for an address that has an account and one that has none: keys are made from what was
typed, not from what was found.
"""

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

Scope = Literal["account", "account_here", "network", "mail_to", "code"]


class Policy(Struct, frozen=True):
    free: int
    """Failures that cost nothing: a person mistypes."""
    first: timedelta
    """The wait after the first failure past them; each further one doubles it."""
    longest: timedelta
    forgotten_after: timedelta
    """A quiet time after which counting starts anew."""


# With five free and a quarter of an hour at the longest, one account is guessed at some 100 times a day; a password
# that zxcvbn scores 3 stands 10⁸.
POLICIES: dict[Scope, Policy] = {
    "account": Policy(5, timedelta(seconds=2), timedelta(minutes=15), timedelta(hours=12)),
    # Of the owner's usual network while the account is locked, so that a stranger who keeps it locked does not keep the
    # owner out; the wait is as long, its beginning is not used up by others.
    "account_here": Policy(5, timedelta(seconds=2), timedelta(minutes=15), timedelta(hours=12)),
    # An office or a mobile network is many people behind one address.
    "network": Policy(50, timedelta(seconds=2), timedelta(hours=1), timedelta(hours=6)),
    # Nobody's mailbox is filled through us: ten mails in a while, then one an hour.
    "mail_to": Policy(10, timedelta(minutes=1), timedelta(hours=1), timedelta(hours=6)),
    # Six digits have 10⁶ values and three of them are right at a time.
    "code": Policy(5, timedelta(seconds=10), timedelta(hours=1), timedelta(hours=24)),
}


class Count(Struct, frozen=True):
    failures: int
    last_at: datetime
    blocked_until: datetime | None


class Blocked(Struct, frozen=True):
    until: datetime


def attempt(policy: Policy, count: Count | None, now: datetime) -> Count | Blocked:
    """The count with one more attempt in it, taken as failed until it succeeds, or how long to wait.

    Counting before the outcome is known is what keeps a thousand guesses at once from all being let through.
    """
    if count is None or now - count.last_at >= policy.forgotten_after:
        return Count(failures=1, last_at=now, blocked_until=None)
    if count.blocked_until is not None and now < count.blocked_until:
        return Blocked(until=count.blocked_until)
    failures = count.failures + 1
    wait = wait_after(policy, failures)
    return Count(failures=failures, last_at=now, blocked_until=now + wait if wait else None)


def wait_after(policy: Policy, failures: int) -> timedelta:
    beyond = failures - policy.free
    if beyond <= 0:
        return timedelta(0)
    doublings = min(
        beyond - 1, 20
    )  # 2²⁰ seconds are past every longest wait, and no timedelta overflows
    return min(policy.first * (1 << doublings), policy.longest)
