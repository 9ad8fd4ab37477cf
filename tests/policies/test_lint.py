"""One broken library a rule: `broken/<rule>/` is laid over `sound/`, which has nothing to find."""

import itertools
import shutil
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

from service.decision.facts import TABLE, FactKind
from service.errors import LibraryError
from service.policies.library import load_library, load_notices, load_payers
from service.policies.lint import facts_told, lint_library, payer_rules, published_files
from service.policies.lint.facts_told import SYSTEMS_OF
from service.policies.lint.rule_table import ALL, DATED, START
from tests.libraries import as_of, ended
from tests.policies import BROKEN, LIBRARY, PAYERS, SOUND

ON = date(2024, 6, 15)
POLICY = "example-scan/2024-01-01.yaml"
CASES = "example-scan/cases.yaml"
FORM = "_notices/paper-form/2024-01-01.yaml"
MA = "medicare_advantage"


class Expected(NamedTuple):
    file: str
    line: int | None
    field: str
    says: str


EXPECTED = {
    # the fields
    "unquoted_code": Expected(POLICY, 12, "services[0].codes[0].code", 'quote it: "76390"'),
    "unquoted_day": Expected(POLICY, 5, "effective.start", 'quote it: "2024-01-01"'),
    "unknown_field": Expected(POLICY, 7, "note", "unknown field"),
    "missing_field": Expected(POLICY, 6, "review.next", "is missing"),
    "duplicate_key": Expected(POLICY, 3, "(file)", 'duplicate key "title"'),
    "not_yaml": Expected(POLICY, 35, "(file)", "is not YAML"),
    "a_day_that_does_not_exist": Expected(POLICY, 4, "published", "there is no day 2024-02-30"),
    "a_misspelled_field": Expected(POLICY, 3, "manuel", "is manual meant?"),
    "a_tab": Expected(POLICY, 4, "(file)", "put blanks in the place of tabs"),
    "a_colon_in_a_text": Expected(POLICY, 7, "(file)", "put the text into straight quotes"),
    "a_quote_not_closed": Expected(POLICY, 5, "(file)", "close the quote or bracket"),
    "not_a_day": Expected(POLICY, 4, "published", 'write a day as "YYYY-MM-DD"'),
    "found_and_not_found": Expected(POLICY, 15, "authorities[1]", "exactly one of found"),
    "indicator_critical": Expected(POLICY, 31, f"wording.{MA}.indicator", "a warning at most"),
    "unknown_answer": Expected(
        POLICY, 21, "determinations.original_medicare.covered", "use one of not-covered, covered"
    ),
    "unknown_program": Expected(
        "payers.yaml", 5, "payers[0].line_of_business", "name one of medicare_advantage"
    ),
    "misspelled_expectation": Expected(
        CASES, 6, "cases[0].expect.progam", "is program meant? Known here: covered"
    ),
    # files and days
    "id_is_the_folder": Expected(POLICY, 1, "id", "other-scan lies in the folder example-scan"),
    "file_name_is_the_start": Expected(POLICY, 5, "effective.start", "rename the file"),
    "end_is_not_before_the_start": Expected(POLICY, 5, "effective.end", "before it starts"),
    "versions_do_not_overlap": Expected(POLICY, 5, "effective", 'set end: "2024-03-31"'),
    "versions_leave_no_gap": Expected(
        "example-scan/2024-04-01.yaml", 5, "effective.start", "between 2024-02-29 and 2024-04-01"
    ),
    "folder_holds_a_version": Expected("empty-scan", None, "(folder)", "holds no version"),
    "review_is_not_overdue": Expected(POLICY, 6, "review.next", "due 2024-05 and is overdue"),
    "nothing_is_to_be_checked": Expected(
        POLICY, 8, "to_be_checked[0]", "to be checked: Which committee approved it."
    ),
    "nothing_is_left_to_fill_in": Expected(POLICY, 2, "title", "is still to be filled in"),
    # the manifest
    "published_file_is_not_edited": Expected(
        POLICY, None, "(file)", "was published on 2024-01-01 and edited since — restore it"
    ),
    "published_file_is_there": Expected(
        "manifest.yaml", 12, "published[3].file", "2023-01-01.yaml was published on 2023-01-01 and"
    ),
    "correction_has_its_reason": Expected(
        "manifest.yaml", 12, "published[3]", "add because: and the reason"
    ),
    "file_is_published": Expected(
        "_notices/plan-request/2024-01-01.yaml", None, "(file)", "policy publish plan-request"
    ),
    # codes
    "code_stands_once_in_a_version": Expected(
        POLICY, 13, "services[0].codes[1].code", "X0001 is listed twice"
    ),
    "code_stands_in_one_policy_a_day": Expected(
        POLICY, 9, "services", "X0001 is also in second-scan"
    ),
    # citations
    "citations_resolve": Expected(
        POLICY, 19, f"determinations.{MA}.reason.citations[1]", "plan-2 is not among"
    ),
    "citations_stand_once": Expected(POLICY, 36, "citations", "plan-1 is listed 2 times"),
    "citations_are_used": Expected(POLICY, 37, "citations[1].id", "plan-2 is used nowhere"),
    # authority
    "authorities_are_in_order": Expected(POLICY, 14, "authorities", "out of order"),
    "determination_has_an_authority": Expected(
        POLICY, 17, "determinations", "no authority was found, yet the answers are"
    ),
    "determination_cites_its_authority": Expected(
        POLICY, 19, f"determinations.{MA}.reason.citations", "plan-1, is not cited"
    ),
    "plan_policy_does_not_decide_for_medicare": Expected(
        POLICY, 21, "determinations.original_medicare.covered", "say conditional"
    ),
    # notices
    "notices_are_on_file": Expected(
        POLICY, 27, f"advance_notice.{MA}[0]", "no notice plan-letter is on file"
    ),
    "program_has_notice_advice": Expected(
        POLICY, 27, "advance_notice.original_medicare", "no advance notice"
    ),
    "notice_is_for_the_program": Expected(
        POLICY, 27, f"advance_notice.{MA}[0]", "paper-form is for original_medicare"
    ),
    "notice_folder_holds_an_edition": Expected(
        "_notices/empty-form", None, "(folder)", "holds no edition"
    ),
    "forms_are_on_file": Expected(FORM, 9, "questionnaire", "there is no form paper-form-record"),
    "situations_can_be_read": Expected(
        FORM, 21, "situations[0].when.fact", "there is no fact order.dai"
    ),
    "patient_fills_the_patients_blanks": Expected(
        FORM, 19, "blanks[1].by", "blank G of CMS-R-131 is filled in by staff"
    ),
    "patient_is_told_the_policys_reason": Expected(
        POLICY, 22, "determinations.original_medicare.reason", "add for_patient"
    ),
    "notice_has_not_expired": Expected(FORM, 6, "effective.end", "expired on 2024-06-14"),
    "every_file_is_read": Expected(
        "example-scan/2025-01-01.yml", None, "(file)", "rename it to 2025-01-01.yaml"
    ),
    "cases_under_another_name_are_not_read": Expected(
        "example-scan/Cases.yaml", None, "(file)", "rename it to cases.yaml"
    ),
    "a_version_beside_its_folder_is_not_read": Expected(
        "2025-01-01.yaml", None, "(file)", "put it into its policy's folder"
    ),
    # rules
    "value_sets_are_on_file": Expected(
        POLICY, 11, "services[0].value_set", "there is no value set scans"
    ),
    "rules_can_be_read": Expected(POLICY, 19, "rules[0].when.in", "patient.age, which is an age"),
    "an_unknown_code_system": Expected(
        POLICY, 19, "rules[0].when.in[0]", "the code system 'icd11' is not known here"
    ),
    "a_number_without_its_unit": Expected(POLICY, 21, "rules[0].when.at_most", 'write "88 %"'),
    "forms_of_rules_are_on_file": Expected(
        POLICY, 17, "questionnaires.weeks-of-care", "add questionnaires/weeks-of-care.json"
    ),
    "code_systems_fit_the_facts": Expected(
        POLICY, 19, "rules[0].when.in[0]", "cpt|99213 is of cpt, which order.reason never has"
    ),
    "a_declared_fact_of_another_code_system": Expected(
        POLICY, 17, "facts.last-scan.procedure[0]", "use codes of cpt or hcpcs or snomed or loinc"
    ),
    "a_value_set_of_another_code_system": Expected(
        POLICY, 19, "rules[0].when.not.all[0].in[0]", "visits is of cpt, which order.reason never"
    ),
    "answers_can_be_facts": Expected(
        POLICY, 19, "facts.weeks-of-care.kind", "as integer, so no hook can tell a flag"
    ),
    "forms_stand_once": Expected(
        "example-scan/questionnaires/abn-record.json", 3, "id", "is a form of the service's own"
    ),
    "an_offered_form_that_is_not_on_file": Expected(
        POLICY, 22, f"determinations.{MA}.offers.forms[0].form", "there is no form no-form"
    ),
    "windows_fit_the_facts": Expected(
        POLICY, 21, "rules[0].when.within", "give last-scan more than within: 6 months"
    ),
    "rule_ids_stand_once": Expected(POLICY, 23, "rules[1].id", "another rule has the id cancer"),
    "codes_have_the_shape_of_their_system": Expected(
        POLICY, 12, "services[0].codes[0].code", "X0001 is no CPT code"
    ),
    "billing_codes_are_of_the_policy": Expected(
        POLICY, 22, "rules[0].then.billing_codes[1]", "X0009 is not written out"
    ),
    "encounters_are_told_in_these_words": Expected(
        POLICY, 21, "rules[0].when.any[1].is", "use one of ambulatory, emergency"
    ),
    "facts_are_used": Expected(POLICY, 18, "facts.saturation", "no rule asks for saturation"),
    "limits_have_units": Expected(
        POLICY, 22, "rules[0].then.details[0].quantity", "stands in braces: {scans}"
    ),
    "a_range_of_prefixes": Expected(
        POLICY, 21, "rules[0].when.in[0]", "is neither a prefix nor a range"
    ),
    "a_fact_of_the_table_declared_anew": Expected(
        POLICY, 18, "facts.patient.age", "is a fact of the table"
    ),
    "an_age_of_nobody": Expected(POLICY, 21, "rules[0].when.at_least", "whole years from 0 to 150"),
    "a_condition_of_nothing": Expected(POLICY, 21, "rules[0].when.all", "the list is empty"),
    "a_length_in_words": Expected(
        POLICY, 17, "facts.last-scan.within", "a number and days, weeks, months or years"
    ),
    "a_name_with_capitals": Expected(
        POLICY, 17, "facts.Last-Scan", "is no name that can stand here"
    ),
    "an_unresolved_citation_of_a_rule": Expected(
        POLICY, 22, "rules[0].then.reason.citations[1]", "plan-2 is not among the citations"
    ),
    "a_day_that_never_counts": Expected(
        POLICY, 21, "rules[0].when.before", "no day that counts is so long ago"
    ),
    "a_day_after_the_service": Expected(
        POLICY, 21, "rules[0].when.on_or_after", "no such day is before the service"
    ),
    "questionnaires_fit_the_base_profile": Expected(
        "example-scan/questionnaires/weeks-of-care.json", 6, "status", "use one of draft, active"
    ),
    "a_value_set_to_fill_in": Expected(
        "_value_sets/scans/2024-01-01.csv", 3, "(line)", "is still to be filled in"
    ),
    "facts_of_cases_can_be_read": Expected(
        CASES, 6, "cases[0].facts.order.reason", "is told in single codes"
    ),
    "every_rule_can_decide": Expected(
        POLICY, 23, "rules[1].when", "no order ever comes to it for not_told"
    ),
    "overlaps_have_a_case": Expected(
        POLICY, 23, "rules[1].when", "add a case in which both are: cancer decides"
    ),
    "both_sides_have_a_case": Expected(POLICY, 19, "rules[0].when", "is false"),
    "open_asks_for_what_can_be_missing": Expected(
        POLICY, 21, "open.sentences.patient.age", "no rule asks for patient.age"
    ),
    "not_covered_with_prior_authorization": Expected(
        POLICY, 18, "determinations.medicare_advantage", "crd-ci-q2"
    ),
    "rules_without_open": Expected(POLICY, 1, "(file)", "add open"),
    # wording
    "summary_fits_a_card": Expected(POLICY, 31, f"wording.{MA}.summary", "stay within 139"),
    "placeholders_are_known": Expected(POLICY, 31, f"wording.{MA}.summary", "{service}"),
    "a_brace_without_its_partner": Expected(
        POLICY, 31, f"wording.{MA}.statement", "a brace has no partner"
    ),
    "never_said": Expected(
        POLICY, 32, "wording.original_medicare.statement", "medicare does not cover"
    ),
    # payers
    "duplicate_payers": Expected("payers.yaml", 7, "payers[1].identifier", "two payers"),
    "policies_are_applied": Expected(
        "payers.yaml", 3, "payers", 'add "- id: second-scan" to the policies'
    ),
    "unknown_policies": Expected("payers.yaml", 6, "payers[0].policies[0].id", "example-scam"),
    # cases
    "policy_has_cases": Expected("second-scan/cases.yaml", None, "(file)", "has no cases"),
    "case_is_told_once": Expected(CASES, 7, "cases[1].it", "another case has this sentence"),
    "every_code_has_a_case": Expected(CASES, 2, "cases", "orders X0002 while it is in force"),
    "every_hcpcs_code_has_a_case": Expected(
        CASES, 2, "cases", 'add one, with the code as {system: hcpcs, code: "X0001"}'
    ),
    "every_program_has_a_case": Expected(
        CASES, 2, "cases", "expects the program original_medicare"
    ),
    "every_edge_has_a_case": Expected(CASES, 2, "cases", "2023-12-31, the day before the first"),
    "every_edge_of_an_ended_version_has_a_case": Expected(
        CASES, 2, "cases", "2024-12-31, the last day"
    ),
}

