"""The same endpoints on FastAPI, SQLAlchemy and uvicorn, as their own documentation shows how to write them.

It runs in an environment of its own and imports nothing of ours. It reads the same rows of the same database, under the
same row-level security, for the same tokens.
"""

import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import DateTime, select, text, update
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


class SessionRow(Base):
    __tablename__ = "sessions"

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    device: Mapped[str | None]
    network: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


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


class Edit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    language: Annotated[str, Field(pattern="^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")] | None = None


class Session(BaseModel):
    id: UUID
    device: str | None
    network: str
    started_at: datetime
    used_at: datetime
    expires_at: datetime
    is_this: bool


class Sessions(BaseModel):
    items: list[Session]


class Entry(BaseModel):
    id: UUID
    noted_at: datetime
    action: str
    actor: str
    network: str | None
    detail: dict[str, str | int | bool | None]


class Page(BaseModel):
    items: list[Entry]
    next_cursor: str | None = None


class Bearer(BaseModel):
    sub: UUID
    sid: UUID


ACT = text(
    "SELECT set_config('role', 'sunaiva_app', true), set_config('sunaiva.account', :account, true)"
)
ENTRIES = text(
    "SELECT id, noted_at, action, actor, network, detail::json AS detail FROM audit_entries "
    "WHERE subject = (SELECT subject FROM audit_subjects WHERE account_id = :account) "
    "ORDER BY id DESC LIMIT :most"
)
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
        await session.execute(ACT, {"account": str(who.sub)})
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


Who = Annotated[Bearer, Depends(bearer)]
Own = Annotated[AsyncSession, Depends(own_session)]
Allowed = Annotated[AsyncSession, Depends(allowed_session)]


async def own_account(who: Bearer, session: AsyncSession) -> tuple[bytes, str]:
    """As JSON, and its tag."""
    found = await session.scalar(select(AccountRow).where(AccountRow.id == who.sub))
    if found is None:
        raise HTTPException(404, "There is nobody.")
    roles = await session.scalars(select(RoleRow.role).where(RoleRow.account_id == who.sub))
    account = Account(
        id=found.id,
        mail=found.mail,
        name=found.name,
        language=found.language,
        created_at=found.created_at,
        password_changed_at=found.password_changed_at,
        roles=list(roles),
    )
    # Written out once, for the body and the tag: FastAPI's own way would do it twice.
    body = account.model_dump_json().encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


@app.get("/api/v1/account", response_model=Account)
async def read_account(who: Who, session: Allowed) -> Response:
    body, tag = await own_account(who, session)
    return Response(body, media_type="application/json", headers={"etag": tag})


@app.patch("/api/v1/account", response_model=Account)
async def edit_account(
    edit: Edit, who: Who, session: Allowed, if_match: Annotated[str | None, Header()] = None
) -> Response:
    if if_match is None:
        raise HTTPException(428, "Send If-Match.")
    _, present = await own_account(who, session)
    if if_match != "*" and present not in {each.strip() for each in if_match.split(",")}:
        raise HTTPException(412, "It was changed.")
    await session.execute(
        update(AccountRow)
        .where(AccountRow.id == who.sub)
        .values(edit.model_dump(exclude_unset=True))
    )
    body, tag = await own_account(who, session)
    return Response(body, media_type="application/json", headers={"etag": tag})


@app.get("/api/v1/account/sessions")
async def read_sessions(who: Who, session: Allowed) -> Sessions:
    rows = await session.scalars(
        select(SessionRow)
        .where(SessionRow.account_id == who.sub, SessionRow.ended_at.is_(None))
        .where(SessionRow.expires_at > datetime.now(UTC))
        .order_by(SessionRow.id.desc())
        .limit(200)
    )
    return Sessions(
        items=[
            Session(
                id=row.id,
                device=row.device,
                network=row.network,
                started_at=row.started_at,
                used_at=row.used_at,
                expires_at=row.expires_at,
                is_this=row.id == who.sid,
            )
            for row in rows
        ]
    )


@app.get("/api/v1/account/audit")
async def read_audit(
    who: Who, session: Own, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page:
    rows = await session.execute(ENTRIES, {"account": who.sub, "most": limit + 1})
    items = [Entry.model_validate(dict(row)) for row in rows.mappings()]
    return Page(items=items[:limit])


@app.get("/health/live")
async def live() -> dict[str, str]:
    return {"status": "ok"}
