"""Whether recall has become worse on the files given than it was when its figures were recorded; in seconds.

A seeded part of each file, asked in this process: figures of the whole, from outside, are what `recall` is for. Recorded are
three means and by category the same, never anything of the texts. `tests/recall` does the same with conversations made for it.
"""

import argparse
import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bench import metrics
from bench.dataset import ADVERSARIAL, Dataset, Query, Scope, load
from bench.inside import Filled, filled
from bench.machine import commit
from bench.metrics import Answered
from bench.progress import Progress
from bench.report import Bar, at_least
from mcp_server import search
from shared.clock import system_clock
from shared.errors import ConflictError, NotFoundError, UnavailableError

RECORDED = Path(__file__).parent / "figures.json"
# A point of all questions, and of one category ten: what it lost, another may have won, and the mean hides it. Less than
# that, a small category moves with anything.
_LOSS, _CATEGORY_LOSS = 0.01, 0.10
# Whatever the share is, no verdict hangs on a single question, nor a category's on two.
_QUESTIONS, _CATEGORY_QUESTIONS = 1, 2
_DIGITS = 4  # of what is recorded
_DIGIT = 10**-_DIGITS
_TURNS = 800  # of one file, about: both development files then take less than a minute
# Tokens; the smaller one for conversations made of short turns, of which the larger one holds a hundred.
_BUDGETS = (300, 2_000)
# Of an answer: enough to fill the largest budget in scripts whose letters take more bytes, too.
_MAX_TOKENS = 4 * max(_BUDGETS)


class Figures(Struct, frozen=True):
    """Means over questions, in 0…1, by name: any@10, any@2000, mrr."""

    questions: dict[str, int]
    """How many, by category."""
    overall: dict[str, float]
    by_category: dict[str, dict[str, float]]


class Recorded(Struct, frozen=True):
    commit: str
    date: str
    of: str
    """Digest of what was asked of what; other turns or questions have other figures."""
    figures: Figures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "--record", action="store_true", help="keep what is measured as what later runs must reach"
    )
    parser.add_argument("--accept-loss", action="store_true", help="record it although it is worse")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    results: dict[str, Any] = {}
    bars: list[Bar] = []
    for path in options.files:
        dataset = part(load(path), random.Random(options.seed))
        measured = figures(dataset, progress)
        if options.record:
            record(RECORDED, dataset, measured, accept_loss=options.accept_loss)
        before = recorded(RECORDED, dataset)
        for line in changes(before.figures, measured):
            progress.say(line)
        bars += bars_of(dataset.name, before, measured)
        results[dataset.name] = msgspec.to_builtins(measured)
    return results, bars


def part(dataset: Dataset, rng: random.Random) -> Dataset:
    """Whole scopes, drawn until there are turns enough."""
    drawn = rng.sample(dataset.scopes, len(dataset.scopes))
    turns, count = 0, 0
    while turns < _TURNS and count < len(drawn):
        turns += len(drawn[count].docs)
        count += 1
    return Dataset(dataset.name, drawn[:count])


def figures(dataset: Dataset, progress: Progress) -> Figures:
    """Store every turn and ask every question that has evidence.

    Raises:
        UnavailableError: time was up.
    """
    with filled(dataset, progress) as vault:
        answered = [
            _ask(vault, scope, query)
            for scope in progress.over(dataset.scopes, f"{dataset.name}: ask")
            for query in scope.queries
            if query.evidence and query.cat != ADVERSARIAL
        ]
    if not progress.complete:
        raise UnavailableError("Time was up before everything was asked. Give more --seconds.")
    return figures_of(answered)


def figures_of(answered: Sequence[Answered]) -> Figures:
    categories = {
        name: [one for one in answered if one.category == name]
        for name in sorted({one.category for one in answered})
    }
    return Figures(
        {name: len(some) for name, some in categories.items()},
        _means(answered),
        {name: _means(some) for name, some in categories.items()},
    )


def bars_of(name: str, before: Recorded, measured: Figures) -> list[Bar]:
    """What every figure must at least be, overall; and of those by category the ones that fell short."""
    by_category = [
        bar
        for category, means in before.figures.by_category.items()
        for bar in _floors(
            f"{name} {category}",
            means,
            measured.by_category[category],
            max(_CATEGORY_LOSS, _CATEGORY_QUESTIONS / before.figures.questions[category]),
        )
    ]
    allowed = max(_LOSS, _QUESTIONS / sum(before.figures.questions.values()))
    return [
        *_floors(name, before.figures.overall, measured.overall, allowed),
        *(bar for bar in by_category if not bar.holds),
    ]


