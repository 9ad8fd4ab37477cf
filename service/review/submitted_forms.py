"""Submitted forms at the EHR, and Questionnaires that it lacks.

Forms are searched for only after an earlier request for one, which the order's coverage
information shows; a first signing costs no search.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from cards.coverage_information import DOCUMENTATION_ON_FILE, NOTICE_ON_FILE
from cards.coverage_information.reader import read_coverage_information
from cards.questionnaires import Form, Forms
from service.decision.policy import Policies
from service.decision.submitted_form import FormAcceptanceRule, SubmittedForm
from service.ehr.fhir_query import FhirQuery, Search, missing
from service.ehr.resource_fetcher import Fetched
from service.fhir.document import Resource
from service.fhir.orders import read_order
from service.fhir.questionnaire_responses import form_canonical, named_by, submitted_forms
from service.fhir.resources import Resources


@dataclass(frozen=True, slots=True)
class FormsOnFile:
    """Finder of submitted forms.

    `rules` are the acceptance rules. `of_notices` are the ids of the forms that each notice offers.
    `brought` says whether the Questionnaire of an offered form is sent to an EHR without it.
    """

    forms: Forms
    rules: Sequence[FormAcceptanceRule]
    policies: Policies
    of_notices: Mapping[str, Collection[str]]
    brought: bool = False

    def records(self, resources: Resources) -> tuple[SubmittedForm, ...]:
        """This service's forms among the present QuestionnaireResponses, valid or not."""
        return submitted_forms(resources, self._form_id, self._required_in)

    def needs(
        self, orders: Sequence[Resource], resources: Resources, patient: str
    ) -> list[FhirQuery]:
        """Queries for the responses named by the orders and their coverage information, and for
        Questionnaires.

        `patient` is "Patient/id".
        """
        found: list[FhirQuery] = []
        for order in orders:
            if "extension" in order.data:  # without coverage information no form was asked for
                found.extend(self._of_coverage_information(order, resources, patient))
            found.extend(self._named(order, resources))
        offered = self._offered(orders)
        found.extend(_search(form) for form in offered if not _at_hand(form, resources))
        return found

    def missing_questionnaires(
        self, orders: Sequence[Resource], resources: Resources, fetched: Fetched
    ) -> frozenset[str]:
        """Canonicals with version that the EHR was asked for and does not have (CRD 2.2.1 dev-20).

        A failed query proves nothing.
        """
        asked = {report.what for report in fetched.reports}
        answered = (
            f
            for f in (self._offered(orders) if asked else ())
            if _search(f).label in asked and _search(f) not in fetched.failed
        )
        return frozenset(f.canonical for f in answered if not _at_hand(f, resources))

    def url_of(self, form_id: str) -> str | None:
        """The canonical of a form, without its version."""
        form = self.forms.get(form_id)
        return form.url if form else None

    def _form_id(self, canonical: str) -> str | None:
        form = self.forms.answered_by(canonical)
        return form.id if form else None

    def _required_in(self, form_id: str) -> frozenset[str]:
        form = self.forms.get(form_id)
        return frozenset(form.required_questions()) if form else frozenset()

    def _given(self, resources: Resources) -> frozenset[str]:
        """The ids of this service's forms among the present responses."""

        def read() -> frozenset[str]:
            responses = resources.of_type("QuestionnaireResponse")
            written = (form_canonical(r.data) for r in responses)
            found = (self._form_id(c) for c in written if c is not None)
            return frozenset(form for form in found if form is not None)

        return resources.once("forms given", read)

    def _offered(self, orders: Sequence[Resource]) -> Sequence[Form]:
        """The forms whose Questionnaire a card on these orders can bring, in the forms' sequence.

        They are those of the policies that have an order's code, and of their notices.
        """
        if not self.brought:
            return ()
        ids: set[str] = set()
        for order in orders:
            for coding in read_order(order, Resources()).codings:
                for version in self.policies.versions_for(coding.code) if coding.code else ():
                    ids |= version.forms_with_button
                    for notice in chain.from_iterable(version.notices.values()):
                        ids.update(self.of_notices.get(notice, ()))
        return tuple(form for form in self.forms if form.id in ids) if ids else ()

    def _named(self, order: Resource, resources: Resources) -> Iterator[FhirQuery]:
        """The responses that an order names, where its policy asks for forms."""
        named = [*named_by(order.data)]
        if named and self._documentation_of(order):
            for reference in named:
                yield from missing(reference, resources, "QuestionnaireResponse")

    def _documentation_of(self, order: Resource) -> frozenset[str]:
        """The ids of the forms that a policy with one of the order's codes can ask for.

        Without those that only an open answer asks for: their answers are facts.
        """
        return frozenset(
            need.form
            for coding in read_order(order, Resources()).codings
            for version in (self.policies.versions_for(coding.code) if coding.code else ())
            for outcome in version.outcomes
            for need in outcome.forms
        )

    def _of_coverage_information(
        self, order: Resource, resources: Resources, patient: str
    ) -> Iterator[FhirQuery]:
        asked: set[str] = set()
        for info in read_coverage_information(order.data):
            asked.update(self._form_id(canonical) or "" for canonical in info.questionnaires)
            on_file = (*info.detail(NOTICE_ON_FILE), *info.detail(DOCUMENTATION_ON_FILE))
            for reference in on_file:
                if reference.startswith("QuestionnaireResponse/"):
                    yield from missing(reference, resources, "QuestionnaireResponse")
        notices = {r.notice for r in self.rules if r.form in asked}
        wanted = {r.form for r in self.rules if r.notice in notices}
        wanted |= asked & self._documentation_of(order) if asked else set()
        wanted -= self._given(resources) if wanted else set()
        for form in self.forms:
            if form.id in wanted:
                of_patient = ("patient", patient.removeprefix("Patient/"))
                params = (of_patient, ("questionnaire", form.url))
                yield Search("QuestionnaireResponse", params, spare=frozenset({"questionnaire"}))


def _search(form: Form) -> Search:
    params = (("url", form.url), ("version", form.version))
    return Search("Questionnaire", params, spare=frozenset({"version"}))


def _at_hand(form: Form, resources: Resources) -> bool:
    return any(
        (r.data.get("url"), r.data.get("version")) == (form.url, form.version)
        for r in resources.of_type("Questionnaire")
    )
