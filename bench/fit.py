"""How the weights of the ranking were found, so that anybody can find them again.

A softmax over a question's candidates, fitted to give its evidence the most: half of the loss asks for any of it, half for all of
it. Weights are held near a prior, because a few hundred questions of two sources say little. What the shipped `Weights` are is
decided by a person who reads this; nothing here writes them.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import evidence
from bench.dataset import load
from bench.evidence import Case
from bench.progress import Progress
from bench.report import Bar
from mcp_server.recall import Weights
from shared.errors import UnavailableError

FOLDS = 5
# From the research before this ranking: what a coordinate ascent on one of the files found for it, in round numbers.
PRIOR: Mapping[str, float] = {
    "words": 1.0, "meaning": 1.5, "around": 0.0, "speaker": 0.4, "date": 1.0, "names_a_time": 0.0, "meaning_beside": 1.0,
    "conversation": 0.3, "answers": 0.0, "said_by_assistant": -1.0, "assistant_was_asked": 1.0,
}  # fmt: skip
_TOWARDS_PRIOR = 0.03
_SHARE_OF_ALL = 0.5
_STEPS_MAX = 80
_LOG_SHARPNESS = 1.5  # where the temperature of the softmax starts
_NEVER = -1e9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    cases = {}
    for path in options.files:
        dataset = load(path)
        cases[dataset.name] = evidence.cases(dataset, progress)[: options.max]
    return figures_of(cases), []


def figures_of(cases: Mapping[str, Sequence[Case]]) -> dict[str, Any]:
    everything = [case for some in cases.values() for case in some]
    held_out = cross_validated(cases)
    found = fit(everything)
    return {
        "fitted": {name: getattr(found, name) / found.meaning for name in PRIOR},
        "held_out": {name: _figures(some, held_out[name]) for name, some in cases.items()},
        "fitted_on_all": {
            name: _figures(some, [found] * len(some)) for name, some in cases.items()
        },
        "shipped": {name: _figures(some, [Weights()] * len(some)) for name, some in cases.items()},
    }


def cross_validated(cases: Mapping[str, Sequence[Case]]) -> dict[str, list[Weights]]:
    """For each case the weights that were fitted without its conversation, and without every fifth other one."""
    folds = {name: folds_of([case.scope for case in some]) for name, some in cases.items()}
    fitted = [
        fit(
            [
                case
                for name, some in cases.items()
                for case, its in zip(some, folds[name], strict=True)
                if its != fold
            ]
        )
        for fold in range(FOLDS)
    ]
    return {name: [fitted[fold] for fold in folds[name]] for name in cases}


def folds_of(scopes: Sequence[str]) -> list[int]:
    """The fold of each case: the index of its conversation in the file, modulo 5."""
    number = {scope: place for place, scope in enumerate(dict.fromkeys(scopes))}
    return [number[scope] % FOLDS for scope in scopes]


def fit(cases: Sequence[Case]) -> Weights:
    """The most likely weights.

    Raises:
        UnavailableError: no evidence is among the candidates, so there is nothing to learn from.
    """
    usable = [case for case in cases if _gold(case).any()]
    if not usable:
        raise UnavailableError("There are too few questions with evidence to fit anything.")
    import torch  # noqa: PLC0415 (four seconds that only fitting needs)

    torch.set_num_threads(1)  # threads that wait for each other cost more than such small sums
    told, allowed, gold = (torch.from_numpy(each) for each in _padded(usable))
    prior = torch.tensor(list(PRIOR.values()))
    weights = prior.clone().requires_grad_(True)
    log_sharpness = torch.tensor(_LOG_SHARPNESS, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, log_sharpness], max_iter=_STEPS_MAX, line_search_fn="strong_wolfe"
    )

    def loss() -> Any:
        optimizer.zero_grad()
        likely = torch.log_softmax((told @ weights) * torch.exp(log_sharpness) + allowed, 1)
        any_of_it = torch.logsumexp(torch.where(gold, likely, _NEVER), 1)
        all_of_it = torch.where(gold, likely, 0).sum(1) / gold.sum(1)
        unlikely = -((1 - _SHARE_OF_ALL) * any_of_it + _SHARE_OF_ALL * all_of_it).mean()
        total = unlikely + _TOWARDS_PRIOR * ((weights - prior) ** 2).sum()
        total.backward()
        return total

    optimizer.step(loss)
    found = dict(zip(PRIOR, weights.detach().tolist(), strict=True))
    return msgspec.structs.replace(Weights(), **found)


def _padded(cases: Sequence[Case]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(cases, candidates, evidence), what may be returned as a score to add, and what holds the answer."""
    most = max(int(case.found.eligible.sum()) for case in cases)
    told = np.zeros((len(cases), most, len(PRIOR)), np.float32)
    allowed = np.full((len(cases), most), _NEVER, np.float32)
    gold = np.zeros((len(cases), most), np.bool_)
    for number, case in enumerate(cases):
        eligible = case.found.eligible
        size = int(eligible.sum())
        told[number, :size] = np.stack([case.told[name][eligible] for name in PRIOR], axis=1)
        allowed[number, :size] = 0
        gold[number, :size] = _gold(case)
    return told, allowed, gold


def _gold(case: Case) -> NDArray[np.bool_]:
    """Which of the eligible candidates hold the answer."""
    return np.isin(case.found.rows[case.found.eligible], list(case.gold))


def _figures(cases: Sequence[Case], weights: Sequence[Weights]) -> dict[str, float]:
    return evidence.means(
        [
            evidence.figures(case, evidence.order(case, each))
            for case, each in zip(cases, weights, strict=True)
        ]
    )
