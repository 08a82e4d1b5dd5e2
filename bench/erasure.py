"""Is what was forgotten gone? Looked for from outside, in every file of the vault, with the key in hand.

Texts with words that exist nowhere else are stored, some are forgotten through the `forget` tool, and all files are
searched: decrypted pages (free and old ones too), logs, index folders. The same search must find every text before it is
forgotten and every kept text afterwards; a search that finds nothing at all proves nothing.
"""

import argparse
import random
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sqlcipher3.dbapi2 as sqlcipher
from mcp.client import Client
from msgspec import Struct

from bench import cipher_pages, texts
from bench.device import Device, agents, connected, fresh_device, run_cli
from bench.filling import index_complete
from bench.processes import end
from bench.progress import Progress
from bench.report import Bar, at_least, at_most
from bench.stdio import call
from mcp_server.device import database_key
from mcp_server.index.codes import unpack4
from mcp_server.vault.db import DATABASE_NAME
from mcp_server.vault.keys import unlock_with_words
from shared.errors import CorruptError

MEMORIES = 300
FORGOTTEN_SHARE = 3  # every third
_PER_CALL = 100
_TEXT_PIECE_BYTES = 32
_VECTOR_PIECE_BYTES = 16
_SYLLABLES = ("ka", "lo", "mi", "zu", "re", "to", "ve", "xi", "qua", "bro")
_PLAINTEXT_HEADER = b"SQLite format 3\x00"


