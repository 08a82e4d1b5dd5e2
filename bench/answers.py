"""What an MCP answer holds, whichever server gave it: its size, and which stored turns appear in which order.

No server is asked for help: a turn counts as returned where its own words (or its title) stand in the answer.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mcp_types import CallToolResult, ListToolsResult

CHARS_PER_TOKEN = 4
# Servers cut long texts; this much of the beginning identifies a turn of a chat.
_PREFIX_CHARS = 80


def schema_tokens(listed: ListToolsResult) -> int:
    """Weight of the tools in every conversation: characters of their compact JSON, by four."""
    tools = [
        tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in listed.tools
    ]
    return len(json.dumps(tools, separators=(",", ":"), ensure_ascii=False)) // CHARS_PER_TOKEN


def answer_text(result: CallToolResult) -> str:
    return "\n".join(getattr(part, "text", "") for part in result.content)


def answer_tokens(result: CallToolResult) -> float:
    """Size of the text that the model reads."""
    return len(answer_text(result)) / CHARS_PER_TOKEN


def ranking_in(
    result: CallToolResult, texts: Mapping[str, str], titles: Mapping[str, str]
) -> tuple[str, ...]:
    """Ids of the turns in the answer, by where each first appears. `texts` are `speaker: what was said`."""
    said = "\n".join(_leaves(answer_text(result)))
    at_place: dict[int, str] = {}
    # Longest first, so that a turn of one word is not seen inside a longer one that begins with it.
    for turn_id, text in sorted(texts.items(), key=lambda item: -len(item[1])):
        found = [
            place
            for place in (said.find(text[:_PREFIX_CHARS]), said.find(titles[turn_id]))
            if place >= 0
        ]
        if found:
            at_place.setdefault(min(found), turn_id)
    return tuple(at_place[place] for place in sorted(at_place))


def _leaves(text: str) -> Iterator[str]:
    """The strings of an answer that is JSON, in order, without its escapes; else the answer itself."""
    try:
        parsed = json.loads(text)
    except ValueError:
        yield text
        return
    yield from _strings(parsed)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
