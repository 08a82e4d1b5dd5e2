"""What the retrieval figures mean, as pure functions of a ranking and its gold evidence. Nothing here measures.

A ranking is the ids in the order an answer gave them, without repeats; evidence is the set of ids that hold the
answer, never empty (a question without evidence has no score and is counted elsewhere). Shares lie in 0…1.
"""

import math
import random
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

CUTOFFS = (5, 10, 20)
NDCG_CUTOFF = 10
BUDGETS = (1000, 2000, 4000)
BOOTSTRAP_DRAWS = 2000  # the interval's own noise is then well below a tenth of a point


class Answered(Struct, frozen=True, kw_only=True):
    """One question as it was answered."""

    scope: str
    category: str
    evidence: frozenset[str]
    ranking: tuple[str, ...]
    tokens: tuple[float, ...]
    """What each ranked memory cost, in tokens, in the same order."""


def any_at(ranking: Sequence[str], evidence: Collection[str], cutoff: int) -> float:
    return float(any(item in evidence for item in ranking[:cutoff]))


def all_at(ranking: Sequence[str], evidence: Collection[str], cutoff: int) -> float:
    return float(set(evidence) <= set(ranking[:cutoff]))


def recall_at(ranking: Sequence[str], evidence: Collection[str], cutoff: int) -> float:
    return len(set(evidence) & set(ranking[:cutoff])) / len(evidence)


def reciprocal_rank(ranking: Sequence[str], evidence: Collection[str]) -> float:
    for place, item in enumerate(ranking, start=1):
        if item in evidence:
            return 1 / place
    return 0.0


def ndcg_at(ranking: Sequence[str], evidence: Collection[str], cutoff: int) -> float:
    """Binary gains; the ideal ranking puts all evidence first."""
    gain = sum(
        1 / math.log2(place + 1)
        for place, item in enumerate(ranking[:cutoff], start=1)
        if item in evidence
    )
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(len(evidence), cutoff) + 1))
    return gain / ideal


def distinct(items: Iterable[str]) -> tuple[str, ...]:
    """The items in order of first appearance: sessions ranked by their best turn."""
    return tuple(dict.fromkeys(items))


def fitting(tokens: Sequence[float], budget: float) -> int:
    """How many of the first memories fit into the budget; the first that does not fit ends it."""
    spent = 0.0
    for count, cost in enumerate(tokens):
        spent += cost
        if spent > budget:
            return count
    return len(tokens)


def memory_tokens(text: str) -> float:
    """Tokens of one returned memory: a quarter of its characters, and 6 for its date and speaker."""
    return tokens_of(len(text))


def tokens_of(chars: int) -> float:
    return chars / 4 + 6


def ranking_scores(pairs: Sequence[tuple[Sequence[str], Collection[str]]]) -> dict[str, float]:
    """Means over (ranking, evidence) pairs: any@k, all@k, recall@k, mrr, ndcg@10."""
    scores: dict[str, float] = {}
    for name, score in (("any", any_at), ("all", all_at), ("recall", recall_at)):
        for cutoff in CUTOFFS:
            scores[f"{name}@{cutoff}"] = mean([score(r, e, cutoff) for r, e in pairs])
    scores["mrr"] = mean([reciprocal_rank(r, e) for r, e in pairs])
    scores[f"ndcg@{NDCG_CUTOFF}"] = mean([ndcg_at(r, e, NDCG_CUTOFF) for r, e in pairs])
    return scores


def budget_scores(answered: Sequence[Answered]) -> dict[str, float]:
    """Means of any, all and recall inside the first T tokens of what was returned."""
    scores: dict[str, float] = {}
    for name, score in (("any", any_at), ("all", all_at), ("recall", recall_at)):
        for budget in BUDGETS:
            scores[f"{name}@{budget}"] = mean(
                [score(a.ranking, a.evidence, fitting(a.tokens, budget)) for a in answered]
            )
    return scores


def session_pairs(
    answered: Sequence[Answered], session_of: Mapping[tuple[str, str], str]
) -> list[tuple[tuple[str, ...], frozenset[str]]]:
    """The same answers, read as rankings of sessions. `session_of` maps (scope, turn) to its session."""
    return [
        (
            distinct(session_of[a.scope, item] for item in a.ranking),
            frozenset(session_of[a.scope, item] for item in a.evidence),
        )
        for a in answered
    ]


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def bootstrap_interval(
    groups: Sequence[Sequence[float]], rng: random.Random
) -> tuple[float, float]:
    """95 % interval of the mean over all values, by drawing whole groups with replacement.

    Questions of one conversation are not independent, so the conversation is what is drawn.
    """
    sums = [(math.fsum(group), len(group)) for group in groups if group]
    means = []
    for _ in range(BOOTSTRAP_DRAWS):
        drawn = rng.choices(sums, k=len(sums))
        means.append(math.fsum(s for s, _ in drawn) / sum(n for _, n in drawn))
    return percentile(means, 0.025), percentile(means, 0.975)
