"""The whole way of one person, from sign-up to log-out."""

import pytest

from tests.cloud_api.accounts.people import Person

pytestmark = pytest.mark.anyio


async def test_a_person_signs_up_logs_in_refreshes_and_logs_out(ada: Person) -> None:
    me = await ada.get("/account")
    assert me.status_code == 200, me.text
    assert me.json()["mail"] == "ada@example.org"
    assert (await ada.refresh()).status_code == 200
    assert (await ada.post("/auth/logout")).status_code == 204
    assert (await ada.get("/account")).status_code == 401
    assert (await ada.refresh()).status_code == 401
