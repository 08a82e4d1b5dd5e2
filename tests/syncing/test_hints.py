"""What the system tells about battery and network: a folder stands in for the kernel's, programs on a path for the system's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_server.syncing import hints
from mcp_server.syncing.hints import Hints


class Watch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def power(tmp_path: Path) -> Path:
    """A computer with a charger and a mouse that is nearly empty, and no battery of its own."""
    folder = tmp_path / "power_supply"
    supplies(folder, "AC", type="Mains", online="0")
    supplies(folder, "mouse", type="Battery", scope="Device", status="Discharging", capacity="3")
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    made = tmp_path / "bin"
    made.mkdir()
    return made


@pytest.fixture
def asked(power: Path, programs: Path) -> Callable[..., Hints]:
    def asked(platform: str = "linux", **more: Watch) -> Hints:
        return hints.of_system(platform, power_folder=power, programs=str(programs), **more)

    return asked


def supplies(power: Path, name: str, **says: str) -> None:
    folder = power / name
    folder.mkdir(parents=True, exist_ok=True)
    for what, line in says.items():
        (folder / what).write_text(f"{line}\n")


def program(programs: Path, name: str, *prints: str, code: int = 0) -> None:
    lines = "".join(f"echo '{line}'\n" for line in prints)
    file = programs / name
    file.write_text(f"#!/bin/sh\n{lines}exit {code}\n")
    file.chmod(0o755)


def test_a_computer_without_battery_and_without_network_manager_is_held_back_by_nothing(
    asked: Callable[..., Hints],
) -> None:
    for platform in ("linux", "darwin", "win32", "freebsd14"):
        told = asked(platform)
        assert (told.is_battery_low(), told.is_metered()) == (False, False)


@pytest.mark.parametrize(
    ("found", "low"),
    [
        ([("Discharging", "19")], True),
        ([("Discharging", "20")], False),
        ([("Charging", "5")], False),
        ([("Full", "100")], False),
        ([("Discharging", "2"), ("Not charging", "95")], False),
        ([("Discharging", "10"), ("Unknown", "4")], True),
        ([("Discharging", "")], False),
        ([("", "7")], False),
    ],
    ids=[
        "nearly empty",
        "still enough",
        "charging",
        "full",
        "the second is full",
        "both are nearly empty",
        "without a number",
        "without a word",
    ],
)
def test_a_battery_is_low_when_it_runs_out(
    asked: Callable[..., Hints], power: Path, found: list[tuple[str, str]], low: bool
) -> None:
    for number, (status, capacity) in enumerate(found):
        supplies(power, f"BAT{number}", type="Battery", status=status, capacity=capacity)
    assert asked().is_battery_low() == low


@pytest.mark.parametrize(
    ("said", "low"),
    [
        ("12%; discharging; 0:31 remaining present: true", True),
        ("12%; charging; 2:31 remaining present: true", False),
        ("85%; discharging; 4:12 remaining present: true", False),
        ("no batteries", False),
    ],
    ids=["nearly empty", "charging", "enough", "none"],
)
def test_a_mac_says_how_full_its_battery_is(
    asked: Callable[..., Hints], programs: Path, said: str, low: bool
) -> None:
    line = f" -InternalBattery-0 (id=4522083)\t{said}"
    program(programs, "pmset", "Now drawing from Battery Power", line)
    assert asked("darwin").is_battery_low() == low


PHONE = ["GENERAL.METERED:yes (guessed)", "IP4.GATEWAY:192.168.43.1", "IP6.GATEWAY:"]
CABLE = ["GENERAL.METERED:no (guessed)", "IP4.GATEWAY:192.168.1.1", r"IP6.GATEWAY:fe80\:\:1"]
BRIDGE = ["GENERAL.METERED:no (guessed)", "IP4.GATEWAY:", "IP6.GATEWAY:"]


@pytest.mark.parametrize(
    ("devices", "metered"),
    [
        ([PHONE], True),
        ([["GENERAL.METERED:yes", "IP4.GATEWAY:", r"IP6.GATEWAY:fe80\:\:2"]], True),
        ([PHONE, BRIDGE], True),
        ([CABLE], False),
        ([CABLE, PHONE], False),
        ([["GENERAL.METERED:unknown", "IP4.GATEWAY:10.0.0.1"]], False),
        ([BRIDGE], False),
        ([["Error: NetworkManager is not running."]], False),
    ],
    ids=[
        "a phone",
        "chosen so, over IPv6",
        "a phone, and a bridge that leads nowhere",
        "a cable",
        "a cable, and a phone",
        "nobody knows",
        "no way out",
        "no answer",
    ],
)
def test_a_network_is_metered_when_every_way_out_is(
    asked: Callable[..., Hints], programs: Path, devices: list[list[str]], metered: bool
) -> None:
    program(programs, "nmcli", *[line for device in devices for line in [*device, ""]])
    assert asked().is_metered() == metered


def test_a_program_that_fails_says_nothing(asked: Callable[..., Hints], programs: Path) -> None:
    program(programs, "nmcli", *PHONE, code=8)
    assert not asked().is_metered()


def test_what_was_told_holds_for_a_minute(asked: Callable[..., Hints], programs: Path) -> None:
    watch = Watch()
    told = asked(seconds=watch)
    assert not told.is_metered()
    program(programs, "nmcli", *PHONE)
    watch.now = 59.0
    assert not told.is_metered()
    watch.now = 60.0
    assert told.is_metered()
