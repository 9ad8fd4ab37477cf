"""Notice status: sentences on a notice on file and on claim modifiers, from the notice's data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from cards.naming import NamedService, fill
from service.decision.determination import Determination
from service.decision.policy import Program
from service.decision.submitted_form import months_after
from service.policies.notices import Modifier, Notice, RecordKind
from service.response.response_links import ResponseLinks


def on_file_sentences(
    d: Determination, links: ResponseLinks, services: Sequence[NamedService]
) -> Iterator[str]:
    """Sentences on the form on file, the patient's choice and the claim; none without a form.

    From the edition that the form is of.
    """
    yield from form_sentences(d, links, services)
    yield from unfit_modifiers(d, links)


def form_sentences(
    d: Determination, links: ResponseLinks, services: Sequence[NamedService]
) -> Iterator[str]:
    """The same without the modifiers that do not apply."""
    found = d.notice_on_file
    if found is None:
        return
    notice = links.notices.edition(found.notice, found.edition)
    kind = record_kind(d, links)
    template = kind and (kind.refused if found.refused else kind.text)
    if kind and template:
        due = months_after(found.day, kind.valid_months) + timedelta(days=1)
        said = fill(template, services).replace("{day}", found.day.isoformat())
        yield said.replace("{due}", due.isoformat())
    yield from (o.on_file for o in notice.options if o.option == found.option)
    modifier = claim_modifier(d, notice)
    if modifier is not None:
        phrases = links.texts.phrases
        yield phrases.modifier_fits.format(code=modifier.code, because=modifier.when)


def unfit_modifiers(d: Determination, links: ResponseLinks) -> Iterator[str]:
    """The modifiers that the claim does not take, where it takes one."""
    found = d.notice_on_file
    notice = links.notices.edition(found.notice, found.edition) if found else None
    if notice is not None and claim_modifier(d, notice) is not None:
        for unfit in notice.why_not:
            template: str = links.texts.phrases.modifier_unfit
            yield template.format(code=unfit.code, because=unfit.because)


def record_kind(d: Determination, links: ResponseLinks) -> RecordKind | None:
    """The notice's entry on the form on file; None without one."""
    found = d.notice_on_file
    if found is None:
        return None
    notice = links.notices.edition(found.notice, found.edition)
    return next((r for r in notice.records if r.questionnaire == found.form), None)


def rejected_sentences(d: Determination, links: ResponseLinks, day: date) -> Iterator[str]:
    """Reasons for which forms of a notice that is given no more do not count.

    A notice that is still to be given says it on its own card.
    """
    phrases = links.texts.phrases
    for rejected in d.rejected_forms:
        if rejected.notice is not None and rejected.notice not in d.notices:
            notice = links.notices.edition(rejected.notice, day)
            because = phrases.why_rejected.of(rejected.why)
            yield phrases.rejected_forms.format(notice=notice.short_name, because=because)


def claim_modifier(d: Determination, notice: Notice) -> Modifier | None:
    """The claim modifier at present, under Original Medicare only.

    None before the notice's outcome is known, without a claim to Medicare, or after a refusal to
    sign.
    """
    if d.program.program is not Program.ORIGINAL_MEDICARE:
        return None
    found = d.notice_on_file
    if found is None or not any(o.option == found.option and o.claim for o in notice.options):
        return None
    return next((m for m in notice.modifiers if m.goes_with == "notice-on-file"), None)
