"""Getting many turns into a vault through MCP, and knowing when they can all be found."""

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from mcp.client import Client

from bench.progress import Progress
from bench.stdio import call
from shared.errors import CorruptError, UnavailableError

TURNS_PER_CALL = 200  # a call of a second or so; no client waits long for one
PAGE = 200
PAGES_MAX = 1000  # of one listing; ends a cursor that goes round in circles
_POLL_SECONDS = 0.25
_COMPARED = 100  # long texts are listed cut short


async def capture(
    client: Client, conversation: str, turns: Sequence[dict[str, Any]], *, space: str | None = None
) -> None:
    """Store the turns of one conversation, in order.

    Raises:
        CorruptError: the server says it stored another number of turns.
    """
    where = {"space": space} if space else {}
    for start in range(0, len(turns), TURNS_PER_CALL):
        batch = list(turns[start : start + TURNS_PER_CALL])
        said = await call(client, "capture", conversation=conversation, turns=batch, **where)
        if said["stored"] != len(batch):
            raise CorruptError(
                f"`capture` of {len(batch)} new turns stored {said['stored']}, knew {said['known']}."
            )


async def listed(client: Client, **selection: Any) -> list[dict[str, Any]]:
    """Everything that `browse` shows for a selection, page by page."""
    memories: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(PAGES_MAX):
        page = await call(client, "browse", limit=PAGE, **selection, **cursor)
        memories += page["memories"]
        if not page.get("cursor"):
            return memories
        cursor = {"cursor": page["cursor"]}
    raise CorruptError(f"`browse` did not end after {PAGES_MAX} pages.")


async def ids_in_order(
    client: Client, texts: Mapping[str, Sequence[str]], *, space: str
) -> dict[str, list[str]]:
    """Of each conversation of a space that was just captured, the memory ids in the order of its turns.

    Raises:
        CorruptError: `browse` shows other turns, or in another order, than were captured.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in texts}
    for memory in await listed(client, space=space):
        found[memory["conversation"]].append(memory)
    return {name: _in_order(name, memories, texts[name]) for name, memories in found.items()}


def _in_order(name: str, found: list[dict[str, Any]], texts: Sequence[str]) -> list[str]:
    for candidate in (found[::-1], found):  # a listing begins with the latest
        if len(candidate) == len(texts) and all(
            text.startswith(memory["text"].rstrip("…")[:_COMPARED])
            for memory, text in zip(candidate, texts, strict=True)
        ):
            return [memory["id"] for memory in candidate]
    raise CorruptError(
        f"`browse` shows {len(found)} turns of {name} for {len(texts)} captured, or in another order."
    )


async def index_complete(client: Client, spaces: Sequence[str], progress: Progress) -> None:
    """Wait until `recall` says of each space that it searched in full.

    Raises:
        UnavailableError: time was up first.
    """
    progress.say("waiting for the index")
    for space in spaces:
        while True:
            answer = await call(client, "recall", query="is everything indexed", space=space)
            if answer["searched"] == "full":
                break
            if progress.time_is_up():
                raise UnavailableError("The index was not complete in time. Give more --seconds.")
            await anyio.sleep(_POLL_SECONDS)
