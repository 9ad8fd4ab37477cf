"""Resource fetcher: missing resources from the EHR, in parallel, within one time budget.

The answer is in time whatever the EHR does. Each request has a thread for itself, abandoned at the
deadline; its sockets have the same deadline. The number of unanswered requests per client and
server is limited, and with it the threads that a server with dripping headers can hold. A server
that answers none of several calls in a row is left alone for a while: no call waits for it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from service.circuit_breaker import CircuitBreaker
from service.ehr.fetch_report import FetchReport, Outcome, TokenUse, token_use
from service.ehr.fhir_client import MOST_CONNECTIONS, Access, FhirClient, FhirClients
from service.ehr.fhir_query import FhirQuery, Read, Search
from service.ehr.patient_check import is_of_another
from service.errors import FetchFailed
from service.fhir.document import Document, Resource
from service.fhir.references import parse_literal
from service.fhir.resources import Resources, resources_in
from service.spare_threads import SpareThreads

Plan = Callable[[Resources], Sequence[FhirQuery]]
"""The missing queries, given the present resources."""

_MOST_NEEDS = 24
_MOST_AT_ONCE = 8
_MOST_OWED = MOST_CONNECTIONS
_SILENT_CALLS = 5
_REST_SECONDS = 10.0
_MOST_CIRCUITS = 1_000
_MOST_PLANS = 6
_TOGETHER = 0.1
"""Part of an answer's own time within which others are taken as having come with it."""
_PATIENCE = 0.1
"""Part of the budget for which what a search may bring is not read by itself."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Result of fetching: one report for each query, and the queries failed for technical reasons.

    `resources` are the used resources, in order of arrival.
    """

    reports: tuple[FetchReport, ...] = ()
    failed: frozenset[FhirQuery] = frozenset()
    resources: tuple[Resource, ...] = ()

    @property
    def token_use(self) -> TokenUse:
        return token_use(self.reports)


class ResourceFetcher(Protocol):
    """Protocol of fetchers; see EhrFetcher.complete."""

    def complete(
        self, resources: Resources, plan: Plan, access: Access | None, patient: str
    ) -> Fetched: ...


