"""Names and addresses that answers use: insurer, policy page, form, notice edition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from cards import texts
from cards.questionnaires import Form, Forms
from service.decision.determination import Determination
from service.decision.policy import PolicyVersion
from service.errors import ConfigurationError
from service.policies.notices import Notice, NoticeLibrary


@dataclass(frozen=True, slots=True)
class ResponseLinks:
    """`public_url` is this service's base URL as seen from outside, without a trailing slash;
    `operator_name` the insurer's name where a request tells none.
    """

    notices: NoticeLibrary
    forms: Forms
    public_url: str
    operator_name: str

    def form(self, form_id: str) -> Form:
        """The form of this id. Raises ConfigurationError if there is none."""
        form = self.forms.get(form_id)
        if form is None:
            raise ConfigurationError(f"no form {form_id!r}; policy lint names the notice's file")
        return form

    def policy_page(self, d: Determination, policy: PolicyVersion) -> str:
        """The payer's own page of the policy where one is configured, else our page of it.

        Ours is linked at what it says on coverage (CRD 2.2.1 resp-21).
        """
        return _payers_page(d, policy) or f"{self._page(policy)}#coverage"

    def notice_page(self, d: Determination, policy: PolicyVersion, notice: Notice) -> str | None:
        """Where our page of the policy tells how the notice is given.

        None where the payer has a page of its own: what stands there is not ours to know.
        """
        return None if _payers_page(d, policy) else f"{self._page(policy)}#notice-{notice.id}"

    def of_notices(
        self, notices: Sequence[Notice], d: Determination, policy: PolicyVersion
    ) -> Iterator[tuple[str, str]]:
        """(label, URL): the links of the notices, then what the policy's page says of each.

        Both cards have them, for not every client shows links in a detail (CRD 2.2.1 resp-10).
        """
        yield from ((link.label, link.url) for notice in notices for link in notice.links)
        label = texts.table("phrases")["notice_link"]
        for notice in notices:
            url = self.notice_page(d, policy, notice)
            if url:
                yield label.format(name=notice.short_name), url

    def _page(self, policy: PolicyVersion) -> str:
        return f"{self.public_url}/policies/{policy.id}"

    def insurer(self, d: Determination) -> str:
        """The insurer as on the member's card (CRD 2.2.1 resp-4).

        Where the coverage does not identify one of ours, it is whose policy this is: a name that
        came with the request would have another insurer say what it never said.
        """
        payer = d.coverage.payer if d.coverage else None
        return payer.name if payer else self.operator_name

    def editions(self, d: Determination, day: date) -> list[Notice]:
        """The editions, in force on `day`, of the notices that go with a determination."""
        return [self.notices.edition(notice, day) for notice in d.notices]


def _payers_page(d: Determination, policy: PolicyVersion) -> str | None:
    payer = d.coverage.payer if d.coverage else None
    for link in payer.policies if payer else ():
        if link.policy_id == policy.id and link.url:
            return link.url
    return None
