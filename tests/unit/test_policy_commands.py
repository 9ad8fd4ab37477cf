"""covercard policy lint, test, show, new, publish and schema."""

import json
import re
import shutil
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from service.cli.policy_commands import policy
from service.errors import ConfigurationError, LibraryError
from service.policies.lint import lint_library
from service.yaml_files import load_yaml
from tests.conftest import ROOT
from tests.libraries import outside_medicare
from tests.policies import BROKEN, LIBRARY, PAYERS, SOUND


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
    assert re.search(r"0 errors, [1-9]\d* warnings", result.output)


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


def test_show_tells_each_program_that_the_policy_speaks_of(tmp_path: Path) -> None:
    folder = ["--dir", str(outside_medicare(tmp_path)), "--on", "2024-02-01"]
    shown = run("show", "example-scan", *folder).output
    assert "Not Medicare: covered. Covered elsewhere." in shown
    assert "Not Medicare: Usual care." in shown
    assert "Not Medicare: none" in shown


def test_show_marks_a_notice_whose_edition_has_expired(library: Path) -> None:
    shown = run("show", "example-scan", "--dir", str(library), "--on", "2025-01-01")
    assert "EXPIRED EDITION" in shown.output


def test_show_says_when_a_policy_is_in_force_if_it_is_not() -> None:
    result = run("show", "mr-spectroscopy", "--on", "2023-09-30")
    assert result.exit_code == 1
    assert "not in force on 2023-09-30" in result.output


def test_show_lists_what_is_on_file_for_an_unknown_policy(library: Path) -> None:
    result = run("show", "mrs", "--dir", str(library))
    assert result.exit_code == 1
    assert "on file: example-scan" in result.output


def test_a_day_that_is_none_is_refused() -> None:
    assert run("show", "mr-spectroscopy", "--on", "yesterday").exit_code == 2


VERSION = "my-scan/2027-01-01.yaml"


def new(library: Path, policy_id: str = "my-scan") -> Result:
    return run("new", policy_id, "--start", "2027-01-01", "--dir", str(library))


def fill_in(library: Path) -> None:
    """What policy staff do with a skeleton."""
    for path in (*library.glob("my-scan/*.yaml"), *library.glob("_value_sets/my-scan-*/*.yaml")):
        text = path.read_text("utf-8").replace("XXXXX", "70540")
        path.write_text(re.sub(r"FILL IN ", "", text), "utf-8")


def test_a_new_policy_lacks_only_what_it_marks_to_be_filled_in(library: Path) -> None:
    assert new(library).exit_code == 0
    found = lint_library(library, None, date(2024, 6, 15))
    version = [f for f in found if f.file == library / VERSION and not f.warning]
    assert [f.problem for f in version] == [
        f"{text} is still to be filled in" for text in to_fill_in(load_yaml(library / VERSION))
    ]
    others = [f for f in found if f.file != library / VERSION]
    assert {f.problem for f in others} == {"XXXXX is still to be filled in"}
    assert all(f.line for f in found if not f.warning)


def with_rules(library: Path) -> None:
    """Takes the comments from the rules of the skeleton, as it says."""
    folder = library / "my-scan"
    version, cases = (folder / name for name in ("2027-01-01.yaml", "cases.yaml"))
    rules, value_set = commented_out(version)
    place = library / "_value_sets" / "my-scan-diagnoses"
    place.mkdir(parents=True)
    (place / "2027-01-01.yaml").write_text(value_set, "utf-8")
    version.write_text(version.read_text("utf-8") + rules, "utf-8")
    (further,) = commented_out(cases)
    told = cases.read_text("utf-8").replace("    # facts:", "    facts:")
    cases.write_text(told + further, "utf-8")


def commented_out(path: Path) -> list[str]:
    """The parts of a file that stand in comments, without these."""
    found = re.findall(r"^# --- from here\n(.*?)^# --- to here\n", path.read_text("utf-8"), _BLOCK)
    assert all(line.startswith("#") for part in found for line in part.splitlines())
    return [re.sub(r"^# ?", "", part, flags=re.MULTILINE) for part in found]


_BLOCK = re.DOTALL | re.MULTILINE


def test_the_rules_of_a_new_policy_stand_in_comments(library: Path) -> None:
    new(library)
    assert {"rules", "facts", "open"}.isdisjoint(load_yaml(library / VERSION))
    with_rules(library)
    assert {"rules", "facts", "open"} < load_yaml(library / VERSION).keys()


