"""Order review: one hook call from its bytes to its answer, step by step."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from cards.texts.wording import Phrases
from service.crd.call_limits import CallLimits
from service.crd.cds_service import CdsService, HookTier, ReviewTarget
from service.crd.hook_request import HookRequest, RequestReader
from service.crd.missing_data import missing_needs, required
from service.crd.versions import CrdVersions
from service.decision.coverage import Coverage, CoverageFinding, CoverageOutcome
from service.decision.determination import Determination, TraceStep
from service.decision_log.call_record import CardShown
from service.ehr.fetch_report import FetchReport, Outcome, UnreadBecause
from service.ehr.fhir_client import Access
from service.ehr.fhir_query import FhirQuery, Read
from service.ehr.resource_fetcher import Fetched, ResourceFetcher
from service.ehr.server_aliases import NO_ALIASES, ServerAliases
from service.errors import PreconditionFailed, UnhandledPayer, UnknownService
from service.fhir.coverages import PayerDirectory, contained_coverages, read_coverage
from service.fhir.orders import ORDER_TYPES, VISIT_TYPE
from service.fhir.resources import Resources
from service.interpreter_lock import giving_way
from service.response import Asserted, Decided, Responder, ResponseContext
from service.review.alike_orders import one_of_each, with_alike
from service.review.decide import DecideStep, DecisionContext
from service.review.fact_needs import decision_needs, fact_needs, is_of_coverage, searched_in_full
from service.review.fhir_server_check import FhirServerCheck
from service.review.submitted_forms import FormsOnFile


@dataclass(frozen=True, slots=True)
class Review:
    """A reviewed call: request, fetched resources, determinations and answer.

    `answer` is the body in JSON, `cards` what the decision log keeps of its cards. `asserted` has
    an entry for each determination: its coverage assertion, or None.
    """

    request: HookRequest
    fetched: Fetched
    determinations: tuple[Determination, ...]
    answer: bytes
    cards: tuple[CardShown, ...]
    asserted: tuple[Asserted | None, ...]


class OrderReview:
    """Review of hook calls. Stateless; dependencies are parameters.

    `forms` finds submitted forms; `fetcher` reads missing resources from the EHR; `clock` gives the
    current time with a time zone; `zone` is the time zone of a day; `limits` bound a call's size;
    `aliases` are the other addresses of EHRs; `server_check` tells a client's servers.
    """

    def __init__(
        self,
        services: Sequence[CdsService],
        versions: CrdVersions,
        decide_step: DecideStep,
        payers: PayerDirectory,
        responder: Responder,
        fetcher: ResourceFetcher,
        forms: FormsOnFile,
        clock: Callable[[], datetime],
        zone: tzinfo,
        limits: CallLimits,
        aliases: ServerAliases = NO_ALIASES,
        server_check: FhirServerCheck | None = None,
    ) -> None:
        self._server_check = server_check or FhirServerCheck()
        self._aliases = aliases
        self._readers: Mapping[str, RequestReader] = {
            s.id: RequestReader(s, versions, limits) for s in services
        }
        self._decide_step = decide_step
        self._limits = limits
        self._payers = payers
        self._responder = responder
        self._fetcher = fetcher
        self._forms = forms
        self._clock = clock
        self._zone = zone

    def review(
        self,
        service_id: str,
        body: bytes,
        allowed_fhir_servers: frozenset[str] | None = None,
        apps: Mapping[str, str] | None = None,
        client: str = "",
    ) -> Review:
        """Answer the call in `body`. Raises a RequestError with each wrong place.

        `allowed_fhir_servers` are the FHIR base URLs of the calling client; None in open mode.
        `apps` are the launch URLs of the client's SMART apps by name; `client` is its name, "" in
        open mode: assertion ids are each client's own.
        """
        reader = self._readers.get(service_id)
        if reader is None:
            raise UnknownService("no CDS service has this id; GET /cds-services lists them")
        request = reader.read(body)
        self._server_check.check(request, allowed_fhir_servers)
        resources = request.resources(self._aliases.hosts_of(request.fhir_server), self._zone)
        try:
            return self._reviewed(request, resources, allowed_fhir_servers, apps or {}, client)
        finally:
            resources.forget()

    def _reviewed(
        self,
        request: HookRequest,
        resources: Resources,
        allowed_fhir_servers: frozenset[str] | None,
        apps: Mapping[str, str],
        client: str,
    ) -> Review:
        now, started = self._clock().astimezone(self._zone), time.monotonic()
        self._limits.check_resources(resources)
        self._limits.check_references(self._missing(request, resources))
        access = None
        if request.fhir_server:
            token = request.access_token or None
            access = Access(request.fhir_server, token, allowed_fhir_servers, client)
        fetched, searched = self._fetch(request, resources, access, now)
        asked = self._asked(request, resources)
        if not asked:
            refuse_without_orders(request, resources, fetched)
        self._limits.check_orders([a.resource for a in asked])
        coverages = [*self._coverages(resources)]
        for target in asked:
            coverages += contained_coverages(target.resource, resources, self._payers)
        performer = request.context.get("performer")
        context = DecisionContext(
            patient=request.patient,
            encounter_id=request.encounter_id,
            resources=resources,
            coverages=coverages,
            now=now,
            started=started,
            failed=fetched.failed,
            searched=searched,
            submitted_forms=self._forms.records(resources),
            performer=performer if isinstance(performer, str) else None,
            other_payers_count=request.version.needs_one_coverage,
        )
        found = self._decide_step.decide(asked, context)
        steps = _steps(fetched)
        decided = [_after_fetching(steps, item) for item in found]
        patient = resources.get(request.patient)
        determinations = tuple(item.determination for item in decided)
        unread_because = why_unread(request, fetched)
        if request.version.needs_one_coverage:
            refuse_without_payer(determinations, unread_because, self._responder.texts.phrases)
        unread = unread_orders(request, resources)
        to = ResponseContext(
            version=request.version,
            options=request.options,
            patient=request.patient,
            encounter=f"Encounter/{request.encounter_id}" if request.encounter_id else None,
            client=client,
            ehr=request.fhir_server or "",
            orders_in_request=max(_counted(asked, decided) + len(unread), drafts(resources)),
            orders_unread=unread,
            tier=request.service.tier,
            hook=request.service.hook,
            apps=apps,
            coverages={r.reference: r for r in resources.of_type("Coverage")},
            now=now,
            questionnaires_missing=self._forms.missing_questionnaires(
                [a.resource for a in asked], resources, fetched
            ),
            patient_at_hand=patient if patient and patient.type == "Patient" else None,
            unread_because=unread_because,
        )
        reply = self._responder.reply(decided, to)
        return Review(request, fetched, determinations, reply.answer, reply.cards, reply.asserted)

    # What is asked, missing and told by coverages is found out once, and again only where
    # something was fetched: the resources keep it until one is added.

    def _asked(self, request: HookRequest, resources: Resources) -> Sequence[ReviewTarget]:
        """The resources under review; a visit only if a policy has one of its codes."""
        return resources.once(
            "asked",
            lambda: with_alike(
                [
                    target
                    for target in giving_way(request.service.asked(request, resources))
                    if target.resource.type != VISIT_TYPE
                    or self._decide_step.names(target.resource, resources)
                ]
            ),
        )

    def _missing(self, request: HookRequest, resources: Resources) -> Sequence[FhirQuery]:
        """Queries for the hook's own resources, coverage, encounter and codes."""
        return resources.once(
            "missing",
            lambda: missing_needs(request, resources, one_of_each(self._asked(request, resources))),
        )

    def _coverages(self, resources: Resources) -> Sequence[Coverage]:
        """The Coverages at hand."""
        return resources.once(
            "coverages",
            lambda: [
                read_coverage(r, resources, self._payers) for r in resources.of_type("Coverage")
            ],
        )

    def _fetch(
        self,
        request: HookRequest,
        resources: Resources,
        access: Access | None,
        now: datetime,
    ) -> tuple[Fetched, frozenset[tuple[str, str]]]:
        """Fetch missing resources, if the call has a server; and the types and codes that were
        searched for facts.

        A server of the allowlist is asked without a token if the call has none: it is open.
        """

        for_facts: set[FhirQuery] = set()

        def plan(at_hand: Resources) -> Sequence[FhirQuery]:
            asked = self._asked(request, at_hand)
            needs = [*self._missing(request, at_hand)]
            if request.service.tier is HookTier.PRIMARY:
                orders = [target.resource for target in one_of_each(asked)]
                needs.extend(self._forms.needs(orders, at_hand, request.patient))
                for order in orders:
                    if "insurance" in order.data and self._decide_step.names(order, at_hand):
                        needs.extend(decision_needs(order, at_hand))
            if self._decide_step.by_facts and not any(map(is_of_coverage, needs)):
                own = list(self._fact_needs(request, asked, at_hand, now))
                for_facts.update(own)
                needs.extend(own)
            return needs

        fetched = self._fetcher.complete(resources, plan, access, request.patient)
        answered = fetched.reports and searched_in_full(frozenset(for_facts), fetched.failed)
        return fetched, answered or frozenset()

    def _fact_needs(
        self,
        request: HookRequest,
        asked: Sequence[ReviewTarget],
        resources: Resources,
        now: datetime,
    ) -> Iterator[FhirQuery]:
        """Queries for facts that can still change what a policy says of an order."""
        context = DecisionContext(
            patient=request.patient,
            encounter_id=request.encounter_id,
            resources=resources,
            coverages=self._coverages(resources),
            now=now,
        )
        for target in giving_way(asked):
            found = self._decide_step.missing(target, context)
            if found is not None:
                facts, missing = found
                for spec in missing:
                    yield from fact_needs(spec, facts, self._forms.url_of)


