"""Which stored turns an answer holds, whichever server wrote it and however it wraps them."""

import json

from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool

from bench.answers import answer_tokens, ranking_in, schema_tokens

TEXTS = {
    "1": "Ada: Wow!",
    "2": 'Ada: Wow! You bought the "old" boat',
    "3": "Bob: I did – yesterday",
    "4": "Bob: " + "long " * 40 + "end",
}
TITLES = {turn_id: f"turn {turn_id:>04}" for turn_id in TEXTS}


def result(text):
    return CallToolResult(content=[TextContent(type="text", text=text)])


def test_turns_are_ranked_by_where_they_first_appear() -> None:
    said = f"1. {TEXTS['3']}\n2. [8 May] {TEXTS['2']}\n3. {TEXTS['3']}"

    assert ranking_in(result(said), TEXTS, TITLES) == ("3", "2")


def test_a_short_turn_is_not_seen_inside_a_longer_one() -> None:
    assert ranking_in(result(TEXTS["2"]), TEXTS, TITLES) == ("2",)


def test_escapes_of_json_answers_hide_nothing() -> None:
    said = json.dumps({"results": [{"text": TEXTS["2"]}, {"text": TEXTS["3"]}]})

    assert ranking_in(result(said), TEXTS, TITLES) == ("2", "3")


def test_a_text_cut_short_and_a_title_both_count() -> None:
    said = f"# {TITLES['3']}\n{TEXTS['4'][:90]}…"

    assert ranking_in(result(said), TEXTS, TITLES) == ("3", "4")


def test_sizes_are_a_quarter_of_the_characters() -> None:
    tool = Tool(name="recall", input_schema={"type": "object"})
    compact = '[{"name":"recall","inputSchema":{"type":"object"}}]'

    assert answer_tokens(result("x" * 10)) == 2.5
    assert schema_tokens(ListToolsResult(tools=[tool])) == len(compact) // 4
