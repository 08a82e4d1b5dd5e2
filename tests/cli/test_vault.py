"""The vault itself at a terminal: made, protected, backed up, given a new key, examined."""

import stat
from pathlib import Path

import pytest

from mcp_server.device import database_key
from mcp_server.vault.db import DATABASE_NAME, open_vault
from mcp_server.vault.keys import unlock_with_words
from tests.people import Person


def test_a_person_makes_a_vault_and_confirms_the_words(newcomer: Person) -> None:
    ran = newcomer.types(
        "init",
        answers=[("Recovery words", ""), ("words down? [y/N] ", "\n"), ("[y/N] ", "yes\n")],
    )
    assert ran.code == 0
    assert "Take your time." in ran.out
    assert newcomer.gets("list")["memories"] == []


def test_a_script_makes_a_vault_only_if_it_takes_the_words(newcomer: Person) -> None:
    refused = newcomer.runs("init")
    assert (refused.code, refused.out) == (1, "")
    assert "nobody is here to write them down" in refused.err
    assert not newcomer.device.home.exists()
    taken = newcomer.runs("init", "--yes")
    assert taken.code == 0
    assert "12.\u00a0" in taken.out


def test_the_vault_is_private_encrypted_and_made_once(newcomer: Person) -> None:
    made = newcomer.gets("init")
    home = newcomer.device.home
    assert made["home"] == str(home)
    assert made["protected_by"] == "key_file"
    assert len(made["recovery_words"].split()) == 12
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / DATABASE_NAME).stat().st_mode) == 0o600
    assert not (home / DATABASE_NAME).read_bytes().startswith(b"SQLite format 3")
    before = (home / DATABASE_NAME).read_bytes(), (home / "vault.json").read_bytes()
    unattended = newcomer.runs("init")
    assert unattended.code == 1
    assert "There is a vault" in unattended.err
    again = newcomer.runs("init", "--json")
    assert again.code == 1
    assert again.json["error"]["code"] == "conflict"
    assert before == ((home / DATABASE_NAME).read_bytes(), (home / "vault.json").read_bytes())


def test_a_new_key_shuts_out_the_old_one_and_keeps_all_else(newcomer: Person) -> None:
    words = newcomer.gets("init")["recovery_words"]
    home = newcomer.device.home
    stored = newcomer.stores("The lighthouse keeper is called Mira")
    old_root = unlock_with_words(home, words).current
    (old_key,) = newcomer.device.config.rglob("*.key")
    answer = newcomer.gets("rekey")
    assert answer["recovery_words"] != words
    assert not old_key.exists()
    with pytest.raises(Exception, match="not this vault's"):
        unlock_with_words(home, words)
    with pytest.raises(Exception, match="does not open"):
        open_vault(home / DATABASE_NAME, database_key(old_root))
    assert unlock_with_words(home, answer["recovery_words"]).pending is None
    assert newcomer.has(stored)["text"] == "The lighthouse keeper is called Mira"
    assert newcomer.asks("recall", query="lighthouse")["found"]
    # The log's chain and the recognition of known texts outlive the key.
    assert newcomer.gets("audit", "--verify")["broken_at"] is None
    assert "rekey" in [line["action"] for line in newcomer.asks("audit")["lines"]]
    assert newcomer.stores("The lighthouse keeper is called Mira") == stored


def test_what_protects_the_vault_can_be_changed_without_a_new_root(owner: Person) -> None:
    stored = owner.stores("The ferry leaves at noon")
    answer = owner.gets(
        "rekey", "--keep-root", "--protect", "passphrase", SUNAIVA_PASSPHRASE="correct horse"
    )
    assert (answer["protected_by"], answer["recovery_words"]) == ("passphrase", None)
    assert list(owner.device.config.rglob("*.key")) == []
    locked = owner.runs("show", stored, "--json")
    assert (locked.code, locked.json["error"]["code"]) == (1, "forbidden")
    assert "given as SUNAIVA_PASSPHRASE" in locked.err
    wrong = owner.runs("show", stored, SUNAIVA_PASSPHRASE="wrong horse")
    assert wrong.code == 1
    assert "The passphrase is wrong" in wrong.err
    asked = owner.types("show", stored, answers=[("Passphrase of the vault: ", "correct horse\n")])
    assert asked.code == 0
    assert "The ferry leaves at noon" in asked.out
    assert "correct horse" not in asked.out


