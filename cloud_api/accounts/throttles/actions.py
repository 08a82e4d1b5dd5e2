"""Counting an attempt before it is made, and taking it back when it was a good one."""

import math
from datetime import datetime

from cloud_api.accounts.throttles import store
from cloud_api.accounts.throttles.rules import POLICIES, Blocked, Scope, attempt
from cloud_api.db import Connection
from cloud_api.http.refusals import RateLimitedError
from shared import crypto


class TooManyAttemptsError(RateLimitedError):
    code = "too_many_attempts"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(
            f"There were too many attempts. Try again in {retry_after_seconds} seconds; a password can be reset by mail "
            "meanwhile.",
            retry_after_seconds=retry_after_seconds,
        )


def throttle_key(secret: bytes, scope: Scope, subject: str) -> bytes:
    return crypto.mac(crypto.derive(secret, "throttles"), f"{scope}\0{subject}".encode())


async def count(connection: Connection, key: bytes, scope: Scope, *, now: datetime) -> None:
    """One more attempt, failed until `succeeded` says otherwise.

    Raises:
        TooManyAttemptsError: it may not be made now.
    """
    outcome = attempt(POLICIES[scope], await store.lock(connection, key), now)
    if isinstance(outcome, Blocked):
        wait = math.ceil((outcome.until - now).total_seconds())
        raise TooManyAttemptsError(retry_after_seconds=max(wait, 1))
    await store.keep(connection, key, scope, outcome)


async def succeeded(connection: Connection, key: bytes, scope: Scope) -> None:
    if scope == "network":
        # Else whoever logs in to an account of their own from time to time could guess at others' without end.
        await store.take_back(connection, key)
    else:
        await store.forget(connection, key)
