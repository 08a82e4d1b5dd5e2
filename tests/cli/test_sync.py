"""What a person reads about sync."""

from typing import Any

import pytest

from mcp_server.cli.sync import show_status


def shown(capsys: pytest.CaptureFixture[str], **status: Any) -> str:
    show_status(status)
    read = capsys.readouterr()
    return read.out + read.err


def test_a_device_that_came_and_has_not_joined_is_told_to_pair(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = shown(capsys, state="not_set_up", kind="cloud", place="https://cloud.example.org")
    assert "`sunaiva pair`" in read
    assert "Begin with" not in read
