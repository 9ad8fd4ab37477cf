"""Documentation on file: the policy's own forms that need not be filled in again.

A form counts if it is completed for this patient and this order, without a required question left
open. It changes no answer: the rules read its answers as facts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from service.decision.determination import Determination, FormOnFile, RejectedForm, TraceStep
from service.decision.submitted_form import Objection, SubmittedForm, objections_to_any_form

_MOST_IN_TRACE = 20
"""Each order has its trace in the log: hundreds of forms beside a hundred orders fill it."""


def with_documentation_on_file(
    determination: Determination,
    records: Sequence[SubmittedForm],
    *,
    patient: str,
    named: Collection[str] = (),
) -> Determination:
    """The determination with the forms on file of those that the policy asks for.

    `patient` is "Patient/id"; `named` are the forms that the order names, as "Type/id". A rejected
    form is in the trace with its reason, and in `rejected_forms` if it is for this patient and
    order, or may be, and no other response to it counts. Where facts are missing, a form is asked
    for its answers: it stays asked for, although it came back without them.
    """
    d = determination
    asked = {need.form for need in d.forms_to_ask}
    if d.missing or not asked:
        return d
    steps: list[TraceStep] = []
    found: dict[str, FormOnFile] = {}
    rejected: set[RejectedForm] = set()
    for record in sorted((r for r in records if r.form in asked), key=lambda r: r.reference):
        objection = next(_objections(record, d, patient, named), None)
        because = f"{record.reference}: {record.form}"
        if objection is None:
            found.setdefault(record.form, FormOnFile(record.form, record.reference))
            steps.append(TraceStep("documentation", "on file", because))
            continue
        steps.append(
            TraceStep("documentation", "does not count", f"{because}: {objection.because}")
        )
        if _may_be_for(record, d, patient, named):
            rejected.add(RejectedForm(record.form, objection.why, None))
    if (more := len(steps) - _MOST_IN_TRACE) > 0:
        steps[_MOST_IN_TRACE:] = [TraceStep("documentation", "more", f"{more} further forms")]
    told = sorted((r for r in rejected if r.form not in found), key=lambda r: (r.form, r.why))
    return replace(
        d,
        trace=(*d.trace, *steps),
        documentation_on_file=tuple(found[form] for form in sorted(found)),
        rejected_forms=(*d.rejected_forms, *told),
    )


def _objections(
    record: SubmittedForm, d: Determination, patient: str, named: Collection[str]
) -> Iterator[Objection]:
    yield from objections_to_any_form(record, d.order.reference, patient, named)
    if record.is_open:
        yield Objection("open", "a required question is not answered")


def _may_be_for(
    record: SubmittedForm, d: Determination, patient: str, named: Collection[str]
) -> bool:
    """Whether a form is for this patient and order, or is the patient's and names no other."""
    if record.patient not in (None, patient):
        return False
    if d.order.reference in record.orders or record.reference in named:
        return True
    return record.patient == patient and not record.orders
