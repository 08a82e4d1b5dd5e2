"""Laws of changing one value in JSON with comments, over documents nobody would write by hand."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.connect.edit import read, remove_value, set_value
from mcp_server.connect.jsonc import DEPTH_MAX, MalformedError, parse

# What the strings hold must not look like a comment to the tests' own eyes, only to a careless scanner.
NAMES = st.sampled_from(["a", "b", "ü🙂", "mcpServers", "//", '"', "\\", "/* x */", "}", ""])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), NAMES
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, TREES, max_size=4)
VALUES = st.dictionaries(st.sampled_from(["command", "args", "env"]), TREES, max_size=3)
COMMENTS = ["// note\n", "/* block */", "/* two\n lines */", '// "a": {}, }\r\n', "//\n"]


@st.composite
def documents(draw: st.DrawFn, comments: bool = True, tree: Any = None) -> tuple[str, Any]:
    """A text, and the object that it says."""
    value = draw(OBJECTS) if tree is None else tree
    spaces = st.sampled_from(["", "", " ", "\n", "\n  ", "\r\n\t"])
    gaps = st.lists(spaces | st.sampled_from(COMMENTS), max_size=2) if comments else spaces

    def gap() -> str:
        return "".join(draw(gaps))

    def written(value: Any) -> str:
        match value:
            case dict() | list() if value:
                pairs = value.items() if isinstance(value, dict) else ((None, v) for v in value)
                parts = [
                    gap()
                    + ("" if key is None else json.dumps(key) + gap() + ":" + gap())
                    + written(item)
                    + gap()
                    for key, item in pairs
                ]
                trailing = draw(st.sampled_from(["", ","])) if comments else ""
                opening, closing = "{}" if isinstance(value, dict) else "[]"
                return opening + ",".join(parts) + trailing + gap() + closing
            case dict():
                return "{" + gap() + "}"
            case list():
                return "[" + gap() + "]"
            case _:
                return json.dumps(value, ensure_ascii=draw(st.booleans()))

    bom = draw(st.sampled_from(["", "\ufeff"]))
    return bom + gap() + written(value) + gap(), value


@given(documents())
def test_reading_gives_what_was_written(document: tuple[str, Any]) -> None:
    text, value = document
    assert read(text, "jsonc") == value


@given(documents(comments=False))
def test_plain_json_reads_as_the_standard_library_reads_it(document: tuple[str, Any]) -> None:
    text, _ = document
    assert read(text, "json") == json.loads(text.removeprefix("\ufeff"))


@given(documents(), NAMES, VALUES)
def test_setting_changes_that_value_and_no_other(
    document: tuple[str, Any], key: str, value: Any
) -> None:
    text, before = document
    after = read(set_value(text, (key,), value, "jsonc"), "jsonc")
    assert after == {**before, key: value}
    if key not in before:
        assert list(after) == [*before, key]


@given(documents(), st.sampled_from(["x", "y"]), NAMES, VALUES)
def test_missing_objects_on_the_way_are_made(
    document: tuple[str, Any], outer: str, inner: str, value: Any
) -> None:
    text, before = document
    after = read(set_value(text, (outer, inner), value, "jsonc"), "jsonc")
    assert after == {**before, outer: {inner: value}}


@given(documents(), VALUES)
def test_inserting_takes_nothing_away(document: tuple[str, Any], value: Any) -> None:
    text, before = document
    after = set_value(text, ("new",), value, "jsonc")
    root = parse(text, "jsonc")
    assert root is not None
    if not before:
        assert after.startswith(text[: root.inner_end])
        assert after.endswith(text[root.end - 1 :])
        return
    # One comma after the value that was the last, and one piece further on: all else as it was.
    last = root.children[-1]
    if last.comma is None:
        assert after[last.value.end] == ","
        after = after[: last.value.end] + after[last.value.end + 1 :]
    common = next(
        (i for i, (old, new) in enumerate(zip(text, after, strict=False)) if old != new), len(text)
    )
    assert text[common:] == after[len(after) - len(text) + common :]


@given(documents(), st.data(), VALUES)
def test_replacing_leaves_all_outside_of_the_value(
    document: tuple[str, Any], data: st.DataObject, value: Any
) -> None:
    text, before = document
    if not before:
        return
    key = data.draw(st.sampled_from(sorted(before)))
    root = parse(text, "jsonc")
    assert root is not None
    [old] = [child.value for child in root.children if child.key == key]
    after = set_value(text, (key,), value, "jsonc")
    assert after.startswith(text[: old.start])
    assert after.endswith(text[old.end :])


@given(documents(), VALUES)
def test_setting_twice_is_setting_once(document: tuple[str, Any], value: Any) -> None:
    once = set_value(document[0], ("new", "inner"), value, "jsonc")
    assert set_value(once, ("new", "inner"), value, "jsonc") == once


@given(documents(), VALUES)
def test_removing_takes_back_what_setting_inserted(document: tuple[str, Any], value: Any) -> None:
    text, before = document
    there_and_back = remove_value(set_value(text, ("new",), value, "jsonc"), ("new",), "jsonc")
    if before:
        assert there_and_back == text
    else:
        assert read(there_and_back, "jsonc") == {}
        assert _comments(there_and_back) == _comments(text)


@given(documents(), st.data())
def test_removing_keeps_all_other_values_and_all_comments_outside(
    document: tuple[str, Any], data: st.DataObject
) -> None:
    text, before = document
    if not before:
        return
    key = data.draw(st.sampled_from(sorted(before)))
    root = parse(text, "jsonc")
    assert root is not None
    [child] = [child for child in root.children if child.key == key]
    end = child.value.end if child.comma is None else child.comma + 1

    after = remove_value(text, (key,), "jsonc")

    assert read(after, "jsonc") == {name: value for name, value in before.items() if name != key}
    outside = _comments(text[: child.start]) + _comments(text[end:])
    # Two comments may have come onto one line; not a word of them is lost.
    assert "".join(_comments(after)).split() == "".join(outside).split()


@given(documents(tree={"hooks": [1, {"a": 2}, 3]}), st.integers(0, 2))
def test_of_a_list_one_element_goes(document: tuple[str, Any], position: int) -> None:
    text, before = document
    kept = [item for index, item in enumerate(before["hooks"]) if index != position]
    assert read(remove_value(text, ("hooks", position), "jsonc"), "jsonc") == {"hooks": kept}


@given(documents(tree={"hooks": [1, {"a": 2}]}), VALUES)
def test_the_position_after_the_last_appends(document: tuple[str, Any], value: Any) -> None:
    text, before = document
    after = set_value(text, ("hooks", 2), value, "jsonc")
    assert read(after, "jsonc") == {"hooks": [*before["hooks"], value]}
    assert remove_value(after, ("hooks", 2), "jsonc") == text


@given(st.text(alphabet='{}[]",:/*\\ \n\ta1-.eu\ufeff', max_size=30))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    assert re.match(r"\{|line \d+, column \d+: ", _read_or_reason(text))


def _read_or_reason(text: str) -> str:
    try:
        return json.dumps(read(text, "jsonc"))
    except MalformedError as error:
        return str(error)


def _comments(text: str) -> list[str]:
    """Found in a way that shares nothing with the scanner: strings first, then comments."""
    found = re.findall(r'"(?:[^"\\]|\\.)*"|(//[^\r\n]*|/\*.*?\*/)', text, re.DOTALL)
    return [comment for comment in found if comment]


LAYOUTS = {
    "indented by two": (
        '{\n  "a": 1\n}\n',
        '{\n  "a": 1,\n  "s": {\n    "c": [\n      "d"\n    ]\n  }\n}\n',
    ),
    "indented by a tab": (
        '{\n\t"a": 1\n}',
        '{\n\t"a": 1,\n\t"s": {\n\t\t"c": [\n\t\t\t"d"\n\t\t]\n\t}\n}',
    ),
    "trailing comma": (
        '{\n  "a": 1,\n}',
        '{\n  "a": 1,\n  "s": {\n    "c": [\n      "d"\n    ]\n  },\n}',
    ),
    "one line": ('{"a":1}', '{"a":1, "s": {"c": ["d"]}}'),
    "comment after the last": (
        '{\n  "a": 1 // one\n}',
        '{\n  "a": 1, // one\n  "s": {\n    "c": [\n      "d"\n    ]\n  }\n}',
    ),
    "comment after the last of one line": (
        '{"a": 1 // one\n}',
        '{"a": 1, // one\n"s": {\n  "c": [\n    "d"\n  ]\n}\n}',
    ),
    "only a comment": (
        "{\n  // none\n}",
        '{\n  // none\n  "s": {\n    "c": [\n      "d"\n    ]\n  }\n}',
    ),
    "only a comment and no object": (
        "// mine",
        '// mine\n{\n  "s": {\n    "c": [\n      "d"\n    ]\n  }\n}\n',
    ),
}


def test_on_a_line_without_breaks_an_empty_object_is_filled_on_that_line() -> None:
    text = '{"a":1,"s":{}}'
    filled = set_value(text, ("s", "x"), {"c": 1}, "json")
    assert filled == '{"a":1,"s":{"x": {"c": 1}}}'
    assert remove_value(filled, ("s", "x"), "json") == text


@pytest.mark.parametrize(("before", "after"), LAYOUTS.values(), ids=LAYOUTS)
def test_what_is_inserted_looks_like_its_surroundings(before: str, after: str) -> None:
    assert set_value(before, ("s",), {"c": ["d"]}, "jsonc") == after


def test_windows_line_ends_are_used_inside_of_the_entry() -> None:
    assert set_value('{\r\n  "a": 1\r\n}', ("s",), {"c": 1}, "json") == (
        '{\r\n  "a": 1,\r\n  "s": {\r\n    "c": 1\r\n  }\r\n}'
    )


def test_a_comment_never_swallows_what_followed_the_removed_value() -> None:
    text = '{"a": 1, // one\n"s": 2 /* two */ }'
    assert read(remove_value(text, ("s",), "jsonc"), "jsonc") == {"a": 1}


MALFORMED = {
    "missing comma": (
        '{\n  "a": 1\n  "b": 2\n}',
        "line 3, column 3: expected ',' or '}', found '\"'",
    ),
    "missing colon": ('{"a" 1}', "line 1, column 6: expected ':', found '1'"),
    "missing value": ('{"a": }', "line 1, column 7: expected a value, found '}'"),
    "bare word": ("{a: 1}", "line 1, column 2: expected a name in double quotes"),
    "single quotes": ("{'a': 1}", "line 1, column 2: expected a name in double quotes"),
    "unfinished string": ('{"a": "b\n}', "line 1, column 7: expected a value"),
    "unfinished object": ('{"a": {', "line 1, column 8: expected a name"),
    "unfinished comment": ('{"a": 1 /* }', "line 1, column 9: expected ',' or '}'"),
    "half an escape": (r'{"a": "\u12"}', "line 1, column 7: expected a value"),
    "two documents": ("{}\n{}", "line 2, column 1: there is more text after the end"),
    "not a number": ('{"a": NaN}', "line 1, column 7: expected a value"),
    "leading zero": ('{"a": 01}', "line 1, column 8: expected ',' or '}'"),
    "two commas": ('{"a": 1,, "b": 2}', "line 1, column 9: expected a name"),
    "a list": ("[1]", "line 1, column 1: the file has to hold an object"),
    "a string": ('"a"', "line 1, column 1: the file has to hold an object"),
    "nested without end": ("[" * 5000, f"column {DEPTH_MAX + 1}: more than {DEPTH_MAX} levels"),
}


@pytest.mark.parametrize(("text", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_text_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(MalformedError) as refused:
        read(text, "jsonc")
    assert reason in str(refused.value)


@pytest.mark.parametrize("text", ['{"a": 1,}', '{"a": 1} // b', "{/* a */}", '{"a": [1,]}'])
def test_strict_json_has_no_comments_and_no_trailing_commas(text: str) -> None:
    assert read(text, "jsonc")["a"] if 'a"' in text else read(text, "jsonc") == {}
    with pytest.raises(MalformedError, match="not allowed in this file"):
        read(text, "json")


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('{"mcpServers": []}', ("mcpServers", "s"), "column 16: mcpServers has to be an object"),
        ('{"mcpServers": "x"}', ("mcpServers", "s"), "mcpServers has to be an object"),
        ('{"hooks": {"E": {}}}', ("hooks", "E", 0), "hooks.E has to be a list"),
        ("[]", ("a",), "the file has to be an object"),
    ],
)
def test_a_part_of_another_kind_is_not_overwritten(
    text: str, place: tuple[str | int, ...], reason: str
) -> None:
    with pytest.raises(MalformedError, match=reason):
        set_value(text, place, {}, "json")
    assert remove_value(text, place, "json") == text


def test_an_unpaired_surrogate_survives_beside_the_change() -> None:
    text = r'{"history": "\ud83d cut in half"}'
    assert set_value(text, ("s",), 1, "json") == r'{"history": "\ud83d cut in half", "s": 1}'
