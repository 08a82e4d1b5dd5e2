"""Logging in at a cloud, which here is a small server that says what the test wants."""

import json
import threading
from collections.abc import Callable, Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mcp_server.device import Device
from mcp_server.syncing import account
from mcp_server.syncing.account import CloudAwayError, LoggedOutError, origin
from mcp_server.syncing.session import Session
from mcp_server.vault import meeting
from shared.errors import ForbiddenError, InvalidError
from tests.builders import opened

Answer = Callable[[str, dict[str, Any]], tuple[int, Any]]
CODE = {
    "device_code": "d",
    "user_code": "BCDF-GHJK",
    "verification_uri": "http://127.0.0.1/account/device",
    "verification_uri_complete": "http://127.0.0.1/account/device#BCDF-GHJK",
    "expires_in": 900,
    "interval": 5,
}


class Server:
    def __init__(self, answer: Answer) -> None:
        asked: list[tuple[str, dict[str, Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
                self._answer(body)

            def do_GET(self) -> None:
                self._answer({})

            def _answer(self, body: dict[str, Any]) -> None:
                asked.append((self.path, body))
                status, said = answer(self.path, body)
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with opened(tmp_path / "vault", ready=False) as device:
        yield device


@pytest.fixture
def server() -> Iterator[Callable[[Answer], Server]]:
    made: list[Server] = []

    def make(answer: Answer) -> Server:
        made.append(Server(answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ends(steps: Generator[Any, None, Any]) -> Any:
    """What comes of it at last."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


def tokens(number: int) -> dict[str, Any]:
    return {
        "access_token": f"access {number}",
        "refresh_token": f"refresh {number}",
        "expires_in": 900,
    }


def logged_in(device: Device, at: str) -> Session:
    with device.vault.writing() as db:
        meeting.make(db, "cloud", at, refresh_token="refresh 0", now=device.clock())
    return Session(device)


def kept(device: Device) -> str | None:
    with device.vault.reading() as db:
        return meeting.refresh_token(db)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("https://cloud.example.org/", "https://cloud.example.org"),
        ("https://cloud.example.org:8443", "https://cloud.example.org:8443"),
        (" http://127.0.0.1:8400", "http://127.0.0.1:8400"),
        ("http://localhost:8400", "http://localhost:8400"),
        ("http://[::1]:8400", "http://[::1]:8400"),
    ],
)
def test_the_address_of_a_cloud(given: str, address: str) -> None:
    assert origin(given) == address


@pytest.mark.parametrize(
    "given",
    [
        "http://cloud.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost@example.org",
        "https://name:secret@example.org",
        "https://example.org/elsewhere",
        "https://example.org:port",
        "ftp://example.org",
        "example.org",
        "",
    ],
)
def test_what_is_no_address_or_open_to_everybody_on_the_way_is_refused(given: str) -> None:
    with pytest.raises(InvalidError):
        origin(given)


def test_the_next_refresh_token_is_kept_before_anything_is_done_with_it(
    device: Device, server: Callable[[Answer], Server]
) -> None:
    there = server(lambda path, body: (200, tokens(1)))
    session = logged_in(device, there.url)
    assert session.access_token() == "access 1"
    assert kept(device) == "refresh 1"
    assert there.asked == [("/api/v1/auth/refresh", {"refresh_token": "refresh 0"})]


def test_many_who_need_a_token_renew_it_once(
    device: Device, server: Callable[[Answer], Server]
) -> None:
    there = server(lambda path, body: (200, tokens(1)))
    session = logged_in(device, there.url)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(session.access_token())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["access 1"] * 8
    assert len(there.asked) == 1


def test_a_session_that_is_over_is_forgotten_and_said(
    device: Device, server: Callable[[Answer], Server]
) -> None:
    there = server(lambda path, body: (401, {"code": "session_over", "detail": "It is over."}))
    session = logged_in(device, there.url)
    with pytest.raises(LoggedOutError, match="sunaiva login"):
        session.access_token()
    assert kept(device) is None


@pytest.mark.parametrize(
    "answer",
    [(200, b"<html>the hotel's wifi"), (302, {}), (503, {}), (200, b"x" * 2_000_000)],
    ids=["a page", "elsewhere", "busy", "without an end"],
)
def test_what_is_no_answer_of_a_cloud_costs_no_session(
    device: Device, server: Callable[[Answer], Server], answer: tuple[int, Any]
) -> None:
    there = server(lambda path, body: answer)
    session = logged_in(device, there.url)
    with pytest.raises(CloudAwayError):
        session.access_token()
    assert kept(device) == "refresh 0"


def test_a_login_waits_for_the_person(device: Device, server: Callable[[Answer], Server]) -> None:
    polls = iter([(400, {"error": "authorization_pending"}), (200, tokens(1))])

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        match path.removeprefix("/api/v1"):
            case "/auth/device/code":
                return 200, CODE | {"interval": 1}
            case "/auth/device/token":
                return next(polls)
            case _:
                return 200, {"mail": "ada@example.org"}

    there = server(answer)
    steps = Session(device).log_in(there.url, cancelled=lambda: False)
    shown = next(steps)
    assert shown["login"]["user_code"] == "BCDF-GHJK"
    assert ends(steps) == "ada@example.org"
    assert kept(device) == "refresh 1"
    assert str(there.asked[0]).count("Sunaiva on") == 1


def test_a_login_that_was_refused_changes_nothing(
    device: Device, server: Callable[[Answer], Server]
) -> None:
    there = server(
        lambda path, body: (
            (200, CODE) if path.endswith("/code") else (400, {"code": "access_denied"})
        )
    )
    with pytest.raises(ForbiddenError, match="refused"):
        list(Session(device).log_in(there.url, cancelled=lambda: False))
    with device.vault.reading() as db:
        assert meeting.read(db) is None


def test_nobody_answers(device: Device) -> None:
    with account.http_client("http://127.0.0.1:9") as client, pytest.raises(CloudAwayError):
        account.begin(client)
