"""What each piece of evidence is worth: the shipped ranking, and the same with a part of it taken away. Nothing is fitted anew.

From inside: every question is put once to the shipped search, and its candidates are ranked again under each variant.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bench import evidence, metrics
from bench.dataset import load
from bench.evidence import Case
from bench.progress import Progress
from bench.report import Bar
from mcp_server.recall import Weights
from shared.errors import UnavailableError

SHIPPED = "shipped"
_NAMES = Weights.__struct_fields__
_NOTHING = Weights(**dict.fromkeys(_NAMES, 0.0))


class Variant(Struct, frozen=True):
    weights: Weights
    reserved: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    results = {}
    for path in options.files:
        dataset = load(path)
        cases = evidence.cases(dataset, progress)[: options.max]
        results[dataset.name] = figures_of(cases, random.Random(options.seed))
    return results, []


def variants() -> dict[str, Variant]:
    shipped = Weights()
    words = msgspec.structs.replace(_NOTHING, words=shipped.words)
    return {
        SHIPPED: Variant(shipped),
        "only words": Variant(words, reserved=False),
        "only meaning": Variant(
            msgspec.structs.replace(_NOTHING, meaning=shipped.meaning), reserved=False
        ),
        "only words and meaning": Variant(
            msgspec.structs.replace(words, meaning=shipped.meaning), reserved=False
        ),
        "no reserved places": Variant(shipped, reserved=False),
    } | {
        f"without {name}": Variant(msgspec.structs.replace(shipped, **{name: 0.0}))
        for name in _NAMES
    }


def figures_of(cases: Sequence[Case], rng: random.Random) -> dict[str, Any]:
    """Figures of every variant, and how much each differs from what is shipped, question by question.

    Raises:
        UnavailableError: there is no question to measure with.
    """
    if not cases:
        raise UnavailableError("No question of this file names its evidence.")
    scored = {
        name: [
            evidence.figures(case, evidence.order(case, each.weights, reserved=each.reserved))
            for case in cases
        ]
        for name, each in variants().items()
    }
    scopes = [case.scope for case in cases]
    shipped = scored[SHIPPED]
    return {
        "questions": len(cases),
        "variants": {name: evidence.means(each) for name, each in scored.items()},
        "interval_95": _intervals(scopes, shipped, rng),
        "differences": {
            name: _differences(scopes, each, shipped, rng)
            for name, each in scored.items()
            if name != SHIPPED
        },
    }


def _differences(
    scopes: Sequence[str],
    scored: Sequence[Mapping[str, float]],
    shipped: Sequence[Mapping[str, float]],
    rng: random.Random,
) -> dict[str, list[float]]:
    """Of each figure: the mean difference from what is shipped, and its interval."""
    apart = [
        {name: one[name] - other[name] for name in one}
        for one, other in zip(scored, shipped, strict=True)
    ]
    intervals = _intervals(scopes, apart, rng)
    return {name: [mean, *intervals[name]] for name, mean in evidence.means(apart).items()}


def _intervals(
    scopes: Sequence[str], scored: Sequence[Mapping[str, float]], rng: random.Random
) -> dict[str, list[float]]:
    """95 %, by drawing whole conversations."""
    return {
        name: list(
            metrics.bootstrap_interval(
                [
                    [each[name] for each, home in zip(scored, scopes, strict=True) if home == scope]
                    for scope in sorted(set(scopes))
                ],
                rng,
            )
        )
        for name in scored[0]
    }
