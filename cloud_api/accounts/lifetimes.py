"""How long an access token lasts: signing, verifying and publishing keys have to agree on it."""

from datetime import timedelta

ACCESS_TOKEN_LIFE = timedelta(minutes=15)
# Two servers' clocks are never exactly the same; RFC 7519 §4.1.4 allows "no more than a few minutes".
CLOCK_SKEW = timedelta(seconds=30)