class EhrFetcher:
    """A fetcher that queries the EHR.

    `budget` is the time for one call in seconds; `fits` validates the FHIR of a resource; `waiting`
    makes the block in which a call waits for its EHR, and may refuse it.
    """

    def __init__(
        self,
        clients: FhirClients,
        budget: float,
        fits: Callable[[object], bool],
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.clients = clients
        self.budget = budget
        self.fits = fits
        self.waiting = waiting
        self.debts = _Debts()
        self.threads = SpareThreads("fetch")
        self._circuits = _Circuits(clients.monotonic)

    def complete(
        self, resources: Resources, plan: Plan, access: Access | None, patient: str
    ) -> Fetched:
        """Add the missing resources of `plan` to `resources`, as far as they arrive in time.

        `plan` is called after arrivals, since a new resource may refer to others; each query is
        sent once. Without `access` none is sent. `patient` is "Patient/id": another patient's data
        are dropped. Errors are in the result. Raises only what `waiting` raises, where too many
        calls wait already.
        """
        if access is None or self.budget <= 0 or not (needs := plan(resources)):
            return Fetched()
        try:
            client = self.clients.client(access)
        except FetchFailed as refusal:
            if not access.token:
                return Fetched()  # nobody gave us leave to ask it
            return _all_refused(needs, Outcome(refusal.outcome))
        asked = (access.client, client.base.url)
        fetching = _Fetching(self, client, asked, resources, plan, patient)

        def wait() -> Fetched:
            with self.waiting():
                fetched = fetching.run(needs)
            if fetched.reports and all(r.outcome is Outcome.TIMEOUT for r in fetched.reports):
                raise _Silent(fetched)
            return fetched

        try:
            return self._circuits.of(asked).call(wait)
        except _Silent as silent:
            return silent.fetched
        except _LeftAlone:
            return _all_refused(needs, Outcome.LEFT_ALONE)


def _all_refused(needs: Sequence[FhirQuery], outcome: Outcome) -> Fetched:
    unmet = tuple(dict.fromkeys(needs))
    return Fetched(tuple(FetchReport(n.label, outcome, 0) for n in unmet), frozenset(unmet))


class _Silent(Exception):
    """No query of a call was answered in time."""

    def __init__(self, fetched: Fetched) -> None:
        super().__init__()
        self.fetched = fetched


class _LeftAlone(Exception):
    """The server is left alone."""


_Asked = tuple[str, str]
"""The name of a client, and the base URL of its EHR."""


class _Circuits:
    """The circuit breakers of EHRs, each by client: no client can open another's."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._by_server: dict[_Asked, CircuitBreaker] = {}
        self._monotonic = monotonic

    def of(self, asked: _Asked) -> CircuitBreaker:
        with self._lock:
            circuit = self._by_server.get(asked)
            if circuit is None:
                if len(self._by_server) >= _MOST_CIRCUITS:
                    self._by_server.clear()
                circuit = self._by_server[asked] = CircuitBreaker(
                    (_Silent,),
                    _LeftAlone,
                    failures=_SILENT_CALLS,
                    seconds=_REST_SECONDS,
                    on_open=lambda: log.warning("an EHR is silent, left alone for a while"),
                    monotonic=self._monotonic,
                )
            return circuit


@dataclass(frozen=True, slots=True)
class _Result:
    need: FhirQuery
    outcome: Outcome
    documents: Sequence[Document] = ()
    finished: float = 0.0


class _Fetching:
    """The fetching of one call. Only `_work` runs in other threads, and it changes no state."""

    def __init__(
        self,
        shared: EhrFetcher,
        client: FhirClient,
        asked: _Asked,
        resources: Resources,
        plan: Plan,
        patient: str,
    ) -> None:
        self._shared = shared
        self._client = client
        self._server = asked
        self._resources = resources
        self._plan = plan
        self._patient = patient
        self._clock = shared.clients.monotonic
        self._deadline = self._clock() + shared.budget
        self._asked: set[FhirQuery] = set()
        self._waiting: deque[FhirQuery] = deque()
        self._put_off: dict[Read, float] = {}
        self._under_way: dict[FhirQuery, float] = {}
        self._results: SimpleQueue[_Result] = SimpleQueue()
        self._reports: list[FetchReport] = []
        self._failed: set[FhirQuery] = set()
        self._arrived: list[Resource] = []
        self._plans = 0

    def run(self, needs: Sequence[FhirQuery]) -> Fetched:
        """Send the `needs` of the plan, and those that it finds as resources arrive."""
        self._ask(needs)
        while self._waiting or self._under_way:
            self._start()
            results = self._arrivals()
            for result in results:
                self._finish(result)
            if self._clock() >= self._deadline and not results:
                break
            if any(r.outcome is Outcome.FETCHED for r in results) and self._may_plan():
                self._ask(self._plan(self._resources))
            else:
                self._ask([n for n in self._put_off if self._is_missing(n)])
        for need in (*self._under_way, *self._waiting, *filter(self._is_missing, self._put_off)):
            self._report(need, Outcome.TIMEOUT, self._clock())
        return Fetched(tuple(self._reports), frozenset(self._failed), tuple(self._arrived))

    def _arrivals(self) -> list[_Result]:
        """The next result, and those that come with it; none where it is time for something else.

        To look for what is missing costs as much as a decision, and what is about to come may bring
        it: a moment is waited for the others, in proportion to the time that the first one took.
        """
        found: list[_Result] = []
        with contextlib.suppress(Empty):
            until = min((self._deadline, *self._put_off.values()))
            found.append(self._results.get(timeout=max(until - self._clock(), 0)))
            now = self._clock()
            began = self._under_way[found[0].need]
            until = min(now + _TOGETHER * (now - began), self._deadline)
            while len(found) < len(self._under_way):
                found.append(self._results.get(timeout=max(until - self._clock(), 0)))
        return found

    def _may_plan(self) -> bool:
        """Whether to look again for what is missing: a plan costs as much as a decision.

        At first after each arrival, then only when nothing is under way.
        """
        if self._plans >= (_MOST_PLANS if self._under_way or self._waiting else 2 * _MOST_PLANS):
            return False
        self._plans += 1
        return True

    def _ask(self, needs: Sequence[FhirQuery]) -> None:
        """Take queries among those to be sent. `needs` are all that are missing now.

        A read of what a search that has not ended may include is put off.
        """
        before, self._put_off = self._put_off, {}
        now = self._clock()
        included = {t for n in (*self._under_way, *self._waiting) for t in _included(n)}
        for need in needs:
            if need in self._asked:
                continue
            if isinstance(need, Read) and included and _type_of(need) in included:
                until = before.get(need, now + _PATIENCE * self._shared.budget)
                if now < until:
                    self._put_off[need] = until
                    continue
            self._asked.add(need)
            if len(self._asked) > _MOST_NEEDS:
                self._report(need, Outcome.TOO_LARGE, now)
            else:
                self._waiting.append(need)
                included.update(_included(need))

    def _is_missing(self, need: Read) -> bool:
        return self._resources.get(need.reference) is None

    def _start(self) -> None:
        while self._waiting and len(self._under_way) < _MOST_AT_ONCE:
            need = self._waiting.popleft()
            self._under_way[need] = self._clock()
            if not self._shared.debts.add(self._server):
                self._results.put(_Result(need, Outcome.TIMEOUT, finished=self._clock()))
                continue
            try:
                self._shared.threads.begin(partial(self._work, need))
            except RuntimeError:  # no more threads in the system
                self._shared.debts.remove(self._server)
                self._results.put(_Result(need, Outcome.ERROR, finished=self._clock()))

    def _work(self, need: FhirQuery) -> None:
        documents: Sequence[Document] = ()
        try:
            documents = self._client.documents(need, self._deadline)
            outcome = Outcome.FETCHED
        except FetchFailed as failure:
            outcome = Outcome(failure.outcome)
        except Exception as error:
            # No caller sees a thread's exception. The type only: a message may quote the data.
            log.error("unexpected error while fetching", kind=type(error).__name__)
            outcome = Outcome.ERROR
        finally:
            self._shared.debts.remove(self._server)
        self._results.put(_Result(need, outcome, documents, self._clock()))

    def _finish(self, result: _Result) -> None:
        outcome = result.outcome
        if outcome is Outcome.FETCHED:
            outcome = self._use(result.need, result.documents)
        self._report(result.need, outcome, result.finished)

    def _report(self, need: FhirQuery, outcome: Outcome, finished: float) -> None:
        started = self._under_way.pop(need, finished)
        took = round((finished - started) * 1000)
        self._reports.append(FetchReport(need.label, outcome, max(took, 0), started))
        absent = outcome is Outcome.NOT_FOUND and isinstance(need, Read)
        if outcome is not Outcome.FETCHED and not absent:
            self._failed.add(need)

    def _use(self, need: FhirQuery, documents: Sequence[Document]) -> Outcome:
        """Add the documents' resources, all or none, without those of other patients."""
        if not all(self._shared.fits(d.data) for d in documents):
            return Outcome.NOT_FHIR
        if isinstance(need, Read):
            found = [_fetched(Resource(d.data, d, ())) for d in documents]
            if [r.reference for r in found] != [_wanted(need)]:
                return Outcome.NOT_FHIR
        else:
            if any(d.data.get("resourceType") != "Bundle" for d in documents):
                return Outcome.NOT_FHIR
            found = [r for d in documents for r in _matches(need, d)]
            if any(r.id is None for r in found):
                return Outcome.NOT_FHIR
        if len(self._arrived) + len(found) > self._client.limits.max_resources:
            return Outcome.TOO_LARGE
        bases = self._client.bases
        own = [r for r in found if not is_of_another(r.data, self._patient, bases)]
        for resource in own:
            self._resources.add(resource)
        self._arrived.extend(own)
        return Outcome.FETCHED if len(own) == len(found) else Outcome.WRONG_PATIENT


def _included(need: FhirQuery) -> frozenset[str]:
    return need.brings if isinstance(need, Search) else frozenset()


def _type_of(need: Read) -> str | None:
    literal = parse_literal(need.reference)
    return literal.type if literal else None


def _wanted(need: Read) -> str | None:
    literal = parse_literal(need.reference)
    return literal.local if literal else None


def _matches(need: Search, page: Document) -> list[Resource]:
    wanted = {need.type, *need.brings}
    found = (r for r in resources_in(page, page.data, ()) if r.type in wanted)
    return [_fetched(r) for r in found if need.asks_for(r.data)]


def _fetched(resource: Resource) -> Resource:
    """A resource under its own type and id: an entry's full URL is not trusted."""
    named = f"fetched.{resource.type}/{resource.id}"
    return Resource(resource.data, resource.document, resource.path, named=named)


class _Debts:
    """Unanswered requests by client and server, over all calls of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed: Counter[_Asked] = Counter()

    def add(self, server: _Asked) -> bool:
        """Count one more; False if the server has too many unanswered."""
        with self._lock:
            if self._owed[server] >= _MOST_OWED:
                return False
            self._owed[server] += 1
            return True

    def remove(self, server: _Asked) -> None:
        with self._lock:
            self._owed[server] -= 1
            if self._owed[server] <= 0:
                del self._owed[server]
