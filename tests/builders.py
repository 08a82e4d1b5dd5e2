"""What tests of the device start from: a vault in a folder of its own, a clock that they set, memories and drafts."""

import functools
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlcipher3.dbapi2 as driver
from sqlite_utils import Database

from mcp_server.device import Device, database_key, open_device
from mcp_server.index.cross import CrossEncoder
from mcp_server.index.embedder import Embedder
from mcp_server.index.lexical import LexicalIndex
from mcp_server.index.models import Models
from mcp_server.memory import Stored, remember
from mcp_server.model import Draft, Memory, Source
from mcp_server.vault import audit
from mcp_server.vault.db import DATABASE_NAME, OpenVault, create_vault, open_vault
from mcp_server.vault.migrations import MIGRATIONS
from mcp_server.vault.store import as_bytes
from shared.clock import to_ms
from shared.errors import UnavailableError
from shared.ids import IdFactory, MemoryId
from tests.fakes import HashEmbedder

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ROOT = bytes(range(32))
KEY = database_key(ROOT)
USER = Source(trust="said_by_user")
PATIENCE_SECONDS = 60.0


class SetClock:
    """Stands still until it is set."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def passes(self, **time: float) -> None:
        self.now += timedelta(**time)


class Gate:
    """A model that is not there before the test lets it in."""

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._opened = threading.Event()
        self._embedder = embedder or HashEmbedder()

    def __call__(self) -> Embedder:
        assert self._opened.wait(PATIENCE_SECONDS)
        return self._embedder

    def open(self) -> None:
        self._opened.set()


def one_model(
    open_model: Callable[[], Embedder], cross: Callable[[], CrossEncoder] | None = None
) -> Models:
    """A computer that has this model and no other."""
    ready: dict[str, Embedder] = {}

    def prepare(folder: Path | None) -> str:
        embedder = open_model()
        ready[embedder.model_id] = embedder
        return embedder.model_id

    def open_ready(model_id: str) -> Embedder:
        if model_id not in ready:
            raise UnavailableError(f"{model_id} is not here.")
        return ready[model_id]

    return Models(prepare, open_ready, cross)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    tick = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.005)):
        if condition():
            return
        tick.wait(0.005)
    raise AssertionError("it did not happen in time")


def embedded(device: Device) -> None:
    """Wait until everything stored is searchable by meaning."""
    until(lambda: device.index.state().meaning and device.index.state().waiting == 0)


def seal_early(device: Device, rows: int = 4) -> None:
    """Have words sealed into the vault a few memories at a time, as a large vault has them, and the present ones now."""
    with device.index.changing():
        device.index.lexical = LexicalIndex(seal_rows=rows)
        with device.vault.reading() as db:
            device.index.lexical.load(db)
    while device.index.tidy_words():
        pass


def sealed_terms(device: Device) -> set[str]:
    """Every word in the part of the keyword index that lies in the vault."""
    with device.vault.reading() as db:
        held = db.execute("SELECT terms FROM postings").fetchall()
    return {term for (terms,) in held for term in terms.strip("\n").split("\n")}


def make_home(home: Path, root: bytes = ROOT) -> Path:
    _put_new_vault(home / DATABASE_NAME, database_key(root))
    return home


def _put_new_vault(path: Path, key: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(0o600, exist_ok=False)
    path.write_bytes(_new_vault(key))


@functools.cache
def _new_vault(key: bytes) -> bytes:
    """What `create_vault` makes; a twentieth of a second each time, for most tests and for each example of many."""
    with tempfile.TemporaryDirectory() as folder:
        create_vault(Path(folder) / DATABASE_NAME, key)
        return (Path(folder) / DATABASE_NAME).read_bytes()


@contextmanager
def opened(
    home: Path,
    *,
    root: bytes = ROOT,
    clock: SetClock | None = None,
    model: Callable[[], Embedder] = HashEmbedder,
    ready: bool = True,
    keep_tokens: bool = False,
    cross: Callable[[], CrossEncoder] | None = None,
) -> Iterator[Device]:
    """The device of this folder, its vault made if there is none; `ready` waits for the model."""
    if not (home / DATABASE_NAME).exists():
        make_home(home, root)
    device = open_device(
        home,
        root,
        clock=clock or SetClock(),
        models=one_model(model, cross),
        keep_tokens=keep_tokens,
    )
    try:
        if ready:
            embedded(device)
        yield device
    finally:
        device.close()


@contextmanager
def vault_at(path: Path, key: bytes = KEY) -> Iterator[OpenVault]:
    """An open vault file, made if there is none."""
    if not path.exists():
        _put_new_vault(path, key)
    vault = open_vault(path, key)
    try:
        yield vault
    finally:
        vault.close()


@contextmanager
def published_vault(path: Path, memories: Mapping[int, Memory]) -> Iterator[Database]:
    """A vault in the schema of the first two steps, as it was first published, with these memories under their row numbers. Open until
    the block ends, for what else is to be in it."""
    connection = driver.connect(str(path), isolation_level=None)
    try:
        connection.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
        db = Database(connection, execute_plugins=False)
        MIGRATIONS.apply(db, stop_before="0003_keyword_index")
        for row, each in memories.items():
            _put_as_published(db, row, each)
        yield db
    finally:
        connection.close()


def _put_as_published(db: Database, row: int, memory: Memory) -> None:
    source = memory.source
    db.execute(
        """INSERT INTO memories (row, id, text, kind, space, occurred_ms, speaker, conversation, position, trust, client, tool,
               key, importance, pinned, archived, version, created_ms, updated_ms, digest)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, zeroblob(16))""",
        [
            *(row, as_bytes(memory.id), memory.text, memory.kind, memory.space),
            None if memory.occurred_at is None else to_ms(memory.occurred_at),
            *(memory.speaker, memory.conversation, memory.position),
            *(source.trust, source.client, source.tool, source.key),
            *(memory.importance, memory.pinned, memory.archived, memory.version),
            *(to_ms(memory.created_at), to_ms(memory.updated_at)),
        ],
    )
    db.execute("INSERT INTO lexical (rowid, text) VALUES (?, ?)", [row, memory.text])
    for tag in memory.tags:
        db.execute("INSERT INTO tags (memory, tag) VALUES (?, ?)", [row, tag])


def draft(text: str, **fields: Any) -> Draft:
    given: dict[str, Any] = {"text": text, "source": USER} | fields
    return Draft(**given)


def tell(device: Device, *drafts: Draft | str) -> list[Stored]:
    """Remember, as one call of one client."""
    given = [each if isinstance(each, Draft) else draft(each) for each in drafts]
    return remember(device, given, client="test")


_ids = IdFactory(SetClock())


def memory(text: str, **fields: Any) -> Memory:
    """A memory that is in no vault yet."""
    usual: dict[str, Any] = {
        "id": _ids.memory_id(),
        "text": text,
        "source": USER,
        "kind": "note",
        "space": "personal",
        "tags": (),
        "links": (),
        "occurred_at": None,
        "valid_from": None,
        "valid_to": None,
        "speaker": None,
        "conversation": None,
        "position": None,
        "importance": 0.5,
        "pinned": False,
        "archived": False,
        "superseded_by": None,
        "version": 1,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return Memory(**usual | fields)


def new_id() -> MemoryId:
    return _ids.memory_id()


def last_access(device: Device) -> audit.Access:
    with device.vault.reading() as db:
        return audit.lines(db, before=None, limit=1)[0]
