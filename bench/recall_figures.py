"""What the answers of a recall run add up to: figures, intervals and bars. Pure; `recall` does the asking."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from bench import metrics
from bench.dataset import ADVERSARIAL, Dataset
from bench.metrics import Answered
from bench.report import Bar, at_least

# By how a data set's name begins; another data set has figures and no bars.
BARS = {
    "locomo": {
        "budget any@2000": 0.97,
        "turn any@10": 0.90,
        "session any@5": 0.955,
        "session all@5": 0.86,
    },
    "realtalk": {"budget any@2000": 0.91, "turn any@10": 0.80},
    "beam": {"facts any@2000": 0.95},
}
# Questions about what was said, in logs of an assistant; the others ask for summaries, order or manners.
FACTS = frozenset(
    {
        "information_extraction",
        "knowledge_update",
        "multi_session_reasoning",
        "temporal_reasoning",
        "contradiction_resolution",
        "preference_following",
    }
)


class Asked(Struct, frozen=True):
    """One question with everything that its two calls told."""

    answered: Answered
    """Ranked by calls that follow the cursor until the largest budget is full."""
    called: Answered
    """The one answer to a call with no options."""
    audited: frozenset[str] | None
    milliseconds: float
    called_irrelevant: bool = False
    """The answer said that nothing seems to be about the question."""


def figures_of(dataset: Dataset, asked: Sequence[Asked], rng: random.Random) -> dict[str, Any]:
    session_of = {(scope.id, doc.id): doc.session for scope in dataset.scopes for doc in scope.docs}

    def block(some: Sequence[Asked]) -> dict[str, Any]:
        answered = [one.answered for one in some]
        return {
            "questions": len(some),
            "turn": metrics.ranking_scores([(a.ranking, a.evidence) for a in answered]),
            "session": metrics.ranking_scores(metrics.session_pairs(answered, session_of)),
            "budget": metrics.budget_scores(answered),
            "one_call": _one_call([one.called for one in some]),
            "called_irrelevant": metrics.mean([float(one.called_irrelevant) for one in some]),
        }

    with_evidence = [one for one in asked if one.answered.evidence]
    headline = [one for one in with_evidence if one.answered.category != ADVERSARIAL]
    audited = [_on_audited(one) for one in headline if one.audited]
    categories = sorted({one.answered.category for one in with_evidence})
    facts = [one for one in headline if one.answered.category in FACTS]
    times = [one.milliseconds for one in asked]
    return block(headline) | {
        "interval_95": _intervals([one.answered for one in headline], rng),
        "facts": block(facts) if facts else None,
        "audited": block(audited) if audited else None,
        "by_category": {
            name: block([one for one in with_evidence if one.answered.category == name])
            for name in categories
        },
        "without_evidence": {
            "questions": len(asked) - len(with_evidence),
            "called_irrelevant": metrics.mean(
                [float(one.called_irrelevant) for one in asked if not one.answered.evidence]
            ),
            "tokens": metrics.mean(
                [sum(one.called.tokens) for one in asked if not one.answered.evidence]
            ),
        },
        "ms_p50": metrics.percentile(times, 0.5),
        "ms_p95": metrics.percentile(times, 0.95),
    }


def _one_call(called: Sequence[Answered]) -> dict[str, float]:
    """The whole answer to a call with no options: evidence in it, memories and tokens it has."""
    return {
        "any": metrics.mean([float(bool(a.evidence & set(a.ranking))) for a in called]),
        "all": metrics.mean([float(a.evidence <= set(a.ranking)) for a in called]),
        "memories": metrics.mean([len(a.ranking) for a in called]),
        "tokens": metrics.mean([sum(a.tokens) for a in called]),
    }


def _on_audited(one: Asked) -> Asked:
    """The same answer against the evidence as an audit of the data set corrected it."""
    assert one.audited is not None
    gold = one.audited
    return msgspec.structs.replace(
        one,
        answered=msgspec.structs.replace(one.answered, evidence=gold),
        called=msgspec.structs.replace(one.called, evidence=gold),
    )


def _intervals(answered: Sequence[Answered], rng: random.Random) -> dict[str, list[float]]:
    scopes = sorted({a.scope for a in answered})
    if len(scopes) < 2:
        return {}  # nothing to draw from

    def interval(score: Callable[[Answered], float]) -> list[float]:
        groups = [[score(a) for a in answered if a.scope == scope] for scope in scopes]
        return list(metrics.bootstrap_interval(groups, rng))

    return {
        "turn.any@10": interval(lambda a: metrics.any_at(a.ranking, a.evidence, 10)),
        "turn.recall@10": interval(lambda a: metrics.recall_at(a.ranking, a.evidence, 10)),
        "budget.any@2000": interval(
            lambda a: metrics.any_at(a.ranking, a.evidence, metrics.fitting(a.tokens, 2000))
        ),
    }


def bars_of(name: str, figures: dict[str, Any]) -> list[Bar]:
    bars = []
    for family, wanted in BARS.items():
        if not name.lower().startswith(family):
            continue
        for bar, least in wanted.items():
            unit, _, measure = bar.partition(" ")
            if unit == "facts" and figures["facts"] is None:
                continue  # a small sample may have none of these questions
            block = figures["facts"]["budget"] if unit == "facts" else figures[unit]
            bars.append(at_least(f"{name}: {bar}", block[measure], least))
    return bars
