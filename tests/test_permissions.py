"""Which client may read or write which space."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server import permissions
from mcp_server.device import Device
from mcp_server.memory import Changes, revise
from mcp_server.permissions import Access
from mcp_server.vault import audit
from shared.errors import ForbiddenError, NotFoundError
from tests.builders import draft, opened, tell

SPACES = ("home", "secret", "work")


def readable(device: Device, client: str, asked: str | None = None) -> Any:
    with device.vault.reading() as db:
        found = permissions.readable(device, db, client, asked)
    return None if found is None else list(found)


def may_write(device: Device, client: str, space: str) -> bool:
    with device.vault.reading() as db:
        return allowed(lambda: permissions.check_write(db, client, space))


def may_read(device: Device, client: str, space: str) -> bool:
    return allowed(lambda: readable(device, client, space))


def allowed(act: Callable[[], object]) -> bool:
    try:
        act()
    except ForbiddenError:
        return False
    return True


def fill(device: Device) -> None:
    tell(device, *(draft(f"in {space}", space=space) for space in SPACES))


def test_without_a_rule_everything_is_allowed(tmp_path: Path) -> None:
    with opened(tmp_path, ready=False) as device:
        fill(device)
        assert readable(device, "cursor") is None
        assert readable(device, "cursor", "home") == ["home"]
        assert may_write(device, "cursor", "new")


def test_a_rule_keeps_one_client_out_of_one_space(tmp_path: Path) -> None:
    with opened(tmp_path, ready=False) as device:
        fill(device)
        permissions.permit(device, "cursor", "secret", "none", by="terminal")
        permissions.permit(device, "cursor", "work", "read", by="terminal")
        assert readable(device, "cursor") == ["home", "work"]
        assert readable(device, "cursor", "work") == ["work"]
        assert [may_write(device, "cursor", space) for space in SPACES] == [True, False, False]
        with pytest.raises(ForbiddenError, match="sunaiva permit 'cursor' 'secret' read"):
            readable(device, "cursor", "secret")
        assert readable(device, "claude") is None
        assert may_write(device, "claude", "secret")


def test_a_rule_for_every_space_holds_where_there_is_no_other(tmp_path: Path) -> None:
    with opened(tmp_path, ready=False) as device:
        fill(device)
        permissions.permit(device, "cursor", "*", "none", by="terminal")
        with pytest.raises(ForbiddenError, match="anything"):
            readable(device, "cursor")
        permissions.permit(device, "cursor", "work", "write", by="terminal")
        assert readable(device, "cursor") == ["work"]
        assert not may_write(device, "cursor", "new")
        assert may_write(device, "cursor", "work")


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "while it loads"])
def test_a_space_is_there_as_long_as_a_memory_is_in_it(tmp_path: Path, listed: bool) -> None:
    with opened(tmp_path) as device:
        permissions.permit(device, "cursor", "secret", "none", by="terminal")
        _, note = tell(device, draft("a plan", space="work"), draft("a note", space="home"))
        device.index._listed = listed
        assert readable(device, "cursor") == ["home", "work"]
        revise(device, note.id, 1, Changes(space="garden"), client="test")
        assert readable(device, "cursor") == ["garden", "work"]
        revise(device, note.id, 2, Changes(space="secret"), client="test")
        assert readable(device, "cursor") == ["work"]


def test_in_an_empty_vault_there_is_nothing_to_be_kept_from(tmp_path: Path) -> None:
    with opened(tmp_path, ready=False) as device:
        permissions.permit(device, "cursor", "*", "none", by="terminal")
        assert readable(device, "cursor") == []


def test_the_latest_rule_holds_and_each_is_in_the_access_log(tmp_path: Path) -> None:
    with opened(tmp_path, ready=False) as device:
        permissions.permit(device, "cursor", "home", "none", by="terminal")
        permissions.permit(device, "cursor", "home", "read", by="terminal")
        permissions.permit(device, "claude", "*", "write", by="terminal")
        with device.vault.reading() as db:
            assert permissions.rules(db) == [("claude", "*", "write"), ("cursor", "home", "read")]
            lines = audit.lines(db, before=None, limit=10)
        assert [(line.action, line.client) for line in lines] == [
            ("permit", "terminal"),
            ("permit", "terminal"),
            ("permit", "terminal"),
        ]


accesses: st.SearchStrategy[Access] = st.sampled_from(["none", "read", "write"])


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with opened(tmp_path_factory.mktemp("vault"), ready=False) as device:
        fill(device)
        yield device


@given(st.dictionaries(st.sampled_from([*SPACES, "*"]), accesses))
def test_reading_and_writing_follow_the_nearest_rule(
    device: Device, rules: dict[str, Access]
) -> None:
    with device.vault.writing() as db:
        db.execute("DELETE FROM permissions")
        db.execute("INSERT INTO permissions VALUES ('somebody else', '*', 'none')")
    for space, access in rules.items():
        permissions.permit(device, "cursor", space, access, by="terminal")
    granted = {space: rules.get(space, rules.get("*", "write")) for space in (*SPACES, "new")}
    for space, access in granted.items():
        assert may_write(device, "cursor", space) == (access == "write")
        assert may_read(device, "cursor", space) == (access != "none")
    seen = [space for space in SPACES if granted[space] != "none"]
    if not rules:
        assert readable(device, "cursor") is None
    elif seen:
        assert readable(device, "cursor") == seen
    else:
        assert not allowed(lambda: readable(device, "cursor"))


def test_a_rule_taken_away_leaves_what_holds_for_every_space(tmp_path: Path) -> None:
    with opened(tmp_path, ready=False) as device:
        permissions.permit(device, "cursor", "*", "read", by="test")
        permissions.permit(device, "cursor", "work", "write", by="test")
        permissions.remove(device, "cursor", "work", by="test")

        assert not may_write(device, "cursor", "work")
        with pytest.raises(NotFoundError, match="no rule"):
            permissions.remove(device, "cursor", "work", by="test")
