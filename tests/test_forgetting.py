"""What was forgotten is gone: looked for with the key in hand in every file of the vault, by a search that found it before."""

import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec import Struct

from bench import cipher_pages
from mcp_server import backup, forgetting, health
from mcp_server.device import Device
from mcp_server.index.codes import unpack4
from mcp_server.index.embedder import Embedder, OnnxEmbedder
from mcp_server.index.entries import memory_text
from mcp_server.index.export import bundled_model_folder, export_in_child
from mcp_server.memory import Changes, capture_drafts, remember, revise
from mcp_server.vault import audit, pages, store
from mcp_server.vault.db import DATABASE_NAME
from shared.errors import ForbiddenError, InvalidError, NotFoundError
from shared.ids import MemoryId
from tests.builders import (
    SetClock,
    draft,
    embedded,
    opened,
    seal_early,
    sealed_terms,
    tell,
    until,
)
from tests.computer import model_cache

CLIENT = "test"
# "zyrquonic" occurs nowhere else; the keyword index keeps its stem.
RARE = "zyrquonic"
STEM = "zyrquon"
SECRET = f"The {RARE} resonator of the observatory is hidden beneath the third granite step, behind a loose brick."
KEPT = "The observatory opens at nine and the granite steps are slippery when it rains."


def _model() -> Embedder:
    """The real one: what is looked for is then what people's vaults hold."""
    return OnnxEmbedder(export_in_child(bundled_model_folder(), model_cache()))


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Device]:
    with opened(tmp_path / "vault", model=_model) as device:
        seal_early(device)
        tell(device, KEPT, *(f"Entry {number} of an ordinary diary" for number in range(40)))
        embedded(device)
        yield device


class Needles(Struct, frozen=True):
    """What one text leaves on a disk."""

    text: list[bytes]
    code: bytes
    float32: list[bytes]
    """As the model gave it, and as the vault rounds it."""
    stem: str


