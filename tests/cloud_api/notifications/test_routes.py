"""Unsubscribing over HTTP, and the mailbox of development."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from httpx import AsyncClient
from msgspec import structs

from cloud_api.app import create_app
from cloud_api.db import AccountId, Database
from cloud_api.deps import Deps, build
from cloud_api.notifications.actions import (
    Delivery,
    Post,
    Unsubscribing,
    deliver,
    preferences,
    send,
    unsubscribe_token,
)
from cloud_api.notifications.folder import FolderInProductionError
from cloud_api.notifications.letters import Mail, NewSignIn
from cloud_api.settings import load
from tests.cloud_api.notifications.builders import open_account

pytestmark = pytest.mark.anyio

ANN = AccountId(UUID("01990000-0000-7000-8000-00000000000a"))


@pytest.fixture
def letters(deps: Deps) -> Post:
    post = deps.injected["letters"]
    assert isinstance(post, Post)
    return post


def path(letters: Post, kind: str = "new_sign_in") -> str:
    return f"/api/v1/mail/unsubscribe/{unsubscribe_token(letters.key, Unsubscribing(ANN, kind))}"


async def unwanted(db: Database) -> list[str]:
    async with db.transaction(ANN) as connection:
        return [each.kind for each in await preferences(connection, ANN) if not each.is_wanted]


async def test_opening_the_link_asks_and_changes_nothing(
    client: AsyncClient, letters: Post, db: Database
) -> None:
    answer = await client.get(path(letters), headers={"accept-language": "de"})
    assert answer.status_code == 200
    assert "Möchten Sie keine Mails dieser Art mehr?" in answer.text
    assert '<form method="post">' in answer.text
    assert await unwanted(db) == []


async def test_a_link_of_an_account_that_is_gone_leaves_nothing(
    client: AsyncClient, letters: Post, db: Database
) -> None:
    assert (await client.post(path(letters))).status_code == 200
    assert await unwanted(db) == []
    async with db.transaction(ANN) as connection:
        assert (await connection.execute("SELECT FROM audit_subjects")).rowcount == 0


async def test_a_mail_program_unsubscribes_with_one_click(
    client: AsyncClient, letters: Post, db: Database
) -> None:
    await open_account(db, ANN)
    for _ in range(2):
        answer = await client.post(path(letters), data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200
    assert await unwanted(db) == ["new_sign_in"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_link_that_is_not_ours_is_not_found(client: AsyncClient, method: str) -> None:
    answer = await client.request(method, "/api/v1/mail/unsubscribe/AAAA")
    assert (answer.status_code, answer.json()["code"]) == (404, "unsubscribe_link_unknown")


async def test_a_refusal_speaks_the_person_s_language(client: AsyncClient) -> None:
    answer = await client.get("/api/v1/mail/unsubscribe/AAAA", headers={"accept-language": "fr"})
    assert answer.json()["localized_detail"].startswith("Ce lien")


async def test_preferences_are_for_who_is_logged_in(client: AsyncClient) -> None:
    answers = [
        await client.get("/api/v1/account/mail-preferences"),
        await client.put("/api/v1/account/mail-preferences/new_sign_in", json={"is_wanted": False}),
        await client.get("/api/v1/account/audit"),
    ]
    assert [each.status_code for each in answers] == [401, 401, 401]


@pytest.mark.usefixtures("client")  # which opens the database
async def test_a_mail_can_be_looked_at_in_development(
    deps: Deps, letters: Post, db: Database
) -> None:
    letter = NewSignIn(
        datetime(2026, 11, 21, tzinfo=UTC), "<b>Fox</b>", "192.0.2.0/24", "https://x.example"
    )
    async with db.transaction() as connection:
        mail = Mail(to="ann@example.org", language="en", letter=letter, account=None)
        await send(connection, mail, key=letters.key)
        cursor = await connection.execute("SELECT (args->>'mail_id')::uuid FROM procrastinate_jobs")
        row = await cursor.fetchone()
    assert row is not None
    await deliver(letters, Delivery(row[0], None))
    client = from_address(deps, "127.0.0.1")
    listing = await client.get("/dev/mail")
    assert "New sign-in to your account" in listing.text
    single = await client.get(f"/dev/mail/{row[0]}")
    assert "Device: &lt;b&gt;Fox&lt;/b&gt;" in single.text
    framed = await client.get(f"/dev/mail/{row[0]}/html")
    assert "<h1" in framed.text
    assert "sandbox" in framed.headers["content-security-policy"]
    assert "default-src 'none'" in framed.headers["content-security-policy"]


def from_address(deps: Deps, address: str) -> httpx.AsyncClient:
    """Somebody whose connection comes from there."""
    app: Any = create_app(deps)
    transport = httpx.ASGITransport(app=app, client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://cloud.test")


@pytest.mark.parametrize(
    ("address", "headers", "admin_host", "status"),
    [
        ("127.0.0.1", {}, "127.0.0.1", 200),
        ("::1", {}, "127.0.0.1", 200),
        ("192.0.2.7", {}, "127.0.0.1", 403),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.7"}, "127.0.0.1", 403),
        ("192.0.2.7", {}, "0.0.0.0", 200),
    ],
)
async def test_mails_are_shown_to_this_machine_only_unless_somebody_says_otherwise(
    tmp_path: Path, address: str, headers: dict[str, str], admin_host: str, status: int
) -> None:
    home = {"SUNAIVA_CLOUD_HOME": str(tmp_path), "SUNAIVA_CLOUD_ADMIN_HOST": admin_host}
    client = from_address(build(load(home), "postgresql://nowhere"), address)
    assert (await client.get("/dev/mail", headers=headers)).status_code == status


async def test_a_mail_that_is_not_there_is_not_found(deps: Deps) -> None:
    client = from_address(deps, "127.0.0.1")
    answer = await client.get("/dev/mail/..%2f..%2fetc%2fpasswd")
    assert answer.status_code == 404
    assert (await client.get("/dev/mail/ffff")).json()["code"] == "mail_not_found"


def test_the_mailbox_of_development_is_not_there_where_mail_leaves(tmp_path: Path) -> None:
    settings = load({"SUNAIVA_CLOUD_HOME": str(tmp_path), "SMTP_URL": "smtp://127.0.0.1:1"})
    deps = build(settings, "postgresql://nowhere")
    assert not any("/dev/mail" in str(getattr(route, "paths", "")) for route in deps.routes)


def test_production_never_writes_mail_to_a_folder(tmp_path: Path) -> None:
    settings = structs.replace(
        load({"SUNAIVA_CLOUD_HOME": str(tmp_path)}), environment="production"
    )
    with pytest.raises(FolderInProductionError):
        build(settings, "postgresql://nowhere")
