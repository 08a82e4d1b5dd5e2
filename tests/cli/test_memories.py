"""Storing, finding, reading, correcting and forgetting at a terminal."""

import json
from pathlib import Path

import pytest

from shared.ids import parse_memory_id, short_id
from tests.people import Person


def test_a_memory_is_stored_once_and_found_by_its_words(person: Person) -> None:
    stored = person.gets("remember", "The spare key hangs behind the ficus", "--tag", "home")
    again = person.gets("remember", "The spare key hangs behind the ficus")
    assert (stored["status"], again["status"]) == ("stored", "known")
    assert again["id"] == stored["id"]
    ran = person.runs("recall", "spare", "key")
    assert ran.code == 0
    assert f"{stored['id'][-10:]}  " in ran.out
    assert "The spare key hangs behind the ficus" in ran.out


def test_a_text_comes_from_stdin_as_it_is(person: Person) -> None:
    text = "Zwiebelkuchen:\n\t3 onions\r\n½ l cream 🧅"
    stored = person.gets("remember", "-", stdin=text.encode())
    assert person.has(stored["id"])["text"] == text


def test_listing_narrows_down_and_pages(person: Person) -> None:
    ids = [person.stores(f"Shelf {number}", space="library") for number in range(3)]
    person.stores("Overdue", space="library", tags=["late"], kind="event")
    first = person.gets("list", "--space", "library", "--kind", "note", "--limit", "2")
    rest = person.gets("list", "--space", "library", "--kind", "note", "--cursor", first["cursor"])
    assert [one["id"] for one in first["memories"] + rest["memories"]] == ids[::-1]
    assert rest["cursor"] is None
    (late,) = person.gets("list", "--tag", "late")["memories"]
    assert (late["text"], late["kind"], late["tags"]) == ("Overdue", "event", ["late"])
    shown = person.runs("list", "--space", "library", "--limit", "1")
    assert "Overdue" in shown.out
    assert "More: --cursor" in shown.err


def test_a_list_shows_of_a_long_memory_where_it_begins(person: Person) -> None:
    stored = person.stores("The logbook begins. " + "Fog. " * 20_000, space="logbook")
    shown = person.runs("list", "--space", "logbook").out
    assert "The logbook begins." in shown
    assert len(shown) < 2_000
    assert f"100,020 characters: `sunaiva show {short_id(parse_memory_id(stored))}`" in shown


def test_showing_tells_everything_known_about_a_memory(person: Person) -> None:
    stored = person.gets(
        "remember", "Lisbon was sunny", "-k", "event", "-t", "travel", "--at", "2023-05-08", "--pin"
    )["id"]
    ran = person.runs("show", stored[-10:])
    assert ran.out.startswith("Lisbon was sunny\n")
    for fact in (stored, "event", "travel", "2023-05-08T00:00:00+00:00", "said by user"):
        assert fact in ran.out


def test_a_new_text_supersedes_the_old_one(person: Person) -> None:
    old = person.stores("The dentist is Dr Abelard")
    new = person.gets("edit", old, "The dentist is Dr Heloise")
    assert new["id"] != old
    shown = person.runs("show", new["id"])
    assert f"It superseded:\n{old[-10:]}" in shown.out
    assert not person.knows("The dentist is Dr Abelard")
    assert person.knows("The dentist is Dr Heloise")


def test_other_corrections_keep_the_memory_and_raise_its_version(person: Person) -> None:
    stored = person.stores("The boiler is serviced in March")
    changed = person.gets("edit", stored, "--kind", "fact", "--tag", "house", "--pin")
    assert (changed["id"], changed["version"]) == (stored, 2)
    assert (changed["kind"], changed["tags"], changed["pinned"]) == ("fact", ["house"], True)


def test_without_a_change_the_editor_opens(person: Person, tmp_path: Path) -> None:
    stored = person.stores("Line one\r\nLine two")
    editor = tmp_path / "my editor"
    editor.write_text("#!/bin/sh\nprintf 'Line three\\n' >> \"$1\"\n")
    editor.chmod(0o755)
    new = person.gets("edit", stored, EDITOR=f"'{editor}'", VISUAL="")
    assert new["text"] == "Line one\r\nLine twoLine three"


@pytest.mark.parametrize(
    ("editor", "sentence"),
    [
        ("true", "The text was not changed."),
        ("false", "The editor 'false' did not work"),
        ("no-such-editor", "The editor 'no-such-editor' did not work"),
    ],
)
def test_an_editor_that_does_nothing_changes_nothing(
    person: Person, editor: str, sentence: str
) -> None:
    stored = person.stores(f"Written with {editor}")
    ran = person.runs("edit", stored, EDITOR=editor, VISUAL="")
    assert (ran.code, ran.out) == (1, "")
    assert sentence in ran.err
    assert person.has(stored)["version"] == 1


