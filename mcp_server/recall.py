"""Ranking: which memories answer a question. Pure numpy over what the indexes found; no I/O, no clock, no model.

Keyword and vector scores are normalised for each query and summed (rank fusion measured worse than BM25 alone here),
then evidence from around a memory is added: its neighbours in the conversation, the best of its conversation, a question
just before it, its speaker, its date. `Weights` were taken from a fit on one half of LoCoMo and read on other data.
"""

import re
from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.when import Span, dates_in
from shared.clock import to_ms

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]

# A date that is off by some days still is the date somebody meant.
_NEAR_DATE_MS = 7 * 86_400_000
_DAY_MS = 86_400_000
_REASONS_MAX = 3
_ASSISTANT_SAID = re.compile(
    r"\b(?:you|assistant|ai|claude|chatgpt|gemini) (?:\w+ )?(?:say|said|tell|told|suggest\w*|recommend\w*|propos\w*|"
    r"mention\w*|explain\w*|advis\w*|gave|give|provid\w*|list\w*|answer\w*|describ\w*)\b",
    re.IGNORECASE,
)


class Weights(Struct, frozen=True, kw_only=True):
    """What each piece of evidence counts, in units of the best keyword score of the query."""

    words: float = 1.0
    meaning: float = 1.5
    speaker: float = 0.4  # a strong one is a trap: "what did Ann tell Bob" is often said by Bob
    date: float = 1.0
    meaning_beside: float = 1.0
    best_beside: float = 0.5
    conversation_top: float = 0.5
    conversation_best: float = 0.3
    question_before: float = 0.5
    length: float = 0.2
    # Assistants talk much in conversations and are rarely the source of what a person means. What an assistant noted
    # with `remember` is no turn of a conversation and is not lowered.
    said_by_assistant: float = -1.0
    importance: float = 0.05
    pinned: float = 0.1


class Question(Struct, frozen=True):
    """A query, understood as far as words alone allow."""

    text: str
    dates: tuple[Span, ...]
    speaker: int | None
    """Code of the one speaker it names, if it names exactly one."""
    of_assistant: bool
    """It asks for something the assistant said."""


class Candidates(Struct, frozen=True):
    """The memories under consideration, in row order, with what the indexes and the catalogue say of them."""

    rows: Rows
    words: Scores
    """Keyword score, 0 where the index did not return it."""
    meaning: Scores
    """Cosine of query and memory, 0 where it has no vector yet."""
    eligible: NDArray[np.bool_]
    """May be returned; the others are only neighbours that lend evidence."""
    columns: Mapping[str, NDArray[np.generic]]
    """The catalogue's columns at these rows."""
    beside: Mapping[int, Rows]
    """For each offset in ±1, ±2: the index into these candidates of that neighbour, -1 if it is not among them."""


class Ranked(Struct, frozen=True):
    rows: Rows
    scores: Scores
    evidence: Mapping[str, Scores]
    """For each row, what each piece of evidence weighed."""


def understand(text: str, speakers: Mapping[str, int]) -> Question:
    said = {word.casefold() for word in re.findall(r"\w+", text.removesuffix("'s"))}
    named = {
        code
        for name, code in speakers.items()
        if name.casefold() not in ("user", "assistant", "tool")
        and said & set(name.casefold().split())
    }
    return Question(
        text=text,
        dates=tuple(dates_in(text)),
        speaker=named.pop() if len(named) == 1 else None,
        of_assistant=bool(_ASSISTANT_SAID.search(text)),
    )


