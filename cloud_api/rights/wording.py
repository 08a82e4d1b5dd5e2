"""The texts that people agree to, in every version that ever counted: `texts/kind-version.md` is never edited, only followed."""

from collections.abc import Mapping
from importlib import resources

from shared.errors import NotFoundError

Texts = Mapping[tuple[str, str], str]
"""By kind and version."""


class ConsentTextNotFoundError(NotFoundError):
    code = "consent_text_not_found"


def read_texts() -> Texts:
    found = {}
    for file in (resources.files("cloud_api.rights") / "texts").iterdir():
        kind, _, version = file.name.removesuffix(".md").partition("-")
        found[kind, version] = file.read_text("utf-8")
    return found


def text_of(texts: Texts, kind: str, version: str) -> str:
    """
    Raises:
        ConsentTextNotFoundError
    """
    text = texts.get((kind, version))
    if text is None:
        raise ConsentTextNotFoundError(
            "There is no such text. /api/v1/consents lists the present ones."
        )
    return text
