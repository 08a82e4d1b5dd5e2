"""Every refusal can be said in every language."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloud_api
from cloud_api.http.languages import LANGUAGES, load_messages, preferred
from shared.errors import SunaivaError

MESSAGES = load_messages()


def _codes(family: type[SunaivaError]) -> Iterator[str]:
    for each in family.__subclasses__():
        if each.__module__.startswith("cloud_api."):
            yield each.code
        yield from _codes(each)


def test_every_error_of_the_cloud_has_a_sentence_in_every_language() -> None:
    for module in pkgutil.walk_packages(cloud_api.__path__, "cloud_api."):
        if "migrations" not in module.name:
            importlib.import_module(module.name)
    assert set(_codes(SunaivaError)) - set(MESSAGES) == set()


@pytest.mark.parametrize("code", MESSAGES)
def test_no_sentence_is_missing(code: str) -> None:
    assert set(MESSAGES[code]) == set(LANGUAGES) - {"en"}
    assert all(MESSAGES[code].values())


@given(st.text(max_size=200))
def test_any_header_prefers_a_language_we_have(header: str) -> None:
    assert preferred(header) in LANGUAGES


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("fr", "fr"),
        ("de-CH;q=0.2, es", "es"),
        ("de;q=0, en", "en"),
        ("*", "en"),
        ("es, fr", "es"),
    ],
)
def test_the_first_of_the_heaviest_is_preferred(header: str, language: str) -> None:
    assert preferred(header) == language
