"""The same endpoints on FastAPI, SQLAlchemy and uvicorn, as their own documentation shows how to write them.

It runs in an environment of its own and imports nothing of ours. It reads the same rows of the same database, under the
same row-level security, for the same tokens.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(
    os.environ["LOAD_BENCH_DATABASE"], pool_size=int(os.environ["LOAD_BENCH_POOL"]), max_overflow=0
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
public_key = jwt.PyJWK.from_json(os.environ["LOAD_BENCH_PUBLIC_KEY"]).key
scheme = HTTPBearer()
app = FastAPI()


class Base(DeclarativeBase):
    pass


class AccountRow(Base):
    __tablename__ = "accounts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    mail: Mapped[str]
    name: Mapped[str | None]
    language: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    password_changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RoleRow(Base):
    __tablename__ = "account_roles"

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)


class Account(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    mail: str
    name: str | None
    language: str
    created_at: datetime
    password_changed_at: datetime
    roles: list[str]


class Bearer(BaseModel):
    sub: UUID
    sid: UUID


# Word for word what ours asks before it lets anybody in.
STANDING = text(
    "WITH held AS (SELECT p.permission, r.is_staff FROM role_permissions AS p "
    "JOIN roles AS r ON r.name = p.role WHERE r.name = 'user' OR r.name IN "
    "(SELECT role FROM account_roles WHERE account_id = :account)) "
    "SELECT (s.ended_at IS NULL AND s.expires_at > :now) AS is_live, "
    "EXISTS (SELECT FROM totp_secrets WHERE account_id = :account AND confirmed_at IS NOT NULL) "
    "OR EXISTS (SELECT FROM passkeys WHERE account_id = :account) AS has_factor, "
    "s.proved_at, s.factor_at, "
    "ARRAY (SELECT permission FROM held WHERE NOT is_staff) AS permissions, "
    "ARRAY (SELECT permission FROM held WHERE is_staff) AS staff_permissions "
    "FROM sessions AS s WHERE s.account_id = :account AND s.id = :session"
)


async def bearer(given: Annotated[HTTPAuthorizationCredentials, Depends(scheme)]) -> Bearer:
    try:
        claims = jwt.decode(
            given.credentials, public_key, algorithms=["EdDSA"],
            audience=os.environ["LOAD_BENCH_AUDIENCE"], issuer=os.environ["LOAD_BENCH_ISSUER"],
        )  # fmt: skip
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Log in.") from None
    return Bearer.model_validate(claims)


async def own_session(who: Annotated[Bearer, Depends(bearer)]) -> AsyncIterator[AsyncSession]:
    """One transaction for the request, in which only the account's own rows are seen."""
    async with sessions() as session, session.begin():
        await session.execute(text("SET LOCAL ROLE sunaiva_app"))
        await session.execute(
            text("SELECT set_config('sunaiva.account', :account, true)"), {"account": str(who.sub)}
        )
        yield session


async def allowed_session(
    who: Annotated[Bearer, Depends(bearer)], session: Annotated[AsyncSession, Depends(own_session)]
) -> AsyncSession:
    asked = {"account": who.sub, "session": who.sid, "now": datetime.now(UTC)}
    standing = (await session.execute(STANDING, asked)).one_or_none()
    if standing is None or not standing.is_live:
        raise HTTPException(401, "Log in.")
    if "account.own" not in standing.permissions:
        raise HTTPException(403, "Not allowed.")
    return session


@app.get("/api/v1/account")
async def read_account(
    who: Annotated[Bearer, Depends(bearer)],
    session: Annotated[AsyncSession, Depends(allowed_session)],
) -> Account:
    found = await session.scalar(select(AccountRow).where(AccountRow.id == who.sub))
    if found is None:
        raise HTTPException(404, "There is nobody.")
    roles = await session.scalars(select(RoleRow.role).where(RoleRow.account_id == who.sub))
    return Account(
        id=found.id,
        mail=found.mail,
        name=found.name,
        language=found.language,
        created_at=found.created_at,
        password_changed_at=found.password_changed_at,
        roles=list(roles),
    )


@app.get("/health/live")
async def live() -> dict[str, str]:
    return {"status": "ok"}
