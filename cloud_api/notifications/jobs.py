"""The jobs of mail: delivering one, and forgetting old ones."""

from datetime import timedelta

from cloud_api.jobs import Job, Task, Tick
from cloud_api.notifications import actions, store
from cloud_api.notifications.actions import DELIVER, Delivery, Post

# Jobs give up after two days; five more are for whoever mends what was broken and replays the dead letters.
WAITING_KEPT_DAYS = 7
# That a mail was sent is worth knowing when somebody says that it never came.
MAILS_KEPT_DAYS = 90
FORGOTTEN_PER_RUN_MAX = 5_000  # some hundred milliseconds of work; the rest an hour later

FORGET = Task("notifications.forget", Tick)


def mail_jobs(post: Post) -> list[Job]:
    async def deliver(asked: Delivery) -> None:
        await actions.deliver(post, asked)

    async def forget(tick: Tick) -> None:
        async with post.db.transaction() as connection:
            await store.expire(
                connection,
                older_than=tick.due_at - timedelta(days=WAITING_KEPT_DAYS),
                most=FORGOTTEN_PER_RUN_MAX,
            )
            await store.forget(
                connection,
                older_than=tick.due_at - timedelta(days=MAILS_KEPT_DAYS),
                most=FORGOTTEN_PER_RUN_MAX,
            )

    return [Job(DELIVER, deliver), Job(FORGET, forget, cron="17 * * * *")]