DATED_RULES = {rule.__name__ for rule in DATED}
PAYER_RULES = {payer_rules.duplicate_payers.__name__, payer_rules.unknown_policies.__name__}
WARNINGS = DATED_RULES | {
    facts_told.encounters_are_told_in_these_words.__name__,
    facts_told.facts_are_used.__name__,
    facts_told.limits_have_units.__name__,
    payer_rules.policies_are_applied.__name__,
    published_files.file_is_published.__name__,
}
RULES = {rule.__name__ for rule in ALL} | WARNINGS | PAYER_RULES
STOPS = {rule.__name__ for rule in START} | PAYER_RULES


@pytest.fixture
def broken(tmp_path: Path, rule: str) -> Path:
    """The sound library with the rule's broken files laid over it."""
    library = tmp_path / "library"
    shutil.copytree(SOUND, library)
    shutil.copytree(BROKEN / rule, library, dirs_exist_ok=True)
    return library


@pytest.mark.parametrize("rule", EXPECTED)
def test_lint_names_file_line_field_and_repair(broken: Path, rule: str) -> None:
    expected = EXPECTED[rule]
    findings = lint_library(broken, broken / "payers.yaml", ON)
    met = [f for f in findings if f.field == expected.field and expected.says in str(f)]
    assert [(f.file, f.line) for f in met] == [(broken / expected.file, expected.line)]
    assert all(f.repair for f in met)
    assert [f.warning for f in met] == [rule in WARNINGS]


