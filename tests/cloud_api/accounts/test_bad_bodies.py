"""Bodies that nobody who means well sends: each is refused in words, and none is a fault of ours."""

import json
from typing import Any

import pytest

from tests.cloud_api.accounts.people import AGREED, PASSWORD, Hands, Person

pytestmark = pytest.mark.anyio

TEXTS = [
    "",
    "\x00" * 12,
    "x" * 2000,
    "a\x00@example.org",
    "💥" * 14,
    "' OR 1=1 -- aaa",
    "../../etc/passwd",
]
RAW = [
    b"",
    b"{",
    b"[]",
    b"7",
    b"\xff\xfe",
    b"[" * 5000,
    b'{"mail": 1e999}',
    b'"' + b"x" * 70_000 + b'"',
]
SHAPES: dict[str, dict[str, object]] = {
    "/auth/sign-up": {
        "mail": "eve@example.org",
        "password": PASSWORD,
        "name": "Eve",
        "language": "en",
        **AGREED,
    },
    "/auth/verify": {"token": "x", "password": "y"},
    "/auth/login": {"mail": "eve@example.org", "password": PASSWORD, "device": "x"},
    "/auth/login/second-factor": {"challenge": "sunaiva_second_factor_x", "code": "123456"},
    "/auth/login/passkey": {"handle": "sunaiva_passkey_x", "credential": {}},
    "/auth/refresh": {"refresh_token": "sunaiva_refresh_x"},
    "/auth/logout": {"refresh_token": "sunaiva_refresh_x"},
    "/auth/password/forgotten": {"mail": "eve@example.org"},
    "/auth/password/reset": {"token": "sunaiva_reset_x", "password": PASSWORD},
    "/auth/mail/confirm": {"token": "x"},
    "/auth/device/code": {"device": "x"},
    "/auth/device/token": {"device_code": "sunaiva_device_x"},
    "/account/step-up/code": {"code": "123456"},
    "/account/device/look": {"user_code": "BCDF-GHJK"},
    "/account/mail": {"mail": "eve@example.org"},
    "/account/totp/confirm": {"code": "123456"},
}


@pytest.mark.parametrize("path", SHAPES)
async def test_no_body_whatever_is_a_fault_of_ours(ada: Person, clock: Hands, path: str) -> None:
    headers = {"authorization": f"Bearer {ada.access_token}", "content-type": "application/json"}
    shape = SHAPES[path]
    values: list[Any] = [*TEXTS, 1, None, [], {"a": 1}]
    odd = [shape | {field: value} for field in shape for value in values]
    for number, body in enumerate([*RAW, *(json.dumps(each).encode() for each in odd)]):
        if number % 25 == 24:
            clock.forward(minutes=1)  # else what is tested is the limit of requests
        answer = await ada.client.post(f"/api/v1{path}", content=body, headers=headers)
        assert answer.status_code < 500, (body[:80], answer.text)
        if answer.status_code >= 400:
            assert answer.json()["code"], body[:80]


@pytest.mark.parametrize("field", ["mail", "password"])
@pytest.mark.parametrize("path", ["/auth/login", "/auth/sign-up"])
async def test_half_a_character_is_no_text(ada: Person, path: str, field: str) -> None:
    body = {"mail": "eve@example.org", "password": PASSWORD, **AGREED} | {field: "\ud800" * 14}
    answer = await ada.client.post(
        f"/api/v1{path}",
        content=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