def _needles(device: Device, text: str, speaker: str | None = None, stem: str = STEM) -> Needles:
    """Independent of `forgetting.traces`, so that a mistake there is not repeated here."""
    assert device.index.embedder is not None
    said = text.encode()
    vector = device.index.embedder.embed([memory_text(text, speaker)])[0]
    with device.vault.reading() as db:
        # A quantised model's vectors differ a little with what else was in the batch: take the one that was kept.
        (kept,) = db.execute(
            "SELECT code FROM vectors JOIN texts USING (memory) WHERE text = ?", [text]
        ).fetchone()
    rounded = unpack4(np.frombuffer(kept, np.uint8)[None, :])[0]
    assert vector @ rounded > 0.98
    return Needles(
        text=[said[at : at + 20] for at in range(0, len(said) - 19, max(10, len(said) // 50))],
        code=kept[80:112],
        float32=[each.astype(np.float32)[96:104].tobytes() for each in (vector, rounded)],
        stem=stem,
    )


def _found(device: Device, needles: Needles) -> set[str]:
    """Which traces are anywhere in the vault's folder: pages in the clear, free ones too, and all other files raw."""
    home = device.vault.path.parent
    clear: list[bytes] = list(pages.decrypted(device.vault.path, device.keys.database))
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            clear.append(content)
            if path.name == DATABASE_NAME:
                clear += cipher_pages.main_file(content, device.keys.database)
            elif path.name == f"{DATABASE_NAME}-wal":
                clear += cipher_pages.log_file(content, device.keys.database)
    everything = b"\x00\x00".join(clear)
    found = {"text" for piece in needles.text if piece in everything}
    found |= {"code"} if needles.code in everything else set()
    found |= {"float32" for piece in needles.float32 if piece in everything}
    found |= {"term on a page"} if needles.stem.encode() in everything else set()
    return found | ({"term"} if needles.stem in sealed_terms(device) else set())


PRESENT = {"text", "code", "term on a page", "term"}


def _forget(device: Device, *ids: str) -> forgetting.Evidence:
    rows = forgetting.chosen(device, ids=ids)
    wanted = forgetting.traces(device, rows)
    forgetting.erase(device, rows, client=CLIENT)
    return forgetting.verify(device, wanted)


def _store(device: Device, text: str = SECRET) -> MemoryId:
    (stored,) = tell(device, text)
    _sealed(device)
    return stored.id


def _sealed(device: Device) -> None:
    """Have the words of all memories written into the vault, by telling it some more if need be."""
    with device.vault.reading() as db:
        newest = store.newest_row(db)
    for number in range(-newest % 4):
        tell(device, f"Filler {newest + number}")
    until(lambda: device.index.lexical.sealed >= newest)
    embedded(device)


def test_nothing_is_left_of_what_was_forgotten(mine: Device) -> None:
    memory_id = _store(mine)
    needles, kept = _needles(mine, SECRET), _needles(mine, KEPT, stem="slipperi")
    assert _found(mine, needles) == PRESENT
    evidence = _forget(mine, memory_id)
    assert _found(mine, needles) == set()
    assert _found(mine, kept) == PRESENT
    assert evidence.left == ()
    assert evidence.pieces > 3
    assert evidence.words > 0
    assert evidence.pages * pages.PAGE_BYTES >= mine.vault.path.stat().st_size
    with pytest.raises(NotFoundError):
        forgetting.chosen(mine, ids=[memory_id])


def test_nothing_is_left_when_the_log_was_written_back_before(mine: Device) -> None:
    memory_id = _store(mine)
    mine.vault.truncate_wal()
    needles = _needles(mine, SECRET)
    assert _found(mine, needles) == PRESENT
    assert _forget(mine, memory_id).left == ()
    assert _found(mine, needles) == set()


def test_nothing_is_left_of_one_among_many_in_many_segments(mine: Device) -> None:
    ids = [_store(mine, f"{SECRET} Copy {number}.") for number in range(12)]
    needles = _needles(mine, f"{SECRET} Copy 7.")
    assert _found(mine, needles) == PRESENT
    assert _forget(mine, *ids).left == ()
    assert _found(mine, needles) == set()


def test_the_text_that_was_corrected_goes_with_its_correction(mine: Device) -> None:
    first = _store(mine)
    second = revise(mine, first, 1, Changes(text="It is under the fourth step."), client=CLIENT)
    third = revise(mine, second.id, 1, Changes(text="It was never found."), client=CLIENT)
    _sealed(mine)
    needles = _needles(mine, SECRET)
    between = _needles(mine, "It is under the fourth step.", stem="fourth")
    assert _found(mine, needles) == _found(mine, between) == PRESENT
    assert _forget(mine, third.id).left == ()
    assert _found(mine, needles) == _found(mine, between) == set()


def test_an_old_version_can_be_forgotten_alone(mine: Device) -> None:
    first = _store(mine)
    second = revise(mine, first, 1, Changes(text="It was never found."), client=CLIENT)
    _sealed(mine)
    needles = _needles(mine, SECRET)
    assert _forget(mine, first).left == ()
    assert _found(mine, needles) == set()
    with mine.vault.reading() as db:
        left = store.by_id(db, second.id)
    assert left is not None
    assert (left.memory.text, left.memory.links) == ("It was never found.", ())


def test_nothing_is_left_of_a_forgotten_conversation(mine: Device) -> None:
    turns = [draft(text, kind="turn", speaker="Ann") for text in ("hello", SECRET)]
    keyed = capture_drafts(mine, "night watch", turns, space="personal")
    remember(mine, keyed, client=CLIENT)
    _sealed(mine)
    needles = _needles(mine, SECRET, speaker="Ann")
    assert _found(mine, needles) == PRESENT
    rows = forgetting.chosen(mine, conversation="night watch")
    assert len(rows) == 2
    wanted = forgetting.traces(mine, rows)
    forgetting.erase(mine, rows, client=CLIENT)
    assert forgetting.verify(mine, wanted).left == ()
    assert _found(mine, needles) == set()


def test_nothing_is_left_of_a_long_text_on_pages_of_its_own(mine: Device) -> None:
    text = "".join(f"{SECRET} Chapter {number}. " for number in range(2_000))
    memory_id = _store(mine, text)
    needles = _needles(mine, text)
    assert _found(mine, needles) == PRESENT
    assert _forget(mine, memory_id).left == ()
    assert _found(mine, needles) == set()


def test_a_rebuilt_index_holds_nothing_of_the_forgotten(mine: Device) -> None:
    memory_id = _store(mine)
    needles = _needles(mine, SECRET)
    assert list(health.rebuild(mine))
    _sealed(mine)
    assert _found(mine, needles) == PRESENT
    assert _forget(mine, memory_id).left == ()
    assert list(health.rebuild(mine))
    embedded(mine)
    assert _found(mine, needles) == set()


def test_a_word_that_others_have_stays_theirs(mine: Device) -> None:
    memory_id = _store(mine, f"Another {RARE} thing")
    _store(mine)
    assert _forget(mine, memory_id).left == ()
    assert "term" in _found(mine, _needles(mine, SECRET))


def test_a_backup_made_before_still_holds_it_and_one_made_after_does_not(
    mine: Device, tmp_path: Path
) -> None:
    memory_id = _store(mine)
    before, after = tmp_path / "before", tmp_path / "after"
    mine.vault.path.with_name("vault.json").touch()  # a backup takes the wrapped keys along
    backup.write(mine, before)
    _forget(mine, memory_id)
    backup.write(mine, after)
    for path, there in ((before, True), (after, False)):
        copy = Path(zipfile.ZipFile(path).extract(DATABASE_NAME, tmp_path / f"from-{path.name}"))
        clear = b"".join(pages.decrypted(copy, mine.keys.database))
        assert (SECRET[:40].encode() in clear) is there


def test_the_same_words_can_be_told_again(mine: Device) -> None:
    first = _store(mine)
    _forget(mine, first)
    second = _store(mine)
    assert second != first
    assert _found(mine, _needles(mine, SECRET)) == PRESENT


def test_what_is_left_would_be_reported(mine: Device) -> None:
    memory_id = _store(mine)
    rows = forgetting.chosen(mine, ids=[memory_id])
    wanted = forgetting.traces(mine, rows)
    with mine.vault.reading() as db:
        (code,) = db.execute("SELECT code FROM vectors WHERE memory = ?", [rows[0].row]).fetchone()
    forgetting.erase(mine, rows, client=CLIENT)
    assert forgetting.verify(mine, wanted).left == ()
    with mine.vault.writing() as db:  # a leftover of each sort, planted where nobody looks
        db.execute("CREATE TABLE left_over (text TEXT, code BLOB)")
        db.execute("INSERT INTO left_over VALUES (?, ?)", [SECRET, code])
    mine.index.lexical.put(9999, [STEM])
    left = forgetting.verify(mine, wanted).left
    assert f"text of {memory_id}" in left
    assert f"vector of {memory_id} (4-bit)" in left
    assert f"the word '{STEM}'" in left
    with mine.vault.writing() as db:
        db.execute("DROP TABLE left_over")
    mine.index.lexical.drop([9999])
    mine.vault.truncate_wal()
    assert forgetting.verify(mine, wanted).left == ()


def test_the_log_keeps_that_something_was_forgotten_and_not_what(mine: Device) -> None:
    memory_id = _store(mine)
    _forget(mine, memory_id)
    with mine.vault.reading() as db:
        (line,) = audit.lines(db, before=None, limit=1)
    assert (line.action, line.client, line.memories, line.count) == (
        "forget",
        CLIENT,
        (memory_id,),
        1,
    )


# --- choosing and confirming ---------------------------------------------------------------------------------


def test_a_confirmation_is_for_these_memories_as_they_are(mine: Device) -> None:
    one, two = _store(mine, "one thing"), _store(mine, "another thing")
    rows = forgetting.chosen(mine, ids=[one])
    token = forgetting.token(mine, rows)
    forgetting.check_token(mine, rows, token)
    for wrong in ("", "no token", token[:-1], "\ud800"):
        with pytest.raises(ForbiddenError, match="Nothing was forgotten"):
            forgetting.check_token(mine, rows, wrong)
    with pytest.raises(ForbiddenError):
        forgetting.check_token(mine, forgetting.chosen(mine, ids=[one, two]), token)
    revise(mine, one, 1, Changes(pinned=True), client=CLIENT)
    with pytest.raises(ForbiddenError):
        forgetting.check_token(mine, forgetting.chosen(mine, ids=[one]), token)


def test_nothing_named_is_nothing_chosen(mine: Device) -> None:
    with pytest.raises(InvalidError, match="Say what to forget"):
        forgetting.chosen(mine)


def test_one_call_forgets_a_thousand_at_most(tmp_path: Path) -> None:
    with opened(tmp_path / "large", clock=SetClock()) as device:
        for start in (0, 600):
            tell(device, *(draft(f"note {start + each}", space="s") for each in range(600)))
        with pytest.raises(InvalidError, match="more than 1,000 memories") as refused:
            forgetting.chosen(device, space="s")
        assert "sunaiva forget --space" in str(refused.value)


def test_many_are_forgotten_in_pieces_between_which_others_may_write(mine: Device) -> None:
    doomed = tell(mine, *(f"{SECRET} Copy number {number}." for number in range(50)))
    _sealed(mine)
    rows = forgetting.chosen(mine, ids=[each.id for each in doomed])
    traces = forgetting.traces(mine, rows)
    told = [
        (done, tell(mine, f"Told after {done} were gone"))
        for done in forgetting.erasing(mine, rows, client=CLIENT)
    ]
    assert told[0][0] < len(rows) == told[-1][0]
    assert forgetting.verify(mine, traces).left == ()
    for _, (stored,) in told:
        forgetting.chosen(mine, ids=[stored.id])


def test_forgetting_that_is_broken_off_leaves_nothing_of_those_that_are_gone(mine: Device) -> None:
    doomed = tell(mine, *(f"The {each}th vault of {each * 7919}." for each in range(1_000, 1_060)))
    _sealed(mine)
    rows = forgetting.chosen(mine, ids=[each.id for each in doomed])
    pieces = forgetting.erasing(mine, rows, client=CLIENT)
    done = next(pieces)
    pieces.close()
    texts = [row.memory.text.encode() for row in rows]
    clear = pages.decrypted(mine.vault.path, mine.keys.database)
    assert pages.occurrences(clear, texts) == set(texts[done:])


def test_what_somebody_else_forgot_meanwhile_is_in_nobodys_way(mine: Device) -> None:
    doomed = tell(mine, SECRET, "Another one that goes twice")
    rows = forgetting.chosen(mine, ids=[each.id for each in doomed])
    forgetting.erase(mine, rows[:1], client=CLIENT)
    forgetting.erase(mine, rows, client=CLIENT)
    for each in doomed:
        with pytest.raises(NotFoundError):
            forgetting.chosen(mine, ids=[each.id])


def test_a_vault_that_a_restore_moved_aside_is_searched_too(mine: Device) -> None:
    (stored,) = tell(mine, SECRET)
    embedded(mine)
    aside = mine.vault.path.parent / "replaced-20261121"
    aside.mkdir()
    mine.vault.copy_to(aside / DATABASE_NAME, mine.keys.database, mark=lambda _: None)
    rows = forgetting.chosen(mine, ids=[stored.id])
    traces = forgetting.traces(mine, rows)
    forgetting.erase(mine, rows, client=CLIENT)
    (left,) = forgetting.verify(mine, traces).left
    assert str(aside) in left
    assert "delete that folder" in left


def test_no_copy_stays_where_rows_moved_from_page_to_page(tmp_path: Path) -> None:
    # Lengths as people's texts have them: some pages then change hands in a way that leaves copies behind.
    length = random.Random(5)
    texts = [
        f"Number {number} of the list: {'a long word ' * int(length.expovariate(1 / 35))}"
        for number in range(2000)
    ]
    with opened(tmp_path) as device:
        for start in range(0, len(texts), 400):
            batch = enumerate(texts[start : start + 400])
            tell(device, *(draft(text, space=("doomed", "kept")[at % 2]) for at, text in batch))
        doomed = forgetting.chosen(device, space="doomed", most=2000)
        forgetting.erase(device, doomed, client=CLIENT)
        assert not device.vault.rewrite_is_due
        clear = pages.decrypted(device.vault.path, device.keys.database)
        beginnings = [f"Number {number} of the list: " for number in range(len(texts))]
        there = pages.occurrences(clear, [text.encode() for text in beginnings])
    assert {text.encode() for text in beginnings[1::2]} == there


def test_what_a_crash_left_to_rewrite_is_rewritten_before_anybody_looks_for_traces(
    mine: Device,
) -> None:
    rows = forgetting.chosen(mine, ids=[_store(mine)])
    wanted = forgetting.traces(mine, rows)
    forgetting.erase(mine, rows, client=CLIENT)
    mine.vault.plan_rewrite()
    assert mine.vault.rewrite_is_due
    assert forgetting.verify(mine, wanted).left == ()
    assert not mine.vault.rewrite_is_due


def test_the_vector_of_the_same_words_in_another_space_is_no_trace(mine: Device) -> None:
    tell(mine, draft(SECRET, space="work"))
    embedded(mine)
    assert _forget(mine, _store(mine)).left == ()
