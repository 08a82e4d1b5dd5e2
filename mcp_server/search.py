"""Finding memories: ask the indexes, rank, and fit the answer into the tokens that the caller can afford.

Nothing here changes a memory. A recall writes one line into the access log. Filters hold for everything returned;
neighbours that do not pass them may lend evidence, but never come back.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server import recall
from mcp_server.device import Device
from mcp_server.findings import updates
from mcp_server.index import postings, words
from mcp_server.index.catalogue import TRUSTS, Filter
from mcp_server.index.models import IndexState
from mcp_server.index.postings import REPEATS_MAX, Postings
from mcp_server.model import Kind, Memory
from mcp_server.rerank import rerank
from mcp_server.vault import store
from mcp_server.vault.store import Selection
from mcp_server.when import Span
from shared.clock import to_ms
from shared.errors import InvalidError
from shared.ids import MemoryId, parse_memory_id, short_id

if TYPE_CHECKING:
    from sqlite_utils import Database

QUERY_CHARS_MAX = 10_000
TOKENS_MAX = 50_000
RESULTS_MAX = 200

_POOL = 400  # of each index; the ranking looks no deeper
_NEXT = 2
_LOOKED_AROUND = 100  # of each, further away than their next neighbours
_KEYWORDS_LIMIT = 2_000
_NEXT_TO_NOTHING = 1e-3
# A long message is shown by the part that answers; the rest is one call away (`memory://{id}`). The first few are worth
# reading, the others are worth knowing of.
EXCERPT_CHARS = 700
_SHORT_EXCERPT_CHARS = 300
_READ_AT_LENGTH = 3
# That part is looked for in the first so many characters: a megabyte of log would take longer than the search itself.
_LOOKED_THROUGH_CHARS = 100_000
# Of a question that nothing here seems to be about, fewer are shown, in case that is wrong; the others are one page away.
_NEAREST_TOKENS = 800
ASSISTANT = TRUSTS.index("said_by_assistant")
_WEIGHTS = recall.Weights()


class Asked(Struct, frozen=True, kw_only=True):
    """One question, with what may be returned."""

    query: str
    max_tokens: int = 2_000
    limit: int = 50
    spaces: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    kinds: tuple[Kind, ...] | None = None
    when: Span | None = None
    as_of: datetime | None = None
    speaker: str | None = None
    cursor: str | None = None


class Found(Struct, frozen=True):
    memory: Memory
    text: str
    """What fits: the text, or an excerpt of a long one."""
    truncated: bool
    score: float
    why: str
    about: bool = True
    """It seems to be about the question by itself, or nobody can tell."""


class Answer(Struct, frozen=True):
    found: tuple[Found, ...]
    cursor: str | None
    searched: Literal["full", "keywords"]
    note: str | None
    irrelevant: bool = False
    """Nothing seems to be about the question; what was found is only the nearest."""


def find(device: Device, asked: Asked, *, client: str) -> Answer:
    """Answer a question.

    Raises:
        InvalidError: the question or a limit cannot be used.
    """
    _check(asked)
    offset = _offset(asked)
    state = device.index.state()
    irrelevant, beside_it = False, frozenset[int]()
    with device.index.precedence.answering(), device.vault.reading() as db:
        if state.listed:
            question = understood(device, asked)
            pool = candidates(device, db, asked, question)
            ranked = rerank(
                device, db, asked.query, recall.score(question, pool, ASSISTANT, _WEIGHTS)
            )
            if _judged(device, state) and not _of_a_time(asked, question, pool):
                irrelevant = bool(len(ranked.rows)) and recall.relevance(pool) < recall.RELEVANT_MIN
                beside_it = frozenset(
                    pool.rows[recall.bearing(pool) < recall.RELEVANT_MIN].tolist()
                )
        else:
            ranked = _by_keyword(device, db, asked)
        if asked.as_of is None:
            ranked = recall.newer_first(ranked, updates(db, ranked.rows[:RESULTS_MAX]))
        if irrelevant:
            asked = msgspec.structs.replace(
                asked, max_tokens=min(asked.max_tokens, _NEAREST_TOKENS)
            )
        memories = store.by_rows(db, ranked.rows[offset : offset + asked.limit].tolist())
    # Between ranking and reading, a memory may have moved to another space or been superseded.
    wanted, now = _filter(asked), device.clock()
    memories = {row: each for row, each in memories.items() if _passes(each, wanted, asked, now)}
    found, following = _fit(ranked, memories, asked, offset, beside_it)
    with device.vault.writing() as db:
        device.note(db, "recall", [item.memory.id for item in found], client=client)
    return Answer(
        found=tuple(found),
        cursor=_cursor(asked, following) if following < len(ranked.rows) else None,
        searched="full" if state.meaning and not state.waiting else "keywords",
        note=_note(state, irrelevant=irrelevant),
        irrelevant=irrelevant,
    )


def line(memory: Memory, text: str) -> str:
    """How a memory reads in an answer: `[short id] date speaker: text`, with `v2` before the date once it was changed, which
    `revise` must name. Further lines of the text are indented, so that no text can pass for another memory."""
    moment = memory.occurred_at or memory.created_at
    who = f" {memory.speaker}:" if memory.speaker else ""
    ended = f" (until {memory.valid_to:%Y-%m-%d})" if memory.valid_to else ""
    said = "\n  ".join(text.splitlines())
    changed = f" v{memory.version}" if memory.version > 1 else ""
    return f"[{short_id(memory.id)}]{changed} {moment:%Y-%m-%d}{ended}{who} {said}"


def tokens(text: str) -> int:
    """Tokens of a text, estimated as a quarter of its UTF-8 bytes, rounded up: near for English and for Chinese."""
    return (len(text.encode()) + 3) // 4


def excerpt_chars(place: int) -> int:
    """How much of a memory is shown at this place of an answer; the first place is 0."""
    return EXCERPT_CHARS if place < _READ_AT_LENGTH else _SHORT_EXCERPT_CHARS


def excerpt(text: str, query: str, chars: int = EXCERPT_CHARS) -> tuple[str, bool]:
    """A long text's part of so many characters that has most words of the query, and whether anything was left out."""
    if len(text) <= chars:
        return text, False
    wanted = words.beginnings(query)
    step = chars // 2
    looked_through = min(len(text), _LOOKED_THROUGH_CHARS)
    halves: list[set[str]] = [set() for _ in range(looked_through // step + 1)]
    for match in wanted.finditer(text, 0, looked_through) if wanted else ():
        halves[match.start() // step].add(match.group().casefold())
    windows = range(0, looked_through - step, step)
    best = max(windows, key=lambda start: len(set().union(*halves[start // step :][:2])))
    start = 0 if best == 0 else _word_start(text, best)
    end = min(len(text), start + chars)
    return (
        f"{'… ' if start else ''}{text[start:end].strip()}{' …' if end < len(text) else ''}",
        True,
    )


def _check(asked: Asked) -> None:
    if not asked.query.strip():
        raise InvalidError(
            "The question is empty. Ask with a few words; to list memories, use `browse` (in a terminal `list`)."
        )
    if any("\ud800" <= character <= "\udfff" for character in asked.query):
        raise InvalidError("The question is not valid Unicode. Send it as UTF-8.")
    if len(asked.query) > QUERY_CHARS_MAX:
        raise InvalidError(
            f"The question has {len(asked.query):,} characters; at most {QUERY_CHARS_MAX:,} are read."
        )
    if not 1 <= asked.max_tokens <= TOKENS_MAX or not 1 <= asked.limit <= RESULTS_MAX:
        raise InvalidError(
            f"max_tokens goes from 1 to {TOKENS_MAX:,}, limit from 1 to {RESULTS_MAX}."
        )


def understood(device: Device, asked: Asked) -> recall.Question:
    return recall.understand(asked.query, device.index.catalogue.speakers_named, now=device.clock())


def _of_a_time(asked: Asked, question: recall.Question, pool: recall.Candidates) -> bool:
    """Whether nothing but what happened at some time is asked for, and something did."""
    if question.telling:
        return False
    then = recall.within(question, pool.columns["when_ms"]) & pool.eligible
    return asked.when is not None or bool(then.any())


def _judged(device: Device, state: IndexState) -> bool:
    """Whether it can be told that something is not about the question: everything is searched by meaning, by the model that the
    threshold was chosen for."""
    serving = device.index.serving()
    return (
        serving is not None
        and not state.waiting
        and not state.unread
        and serving[0].model_id.startswith(recall.RELEVANT_BY)
    )


def candidates(
    device: Device, db: "Database", asked: Asked, question: recall.Question
) -> recall.Candidates:
    """What both indexes find, what happened when the question says, and what stands around all this in its conversations."""
    catalogue = device.index.catalogue
    mask = catalogue.visible(_filter(asked), now_ms=to_ms(device.clock()))
    # After the mask: columns only grow, and rows beyond the mask are left out below.
    columns = catalogue.columns
    if asked.tags:
        tagged = np.zeros_like(mask)
        tagged[[row for row in store.rows_with_tags(db, asked.tags) if row < len(mask)]] = True
        mask &= tagged
    then = recall.within(question, columns["when_ms"][: len(mask)])
    then &= columns["live"][: len(mask)]
    said, rarity = _said(device, db, question, np.flatnonzero(then))
    keyword = _keyword_scores(said, rarity, len(mask))
    best = _best(np.where(mask, keyword, 0), _POOL)
    serving = device.index.serving()
    vector, near = np.zeros(0, np.float32), np.zeros(0, np.int64)
    if serving is not None:
        vector = serving[0].embed_question(asked.query[: words.HEAD_CHARS])
        near, _ = serving[1].search(vector, _POOL, mask)
        near = near[near < len(mask)]
    near = np.concatenate([near, _of_then(device, vector, keyword, then & mask)])
    # A little around all of them, and far around the best.
    beside = catalogue.around(np.union1d(best, near), _NEXT, _NEXT)
    beyond = catalogue.around(
        np.union1d(best[:_LOOKED_AROUND], near[:_LOOKED_AROUND]), recall.AFTER, recall.BEFORE
    )
    rows = np.unique(np.concatenate([*beside.values(), *beyond.values()]))
    rows = rows[(rows >= 0) & (rows < len(mask))]
    reached = catalogue.around(rows, recall.BEFORE, recall.AFTER)
    return recall.Candidates(
        rows=rows,
        words=keyword[rows],
        said=_which(said, rows),
        rarity=rarity,
        meaning=np.zeros(len(rows), np.float32)
        if serving is None
        else serving[1].cosines(vector, rows),
        eligible=mask[rows],
        columns={name: column[rows] for name, column in columns.items()},
        beside={step: _places(rows, reached[step]) for step in recall.STEPS},
    )


def _of_then(
    device: Device,
    vector: NDArray[np.float32],
    keyword: NDArray[np.float32],
    then: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """What happened at the time that the question names, all of it or else the part nearest to the question: neither index
    finds it by a word like "spring"."""
    rows = np.flatnonzero(then)
    if len(rows) <= _POOL:
        return rows
    best = _best(np.where(then, keyword, 0), _POOL)
    serving = device.index.serving()
    if serving is None:
        return best
    near, _ = serving[1].search(vector, _POOL, then)
    return np.union1d(best, near[near < len(then)])


def _said(
    device: Device, db: "Database", question: recall.Question, then: NDArray[np.int64]
) -> tuple[list[Postings], NDArray[np.float32]]:
    """For each word of the question, who says it, and how much it tells. What happened `then` says the words for that time."""
    index = device.index.lexical
    terms = words.question_terms(question.text)
    times = {term for date in question.dates for term in words.question_terms(date.said)}
    said = [
        postings.joined(each, then) if term in times else each
        for term, each in zip(terms, index.postings(db, terms), strict=True)
    ]
    known = len(index)
    rarity = [recall.rarity(len(each.rows), known) for each in said]
    return said, np.array(rarity, np.float32)


def _keyword_scores(
    said: Sequence[Postings], rarity: NDArray[np.float32], size: int
) -> NDArray[np.float32]:
    """By row number."""
    scores = np.zeros(size, np.float32)
    often = np.arange(REPEATS_MAX + 1, dtype=np.uint8)
    for each, telling in zip(said, rarity.tolist(), strict=True):
        inside = slice(0, np.searchsorted(each.rows, size))
        scores[each.rows[inside]] += recall.word_score(telling, often)[each.counts[inside]]
    return scores


def _which(said: Sequence[Postings], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(words, rows): which of the words each row says."""
    found = np.zeros((len(said), len(rows)), np.bool_)
    for number, each in enumerate(said):
        found[number] = _places(each.rows, rows) >= 0
    return found


def _best(scores: NDArray[np.float32], number: int) -> NDArray[np.int64]:
    """The rows of the highest scores above zero, best first."""
    # Common words are said everywhere: what is far below the best is left out before anything is sorted.
    least = float(scores.max(initial=0)) / 2
    while least > _NEXT_TO_NOTHING and np.count_nonzero(scores > least) < number:
        least /= 2
    rows = np.flatnonzero(scores > (least if least > _NEXT_TO_NOTHING else 0))
    return rows[np.argsort(-scores[rows], kind="stable")[:number]]


def _by_keyword(device: Device, db: "Database", asked: Asked) -> recall.Ranked:
    """While the catalogue loads: the keyword index alone, filtered by what the rows themselves say."""
    said, rarity = _said(device, db, understood(device, asked), np.zeros(0, np.int64))
    size = 1 + max((int(each.rows[-1]) for each in said if len(each.rows)), default=0)
    keyword = _keyword_scores(said, rarity, size)
    rows = _best(keyword, _KEYWORDS_LIMIT)
    memories = store.by_rows(db, rows.tolist())
    wanted = _filter(asked)
    now = device.clock()
    kept = [
        row
        for row in rows.tolist()
        if row in memories and _passes(memories[row], wanted, asked, now)
    ]
    ranked = np.array(kept, np.int64)
    return recall.Ranked(ranked, keyword[ranked], {"words": keyword[ranked]})


def _passes(memory: Memory, wanted: Filter, asked: Asked, now: datetime) -> bool:
    when = memory.occurred_at or memory.created_at
    at = asked.as_of or now
    true_then = memory.valid_to is None or memory.valid_to > at
    if asked.as_of is None:
        true_then = true_then and not memory.archived and memory.superseded_by is None
    else:
        true_then = true_then and (memory.valid_from or when) <= at
    return (
        true_then
        and (wanted.spaces is None or memory.space in wanted.spaces)
        and (wanted.kinds is None or memory.kind in wanted.kinds)
        and (wanted.speaker is None or memory.speaker == wanted.speaker)
        and (wanted.since_ms is None or to_ms(when) >= wanted.since_ms)
        and (wanted.until_ms is None or to_ms(when) < wanted.until_ms)
        and set(asked.tags or ()) <= set(memory.tags)
    )


def _filter(asked: Asked) -> Filter:
    since = asked.when.since if asked.when else None
    until = asked.when.until if asked.when else None
    return Filter(
        spaces=asked.spaces,
        kinds=asked.kinds,
        speaker=asked.speaker,
        since_ms=None if since is None else to_ms(since),
        until_ms=None if until is None else to_ms(until),
        as_of_ms=None if asked.as_of is None else to_ms(asked.as_of),
    )


def _places(ordered: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each wanted value stands in an ordered array; -1 if it does not."""
    if not len(ordered):
        return np.full(len(wanted), -1, np.int64)
    places = np.searchsorted(ordered, wanted)
    inside = np.minimum(places, len(ordered) - 1)
    return np.where(ordered[inside] == wanted, inside, -1)


def _fit(
    ranked: recall.Ranked,
    memories: dict[int, Memory],
    asked: Asked,
    offset: int,
    beside_it: AbstractSet[int],
) -> tuple[list[Found], int]:
    """As many of the best as the budget holds, and the place where the next page begins. At least one, whatever its length,
    so that an answer is never empty for want of room."""
    found: list[Found] = []
    spent = 0
    for number, row in enumerate(ranked.rows[offset : offset + asked.limit].tolist(), offset):
        memory = memories.get(row)
        if memory is None:  # stored or forgotten since the snapshot was taken
            continue
        text, truncated = excerpt(memory.text, asked.query, excerpt_chars(number))
        spent += tokens(line(memory, text)) + 1
        if found and spent > asked.max_tokens:
            return _whole_if_alone(found, asked), number
        found.append(
            Found(
                memory,
                text,
                truncated,
                float(ranked.scores[number]),
                recall.reason(ranked, number),
                about=row not in beside_it,
            )
        )
    return _whole_if_alone(found, asked), min(offset + asked.limit, len(ranked.rows))


def _whole_if_alone(found: list[Found], asked: Asked) -> list[Found]:
    """One memory alone is shown whole if there is room for it: an excerpt spares tokens for others, and there are none."""
    if len(found) != 1:
        return found
    (one,) = found
    if tokens(line(one.memory, one.memory.text)) + 1 > asked.max_tokens:
        return found
    return [msgspec.structs.replace(one, text=one.memory.text, truncated=False)]


def _note(state: IndexState, *, irrelevant: bool) -> str | None:
    if state.unread:
        return f"The keyword index is being made anew; {state.unread:,} older memories are not found by their words yet."
    if state.trouble is not None:
        return f"Searched by keyword only. {state.trouble}"
    if not state.meaning:
        return "Searched by keyword only: the language model is still loading. Ask again in a few seconds for more."
    if state.waiting:
        return f"{state.waiting:,} memories are not searchable by meaning yet; they are found by their words."
    if irrelevant:
        return "Nothing here seems to be about the question; these are only the nearest memories."
    return None


def _cursor(asked: Asked, offset: int) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([_mark(asked), offset])).decode()


def _offset(asked: Asked) -> int:
    if asked.cursor is None:
        return 0
    try:
        mark, offset = msgspec.json.decode(
            base64.urlsafe_b64decode(asked.cursor), type=tuple[str, int]
        )
    except (ValueError, msgspec.DecodeError):
        raise InvalidError("That cursor is not one of ours. Call again without it.") from None
    if mark != _mark(asked) or offset < 0:
        raise InvalidError(
            "That cursor belongs to another question or other filters. Call again without it."
        )
    return offset


def _mark(asked: Asked) -> str:
    """What a cursor remembers of its question: enough to know it again."""
    question = msgspec.structs.replace(asked, max_tokens=0, limit=0, cursor=None)
    return hashlib.sha256(msgspec.json.encode(question)).hexdigest()[:12]


def _word_start(text: str, place: int) -> int:
    space = re.compile(r"\s").search(text, place)
    return space.end() if space and space.end() - place < 40 else place


def browse(
    device: Device, selection: Selection, *, limit: int, cursor: str | None, client: str
) -> tuple[list[Memory], str | None]:
    """A page of memories, the newest first, and the cursor of the next.

    Raises:
        InvalidError: a cursor that is none of ours.
    """
    if not 1 <= limit <= RESULTS_MAX:
        raise InvalidError(f"limit goes from 1 to {RESULTS_MAX}.")
    try:
        before = None if cursor is None else parse_memory_id(cursor)
    except InvalidError:
        raise InvalidError("That cursor is not one of ours. Call again without it.") from None
    with device.vault.writing() as db:
        rows = store.page(db, selection, before=before, limit=limit + 1)
        page = rows[:limit]
        ids: list[MemoryId] = [row.memory.id for row in page]
        device.note(db, "read", ids, client=client)
    return [row.memory for row in page], ids[-1] if len(rows) > limit else None
