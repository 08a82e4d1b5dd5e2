"""`python -m bench NAME`: one measurement of the shipped product, as a table or as exactly one JSON object.

Exit status 0: every bar holds; 1: measured, and a bar falls short; 2: could not measure, the reason on stderr.
"""

import argparse
import asyncio
import importlib
import signal
import sys
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

from mcp.shared.exceptions import MCPError

from bench.machine import commit, machine
from bench.progress import Progress
from bench.report import NOT_MEASURED, Report, status, write_json, write_table
from bench.stdio import innermost
from shared.errors import SunaivaError

BENCHES = {
    "recall": "evidence found in the files of conversations and questions given, through MCP",
    "ablation": "what each piece of evidence of the ranking is worth, on the files given, from inside",
    "fit": "the weights of the ranking, fitted on the files given with whole conversations held out",
    "regression": "whether a part of the files given is found as well as when it was recorded, in seconds",
    "context": "what `context` brings up without a question, on the files given, through MCP",
    "startup": "first tool answer through stdio, agent up, agent cold and in process; memory; schema",
    "latency": "store and recall through MCP at 1,000 to 100,000 memories; memory; bytes on disk",
    "scale": "questions, writes, starts, memory and disk at 1,000 to 1,000,000 memories",
    "concurrency": "four clients, kill -9 of the agent at random: acknowledged writes lost, corruption",
    "erasure": "forget, then a search of every file of the vault with the key in hand",
    "noticing": "duplicates, contradictions and updates noticed between statements: precision and recall",
    "sensitive": "secrets and personal details found in made sentences, and what is wrongly taken for one",
    "consolidate": "bytes and recall before and after `sunaiva consolidate`, and the naive layout's bytes",
    "simulate": "worlds of devices and a relay with every kind of fault: what is lost, disagrees, or leaks",
    "load": "10,000 connections against the cloud, and the same of a bare Litestar and of FastAPI",
    "sync": "seal, open, apply, sizes, bootstrap, pushes to the server, latency, beside pycrdt, Evolu and Actual",
    "peers": "ours and pinned peers on the same turns and questions, through stdio",
}
_EXPECTED = (SunaivaError, MCPError, OSError)
SECONDS_DEFAULT = 1800.0
SEED_DEFAULT = 7


def main(arguments: list[str]) -> int:
    if arguments == ["--list"]:
        for name, summary in BENCHES.items():
            print(f"{name:12} {summary}")
        return 0
    name = _name(arguments)
    # By name, so that one bench does not load what only another needs.
    bench = importlib.import_module(f"bench.{name}")
    options = _options(name, bench, arguments[1:])
    # Asked to end, a bench still takes its processes and folders with it, as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress(options.seconds)
    started = monotonic()
    try:
        results, bars = asyncio.run(bench.measure(options, progress))
    except (*_EXPECTED, ExceptionGroup) as error:
        reason = innermost(error)
        if not isinstance(reason, _EXPECTED):
            raise
        print(f"Could not measure: {str(reason) or type(reason).__name__}", file=sys.stderr)
        return NOT_MEASURED
    report = Report(
        bench=name,
        commit=commit(),
        machine=machine(),
        options=_shown(options),
        results=results | {"complete": progress.complete},
        bars=bars,
        seconds=monotonic() - started,
    )
    if options.json:
        write_json(report)
    else:
        write_table(report)
    return status(report)


def _name(arguments: list[str]) -> str:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name every bench")
    parser.add_argument("name", choices=BENCHES, metavar="NAME", help=", ".join(BENCHES))
    name: str = parser.parse_args(arguments[:1]).name
    return name


def _options(name: str, bench: ModuleType, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", description=BENCHES[name])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--seed", type=int, default=SEED_DEFAULT)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS_DEFAULT, help="stop measuring after this long"
    )
    parser.add_argument("--max", type=int, default=None, help="a cap on what is measured")
    bench.add_arguments(parser)
    return parser.parse_args(arguments)


def _shown(options: argparse.Namespace) -> dict[str, Any]:
    """The options of this run; of files, only their names: a report says nothing about a machine's folders."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return value.name
        return [plain(item) for item in value] if isinstance(value, list) else value

    return {name: plain(value) for name, value in vars(options).items() if name != "json"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
