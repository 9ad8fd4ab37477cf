"""Which forms put a notice on file, and why the others do not."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from cards.texts.wording import WhyRejected
from service.decision import documentation_on_file, submitted_form
from service.decision.coverage import CoverageFinding, CoverageOutcome
from service.decision.determination import Determination
from service.decision.order import Code, Order, ServiceDay
from service.decision.policy import Covered, Program
from service.decision.programs import ProgramFinding
from service.decision.situations import SituationFound
from service.decision.submitted_form import (
    FormAcceptanceRule,
    FormsAtHand,
    SubmittedForm,
    months_after,
    with_notices_on_file,
)
from service.policies.library import load_notices
from tests.policies import LIBRARY

TODAY = date(2026, 11, 22)
PATIENT = "Patient/bo"
RULES = load_notices(LIBRARY).form_acceptance_rules()

SIGNED = SubmittedForm(
    reference="QuestionnaireResponse/abn-1",
    form="abn-record",
    status="completed",
    patient=PATIENT,
    orders=frozenset({"ServiceRequest/mrs"}),
    codes=frozenset({"76390"}),
    day=date(2026, 11, 20),
    edition=date(2029, 3, 31),
    option="1",
    signed=True,
)
REFUSED = replace(SIGNED, option=None, signed=False, refused=True, noted=True)


def determined(
    *notices: str, day: date | None = None, until: date | None = None, codes: tuple[str, ...] = ()
) -> Determination:
    first = day or date(2026, 12, 1)
    return Determination(
        order=Order("ServiceRequest/mrs", "context", ()),
        finding=CoverageFinding(CoverageOutcome.FOUND, "of the test"),
        covered=Covered.CONDITIONAL,
        program=ProgramFinding(Program.ORIGINAL_MEDICARE, "of the test", ""),
        day=ServiceDay(first, until or first, "occurrenceDateTime"),
        billing_codes=tuple(Code("cpt", c) for c in codes or ("76390",)),
        notices=notices or ("abn",),
    )


def judged(
    record: SubmittedForm,
    determination: Determination | None = None,
    rules: tuple[FormAcceptanceRule, ...] = RULES,
    today: date = TODAY,
) -> Determination:
    forms = FormsAtHand([record], rules, PATIENT)
    return with_notices_on_file(determination or determined(), forms, today=today)


def test_a_signed_abn_is_on_file_and_no_notice_is_suggested_any_more() -> None:
    found = judged(SIGNED)
    assert found.notices == ()
    assert found.notice_on_file is not None
    assert found.notice_on_file.record == "QuestionnaireResponse/abn-1"
    assert (found.notice_on_file.notice, found.notice_on_file.option) == ("abn", "1")
    assert found.trace[-1].finding == "on file"


def test_an_amended_form_counts_as_a_completed_one() -> None:
    assert judged(replace(SIGNED, status="amended")).notice_on_file is not None


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (replace(SIGNED, status="in-progress"), "not completed"),
        (replace(SIGNED, status="entered-in-error"), "not completed"),
        (replace(SIGNED, status=None), "not completed"),
        (replace(SIGNED, patient="Patient/ann"), "for another patient"),
        (replace(SIGNED, patient=None), "names no patient"),
        (replace(SIGNED, orders=frozenset({"ServiceRequest/mri"})), "for another order"),
        (replace(SIGNED, orders=frozenset()), "names no order"),
        (replace(SIGNED, codes=frozenset({"0609T"})), "for another service"),
        (replace(SIGNED, codes=frozenset()), "names no service"),
        (replace(SIGNED, day=None), "not dated"),
        (replace(SIGNED, day=date(2026, 11, 23)), "dated in the future"),
        (replace(SIGNED, day=date(2023, 6, 29)), "in force on 2023-06-29"),
        (replace(SIGNED, day=date(2026, 2, 28)), "not on an edition usable"),
        (replace(SIGNED, edition=date(2026, 1, 31)), "not on an edition usable"),
        (replace(SIGNED, edition=None), "not on an edition usable"),
        (replace(SIGNED, option=None), "without the patient's choice"),
        (replace(SIGNED, option="4"), "without the patient's choice"),
        (replace(SIGNED, signed=False), "not signed"),
        (replace(REFUSED, noted=False), "without a note on the form"),
    ],
)
def test_what_does_not_count_leaves_the_notice_and_says_why(
    record: SubmittedForm, why: str
) -> None:
    found = judged(record)
    assert found.notice_on_file is None
    assert found.notices == ("abn",)
    assert found.trace[-1].finding == "does not count"
    assert why in found.trace[-1].because


OLDER, NEWER = date(2026, 1, 31), date(2029, 3, 31)


@pytest.mark.parametrize(
    ("edition", "day", "counts"),
    [
        (OLDER, date(2026, 2, 28), True),
        (NEWER, date(2026, 2, 28), False),
        (OLDER, date(2026, 3, 1), True),
        (NEWER, date(2026, 3, 1), True),
        (OLDER, date(2026, 5, 11), True),
        (NEWER, date(2026, 5, 11), True),
        (OLDER, date(2026, 5, 12), False),
        (NEWER, date(2026, 5, 12), True),
        (date(2023, 6, 30), date(2026, 4, 1), False),
    ],
)
def test_either_edition_counts_on_the_days_on_which_it_was_usable(
    edition: date, day: date, counts: bool
) -> None:
    found = judged(replace(SIGNED, edition=edition, day=day))
    assert (found.notice_on_file is not None) is counts


@pytest.mark.parametrize(
    ("edition", "first_day"), [(OLDER, date(2023, 6, 30)), (NEWER, date(2026, 3, 1))]
)
def test_a_form_on_file_is_of_the_edition_that_it_names_though_both_were_usable(
    edition: date, first_day: date
) -> None:
    found = judged(replace(SIGNED, edition=edition, day=date(2026, 4, 1))).notice_on_file
    assert found is not None
    assert found.edition == first_day
    assert load_notices(LIBRARY).edition("abn", found.edition).prints_expiry == edition


def too_late(*situations: SituationFound) -> Determination:
    past = determined(day=date(2026, 11, 21))
    return replace(past, notices=(), situations=situations)


PAST = SituationFound("abn", "past-day", given=False, on_file_counts=True)


def test_a_form_that_was_completed_before_a_past_service_counts_and_is_not_too_late() -> None:
    found = judged(SIGNED, too_late(PAST))
    assert found.notice_on_file is not None
    assert found.situations == ()


def test_a_form_that_was_completed_after_a_past_service_is_rejected_as_too_late() -> None:
    found = judged(replace(SIGNED, day=date(2026, 11, 22)), too_late(PAST))
    assert found.notice_on_file is None
    assert found.situations == (PAST,)
    assert [(r.notice, r.why) for r in found.rejected_forms] == [("abn", "after_service")]


def test_where_no_form_is_valid_one_that_was_completed_in_time_counts_as_little() -> None:
    emergency = SituationFound("abn", "emergency", given=False)
    found = judged(SIGNED, too_late(PAST, emergency))
    assert (found.notice_on_file, found.rejected_forms) == (None, ())


def test_the_day_printed_on_a_form_does_not_end_its_edition() -> None:
    after = replace(SIGNED, day=date(2029, 4, 2))
    found = judged(after, determined(day=date(2029, 4, 20)), today=date(2029, 4, 3))
    assert found.notice_on_file is not None


def test_a_refusal_noted_on_the_form_counts_as_given() -> None:
    found = judged(REFUSED).notice_on_file
    assert found is not None
    assert (found.refused, found.option) == (True, None)


def test_a_form_lasts_a_year_to_the_day_of_the_service() -> None:
    last = determined(day=date(2027, 11, 20))
    later = determined(day=date(2027, 11, 21))
    assert judged(SIGNED, last).notice_on_file is not None
    assert judged(SIGNED, later).notice_on_file is None
    assert "older than 12 months" in judged(SIGNED, later).trace[-1].because


def test_of_an_imprecise_day_of_service_the_latest_counts() -> None:
    spanning = determined(day=date(2027, 11, 1), until=date(2027, 11, 30))
    assert judged(SIGNED, spanning).notice_on_file is None


def test_a_notice_after_the_service_was_not_given_in_advance() -> None:
    past = determined(day=date(2026, 11, 19))
    found = judged(SIGNED, past)
    assert "dated after the service" in found.trace[-1].because
    assert [form.why for form in found.rejected_forms] == ["after_service"]


def test_every_service_of_the_order_must_be_named() -> None:
    both = determined(codes=("0609T", "0610T"))
    one = replace(SIGNED, codes=frozenset({"0609T"}))
    assert judged(one, both).notice_on_file is None
    assert judged(replace(one, codes=frozenset({"0610T", "0609T", "X"})), both).notice_on_file


def test_an_abn_settles_nothing_under_medicare_advantage() -> None:
    found = judged(SIGNED, determined("organization-determination"))
    assert found.notice_on_file is None
    assert found.notices == ("organization-determination",)


def test_either_notice_settles_it_where_the_program_is_not_told() -> None:
    assert judged(SIGNED, determined("organization-determination", "abn")).notices == ()


def test_a_request_to_the_plan_counts_from_the_day_it_was_sent() -> None:
    request = SubmittedForm(
        "QuestionnaireResponse/odr",
        "organization-determination-request",
        "completed",
        PATIENT,
        SIGNED.orders,
        SIGNED.codes,
        date(2026, 11, 21),
    )
    advantage = determined("organization-determination")
    assert judged(request, advantage).notices == ()
    assert judged(replace(request, day=None), advantage).notices != ()


def test_of_two_forms_alike_the_newest_is_named() -> None:
    newer = SubmittedForm(
        "QuestionnaireResponse/new",
        "organization-determination-request",
        "completed",
        PATIENT,
        SIGNED.orders,
        SIGNED.codes,
        date(2026, 11, 22),
    )
    older = replace(newer, reference="QuestionnaireResponse/old", day=date(2026, 11, 1))
    found = with_notices_on_file(
        determined("organization-determination"),
        FormsAtHand([older, newer], RULES, PATIENT),
        today=TODAY,
    ).notice_on_file
    assert found is not None
    assert found.record == "QuestionnaireResponse/new"


def test_where_no_notice_is_advised_forms_are_not_looked_at() -> None:
    emergency = replace(determined(), notices=())
    assert judged(SIGNED, emergency) == emergency


@pytest.mark.parametrize(
    ("day", "months", "then"),
    [
        (date(2026, 11, 20), 12, date(2027, 11, 20)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2026, 12, 31), 2, date(2027, 2, 28)),
    ],
)
def test_months_end_on_a_day_that_there_is(day: date, months: int, then: date) -> None:
    assert months_after(day, months) == then


def test_every_reason_for_not_counting_has_words_for_people() -> None:
    modules = (submitted_form, documentation_on_file)
    source = "".join(Path(m.__file__).read_text("utf-8") for m in modules)
    named = set(re.findall(r'Objection\("(\w+)"', source)) - {"patient", "order"}
    assert named == set(WhyRejected.model_fields)
