"""Notices: which edition may be used when, and what the two shipped ones say."""

import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from service.crd.versions import VERSIONS
from service.decision.policy import Program
from service.errors import ConfigurationError, LibraryError
from service.policies.library import load_notices
from service.policies.notices import Notice, NoticeLibrary
from tests.policies import LIBRARY, SOUND

ON = date(2026, 11, 22)


@pytest.fixture(scope="module")
def notices() -> NoticeLibrary:
    return load_notices(LIBRARY)


@pytest.fixture(scope="module")
def abn(notices: NoticeLibrary) -> Notice:
    return notices.edition("abn", ON)


@pytest.fixture(scope="module")
def request_to_the_plan(notices: NoticeLibrary) -> Notice:
    return notices.edition("organization-determination", ON)


def test_the_latest_edition_that_has_started_is_taken(tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(SOUND, library)
    folder = library / "_notices" / "paper-form"
    text = (folder / "2024-01-01.yaml").read_text("utf-8")
    period = 'effective: {start: "2024-01-01", end: "2024-12-31"}'
    later = text.replace(period, 'effective: {start: "2025-01-01"}')
    (folder / "2025-01-01.yaml").write_text(later, "utf-8")
    both = load_notices(library)
    assert both.edition("paper-form", date(2024, 12, 31)).starts == date(2024, 1, 1)
    assert both.edition("paper-form", date(2025, 1, 1)).starts == date(2025, 1, 1)


def test_before_its_first_edition_the_first_is_taken(notices: NoticeLibrary) -> None:
    assert notices.edition("abn", date(2020, 1, 1)).starts == date(2023, 6, 30)


def test_an_expired_edition_is_still_given_and_says_so() -> None:
    sound = load_notices(SOUND).edition("paper-form", date(2030, 1, 1))
    assert not sound.expired_on(date(2024, 12, 31))
    assert sound.expired_on(date(2025, 1, 1))


def test_a_notice_without_an_end_does_not_expire(request_to_the_plan: Notice) -> None:
    assert not request_to_the_plan.expired_on(date(2099, 1, 1))


def test_a_notice_that_is_not_on_file_is_a_configuration_error(notices: NoticeLibrary) -> None:
    with pytest.raises(ConfigurationError, match="no notice 'letter' is on file"):
        notices.edition("letter", ON)


def test_both_notices_are_on_file(notices: NoticeLibrary) -> None:
    on_file = {"abn", "organization-determination"}
    assert on_file <= set(notices.ids())
    assert on_file <= {n.id for n in notices}


def test_the_abn_is_for_original_medicare_on_cmss_own_form(abn: Notice) -> None:
    assert abn.programs == (Program.ORIGINAL_MEDICARE,)
    assert (abn.form, abn.edition) == ("CMS-R-131", "expires 03/31/2029")
    assert [link.url for link in abn.links] == [
        "https://www.cms.gov/medicare/forms-notices/beneficiary-notices-initiative/ffs-abn"
    ]


def test_the_abns_choice_signature_and_date_are_left_to_the_patient(abn: Notice) -> None:
    patients = {b.blank for b in abn.blanks if b.by == "patient"}
    assert patients == {"G", "I", "J"}
    assert not any(b.text for b in abn.blanks if b.blank in patients)
    assert abn.do_not == "Fill in G, I or J; they are the patient's."


def test_the_abns_estimate_is_left_to_the_provider(abn: Notice) -> None:
    (estimate,) = [b for b in abn.blanks if b.blank == "F"]
    assert (estimate.by, estimate.text) == ("provider", None)


def test_the_abns_reason_is_the_policys_in_the_patients_words(abn: Notice) -> None:
    (blank,) = [b for b in abn.blanks if b.blank == "E"]
    assert blank.suggests("Once a year is paid for.") == "Once a year is paid for."
    told = abn.filled(abn.do or "", ON, "Once a year is paid for.")
    assert 'E: "Once a year is paid for."' in told


def test_no_notice_gives_a_reason_of_its_own(notices: NoticeLibrary) -> None:
    for notice in notices:
        words = " ".join([*notice.advice, *(b.text or "" for b in notice.blanks)])
        assert "investigational" not in words


def test_an_edition_is_recommended_up_to_its_last_day_only(abn: Notice) -> None:
    assert abn.ends is None
    period = abn.effective.model_copy(update={"end": date(2029, 3, 31)})
    ended = abn.model_copy(update={"effective": period})
    last, after = (ended.filled(abn.do or "", date(2029, *day), "") for day in ((3, 31), (4, 1)))
    assert 'Edition "expires 03/31/2029".' in last
    assert "03/31/2029" not in after
    assert "{" not in after.replace("{services}", "").replace("{codes}", "")


def test_the_abn_lists_every_blank_and_option_of_the_form(abn: Notice) -> None:
    assert [b.blank for b in abn.blanks] == list("ABCDEFGHIJ")
    assert [o.option for o in abn.options] == ["1", "2", "3"]


def test_ga_is_named_for_the_abn_on_file_and_gy_and_gx_are_ruled_out(abn: Notice) -> None:
    assert [m.code for m in abn.modifiers] == ["GA"]
    assert [m.code for m in abn.why_not] == ["GY", "GX"]
    assert [m.goes_with for m in abn.modifiers] == ["notice-on-file"]
    assert all(m.because for m in abn.why_not)


def test_the_request_to_the_plan_says_that_the_abn_does_not_apply(
    request_to_the_plan: Notice,
) -> None:
    advice = " ".join(request_to_the_plan.advice)
    assert request_to_the_plan.programs == (Program.MEDICARE_ADVANTAGE,)
    assert "CMS-R-131 (ABN) is for Original Medicare" in advice
    assert "42 CFR 422.566" in advice
    assert "CMS-10003" in advice


def test_the_request_to_the_plan_names_who_can_ask_and_never_has_the_patient_told(
    request_to_the_plan: Notice,
) -> None:
    advice = " ".join(request_to_the_plan.advice)
    assert "the member, their representative" in advice
    assert "Tell the patient" not in advice


def test_only_original_medicare_has_modifiers(request_to_the_plan: Notice) -> None:
    assert request_to_the_plan.modifiers == ()
    assert request_to_the_plan.form is None


def test_every_version_of_crd_is_told_what_documentation_is_needed(notices: NoticeLibrary) -> None:
    for notice in notices:
        for version in VERSIONS:
            assert version.doc_needed[notice.doc_needed] in {"clinical", "admin", "patient"}
        assert notice.documentation_reason


@pytest.mark.parametrize(
    ("written", "needed", "by_version"),
    [
        ("patient", "patient", {}),
        ('{"2.0": both, "2.2": clinical}', "clinical", {"2.0": "both", "2.2": "clinical"}),
    ],
)
def test_doc_needed_is_one_word_and_a_code_for_each_of_two_versions_still_reads(
    tmp_path: Path, written: str, needed: str, by_version: Mapping[str, str]
) -> None:
    notice = paper_form(tmp_path, f"doc_needed: {written}")
    assert notice.doc_needed == needed
    assert notice.doc_needed_by_version == by_version


@pytest.mark.parametrize("written", ["both", '{"2.0": admin}', '{"2.0": admin, "2.2": both}', "1"])
def test_another_doc_needed_stops_the_start(tmp_path: Path, written: str) -> None:
    with pytest.raises(LibraryError, match="doc_needed"):
        paper_form(tmp_path, f"doc_needed: {written}")


def paper_form(folder: Path, doc_needed: str) -> Notice:
    """The sound library's form on paper with this line on the documentation."""
    library = folder / "library"
    shutil.copytree(SOUND, library)
    file = library / "_notices" / "paper-form" / "2024-01-01.yaml"
    text = file.read_text("utf-8")
    assert "doc_needed: patient" in text
    file.write_text(text.replace("doc_needed: patient", doc_needed), "utf-8")
    return load_notices(library).edition("paper-form", ON)
