"""The audit log says where something was done from."""

from pathlib import Path

import pytest

from cloud_api.settings import Settings, load
from tests.cloud_api.accounts.people import Person

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"SUNAIVA_CLOUD_HOME": str(tmp_path), "SUNAIVA_CLOUD_PROXIES": "1"})


async def test_an_entry_names_the_network_and_logging_out_by_a_refresh_token_makes_one(
    ada: Person,
) -> None:
    phone, laptop = Person(ada.client, ada.mail), Person(ada.client, ada.mail)
    phone.headers = laptop.headers = {"x-forwarded-for": "192.0.2.7"}
    await phone.log_in()
    await laptop.log_in()
    phone.access_token = ""
    await phone.post("/auth/logout", {"refresh_token": phone.refresh_token})
    (newest, *others) = (await laptop.get("/account/audit")).json()["items"]
    assert (newest["action"], newest["network"]) == ("session.ended", "192.0.2.0/24")
    assert [each["network"] for each in others[:2]] == ["192.0.2.0/24"] * 2
