"""An open vault with all that belongs to it: keys, clock, ids, indexes. What every use case gets as its first argument."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from mcp_server.echoes import Shown
from mcp_server.index.chroma import ChromaIndex
from mcp_server.index.live import LiveIndex
from mcp_server.index.models import Models
from mcp_server.index.neighbours import GRAPH_FROM, GraphOnDisk
from mcp_server.sensitive import Policy
from mcp_server.settings import VectorStore
from mcp_server.vault import audit, lasting
from mcp_server.vault import keys as vault_keys
from mcp_server.vault.db import DATABASE_NAME, OpenVault, open_vault
from shared import crypto
from shared.clock import Clock
from shared.errors import CorruptError
from shared.ids import IdFactory, MemoryId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlite_utils import Database

GRAPH_FOLDER = "chroma"


class Keys(Struct, frozen=True):
    """Keys of an open vault, one for each purpose, derived from its root key or its lasting secret; none of them is kept anywhere."""

    database: bytes
    audit: bytes
    digest: bytes
    confirm: bytes
    vectors: bytes

    def __repr__(self) -> str:
        return "Keys(…)"

    def __rich_repr__(self) -> tuple[()]:  # type: ignore[override] # msgspec's would show the fields
        return ()


class Device:
    """Owns the open vault and its indexes. Close it."""

    def __init__(
        self,
        vault: OpenVault,
        keys: Keys,
        *,
        clock: Clock,
        ids: IdFactory,
        index: LiveIndex,
        policy: Policy,
        own_words: Callable[[str], bool],
    ) -> None:
        self.vault = vault
        self.keys = keys
        self.clock = clock
        self.ids = ids
        self.index = index
        self.shown = Shown()
        self.policy = policy
        self.own_words = own_words
        """Whether these are the recovery words of this vault."""
        self.changed: Callable[[], None] = _nobody
        """Told after every transaction that changed something; must return at once."""
        self.damaged = False
        """Whether the vault's file was found damaged: nothing is stored in it any more."""
        self._used_at = time.monotonic()

    def changing(self, *, is_waited_for: bool = True) -> AbstractContextManager["Change"]:
        """One vault transaction during which the indexes do not move; they follow when it is committed. Work in the background
        pauses for it if somebody waits for it."""
        return _changing(self, is_waited_for=is_waited_for)

    def note(
        self, db: "Database", action: audit.Action, memories: Sequence[MemoryId], *, client: str
    ) -> None:
        """Append a line to the access log, in the caller's transaction; what was read may come back as a quote."""
        if action in ("recall", "read"):
            self.shown.note(memories)
        self._used_at = time.monotonic()
        audit.note(
            db,
            self.keys.audit,
            at=self.clock(),
            client=client,
            action=action,
            memories=memories,
        )

    def unused_seconds(self) -> float:
        """How long nobody has read or written a memory."""
        return time.monotonic() - self._used_at

    def close(self) -> None:
        self.index.close()
        self.vault.close()


class Change:
    """A transaction under way, and what the indexes shall do once it is committed."""

    def __init__(self, db: "Database") -> None:
        self.db = db
        self._after: list[Callable[[], None]] = []

    def then(self, follow: Callable[[], None]) -> None:
        self._after.append(follow)

    def follow(self) -> None:
        for step in self._after:
            step()


@contextmanager
def _changing(device: Device, *, is_waited_for: bool) -> "Iterator[Change]":
    if device.damaged:
        raise CorruptError(
            f"{device.vault.path} is damaged, so nothing is changed in it. `sunaiva doctor` says how much can be read; put a "
            "backup back with `sunaiva restore BACKUP`."
        )
    goes_before = device.index.precedence.answering() if is_waited_for else nullcontext()
    with goes_before, device.index.changing():
        with device.vault.writing() as db:
            change = Change(db)
            yield change
        change.follow()
    device.changed()


def database_key(root: bytes) -> bytes:
    """The key of the database file alone: all that is needed before the vault is open."""
    return crypto.derive(root, vault_keys.DATABASE_KEY)


def keys_from(root: bytes, lasting_secret: bytes) -> Keys:
    return Keys(
        database=database_key(root),
        audit=crypto.derive(lasting_secret, vault_keys.AUDIT_KEY),
        digest=crypto.derive(lasting_secret, vault_keys.DIGEST_KEY),
        confirm=crypto.derive(root, vault_keys.CONFIRM_KEY),
        vectors=crypto.derive(root, vault_keys.VECTOR_KEY),
    )


def open_device(
    home: Path,
    root: bytes,
    *,
    clock: Clock,
    models: Models,
    vectors: VectorStore = "exact",
    policy: Policy = Policy(),  # noqa: B008 (a frozen value)
    keep_tokens: bool = False,
) -> Device:
    """Open the vault in `home` and begin to load its indexes; it answers by keyword at once.

    Raises: as `vault.db.open_vault`.
    """
    vault = open_vault(home / DATABASE_NAME, database_key(root))
    try:
        with vault.writing() as db:
            keys = keys_from(root, lasting.secret(db, root))
    except BaseException:
        vault.close()
        raise
    graph = _graph(home / GRAPH_FOLDER, keys.vectors)
    if vectors == "exact":
        # What an earlier setting left on the disk is a projection that nobody keeps up to date any more.
        graph.drop()
    graph_from = {"exact": None, "auto": GRAPH_FROM, "chroma": 0}[vectors]
    index = LiveIndex(vault, models, graph, graph_from=graph_from, keep_tokens=keep_tokens)
    index.start()
    return Device(
        vault,
        keys,
        clock=clock,
        ids=IdFactory(clock),
        index=index,
        policy=policy,
        own_words=lambda words: vault_keys.opens_with_words(home, words),
    )


def _nobody() -> None:
    pass


def _graph(folder: Path, key: bytes) -> GraphOnDisk:
    return GraphOnDisk(folder, lambda dim, codes_of: ChromaIndex(folder, key, dim, codes_of))