def _counted(asked: Sequence[ReviewTarget], decided: Sequence[Decided]) -> int:
    """The number of possible subjects of the answer, without a visit that it does not mention."""
    visits = [d for d in decided if d.resource.type == VISIT_TYPE]
    return len(visits) + len([a for a in asked if a.resource.type != VISIT_TYPE])


def refuse_without_orders(request: HookRequest, resources: Resources, fetched: Fetched) -> None:
    """Raise PreconditionFailed if none of the call's orders could be found or fetched.

    CDS Hooks 2.0 statement 54 requires a 412 if required data were not given and the FHIR server
    could not be accessed. Only orders that the context names without containing them are required
    (order-dispatch). Other absent data are no error (CRD 2.2.1 found-34): without its coverage an
    order gets cards and, if a coverage can be referenced, coverage information with the reason
    "technical". If the server answered without an order, or with another patient's, the query was
    performed and a 412 is forbidden (found-32): the answer names the unchecked orders.
    """
    performed = {r.what for r in fetched.reports if r.outcome in _PERFORMED}
    unmet = [
        need
        for need in required(request.service.needs(request, resources))
        if need.label not in performed
    ]
    if unmet:
        (place, expected), *more = [
            (n.required_at or "", "expected the order in prefetch, or a FHIR server that gives it")
            for n in unmet
        ]
        raise PreconditionFailed(expected, place, *more)