class Trace(Struct, frozen=True):
    """What one memory leaves on a disk, as bytes to look for."""

    memory_id: str
    text: tuple[bytes, ...]
    """Pieces of the text that no other text has."""
    word: bytes
    vector: tuple[bytes, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--max` is the number of memories."""
    parser.add_argument(
        "--consolidated", action="store_true", help="forget what is in compressed blocks"
    )


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    rng = random.Random(options.seed)
    texts_and_words = list(_marked_texts(rng, options.seed, options.max or MEMORIES))
    with fresh_device() as device:
        key = database_key(unlock_with_words(device.home, device.recovery_words).current)
        async with connected(device) as client:
            ids = await _remember(client, [text for text, _ in texts_and_words])
            await index_complete(client, ["personal"], progress)
            vectors = _vectors(device, key)
            pieces = _own_pieces([text for text, _ in texts_and_words])
            traces = [
                Trace(memory_id, own, word.encode(), vectors.get(memory_id, ()))
                for memory_id, own, (_, word) in zip(ids, pieces, texts_and_words, strict=True)
            ]
            doomed, kept = (
                traces[::FORGOTTEN_SHARE],
                [trace for number, trace in enumerate(traces) if number % FORGOTTEN_SHARE],
            )
            before = _found(device, key, traces)
            bodies: list[bytes] = []
            if options.consolidated:
                run_cli(device, "consolidate", "--json")
                bodies = _bodies(device, key)
            await _forget(client, doomed[1:])
            # One by the terminal, whose own check says what it looked at.
            said = run_cli(device, "forget", doomed[0].memory_id, "--yes", "--verify", "--json")
            while_running = _found(device, key, traces)
            recalled = await _still_recalled(client, doomed)
        end(agents(device))
        after = _found(device, key, traces)
        # A third of the memories was forgotten, so no block that there was may still be there.
        clear = b"\x00".join(_contents(device.root, key))
        left = sum(_stands(clear, _body_pieces(body)) for body in bodies)
    results, bars = _figures(traces, doomed, kept, before, while_running, after, recalled, said)
    if options.consolidated:
        bars += [
            at_least("blocks before", len(bodies), 1),
            at_most("blocks with forgotten memories left", left, 0),
        ]
    return results, bars


def _figures(
    traces: list[Trace],
    doomed: list[Trace],
    kept: list[Trace],
    before: dict[str, set[str]],
    while_running: dict[str, set[str]],
    after: dict[str, set[str]],
    recalled: int,
    said: Any,
) -> tuple[dict[str, Any], list[Bar]]:
    gone = {trace.memory_id for trace in doomed}
    stay = {trace.memory_id for trace in kept}
    results: dict[str, Any] = {
        "memories": len(traces),
        "forgotten": len(doomed),
        "with_vector": sum(bool(trace.vector) for trace in traces),
        "verify_said": said["verified"],
        "recalled_after": recalled,
    }
    bars = [at_most("forgotten memories that recall returns", recalled, 0)]
    for part in ("text", "word", "vector"):
        results[part] = {
            "found_before": len(before[part]),
            "left_while_running": len(while_running[part] & gone),
            "left_after": len(after[part] & gone),
            "kept_found_after": len(after[part] & stay),
        }
        bars += [
            at_most(f"forgotten {part}s left", len((while_running[part] | after[part]) & gone), 0),
            at_least(f"{part}s that the search finds before", len(before[part]), len(traces)),
            at_least(f"kept {part}s that it finds after", len(after[part] & stay), len(kept)),
        ]
    return results, bars


def _marked_texts(rng: random.Random, seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Texts with one word each that no other text has; its end is what is searched for."""
    made = texts.turns(seed)
    for number in range(count):
        word = f"{''.join(rng.choices(_SYLLABLES, k=5))}{number:05}{rng.randrange(10**6):06}"
        yield f"{next(made)['text']} The password hint is {word}.", word


def _own_pieces(said: list[str]) -> list[tuple[bytes, ...]]:
    """Each text cut into pieces, its end among them, without those that another text has too."""
    whole = [text.encode() for text in said]
    size = _TEXT_PIECE_BYTES
    own = []
    for text in whole:
        pieces = {text[start : start + size] for start in range(0, len(text) - size, size)}
        pieces.add(text[-size:])
        own.append(tuple(p for p in pieces if sum(p in other for other in whole) == 1))
    return own


async def _remember(client: Client, said: list[str]) -> list[str]:
    ids: list[str] = []
    for start in range(0, len(said), _PER_CALL):
        answer = await call(client, "remember", memories=said[start : start + _PER_CALL])
        ids += [stored["id"] for stored in answer["stored"]]
    return ids


async def _forget(client: Client, doomed: list[Trace]) -> None:
    ids = [trace.memory_id for trace in doomed]
    preview = await call(client, "forget", ids=ids)
    done = await call(client, "forget", ids=ids, confirm=preview["confirm"])
    if done["forgotten"] != len(ids):
        raise CorruptError(f"`forget` of {len(ids)} memories forgot {done['forgotten']}.")


async def _still_recalled(client: Client, doomed: list[Trace]) -> int:
    gone = {trace.memory_id for trace in doomed}
    count = 0
    for trace in doomed:
        answer = await call(client, "recall", query=f"password hint {trace.word.decode()}")
        count += any(memory["id"] in gone for memory in answer["memories"])
    return count


def _vectors(device: Device, key: bytes) -> dict[str, tuple[bytes, ...]]:
    """A piece of each stored vector in the forms it could be written in: as the vault codes it, and as float32."""
    connection = sqlcipher.connect(f"file:{device.home / DATABASE_NAME}?mode=ro", uri=True)
    try:
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        rows = connection.execute(
            "SELECT id, code FROM vectors JOIN memories ON row = memory"
        ).fetchall()
    finally:
        connection.close()
    pieces: dict[str, tuple[bytes, ...]] = {}
    for memory_id, code in rows:
        vector = unpack4(np.frombuffer(code, np.uint8)[None, :])[0]
        middle = len(code) // 2
        cut = slice(middle, middle + _VECTOR_PIECE_BYTES)
        pieces[str(uuid.UUID(bytes=memory_id))] = (code[cut], vector[cut].tobytes())
    return pieces


def _bodies(device: Device, key: bytes) -> list[bytes]:
    """Every compressed block."""
    connection = sqlcipher.connect(f"file:{device.home / DATABASE_NAME}?mode=ro", uri=True)
    try:
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        return [body for (body,) in connection.execute("SELECT body FROM blocks")]
    finally:
        connection.close()


def _body_pieces(body: bytes) -> list[bytes]:
    size = _TEXT_PIECE_BYTES
    return [body[start : start + size] for start in range(0, len(body) - size, 4 * size)]


def _found(device: Device, key: bytes, traces: list[Trace]) -> dict[str, set[str]]:
    """Ids of the memories whose text, word or vector stands anywhere in the device's files."""
    clear = b"\x00".join(_contents(device.root, key))
    return {
        "text": {trace.memory_id for trace in traces if _stands(clear, trace.text)},
        # The keyword index cuts what a word has in common with the one before it: look for its end.
        "word": {trace.memory_id for trace in traces if _stands(clear, [trace.word[-11:]])},
        "vector": {trace.memory_id for trace in traces if _stands(clear, trace.vector)},
    }


def _stands(clear: bytes, needles: Iterable[bytes]) -> bool:
    return any(needle in clear for needle in needles)


def _contents(root: Path, key: bytes) -> Iterator[bytes]:
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.name == DATABASE_NAME:
            if content.startswith(_PLAINTEXT_HEADER):
                raise CorruptError("The vault's file is not encrypted.")
            yield from cipher_pages.main_file(content, key)
        elif path.name == f"{DATABASE_NAME}-wal":
            yield from cipher_pages.log_file(content, key)
        yield content
