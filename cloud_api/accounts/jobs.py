"""The jobs of accounts: answering a wish for a new password, forgetting what has run out, a new key in time."""

from cloud_api.accounts.means import Means
from cloud_api.accounts.people.actions import ANSWER_RESET, Wish, answer_reset
from cloud_api.db import Connection
from cloud_api.jobs import Job, Task, Tick, forget_in_pieces

FORGET = Task("accounts.forget", Tick)
ROTATE = Task("accounts.rotate_keys", Tick)


def account_jobs(means: Means) -> list[Job]:
    async def answer(wish: Wish) -> None:
        await answer_reset(means, wish)

    async def forget(tick: Tick) -> None:
        async def spent(connection: Connection, most: int) -> int:
            cursor = await connection.execute(
                "SELECT forget_spent_credentials(%s, %s)", [tick.due_at, most]
            )
            row = await cursor.fetchone()
            assert row is not None
            return int(row[0])

        await forget_in_pieces(means.db, spent)

    async def rotate(_: Tick) -> None:
        async with means.db.transaction() as connection:
            await means.keys.rotate_when_due(connection)

    return [
        Job(ANSWER_RESET, answer),
        Job(FORGET, forget, cron="37 * * * *"),
        Job(ROTATE, rotate, cron="7 3 * * *"),
    ]
