"""`sunaiva-cloud admin grant|revoke|account|keys`: what an operator does to accounts in a terminal.

Nothing printed here is a secret, and whatever is changed stands in the audit log.
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cloud_api.accounts import trail
from cloud_api.accounts.addresses import MailAddress, parse_mail_address
from cloud_api.accounts.factors import store as factors_store
from cloud_api.accounts.means import Means
from cloud_api.accounts.people import store as people_store
from cloud_api.accounts.possession import act_as
from cloud_api.accounts.roles import store as roles_store
from cloud_api.accounts.sessions import store as sessions_store
from cloud_api.accounts.throttles import store as throttles_store
from cloud_api.accounts.throttles.actions import throttle_key
from cloud_api.db import AccountId, Connection
from shared.errors import NotFoundError


class AccountUnknownError(NotFoundError):
    code = "account_unknown"

    def __init__(self) -> None:
        super().__init__(
            "No account has this mail address. Ask the person which one they signed up with."
        )


class RoleUnknownError(NotFoundError):
    code = "role_unknown"

    def __init__(self, known: list[str]) -> None:
        super().__init__(f"There is no such role. Roles are: {', '.join(known)}.")


class State(Struct, frozen=True):
    """An account as an operator sees it."""

    id: UUID
    language: str
    created_at: datetime
    password_changed_at: datetime
    roles: list[str]
    has_totp: bool
    passkeys: int
    recovery_codes: int
    live_sessions: int
    last_used_at: datetime | None
    locked_until: datetime | None


async def grant(means: Means, role: str, mail: str) -> str:
    """
    Raises:
        AccountUnknownError, RoleUnknownError, InvalidMailAddressError
    """
    async with means.db.transaction() as connection:
        account = await _account(connection, parse_mail_address(mail))
        await _check_role(connection, role)
        if not await roles_store.grant(connection, account, role, now=means.clock()):
            return f"The account had the role {role} already."
        await trail.note(connection, account, "role.granted", actor="system", role=role)
        return f"The account has the role {role} from now on."


async def revoke(means: Means, role: str, mail: str) -> str:
    """
    Raises:
        AccountUnknownError, RoleUnknownError, InvalidMailAddressError
    """
    async with means.db.transaction() as connection:
        account = await _account(connection, parse_mail_address(mail))
        await _check_role(connection, role)
        if not await roles_store.revoke(connection, account, role):
            return f"The account did not have the role {role}."
        await trail.note(connection, account, "role.revoked", actor="system", role=role)
        return f"The account no longer has the role {role}."


async def state(means: Means, mail: str) -> State:
    """
    Raises:
        AccountUnknownError, InvalidMailAddressError
    """
    address, now = parse_mail_address(mail), means.clock()
    async with means.db.transaction() as connection:
        account = await _account(connection, address)
        person = await people_store.person(connection, account)
        assert person is not None, "found in this transaction"
        factors = await factors_store.factors(connection, account)
        sessions = await sessions_store.live(account, now=now).within(connection)
        count = await throttles_store.lock(
            connection, throttle_key(means.key, "account", address.key)
        )
        is_locked = count and count.blocked_until and count.blocked_until > now
        return State(
            id=account,
            language=person.language,
            created_at=person.created_at,
            password_changed_at=person.password_changed_at,
            roles=await roles_store.roles_of(connection, account),
            has_totp=factors.has_totp,
            passkeys=factors.passkeys,
            recovery_codes=factors.recovery_codes,
            live_sessions=len(sessions),
            last_used_at=max((each.used_at for each in sessions), default=None),
            locked_until=count.blocked_until if count and is_locked else None,
        )


async def rotate_keys(means: Means, *, withdraw: bool) -> str:
    async with means.db.transaction() as connection:
        kid = await means.keys.rotate(connection, withdraw=withdraw)
    if withdraw:
        return f"The key {kid} signs now. Nothing that an older key signed is believed: everybody refreshes within a minute."
    return f"The key {kid} is published, and signs once whoever keeps a copy of the published keys has it."


async def _account(connection: Connection, address: MailAddress) -> AccountId:
    account = await people_store.account_of_mail(connection, address)
    if account is None:
        raise AccountUnknownError
    await act_as(connection, account)
    return account


async def _check_role(connection: Connection, role: str) -> None:
    known = await roles_store.names(connection)
    if role not in known:
        raise RoleUnknownError(known)
