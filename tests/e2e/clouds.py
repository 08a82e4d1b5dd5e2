"""A cloud as somebody runs it for themself, and a person with a browser who has an account there."""

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from msgspec import Struct

from tests.cloud_api.accounts.people import AGREED
from tests.people import PATIENCE_SECONDS, Person

Found = TypeVar("Found")

PASSWORD = "seven green lanterns above Oslo"
MAIL = "ada@example.org"
_TOKEN = re.compile(r"#(sunaiva_[a-z_]+_[\w-]{43})")
_COMMAND = [sys.executable, "-P", "-c", "from cloud_api.cli import main; main()", "serve"]
_POLL_SECONDS = 0.05


def until(look: Callable[[], Found | None], seconds: float = PATIENCE_SECONDS) -> Found:
    """What `look` finds, as soon as it finds anything."""
    pause, ends = threading.Event(), time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < ends, "it never came to pass"
        pause.wait(_POLL_SECONDS)
    return found


class Cloud:
    """One installation, which can be stopped and started again at the same address."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._port: int = server.getsockname()[1]
        self.home = home
        self.url = f"http://127.0.0.1:{self._port}"
        self._environ = {
            name: value
            for name, value in environ.items()
            if not name.startswith(("SUNAIVA_", "DATABASE_", "REDIS_"))
        } | {
            "SUNAIVA_CLOUD_HOME": str(home),
            "SUNAIVA_CLOUD_URL": self.url,
            "SUNAIVA_CLOUD_PORT": str(self._port),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=PATIENCE_SECONDS)

    def start(self) -> None:
        with (self.home / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(_COMMAND, env=self._environ, stdout=log, stderr=log)
        until(self._is_ready)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        self._client.close()
        self.stop()

    def post(self, path: str, body: dict[str, Any], token: str | None = None) -> Any:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        response = self._client.post(path, json=body, headers=headers)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def _is_ready(self) -> bool | None:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "serve.log").read_text()
        try:
            return True if httpx.get(f"{self.url}/health/ready").is_success else None
        except httpx.TransportError:
            return None


@contextmanager
def serving(home: Path, environ: dict[str, str]) -> Iterator[Cloud]:
    cloud = Cloud(home, environ)
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.close()


class Browser(Struct):
    """Somebody with an account, at a browser."""

    cloud: Cloud
    token: str

    def approves(self, person: Person, *arguments: str | Path, stdin: bytes = b"") -> Any:
        """The JSON of a command that logs in, once this person has approved its code."""
        command = person.starts(*arguments, "--json", stdin=stdin)
        assert command.stderr is not None
        for line in command.stderr:
            if code := re.search(rb"enter the code ([A-Z]{4}-[A-Z]{4})", line):
                decided = {"user_code": code[1].decode(), "approve": True}
                self.cloud.post("/account/device/decide", decided, self.token)
                break
        return person.ends(command)


def signed_up(cloud: Cloud, mail: str = MAIL) -> Browser:
    cloud.post("/auth/sign-up", {"mail": mail, "password": PASSWORD, **AGREED})
    token = until(lambda: _token(cloud, mail))
    cloud.post("/auth/verify", {"token": token, "password": PASSWORD})
    answer = cloud.post("/auth/login", {"mail": mail, "password": PASSWORD})
    return Browser(cloud, answer["tokens"]["access_token"])


def _token(cloud: Cloud, mail: str) -> str | None:
    for file in sorted((cloud.home / "mail").glob("*.eml")):
        text = file.read_text()
        if mail in text and (found := _TOKEN.search(text.replace("=\n", ""))):
            return found[1]
    return None
