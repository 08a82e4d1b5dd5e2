"""The one door to the vault's SQLCipher file: open, migrate, read, write, copy, change the key.

Every connection is keyed by its first statement and must then read real content; a file with a plaintext SQLite
header is refused, and there is no way to open a vault without a key. One connection writes, a small pool reads
(WAL), and everything that must not be interleaved happens inside `OpenVault.writing`.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlcipher3
import sqlcipher3.dbapi2 as driver

from shared.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    NotFoundError,
    SunaivaError,
    UnavailableError,
)

# sqlite-utils prefers a module of this name over the standard library's; with it, its own error handling
# (`alter=True`, `ignore=True`) catches the errors that this driver raises.
sys.modules.setdefault("pysqlite3", sqlcipher3)
sys.modules.setdefault("pysqlite3.dbapi2", driver)

from sqlite_utils import Database  # noqa: E402 (must come after the line above)

from mcp_server.vault.migrations import MIGRATIONS  # noqa: E402
from mcp_server.vault.vaultfile import said_plainly  # noqa: E402

DATABASE_NAME = "vault.db"
_PLAINTEXT_HEADER = b"SQLite format 3\x00"
_READERS = 4  # more would only queue on two or four cores, and each has a page cache
# The indexes of ids and digests of a million memories, which are written in no order; filled only by who writes so much. With a quarter
# of it, a new device needs half as much time again for as many.
_WRITER_CACHE_KIB = 64_000
_INCREMENTAL = (
    2  # what `PRAGMA auto_vacuum` says of a file that can give pages back a few at a time
)
_REWRITE_DUE = "rewrite.due"
_READER_CACHE_KIB = 8_000
_BUSY_MS = 10_000


class OpenVault:
    """An open vault file. Close it; one process has one (the agent's lock sees to that)."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.path = path
        self._key = key
        self._due = path.with_name(_REWRITE_DUE)
        self._lock = threading.RLock()
        self._writer = _connect(path, key, cache_kib=_WRITER_CACHE_KIB)
        self._readers: queue.SimpleQueue[Database] = queue.SimpleQueue()
        self._all = [self._writer]
        try:
            for _ in range(_READERS):
                self._readers.put(self._new_reader())
        except BaseException:
            self.close()
            raise

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """One transaction: committed when the block ends, rolled back whole when it raises."""
        with self._lock, _in_plain_words(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # A full disk may end the transaction by itself, or leave it open at the commit: the next write must find
                # none, and the caller must hear of the disk, not of the rollback.
                with suppress(driver.Error):
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """A read connection on one consistent snapshot."""
        reader = self._readers.get()
        try:
            with _in_plain_words(self.path):
                reader.execute("BEGIN")
                try:
                    yield reader
                finally:
                    # Nothing was written; a damaged page may have ended the transaction already.
                    with suppress(driver.Error):
                        reader.execute("COMMIT")
        except CorruptError:
            # SQLCipher refuses every page from then on, the sound ones too.
            with suppress(SunaivaError):
                fresh = self._new_reader()
                self._all.remove(reader)
                reader.conn.close()
                reader = fresh
            raise
        finally:
            self._readers.put(reader)

    def truncate_wal(self) -> None:
        """Bring everything into the main file and empty the log, so that no old page survives in it."""
        with self._lock, _in_plain_words(self.path):
            busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise UnavailableError(
                "Another reader holds an old copy of a page. Try again in a moment."
            )

    @property
    def rewrite_is_due(self) -> bool:
        """Whether something was erased of which pages may still hold a copy."""
        return self._due.exists()

    def plan_rewrite(self) -> None:
        """Call before erasing: then a crash leaves word that `rewrite` is due."""
        with said_plainly(self._due):
            self._due.touch(mode=0o600)

    def rewrite(self) -> None:
        """Write every row to a page of its own anew. When SQLite moves rows from page to page, copies of them stay in the part
        of a page that is not used, `secure_delete` notwithstanding, and outlive the row. 100 MB take a second and as much memory;
        readers go on.

        Raises:
            UnavailableError: it could not be done now, and stays due.
        """
        with self._lock, _in_plain_words(self.path):
            self._writer.execute("VACUUM")
            self.truncate_wal()
        self._due.unlink(missing_ok=True)

    def file_bytes(self) -> int:
        """What the vault takes on the disk, its log included."""
        log = self.path.with_name(f"{self.path.name}-wal")
        return self.path.stat().st_size + (log.stat().st_size if log.exists() else 0)

    def shrink(self, pages: int) -> bool:
        """Give up to so many free pages back to the disk; whether there are more."""
        with self.writing() as db:
            db.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
            (left,) = db.execute("PRAGMA freelist_count").fetchone()
        return bool(left)

    def copy_to(self, target: Path, key: bytes, *, mark: Callable[[Database], None]) -> None:
        """A consistent copy under `key`, complete and on disk when this returns. `mark` says in it that it is one."""
        with said_plainly(target):
            _make_private(target)
        copy = _connect(target, key, cache_kib=_READER_CACHE_KIB, must_exist=False)
        try:
            with self._lock, _in_plain_words(target):
                self._writer.conn.backup(copy.conn)
                mark(copy)
                copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            copy.conn.close()

    def _new_reader(self) -> Database:
        reader = _connect(self.path, self._key, cache_kib=_READER_CACHE_KIB)
        self._all.append(reader)
        reader.execute("PRAGMA query_only = ON")
        return reader

    def problems(self) -> list[str]:
        """What SQLCipher, or else SQLite, finds wrong with the file; empty when it is sound."""
        found: list[str] = []
        try:
            self.truncate_wal()  # the cipher check reads the main file only
            with self._lock, _in_plain_words(self.path):
                found = [row[0] for row in self._writer.execute("PRAGMA cipher_integrity_check")]
                if not found:  # after a page that SQLCipher refuses, SQLite complains of all others
                    checked = self._writer.execute("PRAGMA integrity_check")
                    found = [
                        line for row in checked if row[0] != "ok" for line in row[0].split("\n")
                    ]
        except CorruptError as error:
            found.append(str(error))
        return found

    def rekey(self, new_key: bytes) -> None:
        """Encrypt every page under `new_key`. Readers are closed first: their key would no longer fit."""
        with self._lock, _in_plain_words(self.path):
            for reader in self._all[1:]:
                reader.conn.close()
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # In WAL mode a rekey goes through the log; the rollback journal makes it one atomic commit.
            self._writer.execute("PRAGMA journal_mode = DELETE")
            self._writer.execute(f"PRAGMA rekey = \"x'{new_key.hex()}'\"")
            self._writer.conn.close()

    def close(self) -> None:
        with self._lock:
            for connection in reversed(self._all):
                connection.conn.close()


def create_vault(path: Path, key: bytes) -> None:
    """A new, empty vault file of the present schema.

    Raises:
        ConflictError: there is a file already; it is not touched.
    """
    with said_plainly(path):
        if path.exists():
            raise ConflictError(f"There is a vault at {path} already. It was left as it is.")
    # Made beside its place and then put there, so that a crash leaves no half-made file that passes for a vault.
    new = path.with_name(f"{path.name}.new")
    with said_plainly(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.unlink(missing_ok=True)
        try:
            _fill(new, key)
            new.rename(path)
        finally:
            for left in path.parent.glob(f"{new.name}*"):
                left.unlink()


def _fill(path: Path, key: bytes) -> None:
    _make_private(path)
    db = _connect(path, key, cache_kib=_WRITER_CACHE_KIB, must_exist=False)
    try:
        with _in_plain_words(path):
            _migrate(db)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.conn.close()
    with path.open("rb") as file:
        assert file.read(16) != _PLAINTEXT_HEADER, "a new vault must be encrypted"


def _migrate(db: Database) -> None:
    """Apply the steps that are pending. A step may build a table anew that others refer to, so references are checked after
    it, not during."""
    if MIGRATIONS.pending(db):
        db.execute("PRAGMA foreign_keys = OFF")
        MIGRATIONS.apply(db)
        assert not db.execute("PRAGMA foreign_key_check").fetchall(), "a migration lost references"
        db.execute("PRAGMA foreign_keys = ON")
    (mode,) = db.execute("PRAGMA auto_vacuum").fetchone()
    if mode != _INCREMENTAL:
        # Once for a vault, so that `shrink` works. The copy that it needs is made in memory.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("VACUUM")


def _make_private(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def open_vault(path: Path, key: bytes) -> OpenVault:
    """Open a vault and bring its schema up to date.

    Raises:
        NotFoundError: there is no file.
        ForbiddenError: the key does not open it, or the folder may not be written.
        CorruptError: it is no vault, it is damaged, or a newer Sunaiva made it.
    """
    with said_plainly(path):
        if not path.exists():
            raise NotFoundError(f"There is no vault at {path}. Make one with `sunaiva init`.")
    vault = OpenVault(path, key)
    try:
        with vault._lock, _in_plain_words(path):  # noqa: SLF001 (the same module)
            db = vault._writer  # noqa: SLF001
            applied = {migration.name for migration in MIGRATIONS.applied(db)}
            newer = applied - {m.name for m in MIGRATIONS._migrations}  # noqa: SLF001 (no public list)
            if newer:
                raise CorruptError(
                    "A newer Sunaiva wrote this vault. Update with `pip install -U sunaiva`, then try again."
                )
            _migrate(db)
    except BaseException:
        vault.close()
        raise
    return vault


def _connect(path: Path, key: bytes, *, cache_kib: int, must_exist: bool = True) -> Database:
    assert len(key) == 32, "SQLCipher takes a raw 256-bit key"
    if must_exist:
        refuse_what_is_no_vault(path)
    with _in_plain_words(path):
        connection = driver.connect(
            str(path), isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000
        )
        try:
            # A wrong key is an ordinary event here, told by our own sentence, not on stderr.
            connection.execute("PRAGMA cipher_log_level = NONE")
            connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: an acknowledged write is on the disk, also when the power fails.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        except BaseException:
            connection.close()
            raise
    return Database(connection, execute_plugins=False)


def refuse_what_is_no_vault(path: Path) -> None:
    """Raises:
    CorruptError: the file is in the clear, or has not the length of a vault.
    """
    with said_plainly(path), path.open("rb") as file:
        header = file.read(len(_PLAINTEXT_HEADER))
        size = file.seek(0, os.SEEK_END)
    if header == _PLAINTEXT_HEADER:
        raise CorruptError(
            f"{path} is a plain SQLite file, not an encrypted vault. Sunaiva does not open it. "
            "Put the vault back with `sunaiva restore`, or move this file away."
        )
    if size < 4096 or size % 4096:
        raise CorruptError(
            f"{path} is cut short ({size} bytes). Put a good copy back with `sunaiva restore BACKUP`; "
            "the damaged file is kept."
        )


@contextmanager
def _in_plain_words(path: Path) -> Iterator[None]:
    """Turn what the driver says into a sentence for a person."""
    try:
        yield
    except driver.DatabaseError as error:
        raise _sentence(error, path) from error


def _sentence(error: Exception, path: Path) -> Exception:
    said = str(error).lower()
    if "not a database" in said:
        return ForbiddenError(
            f"The key does not open {path}. If the vault was restored or copied from elsewhere, "
            "use `sunaiva rekey --recovery-words`."
        )
    if "disk is full" in said or "disk full" in said:
        return UnavailableError(
            f"The disk is full, nothing was stored. Free some space beside {path}."
        )
    if "readonly" in said or "read-only" in said or "unable to open" in said:
        return ForbiddenError(f"{path} cannot be written. Check the folder's permissions.")
    if "disk i/o error" in said:
        return UnavailableError(
            f"The disk could not read or write {path}; nothing was stored. See whether it is full or failing, then try again."
        )
    if "malformed" in said:
        return CorruptError(
            f"{path} is damaged ({error}). Run `sunaiva doctor`; put a backup back with `sunaiva restore BACKUP`."
        )
    if "locked" in said or "busy" in said:
        return UnavailableError("The vault is busy with another write. Try again in a moment.")
    return error