def test_every_rule_has_a_broken_library_and_an_expectation() -> None:
    assert {folder.name for folder in BROKEN.iterdir()} == set(EXPECTED)
    assert set(EXPECTED) >= RULES


@pytest.mark.parametrize("rule", sorted(set(EXPECTED) & STOPS))
def test_what_would_make_an_answer_wrong_stops_the_start(broken: Path, rule: str) -> None:
    with pytest.raises(LibraryError) as error:
        load_library(broken, broken / "payers.yaml")
    assert EXPECTED[rule].says in str(error.value)


@pytest.mark.parametrize("rule", sorted(RULES - STOPS))
def test_what_only_misleads_a_reader_does_not_stop_the_start(broken: Path, rule: str) -> None:
    on_file = load_library(broken, broken / "payers.yaml")
    assert "example-scan" in on_file.policies.ids()
    assert "plan-request" in {notice.id for notice in on_file.notices}


def test_every_fact_with_codes_has_its_code_systems() -> None:
    with_codes = {name for name, spec in TABLE.items() if spec.kind is FactKind.CODES}
    assert with_codes == {name for name in SYSTEMS_OF if name in TABLE}


def test_a_code_system_without_a_short_name_can_be_any_facts(tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(SOUND, library)
    shutil.copytree(BROKEN / "code_systems_fit_the_facts", library, dirs_exist_ok=True)
    version = library / POLICY
    text = version.read_text("utf-8")
    version.write_text(text.replace("cpt|99213", "https://ehr.example.org/reasons|9"), "utf-8")
    assert "never has" not in "".join(map(str, lint_library(library, None, ON)))


def test_the_sound_library_has_nothing_to_find() -> None:
    assert lint_library(SOUND, SOUND / "payers.yaml", ON) == []


def test_two_payers_with_one_identifier_stop_the_start() -> None:
    with pytest.raises(LibraryError, match="stands for two payers"):
        load_payers(BROKEN / "duplicate_payers" / "payers.yaml")


def test_the_library_that_is_shipped_has_no_error() -> None:
    findings = lint_library(LIBRARY, PAYERS, date(2026, 11, 22))
    assert [str(f) for f in findings if not f.warning] == []


def test_the_shipped_policys_overdue_review_is_a_warning() -> None:
    findings = lint_library(LIBRARY, PAYERS, date(2026, 11, 22))
    shipped = [f for f in findings if "mr-spectroscopy" in str(f)]
    told = [("review.next", True), ("to_be_checked[0]", True), ("to_be_checked[1]", True)]
    assert [(f.field, f.warning) for f in shipped] == told


def test_an_abn_edition_is_warned_of_after_its_end_and_not_for_its_print(tmp_path: Path) -> None:
    library = as_of(date(2026, 11, 22), tmp_path)
    printed_day_is_over = lint_library(library, PAYERS, date(2029, 4, 1))
    assert not any("edition expired" in str(f) for f in printed_day_is_over)
    ended("abn", date(2029, 6, 30), library)
    after = lint_library(library, PAYERS, date(2029, 7, 1))
    assert any("edition expired on 2029-06-30" in str(f) and f.warning for f in after)


def test_editions_of_a_notice_may_be_usable_in_the_same_months() -> None:
    editions = [n.effective for n in load_notices(LIBRARY) if n.id == "abn"]
    assert any(a.overlaps(b) for a, b in itertools.pairwise(editions))
    found = lint_library(LIBRARY, PAYERS, date(2026, 4, 1))
    # An edition that was added beside the shipped ones may not be published yet: no more than that.
    expected = ("is not published yet", "to be checked")
    left = [f for f in found if "_notices" in str(f) and not any(e in str(f) for e in expected)]
    assert left == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="is not a directory"):
        lint_library(tmp_path / "nowhere", None, ON)
