"""Worlds of devices, a relay and faults, each decided by a seed: how many lose something, disagree, or tell the relay something.

The worlds are those of the tests (`tests/simulation`), so that a seed that fails here is a test there. Nothing is measured in seconds but
the rate: the time in a world is its own.
"""

import argparse
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from time import monotonic
from typing import Any

from bench.progress import Progress
from bench.report import Bar, at_most
from tests.simulation.world import World

RUNS_DEFAULT = 200
STEPS_DEFAULT = 100
# Worlds for a worker at once: few enough that the deadline is kept, many enough that handing them over costs nothing.
AT_ONCE = 25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=RUNS_DEFAULT, help="worlds, each of a seed")
    parser.add_argument("--steps", type=int, default=STEPS_DEFAULT, help="steps in each world")
    parser.add_argument("--workers", type=int, default=1, help="processes")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    runs = min(options.runs, options.max or options.runs)
    began = monotonic()
    lived = steps = 0
    broken: list[str] = []
    killed: Counter[str] = Counter()
    firsts = range(options.seed, options.seed + runs, AT_ONCE)
    with ProcessPoolExecutor(max_workers=options.workers) as pool:
        waves = [firsts[at : at + options.workers] for at in range(0, len(firsts), options.workers)]
        for wave in progress.over(waves, "worlds"):
            tasks = [
                pool.submit(live, first, min(first + AT_ONCE, options.seed + runs), options.steps)
                for first in wave
            ]
            for task in tasks:
                seeds, taken, found, died = task.result()
                lived, steps = lived + seeds, steps + taken
                broken += found
                killed += died
    for sentence in broken:
        progress.say(sentence)
    seconds = monotonic() - began
    results = {
        "worlds": lived,
        "steps": steps,
        "broken": len(broken),
        "broken_seeds": broken[:20],
        "killed": sum(killed.values()),
        "killed_at_points": len(killed),
        "worlds_per_second": lived / seconds,
    }
    return results, [at_most("worlds that lost, disagreed or told something", len(broken), 0)]


def live(first: int, end: int, steps: int) -> tuple[int, int, list[str], Counter[str]]:
    """(worlds, steps, what broke, where devices died) of these seeds."""
    broken: list[str] = []
    killed: Counter[str] = Counter()
    taken = 0
    for seed in range(first, end):
        world = World(seed, steps)
        try:
            taken += world.run()
        except Exception as error:  # noqa: BLE001 (a world that ends in anything is broken)
            broken.append(f"seed {seed}: {type(error).__name__}: {error}")
        killed += world.killed
    return end - first, taken, broken, killed
