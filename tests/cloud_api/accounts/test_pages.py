"""The pages behind links, as far as a server can say: the browser does the rest."""

import re
from html.parser import HTMLParser

import pytest
from httpx import AsyncClient

from cloud_api.accounts.routes.pages import PAGES, read_words
from cloud_api.http.languages import LANGUAGES

pytestmark = pytest.mark.anyio


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        return [value for _, own in self.found if (value := own.get(attribute))]


async def opened(client: AsyncClient, page: str, language: str = "en") -> Elements:
    answer = await client.get(f"/account/{page}", headers={"accept-language": language})
    assert answer.status_code == 200
    return Elements(answer.text)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_runs_our_script_only_and_sends_its_form_nowhere(
    client: AsyncClient, page: str
) -> None:
    answer = await client.get(f"/account/{page}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "form-action 'none'" in policy
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    assert not re.search(r" on\w+=", answer.text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
async def test_a_page_speaks_the_language_of_who_opens_it(
    client: AsyncClient, page: str, language: str
) -> None:
    answer = await client.get(f"/account/{page}", headers={"accept-language": language})
    assert answer.headers["content-language"] == language
    assert f'<html lang="{language}">' in answer.text
    assert f"<h1>{read_words(language)[page]['title']}</h1>" in answer.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_the_same_things(language: str) -> None:
    said = {name: set(section) for name, section in read_words(language).items()}
    assert said == {name: set(section) for name, section in read_words("en").items()}


@pytest.mark.parametrize("page", PAGES)
async def test_every_field_has_a_label_and_every_step_a_place_for_the_focus(
    client: AsyncClient, page: str
) -> None:
    elements = await opened(client, page)
    fields = [own["id"] for tag, own in elements.found if tag == "input"]
    assert fields == elements.values("for")
    identifiers = elements.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert set(elements.values("aria-describedby")) <= set(identifiers)
    assert set(elements.values("aria-labelledby")) <= set(identifiers)
    assert "alert" in elements.values("role")


async def test_a_person_who_is_not_signed_in_can_sign_in_see_who_asks_and_decide(
    client: AsyncClient,
) -> None:
    elements = await opened(client, "device")
    shown = [own for _, own in elements.found if own.get("data-step") and "hidden" not in own]
    assert [own["data-step"] for own in shown] == ["sign_in"]
    steps = elements.values("data-step")
    assert steps == ["sign_in", "factor", "code", "decide", "approved", "refused"]
    assert elements.values("value") == ["approve", "refuse"]
    facts = {"shown-code", "shown-device", "shown-at", "shown-network"}
    assert facts <= set(elements.values("id"))


async def test_who_looks_can_refuse_say_that_it_is_another_code_and_sign_in_by_passkey_alone(
    client: AsyncClient,
) -> None:
    answer = await client.get("/account/device")
    steps = re.findall(r'data-step="(\w+)".*?</section>', answer.text, re.DOTALL)
    parts = dict(zip(steps, re.split(r"</section>", answer.text), strict=False))
    assert 'data-does="passkey"' in parts["sign_in"]
    assert 'value="refuse"' in parts["decide"]
    assert 'data-does="another"' in parts["decide"]


async def test_the_script_decides_only_the_code_that_the_server_showed_and_only_after_a_while(
    client: AsyncClient,
) -> None:
    script = (await client.get("/account/page.js")).text
    assert re.findall(r"shownCode = (.*?);", script) == ["null", "null", "asking.user_code"]
    decide = script.partition("  decide: async")[2].partition("  },")[0]
    assert "if (performance.now() < decidableAt) return;" in decide
    assert "user_code: shownCode" in decide
    assert "userCode" not in decide


async def test_the_script_finds_what_it_looks_for_and_says_nothing_itself(
    client: AsyncClient,
) -> None:
    script = await client.get("/account/page.js")
    assert script.headers["content-type"].startswith("text/javascript")
    found = [await opened(client, page) for page in PAGES]
    for attribute, pattern in (
        ("id", r'(?:getElementById|value|fill)\("([\w-]+)"'),
        ("data-step", r'show\("(?!none)(\w+)"'),
    ):
        there = {value for each in found for value in each.values(attribute)}
        assert set(re.findall(pattern, script.text)) <= there
    for does in {value for each in found for value in each.values("data-does")}:
        assert f"  {does}: async (" in script.text
    assert (await client.get("/account/page.css")).status_code == 200
