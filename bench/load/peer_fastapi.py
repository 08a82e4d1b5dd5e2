"""The same endpoints on FastAPI, SQLAlchemy and uvicorn, as their own documentation shows how to write them.

It runs in an environment of its own and imports nothing of ours. It reads the same rows of the same database, under the
same row-level security, for the same tokens.
"""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(
    os.environ["LOAD_BENCH_DATABASE"], pool_size=int(os.environ["LOAD_BENCH_POOL"]), max_overflow=0
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
public_key = jwt.PyJWK.from_json(os.environ["LOAD_BENCH_PUBLIC_KEY"]).key
bearer = HTTPBearer()
app = FastAPI()


class Base(DeclarativeBase):
    pass


class PersonRow(Base):
    __tablename__ = "load_people"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    mail: Mapped[str]
    name: Mapped[str]
    created_at: Mapped[datetime]


class Person(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    mail: str
    name: str
    created_at: datetime


async def current_account(
    given: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
) -> UUID:
    try:
        claims = jwt.decode(given.credentials, public_key, algorithms=["EdDSA"], audience="load")
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Log in.") from None
    return UUID(claims["sub"])


async def own_session(
    account: Annotated[UUID, Depends(current_account)],
) -> AsyncIterator[AsyncSession]:
    async with sessions() as session, session.begin():
        await session.execute(text("SET LOCAL ROLE sunaiva_read"))
        await session.execute(
            text("SELECT set_config('sunaiva.account', :account, true)"), {"account": str(account)}
        )
        yield session


@app.get("/api/v1/account")
async def read_account(
    account: Annotated[UUID, Depends(current_account)],
    session: Annotated[AsyncSession, Depends(own_session)],
) -> Person:
    found = await session.scalar(select(PersonRow).where(PersonRow.id == account))
    if found is None:
        raise HTTPException(404, "There is nobody.")
    return Person.model_validate(found)


@app.get("/health/live")
async def live() -> dict[str, str]:
    return {"status": "ok"}
