"""Mails to an account's owner about its safety, in the transaction that changes it."""

from cloud_api.accounts.means import Means
from cloud_api.accounts.people import store
from cloud_api.db import AccountId, Connection
from cloud_api.notifications import actions as notifications
from cloud_api.notifications.letters import Letter, Mail


async def tell(connection: Connection, means: Means, account: AccountId, letter: Letter) -> None:
    person = await store.person(connection, account)
    assert person is not None, "it is changed in this transaction"
    mail = Mail(to=person.mail, language=person.language, letter=letter, account=account)
    await notifications.send(connection, mail, key=means.mail_key)
