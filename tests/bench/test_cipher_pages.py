"""The search with the key in hand must be able to see: old pages, free pages, and the log."""

import sqlcipher3.dbapi2 as sqlcipher

from bench import cipher_pages

KEY = bytes(range(32))


def opened(path, *, secure_delete=False):
    connection = sqlcipher.connect(str(path), isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
    connection.execute(f"PRAGMA secure_delete = {'ON' if secure_delete else 'OFF'}")
    connection.execute("CREATE TABLE notes (text TEXT)")
    return connection


def test_what_a_sloppy_delete_leaves_on_a_page_is_seen(tmp_path) -> None:
    path = tmp_path / "notes.db"
    connection = opened(path)
    connection.executemany("INSERT INTO notes VALUES (?)", [["kept words"], ["forgotten words"]])
    connection.execute("DELETE FROM notes WHERE text = 'forgotten words'")
    connection.close()

    clear = b"".join(cipher_pages.main_file(path.read_bytes(), KEY))

    assert clear[:2] == (4096).to_bytes(2, "big")  # the page size follows the salt
    assert b"kept words" in clear
    assert b"forgotten words" in clear
    assert b"kept words" not in path.read_bytes()


def test_what_a_secure_delete_erased_is_gone(tmp_path) -> None:
    path = tmp_path / "notes.db"
    connection = opened(path, secure_delete=True)
    connection.executemany("INSERT INTO notes VALUES (?)", [["kept words"], ["forgotten words"]])
    connection.execute("DELETE FROM notes WHERE text = 'forgotten words'")
    connection.close()

    clear = b"".join(cipher_pages.main_file(path.read_bytes(), KEY))

    assert b"kept words" in clear
    assert b"forgotten words" not in clear


def test_the_log_is_read_frame_by_frame(tmp_path) -> None:
    path = tmp_path / "notes.db"
    connection = opened(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("INSERT INTO notes VALUES ('words in the log')")
    log = (tmp_path / "notes.db-wal").read_bytes()

    clear = b"".join(cipher_pages.log_file(log, KEY))

    assert b"words in the log" in clear
    assert b"words in the log" not in log
    connection.close()