def test_the_rules_of_a_new_policy_lack_only_what_they_mark_to_be_filled_in(library: Path) -> None:
    new(library)
    with_rules(library)
    found = [f for f in lint_library(library, None, date(2024, 6, 15)) if not f.warning]
    assert {"rules[0].then.reason.text", "open.statement", "open.sentences.order.reason"} <= {
        f.field for f in found
    }
    assert all("is still to be filled in" in f.problem for f in found)


def test_the_rules_of_a_new_policy_pass_lint_and_their_cases_once_filled_in(library: Path) -> None:
    new(library)
    with_rules(library)
    fill_in(library)
    found = lint_library(library, None, date(2024, 6, 15))
    assert [str(f) for f in found if not f.warning] == []
    ran = run("test", "--dir", str(library), "--coverage")
    assert ran.exit_code == 0
    assert "11 cases, 0 failed" in ran.output
    assert "my-scan 2027-01-01: 100 % of 2 conditions on both sides" in ran.output


def to_fill_in(value: object) -> list[str]:
    """The texts of a file, in its order, that a skeleton marks."""
    if isinstance(value, str):
        return [value] if "FILL IN" in value or value == "XXXXX" else []
    each = value.values() if isinstance(value, dict) else value
    return [text for v in each for text in to_fill_in(v)]


def test_a_new_policy_that_is_filled_in_passes_lint_and_its_cases(library: Path) -> None:
    new(library)
    fill_in(library)
    found = lint_library(library, None, date(2024, 6, 15))
    assert [str(f) for f in found if not f.warning] == []
    ran = run("test", "--dir", str(library))
    assert (ran.exit_code, ran.output) == (0, "8 cases, 0 failed\n")


def test_a_new_policy_suggests_the_notices_on_file_by_program(library: Path) -> None:
    new(library)
    assert load_yaml(library / VERSION)["advance_notice"] == {
        "medicare_advantage": ["plan-request"],
        "original_medicare": ["paper-form"],
        "not_told": ["paper-form", "plan-request"],
    }


def test_a_new_policy_overwrites_none(library: Path) -> None:
    assert isinstance(new(library, "example-scan").exception, ConfigurationError)


@pytest.mark.parametrize("policy_id", ["My scan", "../scan", ""])
def test_a_new_policy_has_an_id(library: Path, policy_id: str) -> None:
    result = new(library, policy_id)
    assert "write lower-case letters, digits and hyphens" in str(result.exception)


def publish(library: Path, name: str, *more: str) -> Result:
    return run("publish", name, "--on", "2024-06-15", "--dir", str(library), *more)


def problems(library: Path) -> list[str]:
    return [f.problem for f in lint_library(library, None, date(2024, 6, 15))]


def test_what_is_published_is_held_to_its_hash(library: Path) -> None:
    new(library)
    fill_in(library)
    assert problems(library) == ["is not published yet"]
    assert publish(library, "my-scan").output == f"published {VERSION}\n"
    assert problems(library) == []
    edited = library / VERSION
    edited.write_text(edited.read_text("utf-8") + "# a comment\n", "utf-8")
    assert problems(library) == ["was published on 2024-06-15 and edited since"]


def test_a_correction_is_an_entry_of_its_own_with_its_reason(library: Path) -> None:
    version = library / "example-scan" / "2024-01-01.yaml"
    before = (library / "manifest.yaml").read_text("utf-8")
    text = version.read_text("utf-8").replace("exists in tests only", "exists in a test only")
    version.write_text(text, "utf-8")
    assert "give the reason" in str(publish(library, "example-scan").exception)
    assert publish(library, "example-scan", "--because", 'A "plural": é').exit_code == 0
    assert problems(library) == []
    manifest = library / "manifest.yaml"
    assert manifest.read_text("utf-8").startswith(before)
    entry = load_yaml(manifest)["published"][-1]
    assert (entry["file"], entry["on"]) == ("example-scan/2024-01-01.yaml", "2024-06-15")
    assert entry["because"] == 'A "plural": é'


def test_what_has_not_changed_is_not_published_again(library: Path) -> None:
    before = (library / "manifest.yaml").read_text("utf-8")
    assert publish(library, "paper-form").output == "paper-form is published as it is\n"
    assert (library / "manifest.yaml").read_text("utf-8") == before