def unread_orders(request: HookRequest, resources: Resources) -> tuple[str, ...]:
    """Labels of the orders that the call names and that could be neither found nor fetched.

    Primary hooks report them (CRD 2.2.1 found-34); the other orders are answered all the same.
    """
    if request.service.tier is not HookTier.PRIMARY:
        return ()
    needs = request.service.needs(request, resources)
    return tuple(dict.fromkeys(n.label for n in needs if isinstance(n, Read)))


def drafts(resources: Resources) -> int:
    """The number of draft orders; order-select is about some of them only (CRD 2.2.1 dev-24)."""
    found = resources.found_at(("context", "draftOrders"))
    return len([r for r in resources.each_once(found) if r.type in ORDER_TYPES])


_PERFORMED = {Outcome.FETCHED, Outcome.NOT_FOUND, Outcome.WRONG_PATIENT}


def _after_fetching(steps: Sequence[TraceStep], decided: Decided) -> Decided:
    """The decision, with the steps of fetching at the start of its trace."""
    if not steps:
        return decided
    determination = decided.determination
    trace = (*steps, *determination.trace)
    return replace(decided, determination=replace(determination, trace=trace))


_MOST_STEPS = 32
"""Each order's trace has them; a call's reports are kept once with it, all of them."""


def _steps(fetched: Fetched) -> Sequence[TraceStep]:
    """The fetch reports as steps of a trace, made once a call."""
    steps = [_step(report) for report in fetched.reports[:_MOST_STEPS]]
    if (more := len(fetched.reports) - _MOST_STEPS) > 0:
        steps.append(TraceStep("data", "more", f"{more} further queries, kept with the call"))
    return steps


