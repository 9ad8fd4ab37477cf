"""`pytest --requirements`: which statements of CRD and CDS Hooks the passing tests verify.

A test claims what it verifies with `@pytest.mark.requirement("crd-2.2.1:resp-37")`; a claim of an
unknown statement stops the run. `not_applicable.yaml` says of the others why they bind somebody
else. Claims travel with the tests' reports, so that tests may run on several workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from tests.requirements import specifications
from tests.requirements.statements import (
    SOURCES,
    Statement,
    all_ids,
    not_applicable,
    statements,
)

Standing = Literal["verified", "not applicable", "not run", "open"]
"""`not run`: all tests that claim it were skipped, which says what this machine lacks."""
STANDINGS: tuple[Standing, ...] = ("verified", "not applicable", "not run", "open")
CLAIMS = "requirements"
"""The property of a test's report that holds the ids that it claims."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--requirements",
        nargs="?",
        const="complete",
        choices=("complete", "at-hand"),
        help="print which statements are verified; fail where anything is open or was not looked "
        "at; `at-hand`: only where a SHALL is open",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Coverage(config.getoption("--requirements")), "requirements")


class Coverage:
    """The claims of the tests that ran, and what became of them."""

    def __init__(self, report: Literal["complete", "at-hand"] | None) -> None:
        self.report = report
        self.claims: dict[str, set[str]] = {}
        self.failed: set[str] = set()
        self.passed: set[str] = set()
        self.skipped: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        known = all_ids()
        for item in items:
            claimed = [s for mark in item.iter_markers("requirement") for s in mark.args]
            if unknown := sorted(set(claimed) - known):
                raise pytest.UsageError(f"{item.nodeid}: no such statement: {', '.join(unknown)}")
            item.user_properties.append((CLAIMS, claimed))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for statement in dict(report.user_properties).get(CLAIMS, ()):
            self.claims.setdefault(statement, set()).add(report.nodeid)
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
        elif report.failed:
            self.failed.add(report.nodeid)
        elif report.skipped:
            self.skipped[report.nodeid] = _reason(report)

    def standing(self, statement: str) -> Standing:
        tests = self.claims.get(statement, set())
        if tests & self.passed and not tests & self.failed:
            return "verified"
        if statement in not_applicable():
            return "not applicable"
        return "not run" if tests and tests <= self.skipped.keys() else "open"

    def open(self) -> list[Statement]:
        everything = (s for source in SOURCES for s in statements(source))
        return [s for s in everything if self.standing(s.id) == "open"]

    def not_looked_at(self) -> dict[str, str]:
        """Skipped test → why, of those that claim a statement or need a published guide."""
        claiming = {test for tests in self.claims.values() for test in tests}
        of_guides = {published.reason for published in specifications.missing()}
        return {
            test: reason
            for test, reason in sorted(self.skipped.items())
            if test in claiming or reason in of_guides
        }

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput") or self.report is None:
            return
        incomplete = bool(self.open() or self.not_looked_at() or specifications.missing())
        if any(s.is_shall for s in self.open()) or (self.report == "complete" and incomplete):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.report is not None:
            self._print_standings(terminalreporter.write_line)
        self._print_not_looked_at(terminalreporter)

    def _print_standings(self, write: Any) -> None:
        for source in SOURCES:
            standings = {s: self.standing(s.id) for s in statements(source)}
            write("")
            write(f"{source}: {len(standings)} statements")
            for kind in STANDINGS:
                of_kind = [s for s, standing in standings.items() if standing == kind]
                write(f"  {kind}: {len(of_kind)} (SHALL: {sum(s.is_shall for s in of_kind)})")
            for s, standing in standings.items():
                if standing in ("not run", "open"):
                    write(f"    {standing:7}  {s.binding:10} {s.id}  {s.in_short}")

    def _print_not_looked_at(self, reporter: Any) -> None:
        skipped = self.not_looked_at()
        if self.report is None:
            of_guides = {published.reason for published in specifications.missing()}
            skipped = {test: reason for test, reason in skipped.items() if reason in of_guides}
        if not skipped and not (self.report and specifications.missing()):
            return
        reporter.section("NOT LOOKED AT", sep="!", red=True, bold=True)
        for reason in dict.fromkeys([*skipped.values(), *self._missing()]):
            tests = [test for test, why in skipped.items() if why == reason]
            count = "1 test" if len(tests) == 1 else f"{len(tests)} tests"
            reporter.write_line(f"{count}: {reason}", red=True)
        if self.report == "complete":
            reporter.write_line("Not everything was looked at: this run does not end with 0.")

    def _missing(self) -> list[str]:
        return [published.reason for published in specifications.missing()] if self.report else []


def _reason(report: pytest.TestReport) -> str:
    place = report.longrepr
    said = str(place[2]) if isinstance(place, tuple) else str(place)
    return said.removeprefix("Skipped: ")
