"""A library with programs of its own: hooks, cases, lint and the trace go by one table."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, Library, create_app, wire_review
from service.cli.policy_commands import policy
from service.errors import LibraryError
from service.policies.library import load_library
from service.policies.lint import lint_library
from service.policies.program_table import PROGRAMS_FILE
from service.settings import load_settings
from tests.conftest import FIXTURES, NOW, ROOT, fixture_text, in_folder
from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import answer, asking, change_orders, coverages_of

Json = dict[str, Any]

EXAMPLES = ROOT / "examples" / "policies"
CPT = "http://www.ama-assn.org/go/cpt"
VERSIONS = ("2.0", "2.2")

OWN = """\
  # Its members' cards say a commercial type; the plan alone tells what it is.
  - id: medicare_medicaid
    name: the Medicare-Medicaid plan
    words_for: medicare_advantage
    when: {all: [{fact: coverage.plan, in: [MMP-1, MMP-2]}, {not: {fact: coverage.group, is: OLD}}]}
"""
CASES = """\
  - it: A member of the Medicare-Medicaid plan is told by the plan
    on: "2026-06-01"
    order: {codes: ["82270"]}
    coverage:
      {type: "512", line_of_business: medicare_advantage, plan: MMP-1, group: NEW,
       programs: [medicare_medicaid]}
    facts: {patient.age: 50, last-test: none}
    expect: {covered: covered, program: medicare_advantage, reason: once-a-year}
  - it: The same type under another plan contradicts the payer
    on: "2026-06-01"
    order: {codes: ["82270"]}
    coverage:
      {type: "512", line_of_business: medicare_advantage, plan: OTHER,
       programs: [medicare_medicaid]}
    facts: {patient.age: 50, last-test: none}
    expect: {covered: conditional, program: not_told, caveat: contradictory}
  - it: The plan counts of the coverage that pays first
    on: "2026-06-01"
    order: {codes: ["82270"]}
    coverage:
      - {type: "512", order: 2, plan: OTHER}
      - {type: "512", line_of_business: medicare_advantage, order: 1, plan: MMP-2, group: NEW,
         programs: [medicare_medicaid]}
    facts: {patient.age: 50, last-test: none}
    expect: {covered: covered, program: medicare_advantage}
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The example policies with a table of programs beside them, and cases that go by it."""
    made = tmp_path / "policies"
    shutil.copytree(EXAMPLES, made)
    table = PROGRAMS_FILE.read_text("utf-8")
    (made / "programs.yaml").write_text(
        table.replace("programs:\n", f"programs:\n{OWN}", 1), "utf-8"
    )
    with (made / "screening-test" / "cases.yaml").open("a", encoding="utf-8") as cases:
        cases.write(CASES)
    payers = made / "payers.yaml"
    named = "      - id: screening-test\n"
    programs = "        programs: [medicare_advantage, medicare_medicaid]\n"
    payers.write_text(payers.read_text("utf-8").replace(named, named + programs), "utf-8")
    return made


@pytest.fixture
def client(library: Path, tmp_path: Path) -> Iterator[FlaskClient]:
    app = create_app(in_folder(tmp_path, policies_dir=library), lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def of_a_plan(**classes: str) -> Json:
    """An order of the screening test for a member of 36 with a commercial type of coverage."""
    request: Json = json.loads(fixture_text(FIXTURES / "order-sign/mrs-medicare-advantage.json"))
    request = change_orders(
        request, lambda o: o.update(code={"coding": [{"system": CPT, "code": "82270"}]})
    )
    (coverage,) = coverages_of(request)
    coverage["type"] = {"coding": [{"system": "https://nahdo.org/sopt", "code": "512"}]}
    system = "http://terminology.hl7.org/CodeSystem/coverage-class"
    coverage["class"] = [
        {"type": {"coding": [{"system": system, "code": kind}]}, "value": value}
        for kind, value in classes.items()
    ]
    request["prefetch"]["patient"]["birthDate"] = "1990-01-01"
    return request


def covered(client: FlaskClient, request: Json, version: str) -> list[str]:
    body = answer(client, asking(request, version))
    check_answer(body)
    (info,) = stated(body)
    return parts(info, "covered")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_plan_tells_the_program_of_a_call(client: FlaskClient, version: str) -> None:
    """At 36 the screening test is not covered under the program; of another nothing is said."""
    assert covered(client, of_a_plan(plan="MMP-1", group="NEW"), version) == ["not-covered"]
    assert covered(client, of_a_plan(plan="OTHER", group="NEW"), version) == ["conditional"]
    assert covered(client, of_a_plan(plan="MMP-1", group="OLD"), version) == ["conditional"]
    assert covered(client, of_a_plan(group="NEW"), version) == ["conditional"]


def test_the_trace_names_the_condition_with_its_evidence(library: Path) -> None:
    settings = load_settings(policies_dir=library)
    review = wire_review(settings, Library(settings), clock=lambda: NOW)
    body = json.dumps(of_a_plan(plan="MMP-1", group="NEW")).encode()
    (determination,) = review.review("order-sign-crd", body).determinations
    told = determination.program
    assert (told.entry and told.entry.id, told.source) == ("medicare_medicaid", "Coverage")
    assert "the plan is among MMP-1 or MMP-2" in told.evidence


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy, arguments, env={"COLUMNS": "200"})


def test_cases_go_by_the_table_beside_the_policies(library: Path) -> None:
    assert run("test", "--dir", str(library)).exit_code == 0
    shown = run("explain", "screening-test", "--case", "A member of the", "--dir", str(library))
    assert shown.exit_code == 0, shown.output
    assert not [
        f for f in lint_library(library, library / "payers.yaml", date(2026, 6, 1)) if not f.warning
    ]
    (library / "programs.yaml").unlink()
    failed = run("test", "--dir", str(library))
    assert failed.exit_code == 1
    assert "A member of the Medicare-Medicaid plan is told by the plan" in failed.output


def test_one_setting_names_policies_payers_and_programs(library: Path) -> None:
    settings = load_settings(policies_dir=library)
    assert settings.programs_file == library / "programs.yaml"
    assert load_settings(policies_dir=EXAMPLES).programs_file == PROGRAMS_FILE


def test_a_table_that_the_service_does_not_go_by_stops_the_start(
    library: Path, tmp_path: Path
) -> None:
    """Cases that pass by one table say nothing of answers by another."""
    payers = EXAMPLES / "payers.yaml"
    with pytest.raises(LibraryError, match="is another table than") as error:
        load_library(library, payers, programs_file=PROGRAMS_FILE)
    assert f"{library / 'programs.yaml'}" in str(error.value)
    assert "COVERCARD_PROGRAMS_FILE" in str(error.value)
    same = tmp_path / "programs.yaml"
    shutil.copy(library / "programs.yaml", same)
    assert load_library(library, library / "payers.yaml", programs_file=same)
    found = lint_library(library, None, date(2026, 6, 1), PROGRAMS_FILE)
    assert "is another table than" in " ".join(f.problem for f in found)


def test_an_added_folder_brings_the_same_table_for_its_cases(library: Path, tmp_path: Path) -> None:
    main, added = tmp_path / "main", tmp_path / "added"
    shutil.copytree(library, main, ignore=shutil.ignore_patterns("screening-test"))
    (added / "screening-test").parent.mkdir()
    shutil.copytree(library / "screening-test", added / "screening-test")
    shutil.copy(library / "programs.yaml", added)
    payers = main / "payers.yaml"
    loaded = load_library(main, payers, added, main / "programs.yaml")
    assert "screening-test" in loaded.policies.ids()
    assert run("test", "--dir", str(added)).exit_code == 0
    text = (added / "programs.yaml").read_text("utf-8")
    (added / "programs.yaml").write_text(text.replace("MMP-2", "MMP-3"), "utf-8")
    with pytest.raises(LibraryError, match="is another table than"):
        load_library(main, payers, added, main / "programs.yaml")


def test_a_wrong_table_is_named_with_its_line(library: Path) -> None:
    table = library / "programs.yaml"
    text = table.read_text("utf-8").replace("fact: coverage.plan", "fact: patient.age")
    table.write_text(text, "utf-8")
    for found in (
        str(run("test", "--dir", str(library)).exception),
        " ".join(map(str, lint_library(library, None, date(2026, 6, 1)))),
    ):
        assert "programs.yaml:" in found
        assert "is not told by a coverage alone" in found or "cannot be asked of" in found
