"""Application factory: create_app(settings) wires stores, use cases and blueprints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.routing import Map

from cards.questionnaires import Forms, load_forms
from cards.vocabulary import Json
from service.auth.client_share import MinuteCounts
from service.auth.clients import TrustedClient
from service.bootstrap.lasting import Lasting
from service.bootstrap.security import TOKEN_CHECKS, secure
from service.bootstrap.snapshot import Library, Snapshot, read_snapshot
from service.bootstrap.threads import most_threads
from service.bootstrap.wire_pages import visitor_limits, wire_pages
from service.bootstrap.wire_records import records_place
from service.crd.call_limits import CallLimits
from service.crd.crd_version import CrdVersion
from service.crd.discovery import discovery
from service.crd.hooks import SERVICES
from service.crd.validation import is_fhir
from service.crd.versions import VERSIONS, CrdVersions
from service.database.engines import database_file, open_engine
from service.database.urls import is_sqlite
from service.decision_log.clock_check import ClockWatch, newest_record
from service.decision_log.instants import new_ids
from service.decision_log.opening import open_recorder
from service.decision_log.recorder import Recorder
from service.dtr.adaptive_forms import AdaptiveForms
from service.dtr.dtr_version import dtr_version
from service.dtr.form_dependencies import FormDependencies
from service.dtr.form_errors import FormError, FormErrorReader
from service.dtr.logged_calls import LoggedCalls, RecordedCalls
from service.dtr.next_questions import NextQuestions
from service.dtr.package import QuestionnairePackages
from service.dtr.packaged_forms import PackagedForms
from service.dtr.value_set_requests import ValueSetExpansion
from service.ehr.allowlist import OutboundPolicy, Resolver, resolve
from service.ehr.authorities import tls_context
from service.ehr.fhir_client import FhirClients, Limits
from service.ehr.resource_fetcher import EhrFetcher, ResourceFetcher
from service.fhir.encounters import own_classes
from service.payer_data.sources import is_embedded, open_source
from service.response import Responder
from service.response.card_writer import CardWriter
from service.response.coverage_corrections import CoverageCorrections
from service.response.coverage_information_writer import CoverageInformationWriter
from service.response.form_buttons import FormButtons, FormSuggestion
from service.response.form_filler import FormFiller
from service.response.notice_facts import NoticeFacts
from service.response.notice_forms import NoticeForms
from service.response.offer_cards import OfferCards
from service.response.response_links import ResponseLinks
from service.response.statements import Statements
from service.response.written_cards import WrittenCards
from service.review.decide import DecideStep
from service.review.fhir_server_check import FhirServerCheck
from service.review.order_review import OrderReview
from service.review.payer_records import PayerRecords
from service.review.submitted_forms import FormsOnFile
from service.settings import Settings
from service.shared_counts import SharedCounts
from service.web.applications import Application, CallApplication, Mounted
from service.web.call_logger import CallLogger, count_refusals
from service.web.capability_statement import capability_statement
from service.web.client_auth import aside, current_client, waiting_for_ehr
from service.web.feedback import feedback_blueprint
from service.web.fhir_operations import FhirOperations
from service.web.fhir_resources import (
    FHIR_PREFIXES,
    SEARCHED,
    fhir_blueprints,
    say_that_it_is_fhir,
)
from service.web.form_error_log import KeepFormErrors
from service.web.hook_routes import hooks_blueprint
from service.web.metrics import Metrics
from service.web.operations import (
    HealthFinding,
    clients_check,
    clock_check,
    operations_blueprint,
    payer_data_check,
    policies_check,
    records_check,
    snapshot_check,
)
from service.web.package_log import KeepPackages
from service.web.smart_routes import TOKEN_PATH, smart_blueprint
from service.web.tracing import OtlpTracing, Tracing, traced

if TYPE_CHECKING:
    from service.payer_data.import_ages import ImportAges


def now() -> datetime:
    """The current time, UTC."""
    return datetime.now(UTC)


def new_uuids(count: int) -> list[str]:
    """UUIDs ordered by time, so that the decision log appends cards to their index."""
    ids = new_ids(now(), count)
    return [f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}" for d in ids]


def new_uuid() -> str:
    """One of them."""
    return new_uuids(1)[0]


def wire_review(
    settings: Settings,
    library: Library,
    clock: Callable[[], datetime] = now,
    fetcher: ResourceFetcher | None = None,
    versions: CrdVersions | None = None,
    payer_records: PayerRecords | None = None,
    server_check: FhirServerCheck | None = None,
) -> OrderReview:
    """The order review, also for decisions without a server.

    `fetcher` replaces the EHR fetcher, `versions` the registered CRD versions, `payer_records` the
    configured source of the payer's records. `server_check` tells the clients' FHIR servers.
    """
    forms = load_forms(library.questionnaires, settings.form_bases)
    links = wire_links(settings, library, forms)
    suggestion = FormSuggestion(settings.notice_suggestion)
    buttons = FormButtons(links, FormFiller(links, new_uuid), suggestion)
    card_writer = CardWriter(
        links,
        NoticeFacts(links, NoticeForms(buttons)),
        OfferCards(links, buttons),
        CoverageCorrections(links),
    )
    responder = Responder(
        WrittenCards(card_writer, new_uuids, remembers=not suggestion.brings_response),
        Statements(CoverageInformationWriter(links), library.texts),
        library.texts,
    )
    return OrderReview(
        services=SERVICES,
        versions=versions or CrdVersions(),
        decide_step=wire_decide_step(
            settings, library, payer_records or wire_payer_records(settings, library), forms
        ),
        payers=library.payers,
        responder=responder,
        fetcher=fetcher or wire_fetcher(settings),
        forms=wire_forms_on_file(settings, library, forms),
        clock=clock,
        zone=settings.zone,
        limits=call_limits(settings),
        aliases=settings.aliases,
        server_check=server_check,
    )


def wire_payer_records(
    settings: Settings,
    library: Library,
    metrics: Metrics | None = None,
    lasting: Lasting | None = None,
) -> PayerRecords:
    """The payer's records, with their source, if one is configured."""
    programs = library.payers.programs
    source = (
        (lasting or Lasting()).of("payer data", lambda: open_source(settings))
        if is_embedded(settings.payer_data)
        else open_source(settings, programs=programs)
    )
    return PayerRecords(
        source,
        patience=settings.payer_data_timeout_ms / 1000,
        budget=settings.fetch_budget_ms / 1000,
        asked=metrics.payer_data if metrics else lambda _outcome, _seconds: None,
        programs=programs,
        aside=aside if metrics else nullcontext,
    )


