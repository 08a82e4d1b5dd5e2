"""The jobs of rights: making exports, deleting accounts whose day has come, ending what has run out, each run with a limit."""

from typing import Any

from cloud_api.accounts.events import AccountOpened, SessionOpened
from cloud_api.events import Subscription, Told
from cloud_api.jobs import Job, Task, Tick
from cloud_api.rights import consents, deletions, exports
from cloud_api.rights.deletions import CARRY_OUT, Due
from cloud_api.rights.exports import MAKE, REMOVE, BlobNames, Rights, Wish

ENQUEUED_PER_RUN_MAX = (
    500  # the next run is ten minutes away, and nobody's day is more exact than that
)
EXPORTS_ENDED_PER_RUN_MAX = 500

SWEEP = Task("rights.sweep", Tick)


def rights_jobs(rights: Rights) -> list[Job]:
    async def make(wish: Wish) -> None:
        await exports.make(rights, wish)

    async def remove(names: BlobNames) -> None:
        await exports.remove(rights.blobs, names)

    async def delete(asked: Due) -> None:
        await deletions.carry_out(rights, asked)

    async def sweep(_: Tick) -> None:
        await deletions.enqueue_due(rights, ENQUEUED_PER_RUN_MAX)
        await exports.end_run_out(rights, EXPORTS_ENDED_PER_RUN_MAX)

    return [
        Job(MAKE, make),
        Job(REMOVE, remove),
        Job(CARRY_OUT, delete),
        Job(SWEEP, sweep, cron="*/10 * * * *"),
    ]


def rights_subscriptions(rights: Rights) -> list[Subscription[Any]]:
    async def keep(told: Told[SessionOpened]) -> None:
        """Whoever signs in wants to keep the account; a sign-in told late must not undo a deletion asked for after it."""
        assert told.event.account is not None
        await deletions.keep(rights, told.event.account, asked_before=told.event.at)

    async def agree(told: Told[AccountOpened]) -> None:
        opened = told.event
        assert opened.account is not None
        said = {"terms": opened.terms, "privacy": opened.privacy}
        agreed = {kind: version for kind, version in said.items() if version is not None}
        await consents.take_over(rights, opened.account, agreed, opened.agreed_at)

    return [
        Subscription(to=SessionOpened, subscriber="rights.keep_account", hear=keep),
        Subscription(to=AccountOpened, subscriber="rights.agreements", hear=agree),
    ]
