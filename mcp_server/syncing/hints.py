"""What the system tells about battery and network, so that what can wait does: work in the background on a low battery, large
transfers on a metered network.

Only looks. Where nothing is told, or nothing that is understood, nothing is held back.
"""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

LOW_PER_CENT = 20
POWER_FOLDER = Path("/sys/class/power_supply")
# Chargers are plugged in and networks changed by hand: a minute later is soon enough, and a question costs a process.
_KEPT_SECONDS = 60.0
_PROGRAM_SECONDS = 2.0
_PMSET = re.compile(r"(\d+)%; (discharging|charging|charged|finishing charge|AC attached)")


class Battery(Struct, frozen=True):
    per_cent: int
    is_discharging: bool


class Hints(Struct, frozen=True):
    """Questions, for several threads; what is answered holds for a while."""

    is_battery_low: Callable[[], bool]
    is_metered: Callable[[], bool]


NO_HINTS = Hints(lambda: False, lambda: False)
"""For who does not want anything to wait."""


def of_system(
    platform: str,
    *,
    power_folder: Path = POWER_FOLDER,
    programs: str | None = None,
    seconds: Callable[[], float] = time.monotonic,
) -> Hints:
    """`platform` as `sys.platform` says it; `programs`: folders in which the system's programs are looked for, instead of PATH."""
    return Hints(
        _kept(lambda: is_low(_batteries(platform, power_folder, programs)), seconds),
        _kept(lambda: platform == "linux" and _is_metered_by_network_manager(programs), seconds),
    )


def is_low(found: list[Battery]) -> bool:
    """Of several batteries one is emptied after the other: together they are low."""
    if not any(each.is_discharging for each in found):
        return False
    return sum(each.per_cent for each in found) < LOW_PER_CENT * len(found)


def _kept(ask: Callable[[], bool], seconds: Callable[[], float]) -> Callable[[], bool]:
    lock = threading.Lock()
    answer, good_until = False, float("-inf")

    def asked() -> bool:
        nonlocal answer, good_until
        with lock:
            if seconds() >= good_until:
                answer = ask()
                good_until = seconds() + _KEPT_SECONDS
            return answer

    return asked


def _batteries(platform: str, power_folder: Path, programs: str | None) -> list[Battery]:
    """Those that the computer runs on; none where the system does not say."""
    if platform == "linux":
        return list(_in_folder(power_folder))
    if platform != "darwin":
        return []
    said = _said_by("pmset", "-g", "batt", programs=programs)
    return [
        Battery(int(per_cent), doing == "discharging") for per_cent, doing in _PMSET.findall(said)
    ]


def _in_folder(folder: Path) -> Iterator[Battery]:
    for supply in sorted(folder.glob("*")):
        # A mouse and a headset have batteries, too; their scope is "Device".
        if _line(supply / "type") != "Battery" or _line(supply / "scope") == "Device":
            continue
        capacity = _line(supply / "capacity")
        if capacity.isdigit():
            yield Battery(int(capacity), _line(supply / "status") == "Discharging")


def _line(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""  # pulled out, or a driver that does not answer


def _is_metered_by_network_manager(programs: str | None) -> bool:
    """Whether every way out of this computer is one that NetworkManager knows, or guesses, to be metered."""
    said = _said_by(
        *("nmcli", "-t", "-f", "GENERAL.METERED,IP4.GATEWAY,IP6.GATEWAY", "device", "show"),
        programs=programs,
    )
    ways_out: list[bool] = []
    for device in said.split("\n\n"):
        fields = dict(line.split(":", 1) for line in device.splitlines() if ":" in line)
        gateways = {fields.get("IP4.GATEWAY", ""), fields.get("IP6.GATEWAY", "")}
        if gateways - {"", "--"}:
            ways_out.append(fields.get("GENERAL.METERED", "").startswith("yes"))
    return bool(ways_out) and all(ways_out)


def _said_by(program: str, *arguments: str, programs: str | None) -> str:
    """What a program of the system prints; nothing if it is not there, fails, or takes too long."""
    found = shutil.which(program, path=programs)
    if found is None:
        return ""
    try:
        done = subprocess.run(
            [found, *arguments],
            capture_output=True,
            check=True,
            encoding="utf-8",
            errors="replace",
            env={"LC_ALL": "C"},  # its answers are translated otherwise
            stdin=subprocess.DEVNULL,
            timeout=_PROGRAM_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
