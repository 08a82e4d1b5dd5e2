"""Changing one table in TOML as people write it, with the shapes that break libraries."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.connect.jsonc import MalformedError
from mcp_server.connect.toml import add_table, read, remove, set_value

PATH = ("mcp_servers", "sunaiva")
PAIRS = {"command": "/opt/sunaiva", "args": ["mcp"], "env": {"SUNAIVA_HOME": "/v"}}

TEXTS = {
    "empty": "",
    "root keys only": 'model = "x" # why\n',
    "comment above the next table": '[mcp_servers.a]\ncommand = "x" # why\n\n# tui\n[tui]\nz = 1\n',
    "servers apart from each other": (
        '[mcp_servers.a]\ncommand = "x"\n\n[tui]\nz = 1\n\n[mcp_servers.b]\ncommand = "y"\n\n[z]\n'
    ),
    "dotted names at the root": 'mcp_servers.a.command = "x"\nz = 1\n[tui]\nx = 1\n',
    "one table of inline servers": (
        '[mcp_servers]\n# mine\na = { command = "x" }\n"b c" = { command = "y" }\n\n[tui]\nx = 1\n'
    ),
    "a table that hides in a string": "a = \"\"\"\n[mcp_servers.sunaiva]\n\"\"\"\nb = '''\n[x]'''\n",
    "a list over lines": 'a = [\n  "[mcp_servers.sunaiva]", # no\n  { b = "]" },\n]\n',
    "quoted names": '["mcp_servers"."a.b"]\n\'command\' = "x"\n',
    "lists of tables": "[[profile]]\na = 1\n[[profile]]\na = 2\n",
    "dates": "[x]\nday = 2025-03-01\nat = 2025-03-01T10:00:00Z\nnumber = 1_000\nbig = 0xff\n",
    "windows line ends": '[mcp_servers.a]\r\ncommand = "x"\r\n\r\n# tui\r\n[tui]\r\nz = 1\r\n',
    "byte order mark": '\ufeffmodel = "x"\n',
    "blank lines at the end": "a = 1\n\n\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_table_is_added_and_everything_before_it_stays(text: str) -> None:
    after = add_table(text, PATH, PAIRS)
    assert after.startswith(text)
    document = read(after)
    assert document["mcp_servers"].pop("sunaiva") == PAIRS
    before = read(text)
    assert document == {"mcp_servers": {}, **before}
    assert ("\r\n" in text) == ("\r\n" in after)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_removing_takes_back_what_adding_wrote(text: str) -> None:
    assert remove(add_table(text, PATH, PAIRS), PATH) == text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_without_line_end_gets_one_and_loses_nothing(text: str) -> None:
    bare = text.rstrip()
    there_and_back = remove(add_table(bare, PATH, PAIRS), PATH)
    assert there_and_back.rstrip() == bare


PRESENT = {
    "inline with a date": '[mcp_servers]\nsunaiva = { command = "old", day = 2025-03-01 }\n',
    "table": '[mcp_servers.sunaiva]\n# mine\ncommand = "old" # here\nargs = ["mcp"]\n\n# tui\n[tui]\nx=1\n',
    "table with a table": (
        '[mcp_servers.sunaiva]\ncommand = "old"\nargs = ["mcp"]\n[mcp_servers.sunaiva.env]\nA = "1"\n'
        '[mcp_servers.sunaiva.tools.recall]\napproval_mode = "auto"\n[tui]\nx = 1\n'
    ),
    "inline": '[mcp_servers]\nsunaiva = { command = "old", args = ["mcp"] } # ours\na = {command="x"}\n',
    "all inline": 'mcp_servers = { sunaiva = { command = "old", args = ["mcp"] }, a = {} }\nz = 1\n',
    "dotted": '[mcp_servers]\nsunaiva.command = "old"\nsunaiva.args = ["mcp"]\n[tui]\nx = 1\n',
    "without a line end": '[mcp_servers.sunaiva]\nargs = ["mcp"]\ncommand = "old"',
}


@pytest.mark.parametrize("text", PRESENT.values(), ids=PRESENT)
@pytest.mark.parametrize(
    ("place", "value"), [(("command",), "/new"), (("env", "SUNAIVA_HOME"), 'C:\\a "b"\x7f')]
)
def test_setting_changes_that_value_and_no_other(
    text: str, place: tuple[str, ...], value: str
) -> None:
    after = set_value(text, PATH + place, value)
    expected: Any = read(text)
    level = expected["mcp_servers"]["sunaiva"]
    for name in place[:-1]:
        level = level.setdefault(name, {})
    level[place[-1]] = value
    assert read(after) == expected
    assert set_value(after, PATH + place, value) == after
    for comment in ("# mine", "# here", "# tui", "# ours"):
        assert (comment in after) == (comment in text)


@pytest.mark.parametrize("text", PRESENT.values(), ids=PRESENT)
def test_removing_leaves_every_other_table_and_the_comments_above_them(text: str) -> None:
    after = remove(text, PATH)
    expected = read(text)
    del expected["mcp_servers"]["sunaiva"]
    if not expected["mcp_servers"]:
        del expected["mcp_servers"]
    found = read(after)
    assert {key: value for key, value in found.items() if value != {}} == expected
    assert ("# tui\n[tui]" in after) == ("# tui\n[tui]" in text)
    assert remove(after, PATH) == after


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = 1\nb = = 2\n", "line 2, column 5: Invalid value"),
        ("[a\n", "line 1, column 3: Expected ']'"),
        ("a = 'b", "line 1, column 7: "),
        ("a = 1\na = 2\n", "line 2, column 6: Cannot overwrite"),
        ("mcp_servers = { a = {} }\n", "write mcp_servers as tables"),
        ("mcp_servers = 3\n", "mcp_servers has to be a table"),
        ("[[mcp_servers]]\na = 1\n", "mcp_servers has to be a table"),
    ],
)
def test_what_cannot_be_extended_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(MalformedError) as refused:
        add_table(text, PATH, PAIRS)
    assert reason in str(refused.value)


def test_a_value_that_has_no_table_to_stand_in_is_refused() -> None:
    text = 'mcp_servers.sunaiva.command = "old"\n'
    assert set_value(text, (*PATH, "command"), "new") == 'mcp_servers.sunaiva.command = "new"\n'
    with pytest.raises(MalformedError, match=r"as a table, \[mcp_servers\.sunaiva\]"):
        set_value(text, (*PATH, "args"), ["mcp"])


def test_the_byte_order_mark_before_our_table_stays() -> None:
    assert remove(add_table("\ufeff", PATH, PAIRS), PATH) == "\ufeff"


NAMES = st.sampled_from(["a", "b-c", "ü d", 'q"', "x.y", "#", "[t]"])
VALUES = st.recursive(
    st.integers(-5, 5) | st.booleans() | st.text(max_size=8) | st.sampled_from(["#", "[", '"""']),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(NAMES, VALUES, max_size=3), st.dictionaries(NAMES, VALUES, max_size=3))
def test_whatever_stands_around_is_read_back_the_same(
    before: dict[str, Any], pairs: dict[str, Any]
) -> None:
    text = add_table("", ("first", "ü ö"), before) + "# end\n"
    after = add_table(text, PATH, pairs)
    assert tomllib.loads(after)["first"]["ü ö"] == before
    assert tomllib.loads(after)["mcp_servers"]["sunaiva"] == pairs
    assert remove(after, PATH) == text
