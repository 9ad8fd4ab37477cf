"""covercard policy lint, test and show."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli.policy import policy
from tests.policies import BROKEN, SOUND


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy, arguments, env={"COLUMNS": "200"})


@pytest.fixture
def library(tmp_path: Path) -> Path:
    shutil.copytree(SOUND, tmp_path / "library")
    return tmp_path / "library"


def test_lint_passes_the_shipped_library_and_shows_its_warning() -> None:
    result = run("lint", "--on", "2026-11-22")
    assert result.exit_code == 0
    assert "review.next: the review was due 2024-06 and is overdue" in result.output
    assert "0 errors, 1 warnings" in result.output


def test_lint_fails_with_file_field_and_repair(library: Path) -> None:
    shutil.copytree(BROKEN / "unquoted_code", library, dirs_exist_ok=True)
    result = run("lint", "--dir", str(library), "--on", "2024-06-15")
    assert result.exit_code == 1
    assert "2024-01-01.yaml:12: error: services[0].codes[0].code" in result.output
    assert 'quote it: "76390"' in result.output


def test_lint_looks_at_a_payers_file_that_it_is_given(library: Path) -> None:
    shutil.copytree(BROKEN / "unknown_policies", library, dirs_exist_ok=True)
    given = ["lint", "--dir", str(library), "--on", "2024-06-15"]
    assert run(*given).exit_code == 0
    assert run(*given, "--payers", str(library / "payers.yaml")).exit_code == 1


def test_test_runs_every_case_of_the_shipped_library() -> None:
    result = run("test")
    assert result.exit_code == 0
    assert "cases, 0 failed" in result.output


def test_test_shows_the_sentence_that_fails_and_what_came(library: Path) -> None:
    cases = library / "example-scan" / "cases.yaml"
    text = cases.read_text("utf-8")
    cases.write_text(text.replace("covered: conditional, program", "covered: covered, program"))
    result = run("test", "--dir", str(library))
    assert result.exit_code == 1
    assert "The scan is conditional under Original Medicare" in result.output
    assert "covered: expected covered, got conditional" in result.output
    assert "4 cases, 1 failed" in result.output


def test_test_fails_where_there_is_no_case_at_all(library: Path) -> None:
    (library / "example-scan" / "cases.yaml").unlink()
    assert run("test", "--dir", str(library)).exit_code == 1


def test_show_begins_with_the_answer_and_shows_the_overdue_review() -> None:
    result = run("show", "mr-spectroscopy", "--on", "2026-11-22")
    assert result.exit_code == 0
    shown = result.output
    assert shown.index("Medicare Advantage: not-covered.") < shown.index("Authorities searched")
    assert "next review 2024-06 OVERDUE" in shown
    assert "CMS coverage manuals: none found" in shown
    assert "American Medical Association" in shown
    assert all(code in shown for code in ("76390", "0609T", "0610T", "0611T", "0612T"))


def test_show_marks_a_notice_whose_edition_has_expired() -> None:
    assert "EXPIRED EDITION" in run("show", "mr-spectroscopy", "--on", "2029-04-01").output


def test_show_says_when_a_policy_is_in_force_if_it_is_not() -> None:
    result = run("show", "mr-spectroscopy", "--on", "2023-09-30")
    assert result.exit_code == 1
    assert "not in force on 2023-09-30" in result.output


def test_show_lists_what_is_on_file_for_an_unknown_policy() -> None:
    result = run("show", "mrs")
    assert result.exit_code == 1
    assert "on file: mr-spectroscopy" in result.output


def test_a_day_that_is_none_is_refused() -> None:
    assert run("show", "mr-spectroscopy", "--on", "yesterday").exit_code == 2
