"""How many requests somebody may send, and telling them: RateLimit, RateLimit-Policy (IETF draft 10) and Retry-After.

By account once there is one, else by address. A route that somebody could use to guess secrets has a limit of its own
besides, named in its `opt` as `rate`; one that must always answer is `unlimited`.
"""

import hashlib

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from cloud_api.http.caller import Caller, Tier, caller
from cloud_api.http.counters import Counters
from cloud_api.http.edge import add_header
from cloud_api.http.networks import counted_network
from cloud_api.http.refusals import RateLimitedError
from shared.clock import Clock, to_ms


class RateLimit(Struct, frozen=True, kw_only=True):
    name: str
    requests: int
    seconds: int
    by_address: bool = False
    """Count by address even of somebody with an account."""


# A person's page with all its parts is some twenty requests. All devices of a person together are counted as one: one that syncs
# sends a few requests a second at its busiest, and somebody has a dozen.
LIMITS: dict[Tier, RateLimit] = {
    "anonymous": RateLimit(name="anonymous", requests=120, seconds=60),
    "person": RateLimit(name="person", requests=600, seconds=60),
    "device": RateLimit(name="device", requests=3000, seconds=60),
    "staff": RateLimit(name="staff", requests=1200, seconds=60),
}


class Standing(Struct, frozen=True, kw_only=True):
    """Where somebody stands in the present window."""

    limit: RateLimit
    left: int
    resets_seconds: int
    is_over: bool


async def count(counters: Counters, limit: RateLimit, who: str, clock: Clock) -> Standing:
    """One more request of `who`."""
    second = to_ms(clock()) // 1000
    hits = await counters.hit(
        f"{limit.name}:{who}", window=second // limit.seconds, seconds=limit.seconds
    )
    return Standing(
        limit=limit,
        left=max(0, limit.requests - hits),
        resets_seconds=limit.seconds - second % limit.seconds,
        is_over=hits > limit.requests,
    )


def refuse_over(standing: Standing) -> None:
    """Raises:
    RateLimitedError: there were too many.
    """
    if standing.is_over:
        raise RateLimitedError(
            f"Too many requests. Go on in {standing.resets_seconds} seconds.",
            retry_after_seconds=standing.resets_seconds,
        )


class RateLimits(ASGIMiddleware):
    """Counts every request that has a route."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        options = scope["route_handler"].opt
        if options.get("unlimited"):
            await next_app(scope, receive, send)
            return
        who = caller(scope)
        standings = [await self._count(LIMITS[who.tier], who)]
        own: RateLimit | None = options.get("rate")
        if own is not None:
            standings.append(await self._count(own, who))
        nearest = min(standings, key=lambda each: each.left)

        add_header(scope, "ratelimit-policy", ", ".join(_policy(each.limit) for each in standings))
        add_header(
            scope,
            "ratelimit",
            f'"{nearest.limit.name}";r={nearest.left};t={nearest.resets_seconds}',
        )
        for each in standings:
            refuse_over(each)
        await next_app(scope, receive, send)

    async def _count(self, limit: RateLimit, who: Caller) -> Standing:
        return await count(self._counters, limit, _name(who, limit), self._clock)


def _policy(limit: RateLimit) -> str:
    return f'"{limit.name}";q={limit.requests};w={limit.seconds}'


def _name(who: Caller, limit: RateLimit) -> str:
    if who.account is not None and not limit.by_address:
        return str(who.account)
    # Redis is no place for people's addresses.
    return hashlib.sha256(counted_network(who.address).encode()).hexdigest()[:32]
