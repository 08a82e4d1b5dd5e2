"""Stub."""

from sync_service.control import Members
from sync_service.replica import Replica
from sync_service.transport import Transport


def join_newest(
    transport: Transport, replica: Replica, members: Members, min_pos: int, now_ms: int
) -> None:
    raise NotImplementedError
