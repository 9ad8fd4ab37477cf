"""$questionnaire-package: the forms of orders, each with a prefilled response (DTR).

Prefilled from this caller's data only: this call, or its own logged call of the assertion id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Literal, NamedTuple

from cards.questionnaires import ADAPTIVE_SUFFIX, Form, Forms
from cards.texts import Texts
from cards.vocabulary import Json
from service.crd.call_limits import CallLimits
from service.crd.cds_service import CdsService, ReviewTarget
from service.crd.hook_request import RequestReader
from service.crd.versions import CrdVersions
from service.decision.coverage import Coverage, CoverageOutcome
from service.decision.policy import Program
from service.dtr.adaptive_forms import CONTAINED_ID, AdaptiveForm, AdaptiveForms
from service.dtr.begun_context import BegunContext, context_of
from service.dtr.dtr_version import DTR_2_2, DtrVersion, of_crd
from service.dtr.logged_calls import LoggedCalls
from service.dtr.next_questions import NextQuestions, begun_items, decides
from service.dtr.order_summary import with_order_summary
from service.dtr.package_output import Issue, bare_output, output_parameters, package_bundle
from service.dtr.package_request import PackageRequest, read_package_request
from service.dtr.packaged_forms import PackagedForm, PackagedForms
from service.errors import NothingPackaged, UnknownContext, UnknownForm, UnprocessableRequest
from service.fhir.coverages import PayerDirectory, read_coverage
from service.fhir.document import Resource
from service.fhir.member_identity import card_number
from service.fhir.orders import ORDER_TYPES, read_order
from service.fhir.people import Person, read_person
from service.fhir.resources import Resources
from service.policies.notices import Notice, NoticeLibrary
from service.response.form_filler import PURPOSE_OF_NO_NEED, FormFiller, PrefillContext
from service.response.response_context import Decided
from service.review.decide import DecideStep, DecisionContext


@dataclass(frozen=True, slots=True)
class RecalledOrder:
    """The order of the logged call of a context, with that call's resources and the version of DTR
    that goes with its version of CRD.
    """

    order: Resource
    resources: Resources
    encounter_id: str | None
    version: DtrVersion | None


@dataclass(slots=True)
class WantedForm:
    """A form of the answer, with its notice and its orders; `adaptive` where that is asked for."""

    form: Form
    notice: Notice | None
    orders: list[Decided] = field(default_factory=list)
    purpose: str = PURPOSE_OF_NO_NEED
    adaptive: AdaptiveForm | None = None


class AskedCoverage(NamedTuple):
    """A coverage of the call: its resource, and the decision's view of it."""

    resource: Resource
    read: Coverage


class QuestionnairePackages:
    """The use case of the package operation. Stateless; dependencies are parameters.

    `clock` gives the current time with a time zone; `zone` is the time zone of a day; `version` is
    answered in where neither the address nor the call tells one.
    """

    def __init__(
        self,
        services: Sequence[CdsService],
        forms: Forms,
        notices: NoticeLibrary,
        versions: CrdVersions,
        decide_step: DecideStep,
        payers: PayerDirectory,
        filler: FormFiller,
        texts: Texts,
        logged_calls: LoggedCalls,
        clock: Callable[[], datetime],
        zone: tzinfo,
        limits: CallLimits,
        packaged: PackagedForms,
        questions: NextQuestions,
        version: DtrVersion = DTR_2_2,
    ) -> None:
        self.limits = limits
        self.packaged = packaged
        self.questions = questions
        self.version = version
        self.readers: Mapping[str, RequestReader] = {
            s.id: RequestReader(s, versions, limits) for s in services
        }
        self.forms = forms
        self.notices = notices
        self.decide_step = decide_step
        self.payers = payers
        self.filler = filler
        self.texts = texts
        self.logged_calls = logged_calls
        self._clock = clock
        self._zone = zone

    def package(
        self,
        body: bytes,
        client: str,
        form: str | None = None,
        version: DtrVersion | None = None,
    ) -> Json:
        """The output Parameters for the input Parameters in `body`, for the client of this name.

        `form` is the canonical of a call on one form, `version` that of the address called. Raises
        a RequestError: 400 or 422 for an invalid call, 404 for a context alone that is not of this
        client, 404 or 422 where no form could be told for anything that was asked.
        """
        asked = read_package_request(body, self.limits, self._zone, form)
        now = self._clock().astimezone(self._zone)
        return _Packaging(self, asked, self._recall(asked, client), now, version).run()

    @property
    def adaptive_forms(self) -> AdaptiveForms:
        return self.questions.forms

    def _recall(self, asked: PackageRequest, client: str) -> RecalledOrder | None:
        """The logged call of the context, if it is of this client and patient."""
        if asked.context is None:
            return None
        logged = self.logged_calls.by_assertion_id(asked.context, client)
        reader = self.readers.get(logged.service_id) if logged else None
        if logged is None or reader is None:
            return None
        call = reader.read(logged.request)
        if call.patient != asked.patient:
            return None
        resources = call.resources(zone=self._zone)
        for resource in logged.fetched:
            resources.add(resource)
        order = resources.get(logged.order)
        if order is None:
            return None
        return RecalledOrder(order, resources, call.encounter_id, of_crd(call.version.name))


