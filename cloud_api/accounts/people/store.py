"""People, and sign-ups that wait for their mail to be answered."""

from datetime import datetime

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.accounts.addresses import MailAddress
from cloud_api.db import AccountId, Connection
from cloud_api.questions import Asked, Question


class Person(Struct, frozen=True):
    id: AccountId
    mail: str
    name: str | None
    language: str
    password_hash: str
    password_changed_at: datetime
    created_at: datetime

    @property
    def own_words(self) -> list[str]:
        return [self.mail, self.name] if self.name else [self.mail]


class SignUp(Struct, frozen=True, kw_only=True):
    mail: str
    mail_key: str
    name: str | None
    language: str
    password_hash: str
    terms: str | None
    """The versions agreed to; None in what a process of a former version wrote."""
    privacy: str | None
    created_at: datetime


async def account_of_mail(connection: Connection, address: MailAddress) -> AccountId | None:
    cursor = await connection.execute("SELECT account_of_mail(%s)", [address.key])
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def person(connection: Connection, account: AccountId | None) -> Person | None:
    async with connection.cursor(row_factory=class_row(Person)) as cursor:
        await cursor.execute(
            "SELECT id, mail, name, language, password_hash, password_changed_at, created_at "
            "FROM accounts WHERE id = %s",
            [account],
        )
        return await cursor.fetchone()


_PERSON_AND_ROLES = Question(
    "person_and_roles",
    "SELECT id, mail, name, language, password_hash, password_changed_at, created_at, "
    "ARRAY (SELECT role FROM account_roles WHERE account_id = $1::uuid ORDER BY role) "
    "FROM accounts WHERE id = $1",
    lambda *row: (Person(*row[:-1]), row[-1]),
)


def person_and_roles(account: AccountId) -> Asked[tuple[Person, list[str]]]:
    """Both in one question: this is what clients ask most."""
    return _PERSON_AND_ROLES.of(account)


async def lock_person(connection: Connection, account: AccountId) -> Person | None:
    async with connection.cursor(row_factory=class_row(Person)) as cursor:
        await cursor.execute(
            "SELECT id, mail, name, language, password_hash, password_changed_at, created_at "
            "FROM accounts WHERE id = %s FOR UPDATE",
            [account],
        )
        return await cursor.fetchone()


async def add_sign_up(
    connection: Connection, digest: bytes, sign_up: SignUp, *, expires_at: datetime
) -> None:
    await connection.execute(
        "INSERT INTO sign_ups (digest, mail, mail_key, name, language, password_hash, terms, privacy, created_at, "
        "expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            digest,
            sign_up.mail,
            sign_up.mail_key,
            sign_up.name,
            sign_up.language,
            sign_up.password_hash,
            sign_up.terms,
            sign_up.privacy,
            sign_up.created_at,
            expires_at,
        ],
    )


async def sign_up_hash(connection: Connection, digest: bytes, *, now: datetime) -> str | None:
    cursor = await connection.execute(
        "SELECT password_hash FROM sign_ups WHERE digest = %s AND expires_at > %s", [digest, now]
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def take_sign_up(connection: Connection, digest: bytes, *, now: datetime) -> SignUp | None:
    async with connection.cursor(row_factory=class_row(SignUp)) as cursor:
        await cursor.execute(
            "DELETE FROM sign_ups WHERE digest = %s AND expires_at > %s "
            "RETURNING mail, mail_key, name, language, password_hash, terms, privacy, created_at",
            [digest, now],
        )
        return await cursor.fetchone()


async def new_id(connection: Connection) -> AccountId:
    cursor = await connection.execute("SELECT uuidv7()")
    row = await cursor.fetchone()
    assert row is not None
    return AccountId(row[0])


async def add_person(
    connection: Connection, account: AccountId, sign_up: SignUp, *, now: datetime
) -> bool:
    """False when the address has an account already."""
    cursor = await connection.execute(
        "INSERT INTO accounts (id, mail, mail_key, name, language, password_hash, password_changed_at, created_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (mail_key) DO NOTHING",
        [
            account,
            sign_up.mail,
            sign_up.mail_key,
            sign_up.name,
            sign_up.language,
            sign_up.password_hash,
            now,
            now,
        ],
    )
    return cursor.rowcount == 1


async def set_password(
    connection: Connection, account: AccountId, password_hash: str, *, now: datetime
) -> None:
    await connection.execute(
        "UPDATE accounts SET password_hash = %s, password_changed_at = %s WHERE id = %s",
        [password_hash, now, account],
    )


async def set_hash(connection: Connection, account: AccountId, password_hash: str) -> None:
    """The same password, hashed at today's cost."""
    await connection.execute(
        "UPDATE accounts SET password_hash = %s WHERE id = %s", [password_hash, account]
    )


async def set_mail(connection: Connection, account: AccountId, address: MailAddress) -> None:
    """Raises psycopg's UniqueViolation when another account has it."""
    await connection.execute(
        "UPDATE accounts SET mail = %s, mail_key = %s WHERE id = %s",
        [address.shown, address.key, account],
    )


async def set_profile(
    connection: Connection, account: AccountId, *, name: str | None, language: str
) -> None:
    await connection.execute(
        "UPDATE accounts SET name = %s, language = %s WHERE id = %s", [name, language, account]
    )