def test_the_words_open_a_vault_whose_key_file_is_gone(newcomer: Person) -> None:
    words = newcomer.gets("init")["recovery_words"]
    stored = newcomer.stores("The archive is in the tower")
    newcomer.asks("audit")  # an agent is running; the key goes while it does
    for key in newcomer.device.config.rglob("*.key"):
        key.unlink()
    wrong = newcomer.runs("rekey", "--recovery-words", stdin=b"abandon ability\n")
    assert wrong.code == 1
    nothing = newcomer.runs("rekey", "--recovery-words", "--json")
    assert (nothing.code, nothing.json["error"]["code"]) == (1, "invalid")
    lost = newcomer.runs("show", stored)
    assert lost.code == 1
    assert "recovery words" in lost.err
    answer = newcomer.gets("rekey", "--recovery-words", stdin=f"{words}\n".encode())
    assert answer["protected_by"] == "key_file"
    assert newcomer.has(stored)["text"] == "The archive is in the tower"


def test_a_backup_brings_back_what_was_there_and_moves_the_rest_aside(
    owner: Person, tmp_path: Path
) -> None:
    kept = owner.stores("Before the backup")
    target = tmp_path / "mine.backup"
    answer = owner.gets("backup", target)
    assert (answer["path"], answer["file_bytes"]) == (str(target), target.stat().st_size)
    assert owner.runs("backup", target).code == 1
    after = owner.stores("After the backup")
    refused = owner.runs("restore", target)
    assert refused.code == 1
    assert owner.has(after)
    restored = owner.gets("restore", target, "--yes")
    aside = Path(restored["moved_aside"])
    assert (aside / DATABASE_NAME).exists()
    assert [one["id"] for one in owner.gets("list")["memories"]] == [kept]


def test_a_damaged_backup_leaves_the_vault_alone(owner: Person, tmp_path: Path) -> None:
    stored = owner.stores("Still here")
    target = tmp_path / "mine.backup"
    owner.gets("backup", target)
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    ran = owner.runs("restore", target, "--yes", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (1, "corrupt")
    assert owner.has(stored)["text"] == "Still here"


def test_a_changed_line_of_the_log_is_named(newcomer: Person) -> None:
    words = newcomer.gets("init")["recovery_words"]
    for number in range(3):
        newcomer.stores(f"Line {number}")
    whole = newcomer.runs("audit", "--verify")
    assert whole.code == 0
    assert "no line was changed, none is missing" in whole.out
    newcomer.leave()
    key = database_key(unlock_with_words(newcomer.device.home, words).current)
    vault = open_vault(newcomer.device.home / DATABASE_NAME, key)
    with vault.writing() as db:
        db.execute("UPDATE access_log SET client = 'nobody' WHERE seq = 2")
    vault.close()
    broken = newcomer.runs("audit", "--verify", "--json")
    assert (broken.code, broken.json["broken_at"]) == (1, 2)
    assert "changed from outside at line 2" in broken.err
    examined = newcomer.runs("doctor", "--json")
    assert examined.code == 1
    assert "line 2" in examined.json["problems"][0]


def test_the_doctor_finds_and_repairs_a_lost_keyword_index(newcomer: Person) -> None:
    words = newcomer.gets("init")["recovery_words"]
    newcomer.stores("The weather station reports fog")
    newcomer.leave()
    key = database_key(unlock_with_words(newcomer.device.home, words).current)
    vault = open_vault(newcomer.device.home / DATABASE_NAME, key)
    with vault.writing() as db:
        # A segment that says that it has the memory, and has not.
        db.execute(
            "INSERT INTO segments (first_row, last_row, tier, memories, live) VALUES (1, 1, 0, 1, 1)"
        )
    vault.close()
    ill = newcomer.runs("doctor")
    assert ill.code == 1
    assert "sunaiva doctor --rebuild" in ill.err
    well = newcomer.gets("doctor", "--rebuild")
    assert (well["problems"], well["memories"]) == ([], 1)
    assert newcomer.runs("doctor").code == 0
    assert newcomer.knows("The weather station reports fog")


def test_a_person_saves_space_and_takes_it_back(newcomer: Person) -> None:
    newcomer.gets("init")
    texts = [
        f"Entry {number}: the ferry leaves the harbour at {number}. " * 9 for number in range(60)
    ]
    said = [{"text": text, "source": {"trust": "said_by_user"}} for text in texts]
    newcomer.asks("remember", drafts=said)
    assert newcomer.gets("consolidate", "--dry-run")["did"] == "estimated"
    assert newcomer.gets("doctor")["packed"] == 0
    done = newcomer.gets("consolidate")
    assert (done["did"], done["memories"]) == ("packed", 60)
    assert newcomer.gets("doctor")["packed"] == 60
    assert "memories are in blocks" in newcomer.runs("doctor").out
    assert "nothing to save" in newcomer.runs("consolidate").out
    assert {each["text"] for each in newcomer.gets("list", "--limit", "100")["memories"]} == set(
        texts
    )
    assert "60 memories stand alone again" in newcomer.runs("consolidate", "--undo").out
    assert newcomer.gets("doctor")["packed"] == 0