def wire_links(settings: Settings, library: Library, forms: Forms) -> ResponseLinks:
    """The names, addresses and words that answers use."""
    return ResponseLinks(
        notices=library.notices,
        forms=forms,
        public_url=settings.base_url,
        operator_name=library.payers.operator_name,
        operator_contact=library.payers.operator_contact,
        texts=library.texts,
    )


def call_limits(settings: Settings) -> CallLimits:
    """The limits of one call's content."""
    return CallLimits(
        values=settings.max_json_values,
        resources=settings.max_resources,
        orders=settings.max_orders,
        references=settings.max_references,
    )


def wire_server_check(
    settings: Settings, clients: Collection[TrustedClient] | None
) -> FhirServerCheck:
    """The check of a call's FHIR server, by the servers that clients list; None in open mode."""
    listed = [url for each in clients or () for url in each.client.fhir_servers or ()]
    return FhirServerCheck(listed, settings.fhir_servers.split())


def wire_decide_step(
    settings: Settings, library: Library, payer_records: PayerRecords, forms: Forms
) -> DecideStep:
    """The decide step of hooks and forms."""

    adaptive = AdaptiveForms(forms, library.policies)

    def form_of(canonical: str) -> str | None:
        form = forms.answered_by(canonical) or adaptive.answered_by(canonical)
        return form.id if form else None

    rules = library.notices.form_acceptance_rules()
    classes = own_classes(settings.encounter_classes.split())
    by_facts = any(version.rules for version in library.policies)
    return DecideStep(
        library.policies,
        rules,
        payer_records,
        form_of,
        by_facts,
        classes,
        library.notices.situations,
    )


def wire_import_ages(
    settings: Settings, clock: Callable[[], datetime]
) -> Callable[[], Mapping[str, float]]:
    """The ages of the payer's own records, where a database holds them; else none."""
    if not is_embedded(settings.payer_data):
        return dict
    found: ImportAges | None = None

    def ages() -> Mapping[str, float]:
        nonlocal found
        if found is None:  # SQLAlchemy is loaded by the first who asks, and not at the start
            from service.payer_data.import_ages import ImportAges

            found = ImportAges(settings.payer_data, clock)
        return found.seconds()

    return ages


def wire_fetcher(
    settings: Settings,
    resolver: Resolver = resolve,
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    costly: Callable[[], Callable[[], AbstractContextManager[None]]] = lambda: nullcontext,
) -> EhrFetcher:
    """The fetcher of missing resources from EHRs; `resolver` resolves their names.

    `waiting` makes the block in which a call waits for its EHR; `costly` gives for each call what
    makes the blocks in which its large answers are read.
    """
    policy = OutboundPolicy(settings.fhir_servers.split(), settings.fhir_networks.split(), resolver)
    limits = Limits(
        settings.fetch_max_bytes,
        settings.fetch_max_pages,
        settings.max_json_values,
        settings.max_resources,
    )
    tls = tls_context(settings.fhir_ca_file, strict=settings.fhir_ca_strict)
    clients = FhirClients(policy, limits, tls, settings.aliases, costly=costly)
    return EhrFetcher(clients, settings.fetch_budget_ms / 1000, is_fhir, waiting)


