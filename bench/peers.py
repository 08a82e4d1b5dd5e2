"""Ours and pinned peers, on the same turns and the same questions, one by one through stdio MCP.

Every server starts with an empty store of its own, answers ten results a question, and is judged by whether the
evidence is among them. A peer that cannot be installed or run is reported with the reason, never left out.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from msgspec import Struct

from bench import metrics
from bench.answers import answer_text, answer_tokens, ranking_in, schema_tokens
from bench.dataset import Doc, Query, load
from bench.device import agents, connected, fresh_device, relays
from bench.peers_catalogue import PEERS, RESULTS_WANTED, Call, Peer, Turn
from bench.peers_install import install, own_size_mib, size_mib
from bench.peers_model import export
from bench.processes import marked, resident_mib
from bench.progress import Progress
from bench.report import Bar
from bench.stdio import session
from shared.errors import SunaivaError, UnavailableError

TURNS = 200
QUESTIONS = 80
_CONVERSATION = "chat"
_PEERS_FOLDER = Path(__file__).resolve().parent.parent / ".peers"
# What a peer starts (a node, a worker) counts as the peer; nothing else of this machine does.
_HOME_MARK = "SUNAIVA_BENCH_PEER"


class Task(Struct, frozen=True):
    turns: list[Turn]
    docs: list[Doc]
    questions: list[Query]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="data set; the first conversation is used")
    parser.add_argument("--install", action="store_true", help="install missing peers into .peers/")
    parser.add_argument("--only", nargs="*", default=None, help="names of the peers to measure")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    task = _task(options.file, options.max or QUESTIONS)
    results: dict[str, Any] = {
        "turns": len(task.turns),
        "questions": len(task.questions),
        "sunaiva": await _measure_ours(task, progress),
    }
    for peer in PEERS:
        if options.only is not None and peer.name not in options.only:
            continue
        try:
            results[peer.name] = await _measure_peer(peer, task, options.install, progress)
        except (SunaivaError, MCPError, OSError) as error:
            results[peer.name] = {"version": peer.version, "not_measured": str(error)}
    results["ratios"] = _ratios(results)
    return results, []


def _task(path: Path, questions: int) -> Task:
    scope = load(path).scopes[0]
    docs = scope.docs[:TURNS]
    known = {doc.id for doc in docs}
    asked = [query for query in scope.queries if query.evidence and known >= set(query.evidence)]
    turns = [Turn(number, _as_text(doc)) for number, doc in enumerate(docs)]
    return Task(turns, docs, asked[:questions])


def _as_text(doc: Doc) -> str:
    day = datetime.fromisoformat(doc.ts)
    return f"[{day.day} {day:%B %Y}] {doc.who}: {doc.text}"


async def _measure_ours(task: Task, progress: Progress) -> dict[str, Any]:
    docs = {turn.number: doc for turn, doc in zip(task.turns, task.docs, strict=True)}

    def store(turn: Turn) -> Call:
        doc = docs[turn.number]
        said = {"speaker": doc.who, "text": doc.text, "at": doc.ts, "key": doc.id}
        return "capture", {"conversation": _CONVERSATION, "turns": [said]}

    def search(question: str) -> Call:
        return "recall", {"query": question, "limit": RESULTS_WANTED}

    with fresh_device() as device:
        started = perf_counter()
        async with connected(device) as client:
            figures = await _drive(client, started, task, store, search, progress, "sunaiva")
            figures["rss_mib"] = resident_mib([*agents(device), *relays(device)])
    return {"version": "this commit"} | figures | {"install_mib": own_size_mib()}


async def _measure_peer(
    peer: Peer, task: Task, may_install: bool, progress: Progress
) -> dict[str, Any]:
    folder = _PEERS_FOLDER / peer.name
    if may_install:
        progress.say(f"installing {peer.name}")
        install(peer, folder)
    program = folder / peer.program[0]
    if not program.exists():
        raise UnavailableError("Not installed; run with --install.")
    home = Path(tempfile.mkdtemp(prefix="sb-peer-"))
    try:
        if peer.model_folder:
            model = home / peer.model_folder
            model.parent.mkdir(parents=True)
            shutil.copytree(export(_PEERS_FOLDER / "minilm"), model)
        extra = {name: value.format(home=home) for name, value in peer.environment}
        server = StdioServerParameters(
            command=str(program),
            args=list(peer.program[1:]),
            env={"HOME": str(home), _HOME_MARK: str(home)} | extra,
            cwd=home,
        )
        started = perf_counter()
        async with session(server, home / "stderr.log") as client:
            figures = await _drive(
                client, started, task, peer.store, peer.search, progress, peer.name
            )
            figures["rss_mib"] = resident_mib(marked(_HOME_MARK, str(home)))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return {"version": peer.version} | figures | {"install_mib": size_mib(folder)}


async def _drive(
    client: Client,
    started: float,
    task: Task,
    store: Callable[[Turn], Call],
    search: Callable[[str], Call],
    progress: Progress,
    name: str,
) -> dict[str, Any]:
    """Store every turn, ask every question, and keep the times of both."""
    listed = await client.list_tools()
    init_s = perf_counter() - started
    store_ms, query_ms, tokens = [], [], []
    refusals: list[str] = []
    pairs = []
    texts = {doc.id: f"{doc.who}: {doc.text}" for doc in task.docs}
    titles = {doc.id: turn.title for turn, doc in zip(task.turns, task.docs, strict=True)}
    for turn in progress.over(task.turns, f"{name}: store"):
        tool, arguments = store(turn)
        began = perf_counter()
        result = await client.call_tool(tool, arguments)
        store_ms.append((perf_counter() - began) * 1000)
        if result.is_error:  # a refused turn cannot be found later; that is the peer's choice
            refusals.append(answer_text(result))
    if len(refusals) == len(task.turns):
        raise UnavailableError(f"It stored nothing: {refusals[0][:300]}")
    for query in progress.over(task.questions, f"{name}: ask"):
        tool, arguments = search(query.text)
        began = perf_counter()
        result = await client.call_tool(tool, arguments)
        query_ms.append((perf_counter() - began) * 1000)
        if result.is_error:
            raise UnavailableError(f"{tool} failed: {answer_text(result)[:300]}")
        ranking = ranking_in(result, texts, titles)
        pairs.append((ranking[:RESULTS_WANTED], frozenset(query.evidence)))
        tokens.append(answer_tokens(result))
    return {
        "turn": {
            "any@5": metrics.mean([metrics.any_at(r, e, 5) for r, e in pairs]),
            "any@10": metrics.mean([metrics.any_at(r, e, 10) for r, e in pairs]),
        },
        "refused": len(refusals),
        "init_s": init_s,
        "store_ms_p50": metrics.median(store_ms),
        "query_ms_p50": metrics.median(query_ms),
        "query_ms_p95": metrics.percentile(query_ms, 0.95),
        "answer_tokens_p50": metrics.median(tokens),
        "schema_tokens": schema_tokens(listed),
        "tools": len(listed.tools),
    }


def _ratios(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Peer divided by ours: above 1, the peer is slower, larger or finds more."""
    ours = results["sunaiva"]
    ratios = {}
    for peer in PEERS:
        theirs = results.get(peer.name)
        if theirs is None or "not_measured" in theirs:
            continue
        names = ("init_s", "store_ms_p50", "query_ms_p50", "rss_mib", "install_mib")
        ratios[peer.name] = {name: theirs[name] / ours[name] for name in names} | {
            "any@10": theirs["turn"]["any@10"] / (ours["turn"]["any@10"] or float("nan"))
        }
    return ratios
