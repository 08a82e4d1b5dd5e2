"""Whether what the suite found is what was expected, no more and no less. Pure: reads its findings, runs nothing."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

FAILING = ("FAILURE", "WARNING")
"""A warning is a broken SHOULD: as worth a reason as a failure."""


class Check(Struct, frozen=True):
    scenario: str
    id: str
    status: str
    message: str = ""


class Expected(Struct, frozen=True, forbid_unknown_fields=True):
    """What one run of the suite must find."""

    count: int | None = None
    """How many scenarios run, so that a suite which stops early is noticed."""
    only: tuple[str, ...] | None = None
    """The scenarios that count where the others ask for fixtures."""
    failures: Mapping[str, str] = {}
    """`scenario` or `scenario:check`, and why it fails."""


class Verdict(Struct, frozen=True):
    scenarios: int
    passed: int
    expected: int
    problems: tuple[str, ...]
    """Sentences for whoever has to repair something; none of them is none."""


def judge(checks: Iterable[Check], expected: Expected) -> Verdict:
    counted = [
        check for check in checks if expected.only is None or check.scenario in expected.only
    ]
    scenarios = {check.scenario for check in counted}
    failing = [check for check in counted if check.status in FAILING]
    excused = [check for check in failing if _names(check) & expected.failures.keys()]
    surprises = [
        f"{check.scenario}:{check.id} fails: {check.message or check.status}"
        for check in failing
        if check not in excused
    ]
    needless = [
        f"{name} is expected to fail and does not: take it out of expected.yml"
        for name in expected.failures
        if not any(name in _names(check) for check in excused)
    ]
    return Verdict(
        scenarios=len(scenarios),
        passed=sum(check.status == "SUCCESS" for check in counted),
        expected=len(excused),
        problems=(*surprises, *needless, *_unrun(scenarios, expected)),
    )


def _names(check: Check) -> set[str]:
    return {check.scenario, f"{check.scenario}:{check.id}"}


def _unrun(scenarios: set[str], expected: Expected) -> list[str]:
    missing = [f"{name} did not run" for name in expected.only or () if name not in scenarios]
    if expected.count is not None and len(scenarios) != expected.count:
        missing.append(f"{len(scenarios)} scenarios ran, not {expected.count}")
    return missing
