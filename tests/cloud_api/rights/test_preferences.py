"""Which mails somebody wants, said in their account."""

import pytest

from tests.cloud_api.accounts.people import Person, code_of

pytestmark = pytest.mark.anyio


async def test_mails_one_can_do_without_are_chosen_in_the_account(ada: Person) -> None:
    headers = {"authorization": f"Bearer {ada.access_token}"}
    path = "/api/v1/account/mail-preferences"
    changed = await ada.client.put(
        f"{path}/new_sign_in", json={"is_wanted": False}, headers=headers
    )
    assert changed.json() == {"kind": "new_sign_in", "is_wanted": False}
    assert (await ada.get("/account/mail-preferences")).json() == [
        {"kind": "new_sign_in", "is_wanted": False},
    ]
    refused = await ada.client.put(
        f"{path}/password_changed", json={"is_wanted": False}, headers=headers
    )
    assert code_of(refused) == "mail_kind_not_optional"
    (newest, *_) = (await ada.get("/account/audit")).json()["items"]
    assert (newest["action"], newest["detail"]) == ("mail.unwanted", {"kind": "new_sign_in"})
