"""A new password for who has the mailbox."""

from cloud_api.accounts import one_time
from cloud_api.accounts.addresses import parse_mail_address
from cloud_api.accounts.factors import recovery
from cloud_api.accounts.means import Means
from cloud_api.accounts.one_time import LinkOverError
from cloud_api.accounts.people import store
from cloud_api.accounts.people.actions import change_to, hashed
from cloud_api.accounts.throttles import actions as throttles
from cloud_api.accounts.throttles.actions import throttle_key
from cloud_api.accounts.throttles.rules import Scope
from cloud_api.accounts.tokens import digest_of


async def reset_password(
    means: Means, token: str, password: str, *, factors_lost: bool = False
) -> None:
    """A new password by the link of a mail. Every session ends, every lock on the account is lifted, second factors stay.

    Raises:
        LinkOverError
        WeakPasswordError: the link is still good.
        TooManyAttemptsError: there were many of these.
    """
    digest = digest_of("reset", token)
    if digest is None:
        raise LinkOverError
    async with means.db.transaction() as connection:
        account = await one_time.owner(connection, digest, "reset")
        detail = await one_time.detail_of(connection, digest, "reset", now=means.clock())
        person = await store.person(connection, account)
        if account is not None and detail is not None:
            # Each try is a password to judge and to hash.
            tries = throttle_key(means.key, "code", f"reset {digest.hex()}")
            await throttles.count(connection, tries, "code", now=means.clock())
    if account is None or person is None or detail is None:
        raise LinkOverError
    password_hash = await hashed(means, password, person.own_words)
    async with means.db.transaction(account) as connection:
        now = means.clock()
        if await one_time.take(connection, digest, "reset", now=now) is None:
            raise LinkOverError
        await change_to(connection, means, person, password_hash, but=None, now=now)
        await recovery.after_reset(connection, means, account, are_lost=factors_lost)
        address = parse_mail_address(person.mail)
        locks: list[tuple[Scope, str]] = [
            ("account", address.key),
            ("account_here", address.key),
            ("code", str(account)),
        ]
        for scope, subject in locks:
            await throttles.succeeded(connection, throttle_key(means.key, scope, subject), scope)
