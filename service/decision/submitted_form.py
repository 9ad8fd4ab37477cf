"""Acceptance of submitted forms: advance notices on file, and reasons for rejected forms.

A form counts if it is completed for this patient, this order and its services, with its day; an ABN
only on an edition usable that day, with choice and signature. A notice precedes the service and
expires.
"""

from __future__ import annotations

import calendar
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

from service.decision.determination import Determination, NoticeOnFile, RejectedForm, TraceStep

COMPLETED = frozenset({"completed", "amended"})
"""QuestionnaireResponse.status of a completed form."""


@dataclass(frozen=True, slots=True)
class SubmittedForm:
    """A submitted form, reduced to the facts of its acceptance.

    `reference` is "Type/id", `form` the form's id. `patient` and `orders` are references as
    "Type/id"; `codes`, billing codes without their system, upper case. `day` is the day of the
    signature, information, request or refusal. `is_open` tells that a required question is not
    answered. `edition` is the printed expiration day; `option`,
    the patient's choice; `signed`, whether it is signed; `noted`, whether a refusal is noted
    on the form.
    """

    reference: str
    form: str
    status: str | None = None
    patient: str | None = None
    orders: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    day: date | None = None
    edition: date | None = None
    option: str | None = None
    signed: bool = False
    refused: bool = False
    noted: bool = False
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class FormAcceptanceRule:
    """Acceptance rule of a form for a notice; one for each edition of notice and form.

    It applies to forms of the days from `starts` to `ends`, both inclusive. `strength` ranks the
    forms of a notice, 0 first. With `prints_expiry`, the form must have this edition; with
    `options`, one of them and a signature.
    """

    notice: str
    form: str
    strength: int
    starts: date
    ends: date | None
    valid_months: int
    prints_expiry: date | None = None
    options: frozenset[str] = frozenset()
    refusal_counts: bool = False

    def in_force_on(self, day: date) -> bool:
        return self.starts <= day and (self.ends is None or day <= self.ends)


_MOST_REJECTED_IN_TRACE = 20
"""Each order has its trace in the log: hundreds of forms beside a hundred orders fill it."""


class FormsAtHand:
    """The submitted forms of a call that are for notices, by the orders that they name.

    A form that does not name an order counts for nothing there, for a reason that is the same for
    all such orders: it is found out once a call, and an order costs what names it.
    """

    def __init__(
        self, records: Sequence[SubmittedForm], rules: Sequence[FormAcceptanceRule], patient: str
    ) -> None:
        self.patient = patient
        self.rules = rules
        self.notice_of: dict[str, str] = {}
        for rule in rules:
            self.notice_of.setdefault(rule.form, rule.notice)
        self.records = [r for r in records if r.form in self.notice_of]
        self.unnamed: list[Objection] = []
        """The objection to each record with regard to an order that it does not name."""
        self._naming: dict[str, list[int]] = {}
        self._for_services: dict[tuple[str, str], set[str]] = {}
        for n, record in enumerate(self.records):
            objection = next(objections_to_any_form(record, None, patient))
            self.unnamed.append(objection)
            for order in record.orders:
                self._naming.setdefault(order, []).append(n)
            if not record.orders and record.patient in (None, patient):
                codes = self._for_services.setdefault((record.form, objection.why), set())
                codes.update(record.codes)

    def naming(self, order: str) -> Sequence[int]:
        """The records that name an order, "Type/id", by their positions."""
        return self._naming.get(order, ())

    def for_service(self, codes: Set[str]) -> Iterator[tuple[str, str]]:
        """Forms, each with its objection's key, that name no order and one of these codes."""
        return (which for which, named in self._for_services.items() if not codes.isdisjoint(named))


def with_notices_on_file(
    determination: Determination, forms: FormsAtHand, *, today: date
) -> Determination:
    """The determination with its notice on file, if any, and without notices to give then.

    `today` is the day of the call. Of several valid forms, the strongest and newest is used. A
    rejected form is in the trace with its reason, and in `rejected_forms` if it is for this patient
    and order, or may be: some form fillers leave out whom it is for.
    """
    d = determination
    notices = (*d.notices, *_given_no_more(d))
    if not notices or not forms.records:
        return d
    steps: list[TraceStep] = []
    counting: list[tuple[int, date, NoticeOnFile]] = []
    rejected_forms: list[RejectedForm] = []
    named = frozenset(forms.naming(d.order.reference))
    # Of those that name another order, as many as the trace may tell.
    first = range(min(len(forms.records), _MOST_REJECTED_IN_TRACE + len(named)))
    told = 0
    for n in sorted({*first, *named}):
        record, rule = forms.records[n], None
        objection: Objection | None = forms.unnamed[n]
        if n in named:
            rule = _rule(record, notices, forms.rules)
            objection = next(_objections(record, rule, d, forms.patient, today), None)
        because = f"{record.reference}: {record.form}"
        if objection is not None:
            told += 1
            if told <= _MOST_REJECTED_IN_TRACE:
                steps.append(
                    TraceStep("notice", "does not count", f"{because}: {objection.because}")
                )
            if n in named and record.patient in (None, forms.patient):
                rejected_forms.append(_rejected(record.form, objection.why, forms))
        elif rule is not None and record.day is not None:
            steps.append(TraceStep("notice", "on file", f"{because} of {record.day}"))
            counting.append((rule.strength, record.day, _on_file(rule, record, record.day)))
    rejected = len(forms.records) - len(counting)
    if (more := rejected - _MOST_REJECTED_IN_TRACE) > 0:
        steps.append(TraceStep("notice", "does not count", f"{more} further forms"))
    trace = (*d.trace, *steps)
    if not counting:
        codes = {c.value for c in d.billing_codes}
        rejected_forms += [_rejected(form, why, forms) for form, why in forms.for_service(codes)]
        for_these = {f for f in rejected_forms if f.notice in notices}
        ordered = sorted(for_these, key=lambda f: (f.form, f.why))
        return replace(d, trace=trace, rejected_forms=tuple(ordered))
    best = min(counting, key=lambda c: (c[0], -c[1].toordinal(), c[2].record))[2]
    # What was completed in time is not too late.
    left = tuple(s for s in d.situations if s.notice != best.notice or s.given)
    return replace(d, notices=(), notice_on_file=best, trace=trace, situations=left)


