"""People of tests: what they do over HTTP, and the mails they get."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from httpx import Response
from litestar.testing import AsyncTestClient
from litestar.types import ASGIApp
from msgspec import Struct

from cloud_api.notifications.actions import MailKey
from cloud_api.notifications.letters import SealedPart, decode
from shared.crypto import open_sealed

PASSWORD = "seven green lanterns above Oslo"
OTHER_PASSWORD = "quiet harbour with nine wooden boats"
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Hands:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class Mailbox:
    """The mails that wait to be sent, opened: what the worker would hand over."""

    def __init__(self, url: str, key: MailKey) -> None:
        self._url = url
        self._key = key

    def all(self) -> list[SealedPart]:
        with psycopg.connect(self._url) as connection:
            rows = connection.execute(
                "SELECT id, sealed FROM mails WHERE sealed IS NOT NULL ORDER BY id"
            ).fetchall()
        return [
            decode(open_sealed(self._key, bytes(sealed), bound_to=mail_id.bytes))
            for mail_id, sealed in rows
        ]

    def to(self, address: str) -> list[SealedPart]:
        return [mail for mail in self.all() if mail.to == address]

    def kinds(self, address: str) -> list[str]:
        return [type(mail.letter).__name__ for mail in self.to(address)]

    def token(self, address: str) -> str:
        """Of the last link that was written to this address."""
        links = [getattr(mail.letter, "link", "") for mail in self.to(address)]
        return [link.partition("#")[2] for link in links if "#" in link][-1]


class Person(Struct):
    """Somebody at a browser."""

    client: AsyncTestClient[ASGIApp]
    mail: str
    access_token: str = ""
    refresh_token: str = ""

    async def post(self, path: str, body: Any = None, **headers: str) -> Response:
        return await self.client.post(
            f"/api/v1{path}", json=body or {}, headers=self._headers(headers)
        )

    async def get(self, path: str) -> Response:
        return await self.client.get(f"/api/v1{path}", headers=self._headers({}))

    async def delete(self, path: str) -> Response:
        return await self.client.delete(f"/api/v1{path}", headers=self._headers({}))

    async def patch(self, path: str, body: Any, **headers: str) -> Response:
        return await self.client.patch(f"/api/v1{path}", json=body, headers=self._headers(headers))

    async def log_in(self, password: str = PASSWORD) -> Response:
        response = await self.post("/auth/login", {"mail": self.mail, "password": password})
        if response.status_code == 200 and response.json()["state"] == "logged_in":
            self.take(response.json()["tokens"])
        return response

    async def refresh(self) -> Response:
        response = await self.post("/auth/refresh", {"refresh_token": self.refresh_token})
        if response.status_code == 200:
            self.take(response.json())
        return response

    def take(self, tokens: dict[str, Any]) -> None:
        self.access_token, self.refresh_token = tokens["access_token"], tokens["refresh_token"]

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        own = {"authorization": f"Bearer {self.access_token}"} if self.access_token else {}
        return own | {name.replace("_", "-"): value for name, value in more.items()}


def code_of(response: Response) -> str:
    code: str = response.json()["code"]
    return code