def test_the_ends_of_lines_are_no_edit(library: Path) -> None:
    version = library / "example-scan" / "2024-01-01.yaml"
    version.write_bytes(version.read_bytes().replace(b"\n", b"\r\n"))
    assert problems(library) == []


def test_nothing_is_published_beside_an_error_or_a_case_that_fails(library: Path) -> None:
    new(library)
    skeleton = publish(library, "my-scan")
    assert isinstance(skeleton.exception, LibraryError)
    assert "is still to be filled in" in str(skeleton.exception)
    fill_in(library)
    cases = library / "my-scan" / "cases.yaml"
    cases.write_text(
        cases.read_text("utf-8").replace("covered: not-covered,", "covered: covered,"), "utf-8"
    )
    failing = publish(library, "my-scan")
    assert "covered: expected covered, got not-covered" in str(failing.exception)
    assert VERSION not in (library / "manifest.yaml").read_text("utf-8")


def test_nobody_publishes_what_is_not_on_file(library: Path) -> None:
    assert "on file: example-scan, paper-form, plan-request" in str(
        publish(library, "no-scan").exception
    )


FILES = {
    "policy": [*LIBRARY.glob("[a-z]*/2*.yaml"), *SOUND.glob("[a-z]*/2*.yaml")],
    "notice": [*LIBRARY.glob("_notices/*/*.yaml"), *SOUND.glob("_notices/*/*.yaml")],
    "payers": [PAYERS, SOUND / "payers.yaml"],
    "cases": [*LIBRARY.glob("*/cases.yaml"), *SOUND.glob("*/cases.yaml")],
}


@pytest.mark.parametrize("kind", FILES)
def test_the_schema_for_editors_takes_the_files_on_file_and_no_unknown_field(kind: str) -> None:
    schema = json.loads(run("schema", kind).output)
    Draft202012Validator.check_schema(schema)
    assert len(FILES[kind]) > 1
    for path in FILES[kind]:
        read = load_yaml(path)
        assert list(Draft202012Validator(schema).iter_errors(read)) == []
        wrong = [e.validator for e in Draft202012Validator(schema).iter_errors({**read, "x": 1})]
        assert wrong == ["additionalProperties"]


@pytest.mark.parametrize(
    ("broken", "kind", "field"),
    [
        ("unquoted_code/example-scan/2024-01-01.yaml", "policy", "services"),
        ("unquoted_day/example-scan/2024-01-01.yaml", "policy", "effective"),
        ("missing_field/example-scan/2024-01-01.yaml", "policy", "review"),
        ("unknown_answer/example-scan/2024-01-01.yaml", "policy", "determinations"),
        ("found_and_not_found/example-scan/2024-01-01.yaml", "policy", "authorities"),
        ("misspelled_expectation/example-scan/cases.yaml", "cases", "cases"),
    ],
)
def test_the_schema_for_editors_marks_what_lint_refuses(broken: str, kind: str, field: str) -> None:
    schema = json.loads(run("schema", kind).output)
    errors = Draft202012Validator(schema).iter_errors(load_yaml(BROKEN / broken))
    assert field in {e.path[0] for e in errors}


EXAMPLES = ROOT / "examples" / "policies"


def test_test_prints_the_share_of_conditions_that_cases_show_on_both_sides(library: Path) -> None:
    result = run("test", "--dir", str(EXAMPLES), "--coverage")
    assert result.exit_code == 0
    assert "lumbar-mri 2026-01-01: 100 % of 3 conditions on both sides" in result.output
    shutil.copytree(BROKEN / "both_sides_have_a_case", library, dirs_exist_ok=True)
    result = run("test", "--dir", str(library), "--coverage")
    assert "0 % of 1 conditions on both sides" in result.output
    assert "cancer: no case in which 'the diagnosis is among C00-C97' is false" in result.output


def test_explain_shows_each_rule_with_its_three_valued_result() -> None:
    result = run("explain", "lumbar-mri", "--dir", str(EXAMPLES), "--case", "back pain")
    assert result.exit_code == 0
    rows = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "red-flag false" in rows
    assert "after-conservative-care unknown" in rows
    assert "Missing: weeks-of-care (the weeks of conservative care)" in rows


def test_explain_names_the_cases_that_there_are() -> None:
    result = run("explain", "lumbar-mri", "--dir", str(EXAMPLES), "--case", "no such case")
    assert result.exit_code == 1
    assert "An approval on file settles it" in result.output