def _step(report: FetchReport) -> TraceStep:
    return TraceStep("data", report.outcome.value, f"{report.what}, {report.milliseconds} ms")


def why_unread(request: HookRequest, fetched: Fetched) -> UnreadBecause:
    """The reason why missing data of the call were not read from its EHR."""
    if any(r.outcome is not Outcome.NOT_ALLOWED for r in fetched.reports):
        return UnreadBecause.NOT_GIVEN
    if not request.fhir_server:
        return UnreadBecause.NO_SERVER
    return UnreadBecause.NOT_ASKED if request.access_token else UnreadBecause.NO_TOKEN


def refuse_without_payer(
    determinations: Sequence[Determination], unread_because: UnreadBecause, phrases: Phrases
) -> None:
    """Raise UnhandledPayer if no order has exactly one coverage of a configured payer.

    CRD 2.2.1 hook-13: no coverage, several, or one with a missing or unknown payer is a 400. An
    inactive coverage is answered (resp-45).
    """
    if not determinations or any(_answerable(d.finding) for d in determinations):
        return
    finding = determinations[0].finding
    coverage = finding.coverage
    if coverage is None or finding.outcome is CoverageOutcome.NOT_AT_HAND:
        place = coverage.place if coverage else "prefetch.coverage"
        raise UnhandledPayer(_EXPECTED[finding.outcome], place)
    if coverage.payer_told:
        sent = payers_as_sent(coverage.payer_identifiers)
        told = " or ".join(sent) or "the payer's identifier"
        expected = (
            f"{told} is no payer that is answered for here; the payers are those of the file that "
            "COVERCARD_PAYERS_FILE names"
        )
        raise UnhandledPayer(expected, coverage.place, sent)
    if coverage.payer_unread:
        why = phrases.unread_because[unread_because]
        expected = f"the payer's Organization was not sent and could not be read: {why}"
        raise UnhandledPayer(expected, coverage.place)
    raise UnhandledPayer("expected a payor with the identifier of its payer", coverage.place)


def payers_as_sent(identifiers: Sequence[str]) -> tuple[str, ...]:
    """A payer's identifiers for an error and the log: few, short, of plain characters."""
    plain = (i for i in dict.fromkeys(identifiers) if _PLAIN_IDENTIFIER.fullmatch(i))
    return tuple(itertools.islice(plain, _MOST_IDENTIFIERS_NAMED))


_PLAIN_IDENTIFIER = re.compile(r"[\w.:/#%~+-]{1,120}\|[\w. :/#-]{1,64}", re.ASCII)
_MOST_IDENTIFIERS_NAMED = 3


def _answerable(finding: CoverageFinding) -> bool:
    """Whether there is a coverage to answer on: one of ours, or one that trouble kept unread."""
    if finding.coverage is None:
        return False
    return finding.outcome is CoverageOutcome.UNREACHABLE or finding.coverage.payer is not None


_EXPECTED = {
    CoverageOutcome.NONE: "expected the patient's coverage, none was given",
    CoverageOutcome.NOT_AT_HAND: "expected the coverage that the order names",
    CoverageOutcome.SEVERAL: "expected one active coverage, several fit",
    CoverageOutcome.NOT_ACTIVE: "expected one active coverage, none is active that day",
    CoverageOutcome.OTHER_PATIENT: "expected a coverage of this patient",
    CoverageOutcome.UNREACHABLE: "the patient's coverage could not be read from the FHIR server",
}
