"""The same new memories into our vault and into each peer, in turn, so that whatever else the machine does falls on all of them.

Ours takes in sealed batches: verified, decrypted, merged, stored durably in an encrypted vault, indexed. Evolu and Actual store in plain
SQLite with `synchronous = NORMAL`, from messages that are open already; pycrdt keeps a document in memory and stores nothing.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.progress import Progress
from bench.sync import rates
from bench.sync.memories import made_up, memories
from bench.sync.peers import running
from bench.sync.peers.running import Peer
from shared.errors import UnavailableError

MEMORIES = 10_000
BATCH = 512


def measure(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    count = min(options.max or MEMORIES, MEMORIES)
    made = memories(made_up(count, options.seed), count, options.seed)
    ours: list[dict[str, Any]] = []
    theirs: dict[str, list[dict[str, Any]]] = {}
    missing: dict[str, str] = {}
    for _ in progress.over(range(options.repeats), f"ours and peers, {count:,}"):
        ours.append(rates.applied_new(made))
        for peer in running.PEERS:
            if peer.name in missing:
                continue
            try:
                found = running.run(peer, made, BATCH, _node(peer, options.node))
            except UnavailableError as error:
                missing[peer.name] = str(error)
            else:
                theirs.setdefault(peer.name, []).append(found)
    own = _medians(ours)
    found = {name: _medians(each) for name, each in theirs.items()}
    return {
        "memories": count,
        "a_batch": BATCH,
        "ours": own,
        **found,
        "ratios": _ratios("apply_per_s", own, found),
        "ratios_by_cpu": _ratios("apply_per_cpu_s", own, found),
        **({"not_measured": missing} if missing else {}),
    }


def _node(peer: Peer, given: Path | None) -> Path | None:
    return given if peer.in_node else None


def _medians(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: median(one[name] for one in each) for name in each[0]}


def _ratios(name: str, own: dict[str, Any], found: dict[str, dict[str, Any]]) -> dict[str, float]:
    return {peer: round(own[name] / figures[name], 2) for peer, figures in found.items()}
