"""Reads the words and the layout of mails from the files beside this module, once for a process."""

import tomllib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct

from cloud_api.http.languages import LANGUAGES
from cloud_api.notifications.rules import Layout, Words, words

TEMPLATES = Path(__file__).parent / "templates"

_WORDS = Path(__file__).parent / "words"


class Wording(Struct, frozen=True):
    languages: dict[str, Words]
    layout: Layout

    def in_language(self, language: str) -> Words:
        return self.languages[language]


def read_wording() -> Wording:
    return Wording(
        languages={each: words(each, _document(each)) for each in LANGUAGES}, layout=_layout()
    )


def _document(language: str) -> dict[str, object]:
    return tomllib.loads((_WORDS / f"{language}.toml").read_text(encoding="utf-8"))


def _layout() -> Layout:
    loader = FileSystemLoader(TEMPLATES)
    escaping = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    plain = Environment(
        loader=loader,
        autoescape=False,  # noqa: S701 (text/plain; the HTML is rendered by the other one)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return Layout(
        text=plain.get_template("layout.txt"),
        html=escaping.get_template("layout.html"),
        page=escaping.get_template("page.html"),
    )
