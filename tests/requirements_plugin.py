"""`pytest --requirements`: which statements of CRD and CDS Hooks the passing tests verify.

A test claims what it verifies with `@pytest.mark.requirement("crd-2.2.1:resp-37")`. The statements
themselves are read in place, from the folder that COVERCARD_SPECIFICATIONS names or from
`../shared/spec`; `tests/not_applicable.yaml` says of the others why they bind somebody else.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
SPECIFICATIONS = Path(os.environ.get("COVERCARD_SPECIFICATIONS", ROOT.parent / "shared" / "spec"))
SOURCES = {
    "crd-2.2.1": "crd-2.2.1-server-requirements.tsv",
    "crd-2.0.1": "crd-2.0.1-server-requirements.tsv",
    "cds-hooks-2.0": "cds-hooks-2.0-service-requirements.tsv",
}
Standing = Literal["verified", "not applicable", "not run", "open"]
"""`not run`: all tests that claim it were skipped, which says what this machine lacks."""
STANDINGS: tuple[Standing, ...] = ("verified", "not applicable", "not run", "open")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a specification; `binding` is its SHALL, SHOULD or MAY."""

    id: str
    binding: str
    text: str

    @property
    def is_shall(self) -> bool:
        return self.binding.startswith("SHALL")


def statements(source: str) -> list[Statement]:
    """The statements of one specification, each id with the specification's name before it."""
    with (SPECIFICATIONS / SOURCES[source]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [Statement(_full_id(source, r["id"]), r["conformance"], r["requirement"]) for r in rows]


def _full_id(source: str, written: str) -> str:
    return written if written.startswith(f"{source}:") else f"{source}:{written}"


def not_applicable() -> dict[str, str]:
    """Statement id → why it does not bind this service, or cannot be seen in a test."""
    loaded = YAML(typ="safe").load((ROOT / "tests" / "not_applicable.yaml").read_text("utf-8"))
    reasons: dict[str, str] = {}
    for reason, ids in (loaded or {}).items():
        for statement in ids:
            reasons[statement] = reason
    return reasons


def specifications_at_hand() -> bool:
    return all((SPECIFICATIONS / name).is_file() for name in SOURCES.values())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--requirements",
        action="store_true",
        help="print which statements are verified; fail where a SHALL is open",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Coverage(config.getoption("--requirements")), "requirements")


class Coverage:
    """Collects the claims of passing tests."""

    def __init__(self, report: bool) -> None:
        self.report = report
        self.claims: dict[str, set[str]] = {}
        self.failed: set[str] = set()
        self.passed: set[str] = set()
        self.skipped: set[str] = set()

    def pytest_collection_modifyitems(self, items: Iterable[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("requirement"):
                for statement in mark.args:
                    self.claims.setdefault(statement, set()).add(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
        elif report.failed:
            self.failed.add(report.nodeid)
        elif report.skipped:
            self.skipped.add(report.nodeid)

    def standing(self, statement: str, reasons: dict[str, str]) -> Standing:
        tests = self.claims.get(statement, set())
        if tests & self.passed and not tests & self.failed:
            return "verified"
        if statement in reasons:
            return "not applicable"
        return "not run" if tests and tests <= self.skipped else "open"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.report and specifications_at_hand() and any(self.open_shalls()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def open_shalls(self) -> Iterator[Statement]:
        reasons = not_applicable()
        for source in SOURCES:
            for statement in statements(source):
                if statement.is_shall and self.standing(statement.id, reasons) == "open":
                    yield statement

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.report:
            return
        write = terminalreporter.write_line
        if not specifications_at_hand():
            write("requirements: no specifications at hand (set COVERCARD_SPECIFICATIONS)")
            return
        reasons = not_applicable()
        for source in SOURCES:
            all_of_it = statements(source)
            standings = {s.id: self.standing(s.id, reasons) for s in all_of_it}
            write("")
            write(f"{source}: {len(all_of_it)} statements")
            for kind in STANDINGS:
                of_kind = [s for s in all_of_it if standings[s.id] == kind]
                shalls = sum(s.is_shall for s in of_kind)
                write(f"  {kind}: {len(of_kind)} (SHALL: {shalls})")
            for s in all_of_it:
                if standings[s.id] == "open":
                    write(f"    open  {s.binding:10} {s.id}  {s.text[:110]}")
        unknown = set(self.claims) - {s.id for source in SOURCES for s in statements(source)}
        for statement in sorted(unknown):
            write(f"  claimed, but no such statement: {statement}")
