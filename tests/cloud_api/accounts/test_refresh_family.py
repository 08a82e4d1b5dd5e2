"""The life of a session, whatever is presented in whatever order."""

from datetime import datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Struct

from cloud_api.accounts.sessions.rules import (
    REFRESH_TOKEN_LIFE,
    REPEAT_WINDOW,
    SESSION_LIFE_MAX,
    Family,
    Over,
    Presented,
    Repeat,
    Reuse,
    Rotate,
    Verdict,
    expiry,
    on_refresh,
)
from tests.cloud_api.accounts.people import NOON

SECOND = timedelta(seconds=1)
LIVE = Family(NOON, None)
FRESH = Presented(NOON, None, successor_used=False)


@pytest.mark.parametrize(
    ("family", "token", "after", "verdict"),
    [
        (LIVE, FRESH, SECOND, Rotate(NOON + SECOND + REFRESH_TOKEN_LIFE)),
        (LIVE, FRESH, REFRESH_TOKEN_LIFE - SECOND, Rotate(NOON + 2 * REFRESH_TOKEN_LIFE - SECOND)),
        (LIVE, FRESH, REFRESH_TOKEN_LIFE, Over()),
        (Family(NOON, NOON), FRESH, SECOND, Over()),
        (LIVE, Presented(NOON, NOON, successor_used=False), REPEAT_WINDOW, Repeat()),
        (LIVE, Presented(NOON, NOON, successor_used=False), REPEAT_WINDOW + SECOND, Reuse()),
        (LIVE, Presented(NOON, NOON, successor_used=True), SECOND, Reuse()),
        (LIVE, Presented(NOON, NOON, successor_used=False), 2 * REFRESH_TOKEN_LIFE, Reuse()),
        (Family(NOON - SESSION_LIFE_MAX, None), FRESH, timedelta(0), Over()),
    ],
)
def test_a_presented_token_is_answered_by_where_it_stands(
    family: Family, token: Presented, after: timedelta, verdict: Verdict
) -> None:
    assert on_refresh(family, token, NOON + after) == verdict


class _Token(Struct):
    issued_at: datetime
    used_at: datetime | None = None


class RefreshFamily(RuleBasedStateMachine):
    """A client, a thief with copies of any of its tokens, and a clock. The store is a list: each token's successor is the next."""

    @initialize()
    def log_in(self) -> None:
        self.now = NOON
        self.tokens = [_Token(NOON)]
        self.ended_at: datetime | None = None
        self.was_reused = False

    @rule(seconds=st.sampled_from([0, 1, 29, 31, 900, 86_400, 6 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(place=st.integers(0, 1_000))
    def present(self, place: int) -> None:
        at = place % len(self.tokens)
        token = self.tokens[at]
        successor = self.tokens[at + 1] if at + 1 < len(self.tokens) else None
        presented = Presented(
            token.issued_at,
            token.used_at,
            successor_used=successor is not None and successor.used_at is not None,
        )
        match on_refresh(Family(NOON, self.ended_at), presented, self.now):
            case Rotate(expires_at=expires_at):
                assert self.ended_at is None
                assert successor is None, "a second branch"
                assert expires_at == expiry(NOON, self.now)
                token.used_at = self.now
                self.tokens.append(_Token(self.now))
            case Repeat():
                assert self.ended_at is None
                assert successor is self.tokens[-1], "only the newest token is ever given again"
                assert successor.used_at is None
            case Reuse():
                assert token.used_at is not None
                self.ended_at, self.was_reused = self.now, True
            case Over():
                is_late = self.now >= token.issued_at + REFRESH_TOKEN_LIFE
                assert self.ended_at is not None or is_late

    @precondition(lambda self: self.ended_at is None)
    @rule()
    def log_out(self) -> None:
        self.ended_at = self.now

    @invariant()
    def there_is_one_token_to_go_on_with(self) -> None:
        assert [token.used_at for token in self.tokens].count(None) == 1
        assert self.tokens[-1].used_at is None

    @invariant()
    def what_was_reused_is_over_for_everybody(self) -> None:
        if self.was_reused:
            verdicts = [
                on_refresh(
                    Family(NOON, self.ended_at),
                    Presented(token.issued_at, token.used_at, successor_used=False),
                    self.now,
                )
                for token in self.tokens
            ]
            assert verdicts == [Over()] * len(self.tokens)


TestRefreshFamily = RefreshFamily.TestCase
