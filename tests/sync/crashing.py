"""A process that dies at a chosen point: at a commit, or on either side of a request."""

from collections.abc import Callable

from tests.sync.devices import Device
from tests.sync.table_replica import Crash


class _Fuse:
    """Burns down at every yield point of a device, and then it dies: nothing that cleans up goes on."""

    def __init__(self, device: Device, points: int) -> None:
        self.points = points
        device.replica.at_commit = self.burn
        device.line.before = device.line.after = lambda _: self.burn()

    def burn(self) -> None:
        if self.points == 0:
            raise Crash
        self.points -= 1


def is_dying(device: Device, at: int, doing: Callable[[], object] | None = None) -> bool:
    """Whether the device dies at this yield point of what it does: a step of synchronisation, or something else."""
    _Fuse(device, at)
    try:
        (doing or device.sync)()
    except Crash:
        return True
    finally:
        device.replica.at_commit = lambda: None
        device.line.before = device.line.after = lambda _: None
    return False
