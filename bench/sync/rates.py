"""What sealing, opening and applying take, and what memories weigh on the wire and on the disk. Frameworks and networks left out.

Applying is all that a device does with a batch that came: parse, verify, chain, decrypt, decode, merge, store in the SQLCipher vault,
index, commit. Each repeat has a vault of its own.
"""

import argparse
import random
import secrets
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, thread_time
from typing import Any

import msgspec

from bench.bulk import Mixtures
from bench.progress import Progress
from bench.sync import vaults
from bench.sync.memories import Memory, made_up, memories, of_file
from mcp_server import consolidate
from mcp_server.device import Device
from mcp_server.index.export import bundled_model_folder, export_in_child
from mcp_server.index.models import Models
from mcp_server.memory import remember
from mcp_server.model import Draft, Source
from mcp_server.replica import Replica
from mcp_server.settings import load
from shared.clock import system_clock, to_ms
from shared.errors import InvalidError
from sync_service.changes.clock import COUNTER_BITS, Hlc
from sync_service.changes.fields import Field
from sync_service.changes.ops import Op, Set, decode_content
from sync_service.device import receive
from sync_service.sealed import frames
from sync_service.sealed.frames import Frame
from sync_service.sealed.keys import sign_public

BATCHES = (1, 16, 128, 512)
APPLIED_AT = 512
SEALED = 4_096  # ops for each size; of single ones an eighth
APPLIED = 20_000
UPDATED = 5_000
WRITTEN = 500
AT_ONCE = 50
_YEAR_MS = 365 * 24 * 3_600_000
_encode = msgspec.msgpack.Encoder().encode
_SPACES = ("work", "home", "garden")
_KINDS = ("note", "fact", "preference")


