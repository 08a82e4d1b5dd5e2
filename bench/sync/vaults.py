"""Vaults of this process that sync, and a device elsewhere that writes into them: everything but the network."""

import hashlib
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from bench.progress import Progress
from mcp_server.device import Device, database_key, open_device
from mcp_server.index.models import Models
from mcp_server.replica import Replica
from mcp_server.vault.db import DATABASE_NAME, create_vault
from shared.clock import system_clock
from shared.errors import UnavailableError
from sync_service.changes.ops import Op, encode_content
from sync_service.device import membership
from sync_service.members import amend, control, entries
from sync_service.members.control import Members
from sync_service.members.entries import MEMBER_SIGNER, RECOVERY_SIGNER, Signer
from sync_service.sealed import frames, keys
from sync_service.sealed.frames import Frame
from sync_service.sealed.keys import Seeds

ROOT = bytes(32)  # a vault lives as long as the measurement
EPOCH_KEY = hashlib.sha256(b"epoch").digest()
_POLL_SECONDS = 0.05


class Circle(Struct, frozen=True):
    """Two devices of one vault: one that writes, one that reads."""

    members: Members
    chain: list[bytes]
    writer: Seeds
    reader: Seeds


def circle() -> Circle:
    words, writer, reader = (keys.new_seeds(secrets.token_bytes) for _ in range(3))
    chain = [amend.found(words, nonce=secrets.token_bytes(control.NONCE_BYTES))]
    members = control.begin(chain[0])

    def append(entry: bytes) -> Members:
        chain.append(entry)
        return control.extend(members, entry)

    by = Signer(RECOVERY_SIGNER, words)
    new = entries.introduce(writer, vault=members.vault)
    members = append(amend.add(members, by, new, sealed_name=b"", epoch_key=None))
    by = Signer(MEMBER_SIGNER, writer)
    members = append(amend.rotate(members, by, epoch_key=EPOCH_KEY, previous_key=None))
    new = entries.introduce(reader, vault=members.vault)
    members = append(amend.add(members, by, new, sealed_name=b"", epoch_key=EPOCH_KEY))
    return Circle(members, chain, writer, reader)


class Writer:
    """A stream of the device that writes: each batch follows the one before."""

    def __init__(self, circle: Circle) -> None:
        self._circle = circle
        self.stream = keys.stream_id(keys.sign_public(circle.writer), 1)
        self._seq = 0
        self._head = frames.NO_HASH

    def seal(self, ops: Sequence[Op]) -> Frame:
        frame = frames.seal(
            encode_content(ops),
            vault=self._circle.members.vault,
            stream=self.stream,
            seq=self._seq + 1,
            epoch=1,
            control_seq=self._circle.members.seq,
            prev_hash=self._head,
            epoch_key=EPOCH_KEY,
            sign_seed=self._circle.writer.sign,
            salt=secrets.token_bytes(frames.SALT_BYTES),
        )
        self._seq, self._head = self._seq + 1, frame.hash
        return frame


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sunaiva-sync-") as name:
        yield Path(name)


@contextmanager
def opened(home: Path, models: Models | None = None) -> Iterator[Device]:
    """The vault in this folder, made if there is none; without a model unless one is given."""
    if not (home / DATABASE_NAME).exists():
        home.mkdir(parents=True, exist_ok=True)
        create_vault(home / DATABASE_NAME, database_key(ROOT))
    device = open_device(home, ROOT, clock=system_clock, models=models or _NO_MODELS)
    try:
        yield device
    finally:
        device.close()


def enter(device: Device, circle: Circle) -> Replica:
    """Let this vault be the one of the device that reads."""
    replica = Replica(device)
    membership.enter(replica, seeds=circle.reader, incarnation=1, said=circle.chain)
    return replica


def disk_bytes(device: Device, progress: Progress, *, vectors: bool = False) -> int:
    """What the vault takes once its indexes have caught up.

    Raises:
        UnavailableError: time was up first.
    """
    tick = threading.Event()
    while True:
        state, lexical = device.index.state(), device.index.lexical
        words = state.listed and not state.unread and not lexical.due
        if words and (not vectors or (state.meaning and not state.waiting)):
            break
        if progress.time_is_up():
            raise UnavailableError(
                "Time was up before the indexes were complete. Give more --seconds."
            )
        tick.wait(_POLL_SECONDS)
    device.vault.truncate_wal()
    return device.vault.file_bytes()


def _no_model(_: object) -> str:
    raise UnavailableError("There is no model in this measurement.")


def _none_open(model_id: str) -> "object":
    raise UnavailableError(f"{model_id} is not in this measurement.")


_NO_MODELS = Models(_no_model, _none_open)  # type: ignore[arg-type] # it never returns
