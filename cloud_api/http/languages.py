"""The five languages that errors are said in, and which of them a person reads.

English is the error's own sentence; the others come from `messages/*.toml`, one file for each part of the cloud, where a
section is an error's code.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources

LANGUAGES = ("en", "fr", "de", "es", "zh")

# A browser sends ten or so; what comes after is somebody's experiment.
RANGES_MAX = 20

Messages = Mapping[str, Mapping[str, str]]


def load_messages() -> Messages:
    """Sentences by code, then by language."""
    found: dict[str, dict[str, str]] = {}
    for file in (resources.files("cloud_api.http") / "messages").iterdir():
        if file.name.endswith(".toml"):
            found |= tomllib.loads(file.read_text("utf-8"))
    return found


def preferred(accept_language: str) -> str:
    """The first of our languages in the order of an Accept-Language header (RFC 9110 §12.5.4); English where there is none."""
    wanted: list[tuple[float, int, str]] = []
    for place, each in enumerate(accept_language.split(",")[:RANGES_MAX]):
        name, _, weight = each.partition(";")
        quality = _quality(weight)
        language = name.strip().lower().split("-")[0]
        if language in LANGUAGES and quality > 0:
            wanted.append((-quality, place, language))
    return min(wanted)[2] if wanted else "en"


def _quality(weight: str) -> float:
    name, _, number = weight.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(number)
    except ValueError:
        return 0.0
