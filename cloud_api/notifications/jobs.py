"""The jobs of mail: delivering one, and forgetting old ones."""

from datetime import timedelta

from cloud_api.db import Connection
from cloud_api.jobs import Job, Task, Tick, forget_in_pieces
from cloud_api.notifications import actions, store
from cloud_api.notifications.actions import DELIVER, Delivery, Post

# Jobs give up after two days; five more are for whoever mends what was broken and replays the dead letters.
WAITING_KEPT_DAYS = 7
# That a mail was sent is worth knowing when somebody says that it never came.
MAILS_KEPT_DAYS = 90

FORGET = Task("notifications.forget", Tick)


def mail_jobs(post: Post) -> list[Job]:
    async def deliver(asked: Delivery) -> None:
        await actions.deliver(post, asked)

    async def forget(tick: Tick) -> None:
        async def waiting(connection: Connection, most: int) -> int:
            older_than = tick.due_at - timedelta(days=WAITING_KEPT_DAYS)
            return await store.expire(connection, older_than=older_than, most=most)

        async def all_mails(connection: Connection, most: int) -> int:
            older_than = tick.due_at - timedelta(days=MAILS_KEPT_DAYS)
            return await store.forget(connection, older_than=older_than, most=most)

        for each in (waiting, all_mails):
            await forget_in_pieces(post.db, each)

    return [Job(DELIVER, deliver), Job(FORGET, forget, cron="17 * * * *")]
