"""Bodies within the limits that cost as much as they can: by the byte, against the bench's body.

Costs are processor time and memory of this process, so that a busy machine does not count. The
target: no body costs more than 20 times the time and 10 times the memory, by the byte, of the
bench's body.
"""

from __future__ import annotations

import gc
import json
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cards.coverage_information import EXTENSION_URL
from cards.questionnaires import load_forms
from service.bootstrap.app import Library, wire_review
from service.decision_log.call_record import CallRecord
from service.decision_log.rows import entry_of
from service.decision_log.token_removal import without_tokens
from service.ehr.fhir_client import Access
from service.ehr.fhir_query import FhirQuery
from service.ehr.resource_fetcher import Fetched
from service.errors import RequestError
from service.fhir.resources import Resources
from service.review.order_review import OrderReview
from service.settings import Settings
from service.web.json_body import encode
from tests.bench.bodies import fixture_call, order_sign_bodies

SERVICE = "order-sign-crd"
MOST_TIME, MOST_MEMORY = 20, 10
LARGEST = 1_000_000
MOST_RESOURCES, MOST_ORDERS = 980, 100
_PATIENCE_SECONDS = 20
_LEAST_SECONDS = 0.2
"""Processor time is told in steps of some milliseconds."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of processor time and bytes of memory for a body."""

    seconds: float
    memory: int
    bytes: int
    status: int

    def times(self, other: Cost) -> tuple[float, float]:
        """How many times the other's cost by the byte: of time, of memory."""
        time_by_byte = (self.seconds / self.bytes) / (other.seconds / other.bytes)
        return time_by_byte, (self.memory / self.bytes) / (other.memory / other.bytes)


class SilentEhr:
    """A fetcher whose EHR gives nothing: what is missing is looked for once."""

    def complete(
        self,
        resources: Resources,
        plan: Callable[[Resources], Sequence[FhirQuery]],
        access: Access | None,
        patient: str,
    ) -> Fetched:
        plan(resources)
        return Fetched()


def hostile_bodies(
    kinds: Mapping[str, Callable[[], Json | bytes]],
) -> Iterator[tuple[str, bytes]]:
    """Each kind by name, as large as the limits allow."""
    for name, make in kinds.items():
        made = make()
        yield name, made if isinstance(made, bytes) else json.dumps(made).encode()


def cost_of(review: OrderReview, body: bytes, runs: int = 1) -> Cost:
    """The mean processor time of some runs, and the peak of memory of one.

    What takes longer than one has patience for counts as that long, and with no memory.
    """
    status = 200

    def act() -> None:
        nonlocal status
        try:
            answer = review.review(SERVICE, body).answer
        except RequestError as refusal:
            answer = encode(refusal.operation_outcome())
            status = refusal.status
        entry_of(without_tokens(_record(body, answer)))

    signal.signal(signal.SIGPROF, _out_of_patience)
    signal.setitimer(signal.ITIMER_PROF, _PATIENCE_SECONDS)
    try:
        return _measured(act, len(body), runs, lambda: status)
    except TimeoutError:
        return Cost(float(_PATIENCE_SECONDS), 1, len(body), status)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _record(body: bytes, answer: bytes) -> CallRecord:
    now = datetime.now(UTC)
    return CallRecord("1", "bench", SERVICE, "order-sign", now, 0.1, 200, body, answer, "1")


def _out_of_patience(_signal: int, _frame: object) -> None:
    raise TimeoutError


def _measured(act: Callable[[], None], size: int, runs: int, status: Callable[[], int]) -> Cost:
    act()
    gc.collect()
    done, began = 0, time.process_time()
    while done < runs or time.process_time() - began < _LEAST_SECONDS:
        act()
        done += 1
    seconds = (time.process_time() - began) / done
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    act()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return Cost(seconds, max(peak, 1), size, status())


