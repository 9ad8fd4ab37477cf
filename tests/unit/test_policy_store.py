"""The store: look-up by code and by day, and the MR spectroscopy policy as it is shipped."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from cards.naming import NamedService, fill
from service.decision.order import Code
from service.decision.policy import Covered, PolicyVersion, Program
from service.errors import LibraryError
from service.fhir.systems import CPT, HCPCS
from service.policies.library import load_policies
from service.policies.policy_store import PolicyStore
from tests.policies import LIBRARY, SOUND

ON = date(2026, 11, 22)
SCAN = Code(HCPCS, "X0001")

MEDICARE = [p for p in Program if p is not Program.NOT_MEDICARE]


@pytest.fixture(scope="module")
def store() -> PolicyStore:
    return load_policies(LIBRARY)


@pytest.fixture(scope="module")
def mrs(store: PolicyStore) -> PolicyVersion:
    version = store.in_force("mr-spectroscopy", ON)
    assert version is not None
    return version


@pytest.fixture
def two_versions(tmp_path: Path) -> PolicyStore:
    """The sound library, its policy ended in June 2024 and followed by another version."""
    library = tmp_path / "library"
    shutil.copytree(SOUND, library)
    first = library / "example-scan" / "2024-01-01.yaml"
    text = first.read_text("utf-8")
    start = 'effective: {start: "2024-01-01"}'
    ended = text.replace(start, 'effective: {start: "2024-01-01", end: "2024-06-30"}')
    first.write_text(ended, "utf-8")
    second = library / "example-scan" / "2024-07-01.yaml"
    second.write_text(text.replace(start, 'effective: {start: "2024-07-01"}'), "utf-8")
    return load_policies(library)


@pytest.mark.parametrize(
    ("day", "spoken"),
    [
        (date(2024, 2, 29), False),
        (date(2024, 3, 1), True),
        (date(2024, 9, 30), True),
        (date(2024, 10, 1), False),
    ],
)
def test_a_policy_speaks_of_a_code_from_its_first_day_to_its_last(
    tmp_path: Path, day: date, spoken: bool
) -> None:
    library = tmp_path / "library"
    shutil.copytree(SOUND, library)
    file = library / "example-scan" / "2024-01-01.yaml"
    entry = '{system: hcpcs, code: "X0001", name: Example scan}'
    text = file.read_text("utf-8")
    assert text.count(entry) == 1
    dated = entry.replace("}", ', first: "2024-03-01", last: "2024-09-30"}')
    file.write_text(text.replace(entry, dated), "utf-8")
    (version,) = load_policies(library).versions_for(SCAN)
    assert version.in_force_on(day)
    assert version.speaks_of(SCAN, day) is spoken


@pytest.mark.parametrize("code", ["76390", "0609T", "0610T", "0611T", "0612T"])
def test_each_code_of_the_policy_finds_it(store: PolicyStore, code: str) -> None:
    assert {v.id for v in store.versions_for(Code(CPT, code))} == {"mr-spectroscopy"}


@pytest.mark.parametrize("code", [Code(CPT, "70551"), Code(HCPCS, "76390"), Code("", "76390")])
def test_another_code_or_system_finds_nothing(store: PolicyStore, code: Code) -> None:
    assert store.versions_for(code) == ()


def test_all_versions_of_a_policy_are_found_by_code_oldest_first(two_versions: PolicyStore) -> None:
    assert [v.version for v in two_versions.versions_for(SCAN)] == ["2024-01-01", "2024-07-01"]
    assert [v.version for v in two_versions] == ["2024-01-01", "2024-07-01"]


@pytest.mark.parametrize(
    ("day", "version"),
    [
        (date(2023, 12, 31), None),
        (date(2024, 1, 1), "2024-01-01"),
        (date(2024, 6, 30), "2024-01-01"),
        (date(2024, 7, 1), "2024-07-01"),
        (date(2030, 1, 1), "2024-07-01"),
    ],
)
def test_both_edges_of_a_period_belong_to_it(
    two_versions: PolicyStore, day: date, version: str | None
) -> None:
    found = two_versions.in_force("example-scan", day)
    assert (found.version if found else None) == version


def test_an_unknown_policy_has_no_versions(store: PolicyStore) -> None:
    assert store.versions("no-such-policy") == ()
    assert store.in_force("no-such-policy", ON) is None
    assert "mr-spectroscopy" in store.ids()
    assert load_policies(SOUND).ids() == ("example-scan",)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(SOUND, library)
    policy = library / "example-scan" / "2024-01-01.yaml"
    text = policy.read_text("utf-8").replace('code: "X0001"', "code: 76390")
    policy.write_text(text.replace('published: "2024-01-01"', "published: 2024-01-01"), "utf-8")
    with pytest.raises(LibraryError) as error:
        load_policies(library)
    assert {f.field for f in error.value.findings} == {"published", "services[0].codes[0].code"}


def test_mr_spectroscopy_is_in_force_from_its_first_day_on(store: PolicyStore) -> None:
    first = date(2023, 10, 1)
    assert store.in_force("mr-spectroscopy", first - timedelta(days=1)) is None
    assert store.in_force("mr-spectroscopy", first) is not None


def test_its_review_is_overdue_since_july_2024(mrs: PolicyVersion) -> None:
    assert not mrs.review_overdue_on(date(2024, 6, 30))
    assert mrs.review_overdue_on(date(2024, 7, 1))


def test_only_the_plans_own_policy_was_found(mrs: PolicyVersion) -> None:
    found = [(a.level, a.found) for a in mrs.authorities]
    expected = [("ncd", False), ("lcd", False), ("other_lcd", False), ("plan_policy", True)]
    assert found == expected
    assert mrs.governing_authority.citation is not None
    assert "Radiology, Policy No. 27" in mrs.governing_authority.citation.title


def test_every_authority_that_was_not_found_says_when_and_where_it_was_searched(
    mrs: PolicyVersion,
) -> None:
    for authority in mrs.authorities:
        assert authority.found or (authority.searched_when and authority.searched_where)


def test_the_answer_differs_by_program_and_is_never_covered(mrs: PolicyVersion) -> None:
    assert {p: r.covered for p, r in mrs.determinations.items()} == {
        Program.MEDICARE_ADVANTAGE: Covered.NOT_COVERED,
        Program.ORIGINAL_MEDICARE: Covered.CONDITIONAL,
        Program.UNKNOWN: Covered.NOT_COVERED,
    }


def test_each_program_gets_its_own_notice_and_both_where_it_is_not_told(
    mrs: PolicyVersion,
) -> None:
    assert mrs.notices == {
        Program.MEDICARE_ADVANTAGE: ("organization-determination",),
        Program.ORIGINAL_MEDICARE: ("abn",),
        Program.UNKNOWN: ("organization-determination", "abn"),
        Program.NOT_MEDICARE: (),
    }


@pytest.mark.parametrize("program", MEDICARE)
def test_a_summary_naming_all_five_codes_stays_under_140_characters(
    mrs: PolicyVersion, program: Program
) -> None:
    services = [NamedService(s.code.value, s.name, s.group_name) for s in mrs.services]
    summary = fill(mrs.wording[program].summary, services)
    assert len(summary) < 140
    assert all(s.code in summary for s in services)


def test_no_wording_says_that_the_patient_may_have_to_pay(mrs: PolicyVersion) -> None:
    for wording in mrs.wording.values():
        said = f"{wording.summary} {wording.statement} {wording.do} {wording.do_not}"
        assert "have to pay" not in said


def test_under_original_medicare_the_wording_says_what_was_searched_and_who_decides(
    mrs: PolicyVersion,
) -> None:
    wording = mrs.wording[Program.ORIGINAL_MEDICARE]
    assert "may not pay" in wording.summary
    assert "when last searched (2023-08)" in wording.statement
    assert "Medicare contractor" in (wording.do or "")
    assert "likely to deny" not in mrs.determinations[Program.ORIGINAL_MEDICARE].reason


def test_a_reservation_of_one_program_is_not_told_under_another(mrs: PolicyVersion) -> None:
    told = {p: " ".join(mrs.reservations_for(p)) for p in MEDICARE}
    assert "Evidence of Coverage" in told[Program.MEDICARE_ADVANTAGE]
    assert "Evidence of Coverage" not in told[Program.ORIGINAL_MEDICARE]


def test_citations_name_sections_and_no_invented_address(mrs: PolicyVersion) -> None:
    sections = {c.section for c in mrs.citations if c.section}
    assert sections == {"§1862(a)(1)(A)", "ch. 23 §30 A", "ch. 4 §90.5"}
    assert all(c.url is None for c in mrs.citations)
    assert ["M-149" in c.title or "M-47" in c.title for c in mrs.related] == [True, True]


def test_the_policy_carries_a_notice_about_cpt(mrs: PolicyVersion) -> None:
    assert mrs.ama_notice is not None
    assert "American Medical Association" in mrs.ama_notice