def score(question: Question, found: Candidates, assistant_code: int, weights: Weights) -> Ranked:
    """All eligible candidates, best first. `assistant_code` is the catalogue's code of said_by_assistant."""
    if not len(found.rows):
        return Ranked(found.rows, found.words, {})
    best = float(found.words.max(initial=0.0))
    words = found.words / best if best > 0 else found.words
    meaning = np.maximum(found.meaning, 0)
    base: Scores = ((words + meaning) / 2).astype(np.float32)
    near = {step: _of_neighbour(base, found.beside[step]) for step in (-2, -1, 1, 2)}
    beside = np.maximum(
        _of_neighbour(meaning, found.beside[-1]), _of_neighbour(meaning, found.beside[1])
    )
    top, most = _conversation_evidence(base, found.columns["conversation"])
    asked_before = _of_neighbour(found.columns["question"].astype(np.float32), found.beside[-1])
    evidence = {
        "words": weights.words * words,
        "meaning": weights.meaning * meaning,
        "speaker": weights.speaker * _is(found.columns["speaker"], question.speaker),
        "date": weights.date * _date_evidence(question, found.columns["when_ms"]),
        "beside": weights.meaning_beside * beside
        + weights.best_beside * np.maximum.reduce(list(near.values()))
        + weights.question_before * asked_before * near[-1],
        "conversation": weights.conversation_top * top + weights.conversation_best * most,
    }
    prior = (
        weights.length
        * np.log1p(found.columns["chars"].astype(np.float32) / 6).clip(max=np.log(150))
        + weights.importance * found.columns["importance"].astype(np.float32)
        + weights.pinned * found.columns["pinned"].astype(np.float32)
    )
    if not question.of_assistant:
        prior = prior + weights.said_by_assistant * (
            _is(found.columns["trust"], assistant_code)
            * (found.columns["conversation"].astype(np.int64) >= 0)
        )
    total = (sum(evidence.values()) + prior).astype(np.float32)
    order = np.argsort(-total, kind="stable")
    order = order[found.eligible[order]]
    return Ranked(
        found.rows[order],
        total[order],
        {name: weighed[order].astype(np.float32) for name, weighed in evidence.items()},
    )


def reason(ranked: Ranked, place: int) -> str:
    """The pieces of evidence that carried the row at this place, strongest first: `words+meaning`."""
    weighed = {name: float(values[place]) for name, values in ranked.evidence.items()}
    strongest = sorted(weighed, key=lambda name: -weighed[name])[:_REASONS_MAX]
    # A piece of evidence is a reason if it weighs at least half as much as the strongest.
    return "+".join(name for name in strongest if weighed[name] >= 0.5 * weighed[strongest[0]] > 0)


def _of_neighbour(values: Scores, neighbour: Rows) -> Scores:
    return np.where(neighbour >= 0, values[neighbour], np.float32(0))


def _is(column: NDArray[np.generic], code: int | None) -> NDArray[np.float32]:
    if code is None:
        return np.zeros(len(column), np.float32)
    same: Scores = (column == code).astype(np.float32)
    return same


def _conversation_evidence(
    base: Scores, conversation: NDArray[np.generic]
) -> tuple[Scores, Scores]:
    """For each candidate: the mean of the three best of its conversation, and the best. 0 outside of conversations."""
    top, most = np.zeros(len(base), np.float32), np.zeros(len(base), np.float32)
    order = np.lexsort((-base, conversation))
    sorted_conversation, sorted_base = conversation[order], base[order]
    starts = np.flatnonzero(
        np.concatenate(([True], sorted_conversation[1:] != sorted_conversation[:-1]))
    )
    ends = np.append(starts[1:], len(order))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if int(sorted_conversation[start]) >= 0:
            members = order[start:end]
            top[members] = sorted_base[start : min(start + 3, end)].sum() / 3
            most[members] = sorted_base[start]
    return top, most


def _date_evidence(question: Question, when_ms: NDArray[np.generic]) -> Scores:
    """1 within a week of a day that the question names, 0.7 within its month, 0.2 within its year."""
    found = np.zeros(len(when_ms), np.float32)
    moments = when_ms.astype(np.int64)
    for span in question.dates:
        if span.since is None or span.until is None:
            continue
        since, until = to_ms(span.since), to_ms(span.until)
        days = (until - since) / _DAY_MS
        if days <= 1:
            inside = (moments >= since - _NEAR_DATE_MS) & (moments < until + _NEAR_DATE_MS)
            worth = 1.0
        else:
            inside = (moments >= since) & (moments < until)
            worth = 0.7 if days <= 31 else 0.2
        found = np.maximum(found, np.where(inside, np.float32(worth), np.float32(0)))
    return found
