"""Vaults as they were first published, taken over by this version."""

from datetime import timedelta
from pathlib import Path

from msgspec import structs

from mcp_server.model import Source
from mcp_server.vault import listing, names, states, store
from mcp_server.vault.db import DATABASE_NAME
from mcp_server.vault.migrations import MIGRATIONS
from sync_service.device import log
from tests.builders import NOON, memory, published_vault, vault_at


def test_a_published_vault_is_taken_over_whole(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    key = "chatgpt:a-long-key-of-an-import:1"
    source = Source(trust="said_by_user", client="", tool="import", key=key)
    kept = memory(
        "Where is the key?",
        source=source,
        speaker="Ann",
        conversation="c1",
        position=3,
        tags=("keys",),
    )
    plain = memory("Under the step.", space="house", kind="event", occurred_at=NOON)
    with published_vault(path, {4: kept, 9: plain}) as older:
        older.execute("UPDATE sqlite_sequence SET seq = 12 WHERE name = 'memories'")
    with vault_at(path) as vault:
        with vault.reading() as db:
            found = store.by_rows(db, [4, 9])
            keyed = store.by_key(db, key)
            coming = store.happening(
                db, ("house",), since=NOON, until=NOON + timedelta(days=1), limit=5
            )
            scanned = listing.after(db, 0, limit=10)
            assert db.execute("SELECT * FROM pragma_foreign_key_check").fetchall() == []
        assert keyed is not None
        assert keyed.memory == found[4]
        assert found[4] == structs.replace(
            kept, source=structs.replace(source, client=None, key=names.short_key(key))
        )
        assert found[9] == plain
        assert [row.memory for row in coming] == [plain]
        assert [(entry[1], entry[2], *entry[11:13]) for entry in scanned] == [
            ("personal", "note", 17, 1),
            ("house", "event", 15, 0),
        ]
        with vault.writing() as db:
            assert store.read_cues(db, limit=10) != []
            assert store.read_cues(db, limit=10) == []
            # A number that was a forgotten memory's is never given again.
            assert store.insert(db, memory("new"), bytes(16)) == 13
            store.delete(db, 4, kept.id)
            assert db.execute("SELECT count(*) FROM tags").fetchone() == (0,)


def test_an_older_vault_can_give_its_free_pages_back(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    long = {row: memory("harbour " * 10_000) for row in range(1, 4)}
    with published_vault(path, long) as older:
        MIGRATIONS.apply(older)  # and the power went before the rest
    with vault_at(path) as vault:
        before = vault.file_bytes()
        with vault.writing() as db:
            for row, each in long.items():
                store.delete(db, row, each.id)
        assert not vault.shrink(1_000)
        vault.truncate_wal()
        assert vault.file_bytes() < before / 2


def test_what_was_heard_before_is_known_after_its_key_became_a_digest(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    with published_vault(path, {1: memory("Buy bread.")}) as older:
        MIGRATIONS.apply(older, stop_before="0008_blocks")
        older.execute("INSERT INTO echoes (key, memory) VALUES ('capture:1', 1)")
    with vault_at(path) as vault:
        with vault.reading() as db:
            known = store.by_echo(db, "capture:1")
        assert known is not None
        assert known.row == 1
        with vault.writing() as db:
            store.delete(db, 1, known.memory.id)
            assert store.by_echo(db, "capture:1") is None


def test_an_older_vault_is_ready_to_sync_and_holds_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    with published_vault(path, {1: memory("Buy bread.")}) as older:
        MIGRATIONS.apply(older, stop_before="0010_sync")
    with vault_at(path) as vault, vault.writing() as db:
        assert not log.is_set_up(db)
        assert states.unrecorded(db, 10) == [1]
        db.execute("INSERT INTO sync_states (memory, clocks) VALUES (1, x'90')")
        (row,) = store.by_rows(db, [1]).values()
        store.delete(db, 1, row.id)
        assert db.execute("SELECT count(*) FROM sync_states").fetchone() == (0,)
