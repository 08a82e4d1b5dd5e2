"""Runs in pycrdt's own environment: memories as maps of a Yjs document in memory, built here and applied there batch by batch."""

import json
import sys
from pathlib import Path
from time import perf_counter, process_time

from pycrdt import Doc, Map

count, batch = int(sys.argv[1]), int(sys.argv[2])
memories = [json.loads(line) for line in sys.stdin]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4096


before = resident_bytes()

doc, updates = Doc(), []
shown = doc.get("memories", type=Map)
subscribed = doc.observe(lambda event: updates.append(event.update))
began = perf_counter()
for start in range(0, count, batch):
    with doc.transaction():
        for at, memory in enumerate(memories[start : start + batch], start):
            shown[f"{at:032x}"] = Map(memory)
build_s = perf_counter() - began

there = Doc()
there.get("memories", type=Map)
began, cpu = perf_counter(), process_time()
for update in updates:
    there.apply_update(update)
apply_s, apply_cpu_s = perf_counter() - began, process_time() - cpu
began = perf_counter()
whole = there.get_update()
encode_s = perf_counter() - began
kept = resident_bytes() - before - sum(map(len, updates)) - len(whole)
print(
    json.dumps(
        {
            "build_per_s": round(count / build_s),
            "apply_per_s": round(count / apply_s),
            "apply_per_cpu_s": round(count / apply_cpu_s),
            "wire_bytes": round(sum(map(len, updates)) / count, 1),
            "whole_bytes": round(len(whole) / count, 1),
            "whole_encode_s": round(encode_s, 3),
            "memory_bytes": round(kept / count / 2),  # there are two documents
        }
    )
)
