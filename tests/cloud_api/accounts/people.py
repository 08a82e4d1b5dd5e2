"""People of tests: what they do over HTTP, and the mails they get."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from httpx import AsyncClient, Response
from msgspec import Struct

from cloud_api.deps import Deps
from cloud_api.jobs import application
from cloud_api.notifications.folder import FolderMailer, KeptMail
from cloud_api.rights.rules import CONSENTS

PASSWORD = "seven green lanterns above Oslo"
AGREED = {"terms": CONSENTS["terms"], "privacy": CONSENTS["privacy"]}
OTHER_PASSWORD = "quiet harbour with nine wooden boats"
_TOKEN = re.compile(r"#(sunaiva_[a-z_]+_[\w-]{43})")
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
    """The folder in which mails arrive, once the jobs that wait are done."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def to(self, address: str) -> list[KeptMail]:
        """Oldest first."""
        await drain(self._deps)
        mails = FolderMailer(self._deps.settings.home / "mail", production=False).newest(100)
        return [mail for mail in reversed(mails) if mail.to == address]

    async def subjects(self, address: str) -> list[str]:
        return [mail.subject for mail in await self.to(address)]

    async def token(self, address: str) -> str:
        """Of the last link that was written to this address."""
        found = [_TOKEN.findall(mail.text) for mail in await self.to(address)]
        token: str = [tokens[0] for tokens in found if tokens][-1]
        return token


async def drain(deps: Deps) -> None:
    """Does every job that waits, as the worker would."""
    app = application(deps.db, deps.jobs, deps.clock)
    async with app.open_async(deps.db.pool):
        await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)


class Person(Struct):
    """Somebody at a browser."""

    client: AsyncClient
    mail: str
    access_token: str = ""
    refresh_token: str = ""
    headers: dict[str, str] = {}
    """Sent with everything."""

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
        return self.headers | own | {name.replace("_", "-"): value for name, value in more.items()}


def code_of(response: Response) -> str:
    code: str = response.json()["code"]
    return code
