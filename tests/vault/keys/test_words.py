import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_server.vault import keys
from mcp_server.vault.keys import RootKeys
from shared.errors import (
    ForbiddenError,
    InvalidError,
)
from tests.vault.keys.conftest import Place


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_words_open_however_they_were_spaced_and_capitalised(
    place: Place, data: st.DataObject
) -> None:
    shutil.rmtree(place.home, ignore_errors=True)
    made = place.create()
    spaces = st.text(" \t\n\r\u00a0\u3000", min_size=1, max_size=3)
    spellings = (str.upper, str.title, str.lower, full_width)
    typed = data.draw(st.sampled_from(["", " ", "\n"]))
    for word in made.words.split():
        typed += data.draw(st.sampled_from(spellings))(word) + data.draw(spaces)
    assert keys.unlock_with_words(place.home, typed) == RootKeys(made.root_key)


def full_width(word: str) -> str:
    return "".join(chr(ord(letter) - ord("!") + 0xFF01) for letter in word)


@pytest.mark.parametrize(
    ("words", "count"), [("", 0), ("abandon", 1), ("abandon " * 11, 11), ("abandon " * 24, 24)]
)
def test_too_few_or_too_many_words_are_counted(place: Place, words: str, count: int) -> None:
    place.create()
    with pytest.raises(InvalidError, match=f"12 recovery words; {count} were given"):
        keys.unlock_with_words(place.home, words)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("abandno", "Did you mean 'abandon'"),
        ("zeebra", "Did you mean 'zebra'"),
        ("qqqqq", "Compare it with your note"),
        ("x" * 500, "Compare it"),
    ],
)
def test_a_mistyped_word_is_named_with_its_place_and_the_nearest_one(
    place: Place, typed: str, hint: str
) -> None:
    words = place.create().words.split()
    words[4] = typed
    with pytest.raises(InvalidError, match=f"Word 5, '{typed[:20]}'.*{hint}") as mistyped:
        keys.unlock_with_words(place.home, " ".join(words))
    assert len(str(mistyped.value)) < 200
    assert not set(words[:4]) & set(str(mistyped.value).replace("'", " ").split())


def test_words_that_do_not_belong_together_are_told_from_unknown_ones(place: Place) -> None:
    place.create()
    with pytest.raises(InvalidError, match="do not belong together"):
        keys.unlock_with_words(place.home, "zoo " * 12)


def test_swapped_words_never_open_anything(place: Place) -> None:
    made = place.create()
    words = made.words.split()
    for first in range(11):
        swapped = list(words)
        swapped[first], swapped[first + 1] = swapped[first + 1], swapped[first]
        if swapped != words:
            with pytest.raises((InvalidError, ForbiddenError)):
                keys.unlock_with_words(place.home, " ".join(swapped))


def test_another_vaults_words_are_recognised_as_words_but_refused(
    place: Place, other: Place
) -> None:
    place.create()
    with pytest.raises(ForbiddenError, match="not this vault's"):
        keys.unlock_with_words(place.home, other.create().words)


def test_new_words_replace_the_former_ones_and_leave_the_protector(place: Place) -> None:
    made = place.create()
    words = keys.new_recovery_words(place.home, made.root_key)
    assert keys.unlock_with_words(place.home, words) == RootKeys(made.root_key)
    assert place.unlock() == RootKeys(made.root_key)
    with pytest.raises(ForbiddenError):
        keys.unlock_with_words(place.home, made.words)
