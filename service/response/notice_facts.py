"""Facts of the notice card: notice, steps and forms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cards.advance_notice import AdvanceNotice, NoticeText
from cards.brevity import Line
from cards.task import PayerReference
from cards.texts.wording import Phrases
from service.decision.determination import Determination
from service.decision.policy import Program
from service.policies.notices import Notice
from service.response.notice_forms import NoticeContext, NoticeForms
from service.response.response_links import ResponseLinks


@dataclass(frozen=True, slots=True)
class NoticeFacts:
    """Facts of the notice card of a group of orders."""

    links: ResponseLinks
    forms: NoticeForms

    def of(self, context: NoticeContext) -> AdvanceNotice:
        """The notices of the group, in the editions of the day."""
        group, to = context.group, context.to
        editions = self.links.editions(group.first, to.now.date())
        return AdvanceNotice(
            notices=tuple(self._notice_text(n, context) for n in editions),
            services=group.services,
            insurer=self.links.insurer(group.first),
            payer=self._payer_reference(group.first),
            patient=to.patient,
            encounter=to.encounter,
            references=group.pointed_at,
            several_orders=to.orders_in_request > len(group.determinations),
            ordered_as=group.ordered_as,
            now=to.now,
            program_known=group.first.program.program is not Program.UNKNOWN,
        )

    def _notice_text(self, notice: Notice, context: NoticeContext) -> NoticeText:
        group = context.group
        return NoticeText(
            title=notice.title,
            program_label=notice.program_label,
            summary=notice.summary,
            instruction=notice.instruction or notice.summary,
            warnings=tuple(_warnings(notice, context, self.links.texts.phrases)),
            lines=tuple(_lines(notice, context, self.links)),
            advice=tuple(_advice(notice, context)),
            links=tuple(self.links.of_notices([notice], group.first, group.policy)),
            forms=tuple(self.forms.offered(notice, context)),
        )

    def _payer_reference(self, d: Determination) -> PayerReference:
        payer = d.coverage.payer if d.coverage else None
        if payer is None:
            return PayerReference(self.links.insurer(d))
        return PayerReference(payer.name, system=payer.system, identifier=payer.identifier)


# How long a line stays where there are too many words, see `cards.brevity`.
_DO_NOT, _CALL, _DO = range(3)


def _lines(notice: Notice, context: NoticeContext, links: ResponseLinks) -> Iterator[Line]:
    """Lines read at a glance: do, do not, where to send it."""
    labels = links.texts.phrases.labels
    today, group = context.to.now.date(), context.group
    reason = group.policy.reason_for_patient(group.first.program.program)
    yield Line(notice.filled(notice.do or "", today, reason), labels.do, _DO)
    situations = (e for n, e in links.situations(group.first, today) if n.id == notice.id)
    instead = next((e.do_not for e in situations if e.do_not), None)
    do_not = instead or notice.filled(notice.do_not or "", today, reason)
    yield Line(do_not, labels.do_not, _DO_NOT)
    if notice.sent_to_payer:
        yield Line(links.requests_line(group.first) or "", labels.send, _CALL)


def _warnings(notice: Notice, context: NoticeContext, phrases: Phrases) -> Iterator[str]:
    """That the edition expires before the service, and why a form that came back fails."""
    today, group = context.to.now.date(), context.group
    form = notice.form or notice.title
    if notice.expired_on(today):
        yield phrases.notice_expired.format(form=form, day=notice.ends)
    elif notice.expired_on(max(d.day.latest for d in group.determinations)):
        yield phrases.notice_expires.format(form=form, day=notice.ends)
    records = {r.questionnaire for r in notice.records}
    rejected_forms = (
        p.why for d in group.determinations for p in d.rejected_forms if p.form in records
    )
    for why in dict.fromkeys(rejected_forms):
        yield phrases.rejected_forms.format(
            notice=notice.short_name, because=phrases.why_rejected.of(why)
        )


def _advice(notice: Notice, context: NoticeContext) -> Iterator[str]:
    """The steps, for after "More"."""
    group = context.group
    reason = group.policy.reason_for_patient(group.first.program.program)
    yield from notice.advice_on(context.to.now.date(), reason)
