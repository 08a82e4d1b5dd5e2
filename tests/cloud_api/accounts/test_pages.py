"""The pages behind links, as far as a server can say: the browser does the rest."""

import pytest
from litestar.testing import AsyncTestClient
from litestar.types import ASGIApp

from cloud_api.accounts.routes.pages import PAGES

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("page", [page.name for page in PAGES])
async def test_a_page_runs_our_script_only_and_sends_its_form_nowhere(
    client: AsyncTestClient[ASGIApp], page: str
) -> None:
    answer = await client.get(f"/account/{page}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "form-action 'none'" in policy
    assert f'data-does="{page}"' in answer.text
    assert "<script>" not in answer.text


async def test_the_script_does_what_each_page_is_for(client: AsyncTestClient[ASGIApp]) -> None:
    script = await client.get("/account/page.js")
    assert script.headers["content-type"].startswith("text/javascript")
    for page in PAGES:
        assert f"  {page.name}: async () =>" in script.text
    assert (await client.get("/account/page.css")).status_code == 200
