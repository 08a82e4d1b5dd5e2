"""From nothing to a verified login, without a browser: the real server, its worker, and the mailbox of development."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cloud_api.homes import cloud_folder
from tests.cloud_api.readiness import await_ready

START_SECONDS = 180.0
MAIL_SECONDS = 30.0
PASSWORD = "seven green lanterns above Oslo"


@pytest.fixture
def server() -> Iterator[httpx.Client]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    foreign = ("SUNAIVA_", "DATABASE_", "REDIS_", "SMTP_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    with cloud_folder() as home:
        process = subprocess.Popen(
            [sys.executable, "-c", "from cloud_api.cli import main; main()", "serve"],
            env=environ
            | {
                "SUNAIVA_CLOUD_HOME": str(home),
                "SUNAIVA_CLOUD_PORT": str(port),
                "PYTHONPATH": str(Path(__file__).parents[3]),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            await_ready(process, url, seconds=START_SECONDS)
            with httpx.Client(base_url=url, timeout=START_SECONDS) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(START_SECONDS)


def written_token(server: httpx.Client) -> str:
    """Of the link in the newest mail, once the worker has sent it."""
    never = threading.Event()
    for _ in range(int(MAIL_SECONDS / 0.25)):
        ids = re.findall(r"/dev/mail/([0-9a-f-]{36})", server.get("/dev/mail").text)
        if ids:
            found = re.search(r"#(sunaiva_\w+_[\w-]{43})", server.get(f"/dev/mail/{ids[0]}").text)
            assert found
            return found[1]
        never.wait(0.25)
    raise AssertionError("no mail came")


def test_a_newcomer_signs_up_answers_the_mail_logs_in_refreshes_and_logs_out(
    server: httpx.Client,
) -> None:
    mail = "ada@example.org"
    texts = {each["kind"]: each for each in server.get("/api/v1/consents").json()}
    agreed = {kind: texts[kind]["version"] for kind in ("terms", "privacy")}
    signing_up = {"mail": mail, "password": PASSWORD, **agreed}
    asked = server.post("/api/v1/auth/sign-up", json=signing_up)
    assert asked.status_code == 202, asked.text
    token = written_token(server)
    verifying = {"token": token, "password": PASSWORD}
    assert server.post("/api/v1/auth/verify", json=verifying).status_code == 204
    answer = server.post("/api/v1/auth/login", json={"mail": mail, "password": PASSWORD})
    tokens = answer.json()["tokens"]
    answer = server.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    tokens = answer.json()
    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    me = server.get("/api/v1/account", headers=bearer)
    assert me.json()["mail"] == mail
    assert server.post("/api/v1/auth/logout", json={}, headers=bearer).status_code == 204
    assert server.get("/api/v1/account", headers=bearer).status_code == 401
