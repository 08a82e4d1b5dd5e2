"""The parts of the measurement in turn, and the bars of all of them."""

import argparse
from pathlib import Path
from typing import Any

from bench.progress import Progress
from bench.report import Bar, at_least, at_most
from bench.sync import bootstrap, carried, comparing, latency, rates
from bench.sync.peers import running
from bench.sync.pushes import measuring as pushes

PARTS = ("rates", "bootstrap", "vectors", "push", "latency", "peers")
REPEATS = 3
APPLY_BAR, PEER_RATIO_BAR = 20_000.0, 4.0
WIRE_512_BAR, WIRE_16_BAR, DISK_BAR = 165.0, 220.0, 650.0
TEXT_BAR, MILLION_TEXT_BAR, FIRST_BAR = 5.0, 60.0, 3.0
VISIBLE_MS_BAR, IDLE_BYTES_BAR = 2_000.0, 1_000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", type=Path, help="a recall file: wire bytes of what people really said"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="these parts only")
    parser.add_argument("--million", action="store_true", help="bootstrap a million memories")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument(
        "--idle", type=float, default=latency.IDLE_SECONDS, help="seconds of counting bytes"
    )
    parser.add_argument("--install", action="store_true", help="install the peers into .peers/")
    parser.add_argument("--node", type=Path, help="another Node than the one that --install brings")
    pushes.add_arguments(parser)


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    results: dict[str, Any] = {}
    bars: list[Bar] = []
    parts = options.only or PARTS
    if options.install:
        running.install(progress.say)
    if "rates" in parts:
        results["rates"] = rates.measure(options, progress)
        bars += _rate_bars(results["rates"])
    if "peers" in parts:
        results["peers"] = comparing.measure(options, progress)
        bars += [
            at_least(f"apply, ours by {name}", ratio, PEER_RATIO_BAR)
            for name, ratio in results["peers"]["ratios"].items()
            if not name.startswith("pycrdt")
        ]
    if "bootstrap" in parts:
        results["bootstrap"] = await bootstrap.measure(options, progress)
        bars += _bootstrap_bars(results["bootstrap"])
    if "vectors" in parts:
        results["vectors"] = carried.measure(options, progress)
    if "push" in parts:
        results["push"], push_bars = await pushes.measure(options, progress)
        bars += push_bars
    if "latency" in parts:
        results["latency"] = await latency.measure(options, progress)
        bars += _latency_bars(results["latency"])
    return results, bars


def _latency_bars(found: dict[str, Any]) -> list[Bar]:
    idle = found["idle"]["pair_bytes_per_minute"]
    return [
        at_most("device to device, p95 ms", found["visible_ms"]["p95"], VISIBLE_MS_BAR),
        at_most("idle pair, bytes a minute", idle, IDLE_BYTES_BAR),
    ]


def _bootstrap_bars(found: dict[str, Any]) -> list[Bar]:
    most = TEXT_BAR if found["memories"] <= bootstrap.MEMORIES else MILLION_TEXT_BAR
    return [
        at_most(f"{found['memories']:,} memories {what}, {relay}, s", found[relay][key], bar)
        for relay in ("folder", "http")
        for what, key, bar in (
            ("there", "text_s", most),
            ("first result", "first_result_s", FIRST_BAR),
        )
    ]


def _rate_bars(found: dict[str, Any]) -> list[Bar]:
    wire = found.get("sealing_of_file", found["sealing"])
    return [
        at_least("apply, new memories/s", found["apply_per_s"]["new"], APPLY_BAR),
        at_most("wire bytes a memory, 512 a batch", wire["512"]["wire_bytes"], WIRE_512_BAR),
        at_most("wire bytes a memory, 16 a batch", wire["16"]["wire_bytes"], WIRE_16_BAR),
        at_most("disk bytes a memory, as it came", found["disk"]["bytes_per_memory"], DISK_BAR),
        at_most("disk bytes a memory, at rest", found["disk"]["at_rest"], DISK_BAR),
    ]