def wire_forms_on_file(settings: Settings, library: Library, forms: Forms) -> FormsOnFile:
    """The finder of submitted forms."""
    of_notices: dict[str, set[str]] = {}
    for notice in library.notices:
        of_notices.setdefault(notice.id, set()).update(notice.offered_forms)
    return FormsOnFile(
        forms=forms,
        rules=library.notices.form_acceptance_rules(),
        policies=library.policies,
        of_notices=of_notices,
        brought=FormSuggestion(settings.notice_suggestion).brings_form,
    )


def wire_packages(
    settings: Settings,
    library: Library,
    logged_calls: LoggedCalls,
    clock: Callable[[], datetime] = now,
    versions: CrdVersions | None = None,
    payer_records: PayerRecords | None = None,
) -> QuestionnairePackages:
    """The use case of $questionnaire-package; `logged_calls` looks up earlier calls."""
    forms = load_forms(library.questionnaires, settings.form_bases)
    links = wire_links(settings, library, forms)
    dependencies = FormDependencies(library.form_libraries, library.value_sets)
    packaged = PackagedForms(dependencies, settings.base_url, settings.zone)
    return QuestionnairePackages(
        services=SERVICES,
        forms=forms,
        notices=library.notices,
        versions=versions or CrdVersions(),
        decide_step=wire_decide_step(
            settings, library, payer_records or wire_payer_records(settings, library), forms
        ),
        payers=library.payers,
        filler=FormFiller(links, new_uuid),
        texts=library.texts,
        logged_calls=logged_calls,
        clock=clock,
        zone=settings.zone,
        limits=call_limits(settings),
        packaged=packaged,
        questions=NextQuestions(
            AdaptiveForms(forms, library.policies),
            library.policies,
            packaged,
            clock,
            settings.zone,
            call_limits(settings),
            dtr_version(settings.dtr_version),
        ),
        version=dtr_version(settings.dtr_version),
    )


def wire_fhir(
    app: Flask,
    settings: Settings,
    library: Library,
    packages: QuestionnairePackages,
    client_of_call: Callable[[], str],
    keep_errors: Callable[[str, Sequence[FormError]], None],
    clock: Callable[[], datetime] = now,
    keep_package: Callable[[str, Mapping[str, Any]], None] = lambda _, __: None,
) -> None:
    """Add the endpoints below /fhir to `app`; `client_of_call` gives the current client's name,
    `keep_errors` keeps the errors with forms that a client reports, `keep_package` the package that
    it gets.
    """
    operations = FhirOperations(
        forms=packages.forms,
        packages=packages,
        questions=packages.questions,
        expansion=ValueSetExpansion(
            library.value_sets, clock, settings.zone, call_limits(settings)
        ),
        error_reader=FormErrorReader(
            packages.forms, packages.adaptive_forms, call_limits(settings)
        ),
        keep_errors=keep_errors,
        client_of_call=client_of_call,
        keep_package=keep_package,
    )
    made_at = clock()

    def statement(prefix: str, routes: Map) -> Json:
        rules = (rule.rule for rule in routes.iter_rules())
        return capability_statement(
            f"{settings.base_url}{prefix}",
            library.payers.operator_name,
            made_at,
            [rule.removeprefix(prefix) for rule in rules if rule.startswith(f"{prefix}/")],
            SEARCHED,
            settings.base_url + TOKEN_PATH if TOKEN_PATH in map(str, routes.iter_rules()) else None,
        )

    say_that_it_is_fhir(app)
    for blueprint in fhir_blueprints(operations, library.form_libraries, statement):
        app.register_blueprint(blueprint)


RECORDER = "covercard.recorder"
"""Key of the recorder among the lasting parts and in `app.extensions`; the server starts and stops
it.
"""
CALLS = "covercard.calls"
"""Key of the application of calls in `app.extensions`; it is mounted in the pages'."""


def wire_recorder(settings: Settings, *, drains: bool = True) -> Recorder:
    """The recorder of calls, opened by the first one; `drains`: it moves them to the rows, too."""
    return open_recorder(settings.database_url, records_place(settings), drains=drains)