def measure(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    count = min(options.max or APPLIED, APPLIED)
    said = made_up(count, options.seed)
    results: dict[str, Any] = {
        "memories": count,
        "sealing": _sealing(memories(said, min(count, SEALED), options.seed), options, progress),
    }
    if options.file is not None:
        results["sealing_of_file"] = _sealing(
            memories(_of_file(options), SEALED, options.seed), options, progress
        )
    results["apply_per_s"], results["disk"] = _applying(
        memories(said, count, options.seed), options, progress
    )
    results["local_writes_per_s"] = _writing(said, options, progress)
    return results


def _of_file(options: argparse.Namespace) -> list[str]:
    found = of_file(options.file, SEALED)
    if not found:
        raise InvalidError(f"{options.file.name} holds no text.")
    return found


# --- seal and open -------------------------------------------------------------------------------------------


def _sealing(
    made: Sequence[Memory], options: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    circle = vaults.circle()
    public = sign_public(circle.writer)
    results: dict[str, Any] = {}
    for size in progress.over(BATCHES, "seal and open"):
        ops = [one.op() for one in (made if size > 1 else made[: len(made) // 8])]
        batches = [ops[at : at + size] for at in range(0, len(ops) - size + 1, size)] or [ops]
        number = sum(map(len, batches))
        seal_s: list[float] = []
        open_s: list[float] = []
        sealed: list[Frame] = []
        for _ in range(options.repeats):
            writer = vaults.Writer(circle)
            began = perf_counter()
            sealed = [writer.seal(batch) for batch in batches]
            seal_s.append(perf_counter() - began)
            began = perf_counter()
            for frame in sealed:
                _open(frame.raw, public)
            open_s.append(perf_counter() - began)
        results[str(size)] = {
            "seal_per_s": round(number / median(seal_s)),
            "open_per_s": round(number / median(open_s)),
            "wire_bytes": round(sum(len(frame.raw) for frame in sealed) / number, 1),
        }
    return results


def _open(raw: bytes, public: bytes) -> None:
    frame = frames.parse(raw)
    frames.verify(frame, public)
    decode_content(frames.open_frame(frame, vaults.EPOCH_KEY))


# --- apply ---------------------------------------------------------------------------------------------------


def _applying(
    made: Sequence[Memory], options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    rates: dict[str, list[float]] = {}
    disk: dict[str, Any] = {}
    for repeat in progress.over(range(options.repeats), f"apply {len(made):,}"):
        circle = vaults.circle()
        writer = vaults.Writer(circle)
        work = _work(made, writer.stream, options.seed)
        sealed = {name: _sealed(writer, ops) for name, ops in work.items()}
        with vaults.folder() as home:
            with vaults.opened(home) as device:
                replica = vaults.enter(device, circle)
                pos = 0
                for name, batches in sealed.items():
                    shown = [(pos + at, frame.raw) for at, frame in enumerate(batches, 1)]
                    pos += len(shown)
                    seconds = _timed(lambda: _take(replica, circle, shown))  # noqa: B023 (called at once)
                    rates.setdefault(name, []).append(len(work[name]) / seconds)
                    if name == "new":
                        again = _timed(lambda: _merge_again(replica, work["new"]))  # noqa: B023 (as above)
                        rates.setdefault("duplicates", []).append(len(made) / again)
                        shown_again = _timed(lambda: _take(replica, circle, shown))  # noqa: B023 (as above)
                        rates.setdefault("shown_again", []).append(len(made) / shown_again)
            if repeat == options.repeats - 1:
                disk = _disk(made, options, progress)
    return {name: round(median(each)) for name, each in rates.items()}, disk


def applied_new(made: Sequence[Memory]) -> dict[str, Any]:
    """New memories into a vault of their own; a second, and a second of this thread's processor time."""
    circle = vaults.circle()
    sealed = _sealed(vaults.Writer(circle), [one.op() for one in made])
    shown = list(enumerate((frame.raw for frame in sealed), 1))
    with vaults.folder() as home, vaults.opened(home) as device:
        replica = vaults.enter(device, circle)
        used = thread_time()
        seconds = _timed(lambda: _take(replica, circle, shown))
        used = thread_time() - used
    return {
        "apply_per_s": round(len(made) / seconds),
        "apply_per_cpu_s": round(len(made) / used),
    }


def _take(replica: Replica, circle: vaults.Circle, shown: list[tuple[int, bytes]]) -> None:
    receive.take(replica, circle.members, shown, secrets.token_bytes, to_ms(system_clock()))


def _merge_again(replica: Replica, ops: Sequence[Op]) -> None:
    """What was applied before, in other batches: it changes nothing, and that has to be found out."""
    for at in range(0, len(ops), APPLIED_AT * 8):
        with replica.transaction() as db:
            some = ops[at : at + APPLIED_AT * 8]
            receive.merge_in(db, replica, [(b"12345678", some)], to_ms(system_clock()))


def _sealed(writer: vaults.Writer, ops: Sequence[Op]) -> list[Frame]:
    return [writer.seal(ops[at : at + APPLIED_AT]) for at in range(0, len(ops), APPLIED_AT)]


def _work(made: Sequence[Memory], stream: bytes, seed: int) -> dict[str, list[Op]]:
    rng = random.Random(seed)
    few = min(UPDATED, len(made))
    return {
        "new": [one.op() for one in made],
        "updates": [_update(one, rng) for one in rng.choices(made, k=few)],
        "text_edits": [
            Set(one.id, _later(one, rng), {Field.TEXT: _encode(f"{one.values[0]} (again)")},
                {Field.TEXT: ((one.hlc, stream),)})
            for one in rng.sample(made, k=few // 5)
        ],
    }  # fmt: skip


def _update(one: Memory, rng: random.Random) -> Op:
    """Two of the fields that people change, at random."""
    told: dict[int, object] = {
        Field.KIND: rng.choice(_KINDS),
        Field.SPACE: rng.choice(_SPACES),
        Field.VALID_TO: one.values[-1],
        Field.IMPORTANCE: rng.random(),
        Field.PINNED: rng.random() < 0.5,
        Field.ARCHIVED: rng.random() < 0.5,
    }
    two = rng.sample(sorted(told), k=2)
    return Set(one.id, _later(one, rng), {field: _encode(told[field]) for field in two})


def _later(one: Memory, rng: random.Random) -> Hlc:
    return Hlc(one.hlc + (rng.randrange(_YEAR_MS) << COUNTER_BITS))


def _disk(
    made: Sequence[Memory], options: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    circle = vaults.circle()
    shown = list(
        enumerate((f.raw for f in _sealed(vaults.Writer(circle), [m.op() for m in made])), 1)
    )
    with vaults.folder() as home:
        with vaults.opened(home) as device:
            _take(vaults.enter(device, circle), circle, shown)
            words = vaults.disk_bytes(device, progress)
            for _ in consolidate.run(device):
                pass
            packed = vaults.disk_bytes(device, progress)
        settings = load({"SUNAIVA_HOME": str(home)})
        model = Mixtures(
            export_in_child(bundled_model_folder(), settings.model_cache), options.seed
        )
        with vaults.opened(home, Models(lambda _: model.model_id, lambda _: model)) as device:
            vectors = vaults.disk_bytes(device, progress, vectors=True)
    return {
        "bytes_per_memory": round(words / len(made), 1),
        # The agent does it by itself after ten minutes in which nobody needed the vault.
        "at_rest": round(packed / len(made), 1),
        "at_rest_with_vectors": round(vectors / len(made), 1),
    }


# --- local writes --------------------------------------------------------------------------------------------


def _writing(
    said: Sequence[str], options: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    one_by_one: list[float] = []
    together: list[float] = []
    for _ in progress.over(range(options.repeats), "local writes"):
        with vaults.folder() as home, vaults.opened(home) as device:
            vaults.enter(device, vaults.circle())
            number = min(WRITTEN, len(said) // 2)
            one_by_one.append(number / _timed(lambda: _remember(device, said[:number], 1)))  # noqa: B023 (called at once)
            rest = said[number : 2 * number]
            together.append(number / _timed(lambda: _remember(device, rest, AT_ONCE)))  # noqa: B023 (as above)
    return {"one_by_one": round(median(one_by_one)), f"{AT_ONCE}_a_call": round(median(together))}


def _remember(device: Device, said: Sequence[str], at_once: int) -> None:
    source = Source(trust="said_by_user", client="bench")
    for at in range(0, len(said), at_once):
        drafts = [Draft(text=text, source=source) for text in said[at : at + at_once]]
        remember(device, drafts, client="bench")


def _timed(act: Callable[[], object]) -> float:
    began = perf_counter()
    act()
    return perf_counter() - began
