"""Names, links and wording of answers: insurer, policy page, form, notice edition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from cards.naming import NamedService, fill
from cards.questionnaires import Form, Forms
from cards.texts import Texts
from service.decision.coverage import Contact
from service.decision.determination import Determination
from service.decision.policy import PolicyVersion
from service.errors import ConfigurationError
from service.policies.notices import Notice, NoticeLibrary, SituationEntry


@dataclass(frozen=True, slots=True)
class ResponseLinks:
    """Names, links and wording.

    `public_url` is this service's public base URL without a trailing slash; `operator_name`, the
    insurer's name for a request without one, and `operator_contact` its contact; `texts`, the
    wording.
    """

    notices: NoticeLibrary
    forms: Forms
    public_url: str
    operator_name: str
    texts: Texts
    operator_contact: Contact | None = None

    def form(self, form_id: str) -> Form:
        """The form with this id. Raises ConfigurationError for an unknown id."""
        form = self.forms.get(form_id)
        if form is None:
            raise ConfigurationError(f"no form {form_id!r}; policy lint names the notice's file")
        return form

    def policy_page(self, d: Determination, policy: PolicyVersion) -> str:
        """The payer's configured page of the policy, else this service's page.

        The latter with the anchor of its coverage section (CRD 2.2.1 resp-21).
        """
        return _payers_page(d, policy) or f"{self._page(policy)}#coverage"

    def notice_page(self, d: Determination, policy: PolicyVersion, notice: Notice) -> str | None:
        """The notice's section on this service's page of the policy.

        None if the payer has its own page, of unknown content.
        """
        return None if _payers_page(d, policy) else f"{self._page(policy)}#notice-{notice.id}"

    def of_notices(
        self, notices: Sequence[Notice], d: Determination, policy: PolicyVersion
    ) -> Iterator[tuple[str, str]]:
        """(label, URL) of the notices' links, then of their sections on the policy page.

        On both cards, since some clients show no links in a detail (CRD 2.2.1 resp-10).
        """
        yield from ((link.label, link.url) for notice in notices for link in notice.links)
        label = self.texts.phrases.notice_link
        for notice in notices:
            url = self.notice_page(d, policy, notice)
            if url:
                yield label.format(name=notice.short_name), url

    def _page(self, policy: PolicyVersion) -> str:
        return f"{self.public_url}/policies/{policy.id}"

    def insurer(self, d: Determination) -> str:
        """The insurer's name as on the member's card (CRD 2.2.1 resp-4).

        Without an identified payer, the policy's insurer: a name from the request would attribute
        this answer to another insurer.
        """
        payer = d.coverage.payer if d.coverage else None
        return payer.name if payer else self.operator_name

    def contact(self, d: Determination) -> Contact | None:
        """Contact for questions: the payer's, else that of the policy's insurer."""
        payer = d.coverage.payer if d.coverage else None
        return payer.contact if payer else self.operator_contact

    def contact_line(self, d: Determination) -> str | None:
        """The contact in a few words, None where the payers file names none."""
        return self.contact_words(self.contact(d))

    def contact_words(self, contact: Contact | None) -> str | None:
        """A contact in a few words."""
        if contact is None:
            return None
        template: str = self.texts.phrases.contact
        return template.format(name=contact.name, value=contact.value)

    def requests_line(self, d: Determination) -> str | None:
        """Address of requests for a decision, None where its entry does not say."""
        payer = d.coverage.payer if d.coverage else None
        if payer is None or payer.requests is None:
            return None
        send_to, call = payer.requests
        if call is None:
            return send_to
        return self.texts.phrases.send_or_call.format(to=send_to, call=call)

    def situations(self, d: Determination, day: date) -> Iterator[tuple[Notice, SituationEntry]]:
        """The situations that hold, with their notices in the edition of the day."""
        for found in d.situations:
            notice = self.notices.edition(found.notice, day)
            entry = notice.situation(found.id)
            if entry is not None:
                yield notice, entry

    def replaced(self, d: Determination, day: date) -> frozenset[str]:
        """The notices that are given in a situation whose words take the place of theirs."""
        found = self.situations(d, day)
        return frozenset(n.id for n, e in found if e.given and e.summary is not None)

    def situation_orders(
        self, d: Determination, day: date, services: Sequence[NamedService]
    ) -> Iterator[str]:
        """A sentence for the order for each situation, with its program where there are several."""
        said = [(n, fill(e.order or e.card, services)) for n, e in self.situations(d, day)]
        alike = len({text for _, text in said}) <= 1
        yield from dict.fromkeys(
            text if alike else f"{n.program_label}: {text}" for n, text in said
        )

    def editions(self, d: Determination, day: date) -> list[Notice]:
        """The editions in force on `day` of a determination's notices."""
        return [self.notices.edition(notice, day) for notice in d.notices]


def _payers_page(d: Determination, policy: PolicyVersion) -> str | None:
    payer = d.coverage.payer if d.coverage else None
    for link in payer.policies if payer else ():
        if link.policy_id == policy.id and link.url:
            return link.url
    return None