def wire_clock_watch(settings: Settings, clock: Callable[[], datetime]) -> ClockWatch:
    """The watch over the clock, by the newest record of an existing log."""

    def newest() -> datetime | None:
        if is_sqlite(settings.database_url) and not database_file(settings.database_url).exists():
            return None
        with open_engine(settings.database_url).connect() as connection:
            return newest_record(connection)

    return ClockWatch(newest, clock)


def create_app(
    settings: Settings,
    clock: Callable[[], datetime] = now,
    crd_versions: Sequence[CrdVersion] = VERSIONS,
    snapshot: Snapshot | None = None,
    lasting: Lasting | None = None,
    watched: Callable[[], HealthFinding] | None = None,
    counts: SharedCounts | None = None,
    tracing: Tracing | None = None,
) -> Flask:
    """The WSGI application for these CRD versions, which answers by one snapshot.

    `snapshot` where it is read already; `lasting` has the parts that an application of before
    leaves to this one. `watched` compares the snapshot with the files, for readiness. `counts` are
    those of the metrics and of clients' calls, where several processes share them;
    `tracing` takes the traces in place of the collector that the settings name.
    Raises ConfigurationError for a wrong file, setting or version.
    """
    versions = CrdVersions(crd_versions)
    snapshot = snapshot or read_snapshot(settings)
    lasting = lasting or Lasting()
    library, digests = snapshot.library, snapshot.digests
    app, calls = Application("service", static_folder=None), CallApplication("service")
    app.wsgi_app = Mounted(calls, app.wsgi_app)  # type: ignore[method-assign]
    app.extensions[CALLS] = calls
    recorder = app.extensions[RECORDER] = lasting.of(RECORDER, lambda: wire_recorder(settings))
    shared = lasting.of("counts", lambda: counts or SharedCounts())
    metrics = lasting.of("metrics", lambda: Metrics(shared))
    metrics.most(
        open=most_threads(settings),
        checking=TOKEN_CHECKS,
        working=settings.max_concurrent_calls,
        waiting=settings.max_waiting_calls,
    )
    call_logger = CallLogger(
        recorder,
        metrics,
        clock,
        settings.refused_bytes_per_minute,
        lasting.of("refused bytes", MinuteCounts),
        digests.policies,
    )
    count_refusals(app, metrics)
    count_refusals(calls, metrics)
    if tracing is None and settings.otlp_endpoint:
        tracing = lasting.of("tracing", lambda: OtlpTracing(settings.otlp_endpoint))
    secured = secure(app, calls, settings, snapshot.clients, clock, metrics, lasting, tracing)
    if secured.token_endpoint is not None:
        limits = visitor_limits("token requests")
        calls.register_blueprint(smart_blueprint(secured.token_endpoint, FHIR_PREFIXES, limits))
    payer_records = wire_payer_records(settings, library, metrics, lasting)
    if tracing is not None:
        payer_records = replace(payer_records, asked=traced(payer_records.asked))
    server_check = wire_server_check(settings, secured.clients)
    costly = secured.places.costly.reading_answers
    fetcher = lasting.of(
        "fetcher", lambda: wire_fetcher(settings, waiting=waiting_for_ehr, costly=costly)
    )
    review = wire_review(settings, library, clock, fetcher, versions, payer_records, server_check)
    calls.register_blueprint(hooks_blueprint(review, discovery(SERVICES, versions), call_logger))
    calls.register_blueprint(feedback_blueprint(call_logger, call_limits(settings)))
    logged_calls = RecordedCalls(settings.database_url, recorder.settle)
    packages = wire_packages(settings, library, logged_calls, clock, versions, payer_records)
    keep_errors = KeepFormErrors(recorder, metrics, clock).keep
    client_name = lambda: current_client().name  # noqa: E731
    keep_package = KeepPackages(recorder, digests.policies).keep
    wire_fhir(calls, settings, library, packages, client_name, keep_errors, clock, keep_package)
    wire_pages(
        app,
        calls,
        settings,
        policies=library.policies,
        notices=library.notices,
        payers=library.payers,
        services=SERVICES,
        versions=versions,
        review=review.review,
        texts=library.texts,
        clock=clock,
        recorder=recorder,
        readers=snapshot.readers,
        policies_digest=digests.policies,
        lasting=lasting,
        visitor_computes=secured.places.visitor_computes,
    )
    checks = [
        records_check(recorder.health),
        clock_check(wire_clock_watch(settings, clock).state),
        policies_check(library.policies, lambda: clock().astimezone(settings.zone).date()),
        snapshot_check(digests.policies, digests.access, watched, library.made),
        clients_check(secured.clients),
        payer_data_check(payer_records.source),
    ]
    shown = {"policies": digests.policies, "access": digests.access}
    ages = wire_import_ages(settings, clock)
    app.register_blueprint(operations_blueprint(checks, metrics, recorder.health, shown, ages))
    return app
