"""What becomes of secrets on their way into a real vault."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_server.device import Device, open_device
from mcp_server.memory import (
    Changes,
    acceptable,
    capture_drafts,
    present,
    remember,
    revise,
    take_in,
)
from mcp_server.model import Memory
from mcp_server.sensitive import Policy
from mcp_server.vault import keys, store
from mcp_server.vault.protectors import Access
from shared.errors import InvalidError
from tests.builders import (
    NOON,
    SetClock,
    draft,
    embedded,
    make_home,
    memory,
    one_model,
    opened,
    tell,
)
from tests.fakes import HashEmbedder

TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
SECRET = f"the deploy token is {TOKEN}"
REDACTED = "the deploy token is [redacted: GitHub token]"


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Device]:
    with opened(tmp_path) as device:
        yield device


def _texts(device: Device) -> list[str]:
    with device.vault.reading() as db:
        return [row.memory.text for row in store.in_order(db, after=None, limit=100)]


def _memory(device: Device, memory_id: str) -> Memory:
    with device.vault.reading() as db:
        return present(db, memory_id).memory


def test_a_secret_is_not_stored_and_the_answer_says_so(mine: Device) -> None:
    (stored,) = tell(mine, SECRET)

    assert (stored.status, stored.redacted) == ("stored", ("GitHub token",))
    assert _texts(mine) == [REDACTED]


def test_a_secret_in_a_name_is_not_stored_either(mine: Device) -> None:
    (stored,) = tell(
        mine, draft("harmless", tags=("ops", TOKEN), speaker=TOKEN, conversation=f"about {TOKEN}")
    )

    assert stored.redacted == ("GitHub token",) * 3
    kept = _memory(mine, stored.id)
    assert (kept.tags, kept.speaker) == (
        ("[redacted: GitHub token]", "ops"),
        "[redacted: GitHub token]",
    )
    assert kept.conversation == "about [redacted: GitHub token]"


def test_a_secret_in_the_name_of_a_space_is_refused_because_permissions_hang_on_it(
    mine: Device,
) -> None:
    with pytest.raises(InvalidError, match="name of its space") as refused:
        tell(mine, draft("harmless", space=TOKEN))

    assert TOKEN not in str(refused.value)
    assert acceptable(mine, [draft("harmless", space=TOKEN)]) == []


def test_a_conversation_named_by_a_secret_keeps_its_order_and_stays_one(mine: Device) -> None:
    for turns in (["one"], ["one", "two"]):
        drafts = [draft(text, kind="turn") for text in turns]
        remember(mine, capture_drafts(mine, TOKEN, drafts, space="personal"), client="test")

    with mine.vault.reading() as db:
        kept = [row.memory for row in store.in_order(db, after=None, limit=9)]
    assert [(each.text, each.position) for each in kept] == [("one", 0), ("two", 1)]
    assert {each.conversation for each in kept} == {"[redacted: GitHub token]"}


def test_a_secret_does_not_come_in_by_a_tag_put_on_later(mine: Device) -> None:
    (stored,) = tell(mine, "harmless")

    new = revise(mine, stored.id, 1, Changes(tags=(TOKEN,)), client="test")

    assert new.tags == ("[redacted: GitHub token]",)


def test_what_was_kept_on_purpose_stays_when_something_else_is_changed(mine: Device) -> None:
    remember(mine, [draft(SECRET)], client="test", policy=Policy("allow", "allow"))
    with mine.vault.reading() as db:
        (row,) = store.in_order(db, after=None, limit=2)

    assert revise(mine, row.memory.id, 1, Changes(pinned=True), client="test").text == SECRET


def test_the_same_secret_again_is_known(mine: Device) -> None:
    (stored,) = tell(mine, SECRET)

    (again,) = tell(mine, SECRET)
    assert (again.status, again.id) == ("known", stored.id)
    assert _memory(mine, again.id).text == REDACTED


def test_a_captured_turn_with_a_secret_is_known_when_it_is_captured_again(mine: Device) -> None:
    turns = [draft(SECRET, kind="turn", speaker="Ann"), draft("thanks", kind="turn", speaker="Ann")]

    for expected in (["stored", "stored"], ["known", "known"]):
        keyed = capture_drafts(mine, "talk", turns, space="personal")
        assert [one.status for one in remember(mine, keyed, client="test")] == expected
    assert _texts(mine) == [REDACTED, "thanks"]


def test_a_secret_does_not_come_in_by_a_correction(mine: Device) -> None:
    (stored,) = tell(mine, "the deploy token is in the safe")

    new = revise(mine, stored.id, 1, Changes(text=SECRET), client="test")

    assert new.text == REDACTED
    assert revise(mine, new.id, 1, Changes(text=SECRET), client="test") == new


def test_what_a_person_types_on_purpose_is_kept_as_it_is(mine: Device) -> None:
    remember(mine, [draft(SECRET)], client="test", policy=Policy("allow", "allow"))

    assert _texts(mine) == [SECRET]


def test_our_own_export_comes_back_as_it_was(mine: Device) -> None:
    take_in(mine, [memory(SECRET)], client="test")

    assert _texts(mine) == [SECRET]


def test_where_secrets_are_blocked_nothing_is_stored_and_the_secret_is_not_quoted(
    tmp_path: Path,
) -> None:
    device = open_device(
        make_home(tmp_path),
        bytes(range(32)),
        clock=SetClock(NOON),
        models=one_model(HashEmbedder),
        policy=Policy(secrets="block"),
    )
    try:
        embedded(device)
        with pytest.raises(InvalidError, match=r"Memory 2 holds .* GitHub token") as refused:
            tell(device, "harmless", SECRET)

        assert TOKEN not in str(refused.value)
        assert _texts(device) == []
        assert acceptable(device, [draft("harmless"), draft(SECRET)]) == [draft("harmless")]
    finally:
        device.close()


def test_the_recovery_words_of_the_vault_are_never_stored(tmp_path: Path) -> None:
    home = tmp_path / "vault"
    new = keys.create_keys(home, "key_file", Access(key_folder=tmp_path / "keys"), SetClock())
    with opened(home, root=new.root_key) as device:
        for said in (new.words, f"Note about above: {new.words.upper()}. Again above?"):
            with pytest.raises(InvalidError, match="recovery words of this vault"):
                remember(device, [draft(said)], client="test", policy=Policy("allow", "allow"))
            assert acceptable(device, [draft(said)]) == []
        assert _texts(device) == []
