"""A run of the suite is good only if it found exactly what was expected."""

import pytest

from tests.conformance.verdict import Check, Expected, judge

GOOD = Check("ping", "empty", "SUCCESS")
BAD = Check("tasks", "create", "FAILURE", "no task")
LAX = Check("tasks", "header", "WARNING")

CASES = {
    "all passes": ([GOOD], Expected(count=1), []),
    "skipped checks say nothing": (
        [GOOD, Check("ping", "x", "SKIPPED")],
        Expected(count=1),
        [],
    ),
    "a failure nobody expected": ([GOOD, BAD], Expected(), ["tasks:create fails: no task"]),
    "a warning nobody expected": ([GOOD, LAX], Expected(), ["tasks:header fails: WARNING"]),
    "an expected scenario": ([BAD, LAX], Expected(failures={"tasks": "why"}), []),
    "an expected check, beside another": (
        [BAD, LAX],
        Expected(failures={"tasks:create": "why"}),
        ["tasks:header fails: WARNING"],
    ),
    "an expected failure that passes": (
        [GOOD],
        Expected(failures={"ping": "why"}),
        ["ping is expected to fail and does not: take it out of expected.yml"],
    ),
    "an expected failure that did not run": (
        [GOOD],
        Expected(failures={"tasks:create": "why"}),
        ["tasks:create is expected to fail and does not: take it out of expected.yml"],
    ),
    "a suite that stopped early": ([GOOD], Expected(count=2), ["1 scenarios ran, not 2"]),
    "scenarios that do not count": ([GOOD, BAD], Expected(only=("ping",)), []),
    "a scenario that counts and did not run": (
        [GOOD],
        Expected(only=("ping", "caching")),
        ["caching did not run"],
    ),
}


@pytest.mark.parametrize(("checks", "expected", "problems"), CASES.values(), ids=CASES.keys())
def test_suite_is_judged_by_what_was_expected(
    checks: list[Check], expected: Expected, problems: list[str]
) -> None:
    assert list(judge(checks, expected).problems) == problems


def test_counts_are_of_what_counts() -> None:
    verdict = judge([GOOD, BAD, LAX], Expected(failures={"tasks": "why"}))

    assert (verdict.scenarios, verdict.passed, verdict.expected) == (2, 1, 2)
