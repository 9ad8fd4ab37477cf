"""The payer's own FHIR server as a source: read in parallel until the deadline, kept for a while.

Members are found by their numbers (`Patient?identifier=` with their coverages, and
`Coverage?identifier=` with its beneficiary), then their preauthorizations and claims; providers by
NPI in the directory. A question of which one part cannot be read has no answer: half of it would
mislead. Claims alone may fail: they only ever add to what is known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import structlog

from service.circuit_breaker import CircuitBreaker
from service.decision.programs import ProgramTable
from service.ehr.allowlist import OutboundPolicy
from service.ehr.authorities import tls_context
from service.ehr.fetch_report import Outcome
from service.ehr.fhir_client import Access, FhirClient, FhirClients, Limits
from service.ehr.fhir_query import Search
from service.errors import ConfigurationError, FetchFailed, PayerDataUnavailable
from service.fhir.resources import resources_in
from service.payer_data.client_credentials import ClientCredentials, Credentials
from service.payer_data.fhir_records import (
    NOT_TOLD,
    authorizations_of,
    contracts_of,
    members_of,
    services_of,
)
from service.payer_data.port import Records, SourceHealth, Wanted, source_circuit
from service.payer_data.record_cache import RecordCache
from service.policies.program_table import load_programs
from service.spare_threads import SpareThreads

if TYPE_CHECKING:
    from service.settings import Settings

Json = Mapping[str, Any]

_MOST_PROVIDERS = 6
_MOST_PERSONS = 3
_MOST_OWED = 64

log = structlog.get_logger(__name__)


class PayerFhirSource:
    """A FHIR server that the payer runs. Its token is got by client credentials."""

    def __init__(
        self,
        server: str,
        clients: FhirClients,
        credentials: ClientCredentials | None,
        cache: RecordCache,
        clock: Callable[[], datetime],
        circuit: CircuitBreaker | None = None,
        programs: ProgramTable | None = None,
    ) -> None:
        self._server = server
        self._programs = programs or load_programs()
        self._clients = clients
        self._credentials = credentials
        self._cache = cache
        self._clock = clock
        self._circuit = circuit or source_circuit()
        self._owed = threading.BoundedSemaphore(_MOST_OWED)
        self._threads = SpareThreads("payer-fhir")

    def look_up(self, wanted: Wanted, deadline: float) -> Records:
        kept = self._cache.get(wanted)
        if kept is not None:
            return kept
        records = self._circuit.call(lambda: self._readable(wanted, deadline))
        self._cache.put(wanted, records)
        return records

    def _readable(self, wanted: Wanted, deadline: float) -> Records:
        """The answer; one that is no FHIR is trouble of the source, and no failure of the call."""
        try:
            return self._read(wanted, deadline)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise PayerDataUnavailable(f"not FHIR: {type(error).__name__}") from error

    def _read(self, wanted: Wanted, deadline: float) -> Records:
        token = self._credentials.token(deadline) if self._credentials else "none"
        try:
            return self._read_with(token, wanted, deadline)
        except _TokenRefused:
            if self._credentials is None:
                raise PayerDataUnavailable(Outcome.REJECTED_TOKEN.value) from None
            self._credentials.forget(token)
        try:
            return self._read_with(self._credentials.token(deadline), wanted, deadline)
        except _TokenRefused:
            raise PayerDataUnavailable(Outcome.REJECTED_TOKEN.value) from None

    def _read_with(self, token: str, wanted: Wanted, deadline: float) -> Records:
        client, for_claims = self._client(token), self._client(token)
        numbers = sorted(wanted.written or wanted.numbers)
        providers = sorted(wanted.providers)[:_MOST_PROVIDERS]
        of_numbers = [_Ask(client, q) for n in numbers for q in _by_number(n) if q.is_plain]
        of_providers = {n: [_Ask(client, q) for q in _by_npi(n) if q.is_plain] for n in providers}
        first = self._all([*of_numbers, *chain(*of_providers.values())], deadline)
        found = members_of(wanted.payer, _unique(first[a] for a in of_numbers), self._programs)
        # Of somebody else nothing more is asked than of nobody: it would take its time.
        members = tuple(dict.fromkeys(m for m in found if m.birth_date == wanted.birth_date))
        persons = list(dict.fromkeys(m.person for m in members))[:_MOST_PERSONS]
        of_persons = [_Ask(client, q) for p in persons if (q := _preauthorizations(p)).is_plain]
        # A claims history is long: it has bytes of its own, and may fail for itself.
        claims = [_Ask(for_claims, q, spare=True) for p in persons if (q := _claims(p)).is_plain]
        then = self._all([*of_persons, *(claims if wanted.codes else ())], deadline)
        contracts, known = contracts_of(
            wanted.payer,
            {npi: _unique(first[a] for a in each) for npi, each in of_providers.items()},
        )
        claimed = _unique(then[a] for a in claims if a in then)
        decided = _unique(then[a] for a in of_persons)
        claims_read = all(a in then for a in claims)
        return Records(
            members=members,
            authorizations=tuple(authorizations_of(wanted.payer, members, decided)),
            contracts=contracts,
            services=tuple(services_of(wanted.payer, members, claimed, wanted.codes)),
            network_known=known,
            read_at=self._clock(),
            not_told=NOT_TOLD if claims_read else ("history", *NOT_TOLD),
        )

    def _client(self, token: str) -> FhirClient:
        try:
            return self._clients.client(Access(self._server, token, frozenset({self._server})))
        except FetchFailed as refused:
            raise PayerDataUnavailable(refused.outcome) from None

    def _all(self, asks: Iterable[_Ask], deadline: float) -> dict[_Ask, list[Json]]:
        """The resources that each query finds; each has a thread that nobody waits for too long.

        A spare query that fails, or is late, has no answer; any other makes the question fail.
        """
        ended: SimpleQueue[tuple[_Ask, list[Json] | FetchFailed]] = SimpleQueue()

        def work(ask: _Ask) -> None:
            try:
                pages = ask.client.documents(ask.query, deadline)
                wanted = {ask.query.type, *ask.query.brings}
                found = [r.data for p in pages for r in resources_in(p, p.data, ())]
                ended.put((ask, [r for r in found if r.get("resourceType") in wanted]))
            except FetchFailed as failure:
                ended.put((ask, failure))
            except Exception as error:
                # Nobody stands above a thread: who asks must hear of it. The type only: a message
                # may quote the data.
                log.error("unexpected error while asking the payer", kind=type(error).__name__)
                ended.put((ask, FetchFailed(Outcome.ERROR)))
            finally:
                self._owed.release()

        waiting = dict.fromkeys(asks)
        for ask in waiting:
            if not self._owed.acquire(blocking=False):
                raise PayerDataUnavailable("too many unanswered queries")
            try:
                self._threads.begin(partial(work, ask))
            except RuntimeError:
                self._owed.release()
                raise PayerDataUnavailable("no more threads in the system") from None
        answers: dict[_Ask, list[Json]] = {}
        while waiting:
            try:
                ask, answer = ended.get(timeout=max(deadline - time.monotonic(), 0))
            except Empty:
                if all(ask.spare for ask in waiting):
                    break
                raise PayerDataUnavailable(Outcome.TIMEOUT.value) from None
            del waiting[ask]
            if not isinstance(answer, FetchFailed):
                answers[ask] = answer
            elif not ask.spare:
                if answer.outcome == Outcome.REJECTED_TOKEN:
                    raise _TokenRefused
                raise PayerDataUnavailable(str(Outcome(answer.outcome).value))
        return answers

    def health(self) -> SourceHealth:
        c = self._circuit
        return SourceHealth("fhir", c.closed, c.called, c.failed, c.refused, NOT_TOLD)

    def close(self) -> None:
        """Nothing is held open but connections, which end with the process."""


@dataclass(frozen=True, slots=True)
class _Ask:
    """A query, and the client that asks it; a `spare` one may stay without an answer."""

    client: FhirClient
    query: Search
    spare: bool = False


class _TokenRefused(Exception):
    """The server does not take the token; a new one may do."""


def _by_number(number: str) -> Iterable[Search]:
    yield Search(
        "Patient",
        (("identifier", number), ("_revinclude", "Coverage:beneficiary")),
        brings=frozenset({"Coverage"}),
    )
    yield Search(
        "Coverage",
        (("identifier", number), ("_include", "Coverage:beneficiary")),
        brings=frozenset({"Patient"}),
    )


def _by_npi(npi: str) -> Iterable[Search]:
    yield Search("PractitionerRole", (("practitioner.identifier", npi),))
    yield Search("OrganizationAffiliation", (("participating-organization.identifier", npi),))


def _preauthorizations(person: str) -> Search:
    return Search("ClaimResponse", (("patient", person), ("use", "preauthorization")))


def _claims(person: str) -> Search:
    """All claims of a person: FHIR has no search of them by code (CARIN: by patient and day)."""
    return Search("ExplanationOfBenefit", (("patient", person),))


def _unique(found: Iterable[Iterable[Json]]) -> list[Json]:
    """Each resource once, however many queries brought it."""
    each = {(r.get("resourceType"), r.get("id")): r for resources in found for r in resources}
    return list(each.values())


def open_payer_fhir(
    settings: Settings, clock: Callable[[], datetime], programs: ProgramTable | None = None
) -> PayerFhirSource:
    """The source that the settings name. Raises ConfigurationError if one of them is wrong."""
    policy = OutboundPolicy([settings.payer_data], settings.fhir_networks.split())
    limits = Limits(settings.fetch_max_bytes, settings.fetch_max_pages)
    tls = tls_context(settings.fhir_ca_file, strict=settings.fhir_ca_strict)
    clients = FhirClients(policy, limits, tls)
    credentials = None
    if settings.payer_data_token_url:
        if not settings.payer_data_client_id or settings.payer_data_secret_file is None:
            raise ConfigurationError(
                "COVERCARD_PAYER_DATA_TOKEN_URL: set COVERCARD_PAYER_DATA_CLIENT_ID and"
                " COVERCARD_PAYER_DATA_SECRET_FILE as well"
            )
        credentials = ClientCredentials(
            Credentials(
                settings.payer_data_token_url,
                settings.payer_data_client_id,
                _secret(settings.payer_data_secret_file),
                settings.payer_data_scope,
            ),
            tls,
        )
    cache = RecordCache(settings.payer_data_cache_seconds)
    programs = programs or load_programs(settings.programs_file)
    return PayerFhirSource(
        settings.payer_data, clients, credentials, cache, clock, programs=programs
    )


def _secret(file: Path) -> str:
    secret = file.read_text("utf-8").strip()
    if not secret:
        raise ConfigurationError(f"COVERCARD_PAYER_DATA_SECRET_FILE: {file} is empty")
    return secret
