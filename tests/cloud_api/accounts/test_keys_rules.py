"""A rotation of keys, seen at each of its moments."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cloud_api.accounts.keys.rules import (
    KEY_LIFE,
    PUBLISHED_AHEAD,
    KeyTimes,
    is_due,
    published_kids,
    signing_kid,
)
from cloud_api.accounts.lifetimes import ACCESS_TOKEN_LIFE, CLOCK_SKEW
from tests.cloud_api.accounts.people import NOON

OLD = KeyTimes("old", NOON - timedelta(days=90), None)
NEW = KeyTimes("new", NOON + PUBLISHED_AHEAD, None)


def test_a_new_key_is_published_before_it_signs() -> None:
    assert signing_kid([NEW, OLD], NOON) == "old"
    assert published_kids([NEW, OLD], NOON) == ["old", "new"]
    assert signing_kid([NEW, OLD], NEW.signs_from) == "new"


def test_an_old_key_is_published_until_its_last_token_has_run_out() -> None:
    last = NEW.signs_from + ACCESS_TOKEN_LIFE + CLOCK_SKEW
    assert published_kids([OLD, NEW], last - timedelta(seconds=1)) == ["old", "new"]
    assert published_kids([OLD, NEW], last) == ["new"]


def test_a_withdrawn_key_is_believed_at_once_no_more() -> None:
    withdrawn = KeyTimes("old", OLD.signs_from, NOON)
    assert published_kids([withdrawn, NEW], NOON) == ["new"]
    assert signing_kid([withdrawn], NOON) is None


def test_a_key_is_due_after_its_life_and_where_there_is_none() -> None:
    assert is_due([], NOON)
    assert is_due([OLD], OLD.signs_from + KEY_LIFE)
    assert not is_due([OLD, NEW], NOON)


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=6, unique=True),
    st.integers(0, 200),
    st.integers(0, int((ACCESS_TOKEN_LIFE + CLOCK_SKEW).total_seconds()) - 1),
)
def test_whatever_signed_is_published_as_long_as_its_tokens_live(
    starts: list[int], signed_after: int, age_seconds: int
) -> None:
    def moment(days: int) -> datetime:
        return NOON + timedelta(days=days)

    keys = [KeyTimes(str(start), moment(start), None) for start in starts]
    signer = signing_kid(keys, moment(signed_after))
    later = moment(signed_after) + timedelta(seconds=age_seconds)
    assert signer is None or signer in published_kids(keys, later)