def hostile_costs() -> Iterator[str]:
    """The lines of this measurement: each kind with its factors, then the worst of them."""
    review = _reviewing(Settings())
    (usual,) = order_sign_bodies(1)
    ours = cost_of(review, usual, runs=20)
    yield (
        f"HOSTILE the bench's body: {ours.bytes} bytes, {ours.seconds * 1e3:.1f} ms, "
        f"{ours.memory / 1e3:.0f} KB"
    )
    worst_time, worst_memory = 0.0, 0.0
    for name, cost in _costs(review):
        by_time, by_memory = cost.times(ours)
        worst_time, worst_memory = max(worst_time, by_time), max(worst_memory, by_memory)
        yield (
            f"HOSTILE {name}: {cost.bytes} bytes, {cost.status}, {cost.seconds * 1e3:.0f} ms, "
            f"{cost.memory / 1e6:.1f} MB; by the byte {by_time:.1f} of the time, "
            f"{by_memory:.1f} of the memory"
        )
    yield f"HOSTILE worst time {worst_time:.1f}"
    yield f"TARGET worst time at most {MOST_TIME}: {_verdict(worst_time, MOST_TIME)}"
    yield f"HOSTILE worst memory {worst_memory:.1f}"
    yield f"TARGET worst memory at most {MOST_MEMORY}: {_verdict(worst_memory, MOST_MEMORY)}"


def _costs(review: OrderReview) -> Iterator[tuple[str, Cost]]:
    for name, body in hostile_bodies(_KINDS):
        yield name, cost_of(review, body)
    ruled = _reviewing(_examples())
    for name, body in hostile_bodies(_UNDER_RULES):
        yield name, cost_of(ruled, body)


def _reviewing(settings: Settings) -> OrderReview:
    """The review, what it is made of kept out of garbage collections as in a worker."""
    review = wire_review(settings, Library(settings), fetcher=SilentEhr())
    gc.collect()
    gc.freeze()
    return review


def _verdict(value: float, bound: float) -> str:
    return "reached" if value <= bound else "NOT REACHED"


# --- the kinds


def _base() -> Json:
    call = fixture_call()
    call["fhirServer"] = "http://127.0.0.1:1/fhir"
    call["fhirAuthorization"] = {"access_token": "synthetic-token"}
    return call


def _order(call: Json) -> Json:
    order: Json = call["context"]["draftOrders"]["entry"][0]["resource"]
    return order


def _prefetched(call: Json, resources: Sequence[Json]) -> Json:
    entries = [{"resource": r} for r in resources]
    call["prefetch"]["more"] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    return call


def _with_orders(call: Json, count: int, small: bool = True) -> Json:
    entries = call["context"]["draftOrders"]["entry"]
    first = entries[0]["resource"]
    kept = ("resourceType", "status", "intent", "subject", "code", "insurance")
    order = {n: v for n, v in first.items() if n in kept} if small else first
    del entries[1:]
    for n in range(1, count):
        entries.append({"resource": {**deepcopy(order), "id": f"o{n}"}})
    return call


def _many(kind: str, orders: int, count: int = MOST_RESOURCES - MOST_ORDERS, **more: Any) -> Json:
    """Many resources of a type beside so many orders."""
    call = _base()
    patient = {"reference": f"Patient/{call['context']['patientId'].removeprefix('Patient/')}"}
    of = {"Coverage": "beneficiary", "ClaimResponse": "patient"}.get(kind, "subject")
    made = [{"resourceType": kind, "id": f"x{n}", of: patient, **more} for n in range(count)]
    return _prefetched(_with_orders(call, orders), made)


def _coverages(orders: int, *, named: bool = False) -> Json:
    call = _many("Coverage", orders, status="active")
    if named:
        for entry in call["context"]["draftOrders"]["entry"]:
            entry["resource"]["insurance"] = [{"reference": "Coverage/x7"}]
    return call


def _repeated(element: str, item: Any, count: int) -> Json:
    call = _base()
    _order(call)[element] = [item] * count
    return call


def _codings(count: int, code: str = "76390") -> Json:
    call = _base()
    system = "http://www.ama-assn.org/go/cpt"
    _order(call)["code"]["coding"] = [{"system": system, "code": code} for _ in range(count)]
    return call


def _different_codings(count: int) -> Json:
    call = _base()
    _order(call)["code"]["coding"] = [{"system": "s", "code": f"c{n}"} for n in range(count)]
    return call


