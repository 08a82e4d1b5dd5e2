"""What somebody may do now: a matter of roles, and of how lately they have shown that it is they.

Roles and their permissions are rows; this only reads them.
"""

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from cloud_api.accounts.sessions.rules import STAFF_FACTOR_LIFE, STEP_UP_LIFE

Lack = Literal["session", "permission", "factor", "step_up"]


class Standing(Struct, frozen=True):
    """A session and its account, as far as a guard asks."""

    is_live: bool
    has_factor: bool
    proved_at: datetime | None
    factor_at: datetime | None
    permissions: frozenset[str]
    staff_permissions: frozenset[str]
    """Had through a staff role only: with a second factor or not at all."""


def lack_of_permission(standing: Standing, permission: str, now: datetime) -> Lack | None:
    """What is missing, or None when it may be done."""
    if not standing.is_live:
        return "session"
    if permission in standing.permissions:
        return None
    if permission not in standing.staff_permissions:
        return "permission"
    return None if _within(standing.factor_at, STAFF_FACTOR_LIFE, now) else "factor"


def lack_of_proof(standing: Standing, now: datetime, *, factor_needed: bool = False) -> Lack | None:
    """Whether the person has just proved to be there, by the strongest means that the account has."""
    if not standing.is_live:
        return "session"
    if not standing.has_factor and factor_needed:
        return "factor"
    moment = standing.factor_at if standing.has_factor else standing.proved_at
    return None if _within(moment, STEP_UP_LIFE, now) else "step_up"


def _within(moment: datetime | None, life: timedelta, now: datetime) -> bool:
    return moment is not None and now < moment + life
