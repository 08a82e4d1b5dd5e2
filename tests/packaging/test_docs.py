"""What the product offers is what the documents describe: nothing undocumented, no dead link."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from cloud_api import settings as cloud_settings
from mcp_server import settings
from mcp_server.device import Device
from mcp_server.tools import build_tools
from shared import errors

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")]
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")


def _words() -> set[str]:
    """All that stands between backticks, whole and word by word."""
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    )
    spans = set(re.findall(r"`([^`\n]+)`", text))
    return spans | {word for span in spans for word in span.split()}


def _anchor(heading: str) -> str:
    """As the usual Markdown hosts make it."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _no_device() -> Device:
    raise AssertionError("naming the tools opens no vault")


def test_every_command_is_documented() -> None:
    app = import_module("mcp_server.cli.commands").app
    commands = {name for name in app if not name.startswith("-") and app[name].show}
    assert "recall" in commands
    assert {f"sunaiva {name}" for name in commands} - _words() == set()


def test_every_tool_is_documented() -> None:
    tools = {tool.name for tool in build_tools(_no_device)}
    assert "recall" in tools
    assert tools - _words() == set()


def test_every_setting_is_documented() -> None:
    with pytest.raises(errors.InvalidError, match="Known settings are") as refused:
        settings.load({"SUNAIVA_NOT_THERE": ""})
    known = set(re.findall(r"SUNAIVA_\w+", str(refused.value))) - {"SUNAIVA_NOT_THERE"}
    assert len(known) > 1
    assert known - _words() == set()


def test_every_setting_of_the_cloud_is_documented() -> None:
    assert set(cloud_settings.KNOWN) - _words() == set()


def test_every_error_code_is_documented() -> None:
    families = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.code for each in families if issubclass(each, errors.SunaivaError)}
    assert codes - _words() == set()


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
)
def test_no_link_is_dead(document: Path) -> None:
    dead = []
    for path, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        target = (document.parent / path) if path else document
        if not target.exists():
            dead.append(path)
        elif anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            if anchor not in {_anchor(heading) for heading in headings}:
                dead.append(path + anchor)
    assert dead == []
