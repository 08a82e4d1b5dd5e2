"""What becomes of second factors when the password is reset by mail.

A mailbox proves less than a factor, and more than nobody: an owner whom a stranger's factor keeps out has the mailbox, and so has a
thief of the mailbox whom the owner's factor keeps out. The server cannot tell them apart; time can, because both are told. So the
factors stay, and who says to have lost them waits, while whoever proves one, or reads the mailbox, keeps them.
"""

from datetime import datetime, timedelta

from cloud_api.accounts import one_time, trail
from cloud_api.accounts.factors import store
from cloud_api.accounts.means import Means
from cloud_api.accounts.one_time import LinkOverError
from cloud_api.accounts.telling import tell
from cloud_api.accounts.tokens import digest_of, new_token
from cloud_api.db import AccountId, Connection
from cloud_api.notifications.letters import FactorRemoved, FactorsLost

# As long as most people are away from their mail at the most, and a locked-out owner can bear.
WAIT = timedelta(days=7)
# Who does not come back for them within this begins again: no account shall lie open for ever.
OPEN_FOR = timedelta(days=7)


async def after_reset(
    connection: Connection, means: Means, account: AccountId, *, are_lost: bool
) -> None:
    """Belongs into the transaction of the reset."""
    now = means.clock()
    await store.ask_passwords_of_passkeys(connection, account)
    await one_time.take_all(connection, account, "factors_lost")
    if not are_lost or not (await store.factors(connection, account)).any:
        return
    token = new_token("factors_lost")
    await one_time.give(connection, token, "factors_lost", account, now=now, life=WAIT + OPEN_FOR)
    link = f"{means.site.public_url}/account/factors#{token.text}"
    await tell(connection, means, account, FactorsLost(due_at=now + WAIT, link=link))
    await trail.note(connection, account, "factors.lost")


async def remove_when_due(
    connection: Connection, means: Means, account: AccountId, *, now: datetime
) -> bool:
    """For who has just given the password: whether the wait is over, and there are no factors any more."""
    asked_at = await one_time.given_at(connection, account, "factors_lost", now=now)
    if asked_at is None or now < asked_at + WAIT:
        return False
    await store.remove_all(connection, account)
    await proved(connection, account)
    link = f"{means.site.public_url}/account/forgotten"
    await tell(connection, means, account, FactorRemoved(at=now, link=link))
    await trail.note(connection, account, "factors.removed")
    return True


async def proved(connection: Connection, account: AccountId) -> None:
    """Somebody has shown a factor, so that none is lost."""
    await one_time.take_all(connection, account, "factors_lost")


async def keep(means: Means, token: str) -> None:
    """By the link of the mail.

    Raises:
        LinkOverError
    """
    digest = digest_of("factors_lost", token)
    if digest is None:
        raise LinkOverError
    async with means.db.transaction() as connection:
        account = await one_time.owner(connection, digest, "factors_lost")
        found = await one_time.take(connection, digest, "factors_lost", now=means.clock())
        if account is None or found is None:
            raise LinkOverError
        await trail.note(connection, account, "factors.kept")