def _coverage_information(count: int, orders: int = 1) -> Json:
    call = _with_orders(_base(), orders)
    parts = [
        {"url": "coverage", "valueReference": {"reference": "Coverage/ma-ann"}},
        {"url": "covered", "valueCode": "covered"},
    ]
    info = {"url": EXTENSION_URL, "extension": parts}
    for entry in call["context"]["draftOrders"]["entry"]:
        entry["resource"]["extension"] = [info] * (count // orders)
    return call


def _questionnaires(orders: int, count: int, answers: int, *, asked: bool = False) -> Json:
    canonical = _forms(Settings())["abn-record"]
    call = _with_orders(_base(), orders)
    items = [{"linkId": f"{n}", "answer": [{"valueString": "x"}]} for n in range(answers)]
    patient = {"reference": f"Patient/{call['context']['patientId'].removeprefix('Patient/')}"}
    responses = [
        {
            "resourceType": "QuestionnaireResponse",
            "id": f"q{n}",
            "status": "completed",
            "questionnaire": canonical,
            "subject": patient,
            "item": items,
        }
        for n in range(count)
    ]
    if asked:
        parts = [{"url": "questionnaire", "valueCanonical": canonical}]
        for entry in call["context"]["draftOrders"]["entry"]:
            entry["resource"]["extension"] = [{"url": EXTENSION_URL, "extension": parts}]
    return _prefetched(call, responses)


def _forms(settings: Settings) -> Mapping[str, str]:
    """The canonicals of forms by their ids."""
    forms = load_forms(Library(settings).questionnaires, settings.form_bases)
    return {form.id: form.canonical for form in forms}


def _examples() -> Settings:
    """Settings of the example policies, which have rules over facts."""
    return Settings(policies_dir=Path(__file__).parents[2] / "examples" / "policies")


def _nested_answers(depth: int) -> Json:
    call = _questionnaires(1, 1, 1)
    response = call["prefetch"]["more"]["entry"][0]["resource"]
    made = []
    for n in range(1_200):
        item: Json = {"linkId": str(n)}
        for _ in range(depth):
            item = {"linkId": "a", "item": [item]}
        made.append(item)
    response["item"] = made
    return call


def _references(orders: int, count: int, to: str) -> Json:
    call = _with_orders(_base(), orders)
    for entry in call["context"]["draftOrders"]["entry"]:
        entry["resource"]["reasonReference"] = [{"reference": to}] * (count // orders)
    return call


def _long(place: Callable[[Json, str], None], text: str) -> Json:
    call = _base()
    place(call, text * ((LARGEST - 30_000) // len(text)))
    return call


def _reference_of(call: Json, text: str) -> None:
    _order(call)["insurance"] = [{"reference": text}]


def _code_of(call: Json, text: str) -> None:
    _order(call)["code"]["coding"][0]["code"] = text


def _key_of(call: Json, text: str) -> None:
    _order(call)[text] = 1


def _wrong_key_of(call: Json, text: str) -> None:
    _order(call)["status"] = [{text: [1, {text[: len(text) // 2]: 2}]}]
    call["prefetch"][text] = {"resourceType": "Coverage", "status": 1, "id": 1}


def _wrong_long() -> Json:
    call = _base()
    _wrong_key_of(call, "k" * 400_000)
    return call


def _many_wrong(count: int) -> Json:
    call = _base()
    wrong = [{"resourceType": "Coverage", "status": 1, "period": 1, "payor": 3}] * count
    call["prefetch"]["coverage"] = {
        "resourceType": "Bundle",
        "entry": [{"resource": w} for w in wrong],
    }
    return call


def _wide() -> Json:
    call = _base()
    _order(call).update({f"k{n}": 1 for n in range(70_000)})
    return call


def _nulls() -> Json:
    call = _base()
    call["prefetch"]["more"] = [[{"a": None}] for _ in range(30_000)]
    return call


def _nulls_of_orders() -> Json:
    call = _with_orders(_base(), MOST_ORDERS)
    for entry in call["context"]["draftOrders"]["entry"]:
        entry["resource"]["note"] = [{"a": {"b": None}}] * 300
    return call


def _deep() -> Json:
    node: Any = 1
    for _ in range(55):
        node = [node]
    call = _base()
    call["prefetch"]["more"] = [node] * 1_700
    return call


def _bundles_in_bundles() -> Json:
    call = _base()
    inner: Json = {"resourceType": "Coverage", "id": "x"}
    for _ in range(18):
        inner = {"resourceType": "Bundle", "entry": [{"resource": inner}]}
    call["prefetch"]["more"] = [inner] * 900
    return call


def _same_resource(count: int) -> Json:
    """One type and id again and again, each saying more than the one before."""
    call = _base()
    made = [
        {"resourceType": "Basic", "id": "x", "meta": {"lastUpdated": f"{n:05}"}, "a": "y" * 600}
        for n in range(count)
    ]
    return _prefetched(call, made)


def _full_urls() -> Json:
    call = _base()
    entries = [
        {"fullUrl": f"https://h{n}.example.org/Basic/{n}", "resource": {"resourceType": "Basic"}}
        for n in range(MOST_RESOURCES)
    ]
    call["prefetch"]["more"] = {"resourceType": "Bundle", "entry": entries}
    return call


def _contained(count: int, orders: int) -> Json:
    call = _with_orders(_base(), orders)
    inner = [{"resourceType": "Coverage", "id": f"c{n}"} for n in range(count)]
    for entry in call["context"]["draftOrders"]["entry"]:
        entry["resource"]["contained"] = inner
    return call


def _payors(count: int) -> Json:
    """One coverage with many payors, each one of many contained organizations."""
    call = _base()
    coverage = {
        "resourceType": "Coverage",
        "id": "x",
        "status": "active",
        "payor": [{"reference": f"#o{n}"} for n in range(count)],
        "contained": [{"resourceType": "Organization", "id": f"o{n}"} for n in range(count)],
    }
    return _prefetched(call, [coverage])


def _code_references(count: int) -> Json:
    """An order of a device by reference to one of many contained ones."""
    call = _base()
    entries = call["context"]["draftOrders"]["entry"]
    order = entries[0]["resource"]
    entries[0]["resource"] = {
        "resourceType": "Appointment",
        "id": "x",
        "status": "proposed",
        "reasonReference": [{"reference": f"#d{n}"} for n in range(count)],
        "contained": [{"resourceType": "Procedure", "id": f"d{n}"} for n in range(count)],
        "participant": [{"actor": order["subject"], "status": "accepted"}],
    }
    return call


def _participants(count: int, orders: int) -> Json:
    call = _base()
    subject = _order(call)["subject"]
    entries = call["context"]["draftOrders"]["entry"] = []
    for n in range(orders):
        entries.append(
            {
                "resource": {
                    "resourceType": "Appointment",
                    "id": f"a{n}",
                    "status": "proposed",
                    "participant": [{"actor": subject}] * (count // orders),
                }
            }
        )
    return call


def _classes(count: int) -> Json:
    call = _base()
    klass = {"type": {"coding": [{"code": "plan"}]}, "value": "v"}
    made = [
        {"resourceType": "Coverage", "id": "ma-ann", "status": "active", "class": [klass] * count}
    ]
    call["prefetch"]["coverage"] = {"resourceType": "Bundle", "entry": [{"resource": made[0]}]}
    return call


def _claims(orders: int, count: int, items: int) -> Json:
    item = {"itemSequence": 1, "adjudication": [{"category": {"text": "x"}}]}
    return _many(
        "ClaimResponse",
        orders,
        count,
        status="active",
        use="preauthorization",
        outcome="complete",
        preAuthRef="A1",
        item=[item] * items,
    )


def _identifiers(count: int) -> Json:
    call = _base()
    for entry in call["prefetch"]["coverage"]["entry"]:
        entry["resource"]["identifier"] = [{"system": "s", "value": str(n)} for n in range(count)]
    call["prefetch"]["patient"]["identifier"] = [{"system": "s", "value": "1"}] * count
    return call


def _payor_identifiers(count: int) -> Json:
    call = _base()
    for entry in call["prefetch"]["coverage"]["entry"]:
        if entry["resource"]["resourceType"] == "Organization":
            entry["resource"]["identifier"] = [
                {"system": "s", "value": str(n)} for n in range(count)
            ]
    return call


def _quotation_marks() -> bytes:
    """No JSON, which a pattern of strings without care looks at again from each mark."""
    return b'"' + b'\\",' * (LARGEST // 3)


def _filled(value: Any) -> Json:
    call = _base()
    call["prefetch"]["more"] = value
    return call


def _configuration(count: int) -> Json:
    call = _base()
    call["extension"] = {"davinci-crd.configuration": {f"o{n}": True for n in range(count)}}
    return call


def _numbers() -> bytes:
    call = _base()
    call["prefetch"]["more"] = ["#"]
    return json.dumps(call).encode().replace(b'"#"', b",".join([b"1" * 4000] * 230))


def _locations(orders: int, count: int) -> Json:
    call = _with_orders(_base(), orders)
    for entry in call["context"]["draftOrders"]["entry"]:
        entry["resource"]["locationCode"] = [{"coding": [{"code": "x"}]}] * (count // orders)
        entry["resource"]["reasonCode"] = [{"coding": [{"code": "x"}]}] * (count // orders)
        entry["resource"]["performer"] = [{"reference": "Practitioner/p"}] * (count // orders)
    return call


def _ruled(
    code: str, kind: str, count: int = 880, /, orders: int = MOST_ORDERS, **more: Any
) -> Json:
    """Orders under rules, beside many resources that the rules look through."""
    call = _many(kind, orders, count, **more)
    for entry in call["context"]["draftOrders"]["entry"]:
        order = entry["resource"]
        system = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
        if code.isdigit():
            system = "http://www.ama-assn.org/go/cpt"
        order["code"] = {"coding": [{"system": system, "code": code}]}
        icd = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "J44.9"}
        order["reasonCode"] = [{"coding": [icd]}]
    return call


def _oxygen(loinc: str, orders: int = MOST_ORDERS, count: int = 880) -> Json:
    concept = {"coding": [{"system": "http://loinc.org", "code": loinc}]}
    day = datetime.now(UTC).date().isoformat()
    return _ruled(
        "E1390",
        "Observation",
        count,
        orders=orders,
        status="final",
        code=concept,
        effectiveDateTime=day,
    )


def _components() -> Json:
    concept = {"coding": [{"system": "http://loinc.org", "code": "1-1"}]}
    day = datetime.now(UTC).date().isoformat()
    return _ruled(
        "E1390",
        "Observation",
        60,
        status="final",
        effectiveDateTime=day,
        component=[{"code": concept}] * 150,
    )


def _tests(orders: int = MOST_ORDERS, count: int = 880) -> Json:
    concept = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "82270"}]}
    return _ruled("82270", "Procedure", count, orders=orders, status="completed", code=concept)


def _answers_for_all() -> Json:
    """Responses to a policy's form, each of them for all orders."""
    call = _ruled("72148", "QuestionnaireResponse", 60, status="completed")
    orders = [
        {"reference": f"ServiceRequest/{e['resource']['id']}"}
        for e in call["context"]["draftOrders"]["entry"]
    ]
    items = [{"linkId": f"{n}", "answer": [{"valueDecimal": 1}]} for n in range(150)]
    form = _forms(_examples())["conservative-care"]
    for entry in call["prefetch"]["more"]["entry"]:
        entry["resource"].update(basedOn=orders, item=items, questionnaire=form)
    return call


def _days_apart() -> Json:
    """Orders of a day each, beside many observations of the value."""
    call = _oxygen("59408-5")
    today = datetime.now(UTC).date()
    for n, entry in enumerate(call["context"]["draftOrders"]["entry"]):
        entry["resource"]["occurrenceDateTime"] = (today + timedelta(n % 25)).isoformat()
    return call


_UNDER_RULES: Mapping[str, Callable[[], Json | bytes]] = {
    "rules: 100 orders": lambda: _ruled("E1390", "Basic", 1),
    "rules: 100 orders, 880 observations of the value": lambda: _oxygen("59408-5"),
    "rules: 100 orders of 25 days, 880 observations": _days_apart,
    "rules: 100 orders, 880 other observations": lambda: _oxygen("1-1"),
    "rules: 100 orders, 9,000 components": _components,
    "rules: 100 orders, 880 tests": _tests,
    "rules: 100 orders, 880 authorizations": lambda: _ruled("72148", "ClaimResponse"),
    "rules: 100 orders, 60 responses for all": _answers_for_all,
    "rules: 9,000 reasons": lambda: _with_reasons(9_000),
}


def _with_reasons(count: int) -> Json:
    call = _ruled("E1390", "Basic", 1)
    for entry in call["context"]["draftOrders"]["entry"]:
        system = "http://hl7.org/fhir/sid/icd-10-cm"
        entry["resource"]["reasonCode"] = [
            {"coding": [{"system": system, "code": f"A{n:02}"}]} for n in range(count // 100)
        ]
    return call


_KINDS: Mapping[str, Callable[[], Json | bytes]] = {
    "100 small orders of the policy": lambda: _with_orders(_base(), MOST_ORDERS),
    "100 orders of the policy": lambda: _with_orders(_base(), MOST_ORDERS, small=False),
    "1 order, 980 coverages": lambda: _many("Coverage", 1, MOST_RESOURCES, status="active"),
    "100 orders, 880 coverages": lambda: _coverages(MOST_ORDERS),
    "100 orders that name one of 880 coverages": lambda: _coverages(MOST_ORDERS, named=True),
    "100 orders, 880 conditions": lambda: _many("Condition", MOST_ORDERS),
    "100 orders, 880 observations": lambda: _many("Observation", MOST_ORDERS, status="final"),
    "100 orders, 880 encounters": lambda: _many("Encounter", MOST_ORDERS, status="finished"),
    "100 orders, 880 procedures": lambda: _many("Procedure", MOST_ORDERS, status="completed"),
    "100 orders, 880 authorizations": lambda: _claims(MOST_ORDERS, 880, 0),
    "100 orders, 100 authorizations of 90 items": lambda: _claims(MOST_ORDERS, 100, 90),
    "1 order, 880 responses to the form": lambda: _questionnaires(1, 880, 10),
    "100 orders, 880 responses to the form": lambda: _questionnaires(MOST_ORDERS, 880, 10),
    "100 orders that ask for it, 880 responses": lambda: _questionnaires(100, 880, 5, asked=True),
    "1 response of 14,000 answers": lambda: _questionnaires(1, 1, 14_000),
    "100 orders, 1 response of 14,000 answers": lambda: _questionnaires(100, 1, 14_000, asked=True),
    "nested answers": lambda: _nested_answers(25),
    "15,000 codings": lambda: _codings(15_000),
    "25,000 different codings": lambda: _different_codings(25_000),
    "6,000 billing options of the order": lambda: _repeated(
        "extension",
        {
            "url": "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options",
            "valueCodeableConcept": {"coding": [{"system": "s", "code": "c"}]},
        },
        6_000,
    ),
    "25,000 extensions": lambda: _repeated("extension", {"url": "u", "valueCode": "v"}, 25_000),
    "coverage information again and again": lambda: _coverage_information(4_500),
    "the same on 100 orders": lambda: _coverage_information(4_500, 100),
    "16,000 identifiers": lambda: _identifiers(8_000),
    "20,000 identifiers of the payor": lambda: _payor_identifiers(20_000),
    "15,000 references to one resource": lambda: _references(1, 15_000, "Condition/x"),
    "the same from 100 orders": lambda: _references(100, 15_000, "Condition/x"),
    "15,000 references to what is there": lambda: _references(100, 15_000, "Coverage/ma-ann"),
    "15,000 insurances": lambda: _repeated("insurance", {"reference": "Coverage/ma-ann"}, 15_000),
    "reasons, places and performers": lambda: _locations(100, 9_000),
    "a long reference": lambda: _long(_reference_of, "Aa/"),
    "a long absolute reference": lambda: _long(_reference_of, "http://a/Aa/1"),
    "a long code": lambda: _long(_code_of, "76390 "),
    "a code of blanks": lambda: _long(_code_of, " -"),
    "a long key": lambda: _long(_key_of, "k"),
    "long keys at wrong places": _wrong_long,
    "everything is wrong": lambda: _many_wrong(900),
    "70,000 members of an order": _wide,
    "nulls": _nulls,
    "nulls in 100 orders": _nulls_of_orders,
    "deep lists": _deep,
    "bundles in bundles": _bundles_in_bundles,
    "one resource again and again": lambda: _same_resource(MOST_RESOURCES),
    "980 hosts in full URLs": _full_urls,
    "100 orders with 100 contained coverages": lambda: _contained(100, 100),
    "1 order with 15,000 contained coverages": lambda: _contained(15_000, 1),
    "8,000 payors of one coverage": lambda: _payors(8_000),
    "7,000 contained procedures": lambda: _code_references(7_000),
    "100 appointments of 150 participants": lambda: _participants(15_000, 100),
    "8,000 classes of a coverage": lambda: _classes(8_000),
    "a word with the signs of tokens": lambda: _filled("eyJ token " + "a" * 900_000 + " x=1"),
    "masses of signs of tokens": lambda: _filled("eyJ" * 300_000 + " x=1"),
    "20,000 tokens": lambda: _filled([{"access_token": f"s{n}-0123456789"} for n in range(20_000)]),
    "options of 50,000 names": lambda: _configuration(50_000),
    "long numbers": _numbers,
    "quotation marks alone": _quotation_marks,
}