def _rejected(form: str, why: str, forms: FormsAtHand) -> RejectedForm:
    return RejectedForm(form, why, forms.notice_of[form])


def _given_no_more(d: Determination) -> tuple[str, ...]:
    """The notices that are kept back, of which a form that was completed in time counts."""
    back = [s for s in d.situations if not s.given]
    out = {s.notice for s in back if not s.on_file_counts}
    return tuple(dict.fromkeys(s.notice for s in back if s.notice not in out))


def _on_file(rule: FormAcceptanceRule, record: SubmittedForm, day: date) -> NoticeOnFile:
    option = None if record.refused else record.option
    return NoticeOnFile(
        rule.notice, rule.starts, record.form, record.reference, day, option, record.refused
    )


def _rule(
    record: SubmittedForm, notices: Sequence[str], rules: Iterable[FormAcceptanceRule]
) -> FormAcceptanceRule | None:
    """The rule for the record's form on its day, or on any day without one.

    Of several editions usable that day, that of the record's print; else the newest.
    """
    day = record.day
    fitting = [
        r
        for r in rules
        if r.form == record.form and r.notice in notices and (day is None or r.in_force_on(day))
    ]
    printed = (r for r in fitting if r.prints_expiry == record.edition)
    return next(printed, max(fitting, key=lambda r: r.starts, default=None))


class Objection(NamedTuple):
    """A reason for rejection: a key of texts, and words for the trace."""

    why: str
    because: str


def objections_to_any_form(
    record: SubmittedForm, order: str | None, patient: str, named: Collection[str] = ()
) -> Iterator[Objection]:
    """The reasons for which a form counts for nothing: it is not completed, or of another order.

    `order` and `patient` are "Type/id", `order` None for one that the form does not name; `named`
    are the forms that the order itself names: these need not name it.
    """
    if record.status not in COMPLETED:
        yield Objection("not_completed", "not completed")
    if record.patient is None and not record.orders:
        yield Objection("unaddressed", "names neither patient nor order")
    if record.patient is None:
        yield Objection("no_patient", "names no patient")
    elif record.patient != patient:
        yield Objection("patient", "for another patient")
    if record.reference in named:
        return
    if not record.orders:
        yield Objection("no_order", "names no order")
    elif order not in record.orders:
        yield Objection("order", "for another order")


def _objections(
    record: SubmittedForm,
    rule: FormAcceptanceRule | None,
    d: Determination,
    patient: str,
    today: date,
) -> Iterator[Objection]:
    yield from objections_to_any_form(record, d.order.reference, patient)
    if not {c.value for c in d.billing_codes} <= record.codes:
        yield Objection("service", "for another service" if record.codes else "names no service")
    if record.day is None:
        yield Objection("not_dated", "not dated")
    elif record.day > today:
        yield Objection("future", "dated in the future")
    elif rule is None:
        because = f"no form of this program's notice in force on {record.day}"
        yield Objection("edition", because)
    else:
        yield from _of_the_day(record.day, rule, d)
        yield from _of_the_patient(record, rule)


def _of_the_day(day: date, rule: FormAcceptanceRule, d: Determination) -> Iterator[Objection]:
    if day > d.day.latest:
        yield Objection("after_service", "dated after the service")
    if d.day.latest > months_after(day, rule.valid_months):
        because = f"older than {rule.valid_months} months on the day of service"
        yield Objection("too_old", because)


def _of_the_patient(record: SubmittedForm, rule: FormAcceptanceRule) -> Iterator[Objection]:
    if rule.prints_expiry is not None and record.edition != rule.prints_expiry:
        yield Objection("edition", "not on an edition usable that day")
    if record.refused:
        if not (rule.refusal_counts and record.noted):
            yield Objection("refusal", "refused, without a note on the form")
    elif rule.options:
        if record.option not in rule.options:
            yield Objection("choice", "without the patient's choice")
        if not record.signed:
            yield Objection("signature", "not signed")


def months_after(day: date, months: int) -> date:
    """The same day a number of months later, or the month's last day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))