class _Packaging:
    """The state of one call: forms and issues, in the order of the request."""

    def __init__(
        self,
        shared: QuestionnairePackages,
        asked: PackageRequest,
        recalled: RecalledOrder | None,
        now: datetime,
        version: DtrVersion | None = None,
    ) -> None:
        self.shared = shared
        self.words = shared.texts.packages
        self.asked = asked
        self.recalled = recalled
        self.now = now
        of_context = recalled.version if recalled else None
        self.own_address = version is not None
        self.version = version or asked.version or of_context or shared.version
        if len(asked.coverages) > 1 and not self.version.several_coverages:
            said = f"expected exactly one parameter coverage, as DTR {self.version.name} has it"
            raise UnprocessableRequest(said, "parameter")
        self.coverages = [
            AskedCoverage(
                c, _addressed(read_coverage(c, asked.resources, shared.payers), shared.payers)
            )
            for c in asked.coverages
        ]
        self.looked_at = 0
        self.decided: list[Decided] = []
        self.wanted: dict[str, WantedForm] = {}
        self.issues: list[Issue] = []

    def run(self) -> Json:
        for order in self.asked.orders:
            self._consider(order, self.asked.resources, None, self.words.order_settled)
        self._consider_context()
        named: dict[str, WantedForm] = {}
        for questionnaire in self.asked.questionnaires:
            found = self._named(questionnaire.canonical)
            if found is None:
                self._say("warning", "not-found", self.words.form_unknown, questionnaire.place)
            else:
                named[found.form.id] = self.wanted.setdefault(found.form.id, found)
        # What was asked for by name comes first: some clients read no further.
        wanted = {**named, **self.wanted}
        bundles = [bundle for w in wanted.values() for bundle in self._bundle(w)]
        issues = list(dict.fromkeys(self.issues))
        if not bundles and issues and all(i.severity == "warning" for i in issues):
            unknown = all(i.code == "not-found" for i in issues)
            failed = UnknownForm if unknown else NothingPackaged
            raise failed([i.as_json() for i in issues])
        if self.own_address and self.version.bare_output:
            return bare_output(bundles, issues, self.version)
        return output_parameters(bundles, issues, self.version)

    def _named(self, canonical: str) -> WantedForm | None:
        """The form of a canonical, with the orders of this call."""
        adaptive = self.shared.adaptive_forms.by_canonical(canonical)
        form = adaptive.form if adaptive else self.shared.forms.by_canonical(canonical)
        if form is None:
            return None
        whole = adaptive.whole if adaptive else form
        wanted = WantedForm(form, self._notice_of(whole), list(self.decided), adaptive=adaptive)
        # Of one form the answer has one: the way of filling it in that was asked for.
        for other in (whole.id, whole.id + ADAPTIVE_SUFFIX):
            if other in self.wanted:
                wanted.purpose = self.wanted[other].purpose
            if other != form.id:
                self.wanted.pop(other, None)
        return wanted

    def _consider_context(self) -> None:
        recalled = self.recalled
        if recalled is not None:
            # The order may have changed since: the posted one counts (DTR 2.2 prof-1).
            posted = {o.reference for o in self.asked.orders}
            if recalled.order.reference not in posted:
                self._consider(
                    recalled.order,
                    recalled.resources,
                    recalled.encounter_id,
                    self.words.context_settled,
                )
        elif self.asked.context is not None:
            if not self.asked.orders and not self.asked.questionnaires:
                raise UnknownContext(self.words.context_unknown)
            self._say("warning", "not-found", self.words.context_unknown)

    def _consider(
        self, resource: Resource, resources: Resources, encounter_id: str | None, settled: str
    ) -> None:
        """Add the forms of an order, or the issue with the reason for none, by each coverage; by
        those alone that the order names, where it names one of them.
        """
        if resource.type not in ORDER_TYPES:
            return self._say("warning", "not-supported", self.words.order_kind, resource.place)
        of_order = read_order(resource, resources).insurance
        named = [c.read for c in self.coverages if c.read.reference in of_order]
        under = named or [c.read for c in self.coverages]
        self.looked_at += len(under)
        self.shared.limits.check_orders_by_coverage(self.looked_at, resource.place)
        for coverage in under:
            self._consider_under(coverage, resource, resources, encounter_id, settled)
        return None

    def _consider_under(
        self,
        coverage: Coverage,
        resource: Resource,
        resources: Resources,
        encounter_id: str | None,
        settled: str,
    ) -> None:
        # A payer by reference only cannot be resolved here; the caller addresses this payer.
        if coverage.payer is None and coverage.payer_told:
            return self._say("warning", "business-rule", self.words.payer, coverage.place)
        context = DecisionContext(
            patient=self.asked.patient,
            encounter_id=encounter_id,
            resources=resources,
            coverages=[coverage],
            now=self.now,
        )
        found = self.shared.decide_step.decide([ReviewTarget(resource)], context)
        if not found:
            return self._say("information", "informational", self.words.order_ended, resource.place)
        (decided,) = found
        if decided.determination.finding.outcome is not CoverageOutcome.FOUND:
            return self._say(
                "warning", "business-rule", self.words.coverage_inactive, coverage.place
            )
        return self._want_forms(decided, coverage, settled)

    def _want_forms(self, decided: Decided, coverage: Coverage, settled: str) -> None:
        determination, place = decided.determination, decided.resource.place
        if determination.undetermined is not None:
            reason = self.shared.texts.undetermined[determination.undetermined].reason
            said = self.words.order_gap.format(reason=reason)
            self._say("warning", "incomplete", said, place)
            return
        self.decided.append(decided)
        policy_says = determination.policy_determination
        for need in policy_says.forms if policy_says else ():
            whole = self.shared.filler.links.form(need.form)
            adaptive = self.shared.adaptive_forms.of(whole) if need.adaptive else None
            form = adaptive.form if adaptive else whole
            found = WantedForm(form, None, purpose=need.purpose, adaptive=adaptive)
            self.wanted.setdefault(form.id, found).orders.append(decided)
        if policy_says is not None and policy_says.forms:
            return
        if not determination.notices:
            self._say("information", "informational", settled, place)
            return
        if determination.program.program is Program.UNKNOWN:
            self._say("information", "informational", self.words.program_not_told, coverage.place)
        for notice_id in determination.notices:
            notice = self.shared.notices.edition(notice_id, self.now.date())
            form = self.shared.filler.links.form(notice.questionnaire)
            wanted = self.wanted.setdefault(form.id, WantedForm(form, notice))
            wanted.orders.append(decided)

    def _notice_of(self, form: Form) -> Notice | None:
        """The notice of a form requested by canonical, in today's edition."""
        for notice_id in self.shared.notices.ids():
            notice = self.shared.notices.edition(notice_id, self.now.date())
            if form.id in (notice.questionnaire, *(r.questionnaire for r in notice.records)):
                return notice
        return None

    def _bundle(self, wanted: WantedForm) -> Iterator[Json]:
        """The package of a form; nothing where it has not changed since the time that was told."""
        each = list(self._by_coverage(wanted))
        contexts = [self._context(wanted, orders) for _, orders in each]
        begun = [self._begun(wanted, context) for context in contexts]
        # The form itself is one: of several coverages it begins as without an order.
        alone = begun[0] if len(each) == 1 else self._begun(wanted, BegunContext())
        packaged = self._packaged(wanted, alone)
        if self._is_unchanged(wanted.form, packaged):
            return
        for canonical in packaged.unknown:
            said = self.words.dependency_unknown.format(canonical=canonical)
            self._say("warning", "not-found", said)
        responses = [
            self._response(wanted, *of_coverage, context, first)
            for of_coverage, context, first in zip(each, contexts, begun, strict=True)
        ]
        yield package_bundle(packaged, responses)

    def _by_coverage(self, wanted: WantedForm) -> Iterator[tuple[AskedCoverage, list[Decided]]]:
        """The coverages that a form is for, each with its orders: all, of a form without orders."""
        for coverage in self.coverages:
            orders = [
                d
                for d in wanted.orders
                if (its := d.determination.coverage) is None
                or its.reference == coverage.read.reference
            ]
            if orders or not wanted.orders:
                yield coverage, orders

    def _response(
        self,
        wanted: WantedForm,
        coverage: AskedCoverage,
        orders: Sequence[Decided],
        context: BegunContext,
        begun: tuple[str, ...],
    ) -> Json:
        """The begun response of a form for the orders under one coverage; of an adaptive one with
        its context and first questions.
        """
        response = self.shared.filler.begun(wanted.form, self._filling(wanted, coverage, orders))
        if wanted.adaptive is not None:
            return self._begun_response(response, wanted.adaptive, context, begun)
        if self.version.form.summaries:
            items = wanted.form.resource["item"]
            origin = self.version.response.filled_in
            return with_order_summary(response, items, orders, origin)
        return response

    def _context(self, wanted: WantedForm, orders: Sequence[Decided]) -> BegunContext:
        """The context of an adaptive form, of the only order whose rules its answers decide."""
        form = wanted.adaptive
        if form is None:
            return BegunContext()
        found = [context_of(d.determination, d.facts) for d in orders]
        deciding = [context for context in found if decides(form, context)]
        return deciding[0] if len(deciding) == 1 else BegunContext()

    def _begun(self, wanted: WantedForm, context: BegunContext) -> tuple[str, ...]:
        if wanted.adaptive is None:
            return ()
        questions = self.shared.questions
        return questions.begin(wanted.adaptive, context, self.version, self.now.date())

    def _packaged(self, wanted: WantedForm, begun: tuple[str, ...]) -> PackagedForm:
        if wanted.adaptive is None:
            return self.shared.packaged.of(wanted.form, self.version, self.now)
        # A first form with items has no conditions (DTR 2.0): what is known changes nothing in it.
        items = wanted.adaptive.pruned(begun, {}, conditions=self.version.form.conditions)
        return self.shared.packaged.of_adaptive(wanted.adaptive, items, self.version, self.now)

    def _begun_response(
        self, response: Json, form: AdaptiveForm, context: BegunContext, begun: tuple[str, ...]
    ) -> Json:
        """The response of an adaptive form: it contains its questions, and has no answer yet."""
        contained = self.shared.questions.contained(
            form, context, begun, self.version, self.now.date()
        )
        made: Json = {}
        for name, value in response.items():
            if name == "extension":
                made["contained"] = [contained]  # at its place in FHIR's sequence of elements
            made[name] = value
        made["meta"] = {"profile": [self.version.form.adaptive_response]}
        made["questionnaire"] = f"#{CONTAINED_ID}"
        made["item"] = begun_items(contained.get("item", []))
        return {name: value for name, value in made.items() if value != []}

    def _is_unchanged(self, form: Form, packaged: PackagedForm) -> bool:
        since = self.asked.changed_since
        if since is None or packaged.changed > since:
            return False
        self._say("information", "informational", self.words.unchanged.format(title=form.title))
        return True

    def _filling(
        self, wanted: WantedForm, coverage: AskedCoverage, orders: Sequence[Decided]
    ) -> PrefillContext:
        encounter_id = self.recalled.encounter_id if self.recalled else None
        payer = coverage.read.payer
        systems = payer.member_systems if payer else frozenset()
        return PrefillContext(
            patient=self.asked.patient,
            person=self._person(),
            member_id=card_number(coverage.resource, systems),
            orders=tuple(c.resource.reference for c in orders),
            coverage=coverage.read.reference,
            encounter=f"Encounter/{encounter_id}" if encounter_id else None,
            determinations=tuple(c.determination for c in orders),
            details=tuple(c.details for c in orders),
            facts=tuple(c.facts for c in orders),
            notice=wanted.notice,
            purpose=wanted.notice.doc_purpose if wanted.notice else wanted.purpose,
            shape=self.version.response,
            now=self.now,
        )

    def _person(self) -> Person | None:
        """The patient of this call, else of the logged call."""
        for resources in self._sent():
            patient = resources.get(self.asked.patient)
            if patient is not None and patient.type == "Patient":
                return read_person(patient)
        return None

    def _sent(self) -> Iterator[Resources]:
        yield self.asked.resources
        if self.recalled is not None:
            yield self.recalled.resources

    def _say(
        self,
        severity: Literal["warning", "information"],
        code: str,
        text: str,
        place: str = "",
    ) -> None:
        self.issues.append(Issue(severity, code, text, place))


def _addressed(coverage: Coverage, payers: PayerDirectory) -> Coverage:
    """The coverage with the payer that the caller addresses, where it tells none.

    A payer by reference only cannot be resolved here. Of ours it is the one that speaks of the
    coverage's program, if no other one does.
    """
    entry = coverage.program.entry
    if coverage.payer is not None or coverage.payer_told or entry is None:
        return coverage
    speaking = [payer for payer in payers if entry.id in payer.speaks_of]
    return replace(coverage, payer=speaking[0]) if len(speaking) == 1 else coverage
