"""What is noticed when memories come in and change, and what becomes of a decision."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mcp_server import findings, search
from mcp_server.device import Device
from mcp_server.findings import resolve
from mcp_server.memory import Changes, revise
from mcp_server.model import Source
from mcp_server.search import Asked, find
from mcp_server.vault import store
from mcp_server.vault.db import DATABASE_NAME
from mcp_server.vault.store import Selection
from shared.clock import to_ms
from shared.errors import ConflictError
from tests.builders import (
    NOON,
    SetClock,
    draft,
    embedded,
    opened,
    published_vault,
    tell,
    vault_at,
)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def mine(tmp_path: Path, clock: SetClock) -> Iterator[Device]:
    with opened(tmp_path, clock=clock) as device:
        yield device


def _open(device: Device) -> list[tuple[str, str, str]]:
    with device.vault.reading() as db:
        found = findings.open_findings(db, limit=10)
    return [(each.relation, each.first.text, each.second.text) for each in found]


def _recalled(device: Device, **asked: object) -> list[str]:
    question = Asked(query="where do I live", **asked)  # type: ignore[arg-type] # its own fields
    return [each.memory.text for each in find(device, question, client="test").found]


def test_an_update_is_proposed_and_once_accepted_the_old_is_reached_by_its_time(
    mine: Device, clock: SetClock
) -> None:
    tell(mine, "I live in Rome")
    embedded(mine)
    clock.passes(days=10)
    (new,) = tell(mine, "I live in Oslo now, no longer in Rome")
    assert [each.relation for each in new.similar] == ["may_supersede"]
    assert _recalled(mine) == ["I live in Oslo now, no longer in Rome", "I live in Rome"]
    with mine.vault.reading() as db:
        (finding,) = findings.open_findings(db, limit=10)

    resolve(mine, finding.number, "keep_second", client="test")

    assert _recalled(mine) == ["I live in Oslo now, no longer in Rome"]
    assert _recalled(mine, as_of=NOON + timedelta(days=5)) == ["I live in Rome"]
    assert _open(mine) == []


def test_open_findings_are_told_newest_first_and_decided_ones_not(mine: Device) -> None:
    one, two, three = (each.id for each in tell(mine, "one", "two", "three"))
    with mine.vault.writing() as db:
        for relation, first, second in (
            ("near_duplicate", one, two),
            ("may_contradict", one, three),
            ("may_contradict", two, three),
        ):
            db.execute(
                "INSERT INTO findings (relation, first, second, noticed_ms) VALUES (?, ?, ?, ?)",
                [relation, store.as_bytes(first), store.as_bytes(second), to_ms(NOON)],
            )
        decided = findings.open_findings(db, limit=10)[1]
    resolve(mine, decided.number, "keep_both", client="test")

    assert _open(mine) == [("may_contradict", "two", "three"), ("near_duplicate", "one", "two")]
    with mine.vault.reading() as db:
        assert len(findings.open_findings(db, limit=1)) == 1
        assert [each.relation for each in findings.open_findings(db, limit=9, about=one)] == [
            "near_duplicate"
        ]


def test_where_nothing_was_noticed_nothing_is_open(mine: Device) -> None:
    assert _open(mine) == []


def test_a_correction_is_compared_with_the_others_and_not_with_what_it_replaces(
    mine: Device,
) -> None:
    tell(mine, "The rent of the flat is 900 euros")
    (wrong,) = tell(mine, "The parking of the house costs a lot")
    embedded(mine)

    new = revise(
        mine, wrong.id, 1, Changes(text="The rent of the flat is 850 euros"), client="test"
    )

    assert _open(mine) == [
        ("may_contradict", "The rent of the flat is 900 euros", "The rent of the flat is 850 euros")
    ]
    with mine.vault.reading() as db:
        assert [each.text for each in findings.about(db, new.id)] == [
            "The rent of the flat is 900 euros"
        ]


@pytest.mark.parametrize(
    ("speaker", "expected"), [("said_by_user", 1), ("said_by_assistant", 0), ("tool_output", 0)]
)
def test_of_turns_only_what_the_person_says_is_compared(
    mine: Device, speaker: str, expected: int
) -> None:
    source = Source(trust=speaker)  # type: ignore[arg-type] # one of the classes
    tell(mine, draft("my rent of the flat is 900 euros", kind="turn", source=source))
    embedded(mine)

    tell(mine, draft("my rent of the flat is 850 euros", kind="turn", source=source))

    assert len(_open(mine)) == expected


def test_a_batch_of_like_lines_leaves_few_findings(mine: Device) -> None:
    tell(mine, "The harbour crane was painted at the depth of 1.5 fathoms")
    embedded(mine)
    for number in range(2, 22):
        tell(mine, f"The harbour crane was painted at the depth of {number}.5 fathoms")

    assert len(_open(mine)) <= 3


def test_lines_about_things_that_have_numbers_of_their_own_leave_none(mine: Device) -> None:
    tell(mine, "Worker 7 note 13: buoy 713 drifted 13 metres past the pier")
    embedded(mine)
    for number in range(14, 34):
        tell(mine, f"Worker 7 note {number}: buoy 7{number} drifted {number} metres past the pier")

    assert _open(mine) == []


def test_a_turn_said_again_is_nothing_to_decide(mine: Device) -> None:
    tell(mine, draft("I live in Rome with my cat", kind="turn", conversation="a", position=0))
    embedded(mine)
    again = draft("I live in Rome with my cat!", kind="turn", conversation="b", position=0)

    tell(mine, again)

    assert _open(mine) == []


def test_what_happened_later_is_second_also_if_it_was_told_first(mine: Device) -> None:
    tell(mine, draft("I moved to Oslo", occurred_at=NOON - timedelta(days=1)))
    embedded(mine)

    tell(mine, draft("I live in Rome", occurred_at=NOON - timedelta(days=900)))

    assert _open(mine) in ([], [("may_supersede", "I live in Rome", "I moved to Oslo")])


def test_findings_made_before_updates_were_known_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_NAME
    with published_vault(path, {}) as older:
        older.execute(
            """INSERT INTO findings (number, relation, first, second, noticed_ms)
               VALUES (3, 'near_duplicate', randomblob(16), randomblob(16), 1), (7, 'may_contradict', randomblob(16), randomblob(16), 2)"""
        )
        older.execute("DELETE FROM findings WHERE number = 7")
    with vault_at(path) as vault, vault.writing() as db:
        db.execute(
            """INSERT INTO findings (relation, first, second, noticed_ms)
               VALUES ('may_supersede', randomblob(16), randomblob(16), 3)"""
        )
        numbers = db.execute("SELECT number, relation FROM findings ORDER BY number").fetchall()

    assert numbers == [(3, "near_duplicate"), (8, "may_supersede")]


def test_no_decision_leaves_memories_that_supersede_one_another_in_a_circle(mine: Device) -> None:
    stored = tell(mine, "first", "second", "third")
    with mine.vault.writing() as db:
        for first, second in ((0, 1), (2, 0), (1, 2)):
            db.execute(
                "INSERT INTO findings (relation, first, second, noticed_ms) VALUES ('near_duplicate', ?, ?, 0)",
                [store.as_bytes(stored[first].id), store.as_bytes(stored[second].id)],
            )
    for number in (1, 2):
        resolve(mine, number, "keep_first", client="test")
    with pytest.raises(ConflictError, match="has superseded"):
        resolve(mine, 3, "keep_first", client="test")
    listed, _ = search.browse(mine, Selection(), limit=10, cursor=None, client="test")
    assert [each.text for each in listed] == ["third"]
    resolve(mine, 3, "keep_second", client="test")
    assert _open(mine) == []
