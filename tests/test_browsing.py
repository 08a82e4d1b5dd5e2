"""Listing memories, page by page."""

from pathlib import Path

import pytest

from mcp_server import search
from mcp_server.vault.store import Selection
from shared.errors import InvalidError
from tests.builders import draft, last_access, opened, tell


def test_browsing_is_by_the_newest_page_by_page(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, *(draft(f"note {n}", space="work" if n % 2 else "home") for n in range(7)))
        seen: list[str] = []
        cursor = None
        while True:
            page, cursor = search.browse(
                device, Selection(spaces=("home",)), limit=3, cursor=cursor, client="reader"
            )
            seen += [each.text for each in page]
            assert last_access(device).memories == tuple(each.id for each in page)
            if cursor is None:
                break
        assert seen == ["note 6", "note 4", "note 2", "note 0"]
        assert (last_access(device).client, last_access(device).action) == ("reader", "read")


@pytest.mark.parametrize(
    ("limit", "cursor"),
    [(0, None), (search.RESULTS_MAX + 1, None), (1, ""), (1, "-1"), (1, "x"), (1, "٣"), (1, "9" * 40)],
)  # fmt: skip
def test_a_page_that_cannot_be_is_refused(tmp_path: Path, limit: int, cursor: str | None) -> None:
    with opened(tmp_path, ready=False) as device, pytest.raises(InvalidError):
        search.browse(device, Selection(), limit=limit, cursor=cursor, client="test")