def test_forgetting_asks_first_and_a_no_keeps_everything(person: Person) -> None:
    stored = person.stores("The combination of the shed is 4711")
    ran = person.types("forget", stored, answers=[("for good? [y/N] ", "n\n")])
    assert ran.code == 1
    assert "Nothing was forgotten." in ran.out
    assert person.knows("The combination of the shed is 4711")


def test_forgetting_shows_what_would_go_and_a_yes_erases_it(person: Person) -> None:
    stored = person.stores("The combination of the barn is 4712")
    ran = person.types(
        "forget",
        stored[-10:],
        "--verify",
        answers=[
            ("The combination of the barn is 4712", ""),
            ("Forget 1 memory for good? [y/N] ", "y\n"),
        ],
    )
    assert ran.code == 0
    assert "1 memory forgotten for good." in ran.out
    assert "nothing left" in ran.out
    assert not person.knows("The combination of the barn is 4712")


def test_ctrl_c_at_the_question_forgets_nothing(person: Person) -> None:
    stored = person.stores("The combination of the attic is 4713")
    ran = person.types("forget", stored, answers=[("[y/N] ", "\x03")])
    assert ran.code == 130
    assert person.knows("The combination of the attic is 4713")


def test_ctrl_d_at_the_question_is_a_no(person: Person) -> None:
    stored = person.stores("The combination of the cellar is 4714")
    ran = person.types("forget", stored, answers=[("[y/N] ", "\x04")])
    assert ran.code == 1
    assert person.knows("The combination of the cellar is 4714")


def test_a_script_forgets_only_with_yes(person: Person) -> None:
    stored = person.stores("A note that a script made")
    refused = person.runs("forget", stored, "--json")
    assert refused.code == 1
    assert refused.json["error"]["code"] == "forbidden"
    assert person.gets("forget", stored, "--yes") == {"forgotten": [stored], "verified": None}


def test_forgetting_takes_older_versions_with_it_and_verifies(person: Person) -> None:
    first = person.stores("Our wifi password is quetzalcoatl")
    changes = {"text": "Our wifi password is xolotlan"}
    second = person.asks("revise", id=first, version=1, changes=changes)["id"]
    answer = person.gets("forget", second, "--yes", "--verify")
    assert sorted(answer["forgotten"]) == sorted([first, second])
    assert answer["verified"]["left"] == []
    assert answer["verified"]["pieces"] > 0
    assert answer["verified"]["words"] >= 2
    assert answer["verified"]["pages"] > 20
    assert not person.knows("Our wifi password is quetzalcoatl")


def test_a_whole_space_is_forgotten(person: Person) -> None:
    for number in range(3):
        person.stores(f"Project note {number}", space="abandoned")
    kept = person.stores("Project note 0", space="kept")
    assert len(person.gets("forget", "--space", "abandoned", "--yes")["forgotten"]) == 3
    assert person.asks("list", space="abandoned")["memories"] == []
    assert [one["id"] for one in person.asks("list", space="kept")["memories"]] == [kept]


def test_ids_and_a_space_together_are_refused(person: Person) -> None:
    stored = person.stores("Only this one", space="ambiguous")
    ran = person.runs("forget", stored, "--space", "ambiguous", "--yes")
    assert ran.code == 1
    assert "Give either ids" in ran.err
    assert person.knows("Only this one")


def test_what_a_memory_holds_does_nothing_to_the_terminal(person: Person) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\rgone\x9b31m\u202etxt.exe\x7f kraken"
    stored = person.stores(hostile, tags=["sea"])
    for arguments in (["recall", "kraken"], ["list"], ["show", stored], ["forget", stored]):
        ran = person.runs(*arguments)
        seen = ran.out + ran.err
        assert "kraken" in seen
        assert [
            c for c in seen if (ord(c) < 0x20 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0
        ] == []
        assert "\u202e" not in seen
    assert person.has(stored)["text"] == hostile


def test_honest_text_of_every_script_is_shown_as_it_is(person: Person) -> None:
    text = "שלום עולם — مرحبا 👩‍👩‍👧 日本語 ñandú"
    person.stores(text)
    assert text in person.runs("recall", "ñandú").out
    assert (
        json.loads(person.runs("recall", "日本", "--json").out)["found"][0]["memory"]["text"]
        == text
    )


def test_findings_are_listed_and_one_that_is_not_there_cannot_be_decided(person: Person) -> None:
    stored = person.stores("The rent of the flat is 900 euros")

    listed = [each[side]["id"] for each in person.gets("resolve") for side in ("first", "second")]
    assert stored not in listed
    assert person.runs("resolve", "700", "keep_both").code == 1
    assert person.runs("resolve", "700").code == 1


def test_a_password_is_taken_out_unless_the_person_wants_it_kept(person: Person) -> None:
    taken = person.gets("remember", "the alarm password is Blue-Sky-42")
    kept = person.gets("remember", "the shed password is Red-Sky-43", "--allow-secrets")

    assert person.has(taken["id"])["text"] == "the alarm password is [redacted: password]"
    assert person.has(kept["id"])["text"] == "the shed password is Red-Sky-43"
