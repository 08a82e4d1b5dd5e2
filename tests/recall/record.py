"""`python -m tests.recall.record`: keep what recall finds now as what it must find from now on."""

import argparse
import sys
from pathlib import Path

from bench import regression
from bench.progress import Progress
from shared.errors import SunaivaError
from tests.recall.corpus import corpus

FIGURES = Path(__file__).parent / "figures.json"
SECONDS = 300.0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.recall.record", description=__doc__)
    parser.add_argument("--accept-loss", action="store_true", help="record it although it is worse")
    options = parser.parse_args(arguments)
    made = corpus()
    measured = regression.figures(made, Progress(SECONDS))
    try:
        regression.record(FIGURES, made, measured, accept_loss=options.accept_loss)
    except SunaivaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"Recorded: {measured.overall}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