def _floors(
    name: str, was: Mapping[str, float], now: Mapping[str, float], allowed: float
) -> list[Bar]:
    return [
        at_least(f"{name}: {figure}", now[figure], value - allowed - _DIGIT)
        for figure, value in was.items()
    ]


def changes(before: Figures, now: Figures) -> list[str]:
    """One line for each figure that moved, overall and by category: `mrr of pronoun: 61.2 → 55.0 (-6.2)`."""
    pairs = [("all", before.overall, now.overall)] + [
        (name, before.by_category[name], means) for name, means in now.by_category.items()
    ]
    return [
        f"{figure} of {name}: {100 * was[figure]:.1f} → {100 * value:.1f} ({100 * (value - was[figure]):+.1f})"
        for name, was, means in pairs
        for figure, value in means.items()
        if round(1000 * (value - was[figure]))
    ]


def recorded(file: Path, dataset: Dataset) -> Recorded:
    """Raises NotFoundError: nothing is recorded of just these turns and questions."""
    before = _all_recorded(file).get(dataset.name)
    if before is None or before.of != _digest(dataset):
        raise NotFoundError(
            f"{file.name} has no figures of these turns and questions of {dataset.name}; record them."
        )
    return before


def record(file: Path, dataset: Dataset, measured: Figures, *, accept_loss: bool) -> None:
    """Keep these figures as what later runs must reach.

    Raises:
        ConflictError: the same turns and questions were answered better before, and that is not accepted.
    """
    known = _all_recorded(file)
    before = known.get(dataset.name)
    if before is not None and before.of == _digest(dataset) and not accept_loss:
        worse = [
            figure
            for figure, was in before.figures.overall.items()
            if measured.overall[figure] < was - _DIGIT
        ]
        if worse:
            raise ConflictError(
                f"Not recorded: {', '.join(worse)} of {dataset.name} fell since {before.commit}. If the loss is worth it, say "
                "--accept-loss, and why in the commit.\n"
                + "\n".join(changes(before.figures, measured))
            )
    now = Recorded(commit(), f"{system_clock():%Y-%m-%d}", _digest(dataset), _rounded(measured))
    written = msgspec.json.format(msgspec.json.encode(known | {dataset.name: now}), indent=2)
    file.write_bytes(written + b"\n")


def _ask(vault: Filled, scope: Scope, query: Query) -> Answered:
    answer = search.find(
        vault.device,
        search.Asked(
            query=query.text, spaces=(scope.id,), max_tokens=_MAX_TOKENS, limit=search.RESULTS_MAX
        ),
        client="bench",
    )
    return Answered(
        scope=scope.id,
        category=query.cat,
        evidence=frozenset(query.evidence),
        ranking=tuple(vault.places[each.memory.id][1] for each in answer.found),
        tokens=tuple(metrics.memory_tokens(each.text) for each in answer.found),
    )


def _means(answered: Sequence[Answered]) -> dict[str, float]:
    return {
        "any@10": metrics.mean([metrics.any_at(a.ranking, a.evidence, 10) for a in answered]),
        "mrr": metrics.mean([metrics.reciprocal_rank(a.ranking, a.evidence) for a in answered]),
    } | {
        f"any@{budget}": metrics.mean(
            [
                metrics.any_at(a.ranking, a.evidence, metrics.fitting(a.tokens, budget))
                for a in answered
            ]
        )
        for budget in _BUDGETS
    }


def _rounded(measured: Figures) -> Figures:
    def plain(means: Mapping[str, float]) -> dict[str, float]:
        return {name: round(value, _DIGITS) for name, value in means.items()}

    return Figures(
        measured.questions,
        plain(measured.overall),
        {name: plain(means) for name, means in measured.by_category.items()},
    )


def _digest(dataset: Dataset) -> str:
    return hashlib.sha256(msgspec.json.encode(dataset)).hexdigest()[:16]


def _all_recorded(file: Path) -> dict[str, Recorded]:
    if not file.exists():
        return {}
    return msgspec.json.decode(file.read_bytes(), type=dict[str, Recorded])
