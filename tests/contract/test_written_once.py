"""Texts that are written once: the answer is the same, byte for byte, as one written for the call.

Without a shape the same writers write with the call's own values: there is one definition of a card
and of a statement.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import service.response
from service.bootstrap.app import Library, wire_review
from service.decision.coverage import Coverage, CoverageFinding
from service.decision.determination import Determination
from service.decision.order import Order
from service.decision.payer_finding import PayerFinding
from service.decision.programs import ProgramFinding
from service.errors import RequestError
from service.fhir.systems import CPT
from service.response.card_writer import CardWriter
from service.response.response_context import Decided, ResponseContext
from service.review.order_review import OrderReview
from tests.conftest import NOW, TODAY, in_folder
from tests.contract.calls import (
    FIXTURE_NAMES,
    SERVICE_OF_HOOK,
    Json,
    call_of,
    orders_of,
    resources_in,
    with_numbered_uuids,
)
from tests.contract.payer_records import plan, records_database
from tests.contract.test_notice_on_file import ABN, filed
from tests.contract.test_payer_records import MEMBERS

HOSTILE = (
    'say "no"',
    "50 % of %b and %s",
    "{services} {codes} {{ f }}",
    "a\\b\n\tc",
    "<b>[x](http://example.org)</b> @me",
    "\u202eright to left \u2028",
    "MR spectroscopy, Ünïcode ☢ 𝄞",
    "long " * 30,
    "",
)
CODES = ("76390", "0609T", "0610T", "0611T", "0612T", "70551", "99999", "A 1", "x")
PROGRAMS = ("121", "111", "11", "2", "5", "99", "nonsense")


class Clock:
    """A clock that the tests set."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


class Reviewed:
    """A review, asked in the usual way and without shapes."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, **settings: Any) -> None:
        self._patch = patch
        self._clock = Clock()
        self.has_records = "payer_data" in settings
        self.mutations = 250 if settings else 1000
        made = in_folder(folder, **settings)
        self.review: OrderReview = wire_review(made, Library(made), clock=self._clock)

    def usual(self, request: Json, at: datetime = NOW, client: str = "") -> Any:
        """The answer in bytes, what the log keeps of it, and its assertions; or the refusal.

        Uuids are random: each is written as the number of its first place.
        """
        self._clock.now = at
        service = SERVICE_OF_HOOK[request["hook"]]
        try:
            done = self.review.review(service, json.dumps(request).encode(), client=client)
        except RequestError as refusal:
            return refusal.operation_outcome()
        answer, cards = with_numbered_uuids(done.answer, repr(done.cards).encode())
        return answer, cards, done.asserted

    def written_for_it(self, request: Json, at: datetime = NOW, client: str = "") -> Any:
        """The same of an answer that is written for this call."""
        with self._patch.context() as patch:
            patch.setattr(service.response, "shape_of", lambda _item: None)
            return self.usual(request, at, client)


@pytest.fixture(scope="module", params=["as it is", "with records", "with forms", "prefilled"])
def reviewed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reviewed:
    folder = tmp_path_factory.mktemp("written-once")
    settings: dict[str, Any] = {}
    if request.param == "with records":
        settings["payer_data"] = records_database(folder)
        with plan(settings["payer_data"], folder) as payer:
            payer.put("members", MEMBERS)
    elif request.param != "as it is":
        kinds = {"with forms": "task-and-form", "prefilled": "task-form-and-response"}
        settings["notice_suggestion"] = kinds[request.param]
    return Reviewed(pytest.MonkeyPatch(), folder, **settings)


def renamed(request: Json, choose: random.Random) -> Json:
    """Other ids for everything that orders and patient refer to."""
    text = json.dumps(request)
    for resource in resources_in(request):
        if (known := str(resource.get("id", ""))) and choose.random() < 0.5:
            other = choose.choice((f"{known}-b", "x", "A.1", f"{known}{choose.randrange(99)}"))
            text = re.sub(rf'(?<=["/]){re.escape(known)}(?=")', other, text)
    changed: Json = json.loads(text)
    return changed


def called_otherwise(request: Json, choose: random.Random) -> Json:
    """Other names as ordered."""
    for order in orders_of(request):
        if isinstance(order.get("code"), dict):
            order["code"]["text"] = choose.choice((*HOSTILE, "MR spectroscopy"))
    return request


def of_another_day(request: Json, choose: random.Random) -> Json:
    """Another day of service: none, one, or a period with or without ends."""
    for order in orders_of(request):
        for element in [e for e in order if e.startswith("occurrence")]:
            del order[element]
        day = TODAY + timedelta(choose.randint(-400, 1200))
        kind = choose.randrange(4)
        if kind == 1:
            order["occurrenceDateTime"] = day.isoformat()
        elif kind > 1:
            sides = {"start": day, "end": day + timedelta(choose.randrange(60))}
            kept = [*sides] if kind == 2 else [choose.choice([*sides])]
            order["occurrencePeriod"] = {side: sides[side].isoformat() for side in kept}
    return request


def of_another_code(request: Json, choose: random.Random) -> Json:
    """Other codes and systems, with modifiers or without."""
    for order in orders_of(request):
        if isinstance(order.get("code"), dict):
            for coding in order["code"].get("coding", []):
                modifier = choose.choice(("", "", "-26", " 59"))
                coding["code"] = choose.choice(CODES) + modifier
                if choose.random() < 0.2:
                    coding["system"] = choose.choice(("http://snomed.info/sct", "urn:x", '"'))
    return request


def with_several_orders(request: Json, choose: random.Random) -> Json:
    """Further orders: alike, with another id, with another code, or without an id."""
    entries = request["context"].get("draftOrders", {}).get("entry", [])
    for i in range(choose.randint(1, 10) if entries else 0):
        entry = copy.deepcopy(choose.choice(entries))
        resource = entry["resource"]
        if choose.random() < 0.8:
            resource["id"] = f"further-{i}"
            entry["fullUrl"] = f"urn:uuid:00000000-0000-4000-8000-{i:012}"
        elif choose.random() < 0.3:
            resource.pop("id", None)
        if choose.random() < 0.4 and isinstance(resource.get("code"), dict):
            for coding in resource["code"].get("coding", []):
                coding["code"] = choose.choice(CODES)
        resource["intent"] = choose.choice(("order", "order", "plan"))
        entries.append(entry)
    return request


def under_another_coverage(request: Json, choose: random.Random) -> Json:
    """Another program, another end, status or payer; several coverages, or none."""
    for bundle in [b for b in request["prefetch"].values() if isinstance(b, dict)]:
        entries = bundle.get("entry", [])
        for entry in list(entries):
            coverage = entry["resource"]
            if coverage.get("resourceType") != "Coverage":
                continue
            kind = choose.randrange(8)
            if kind == 0:
                other = copy.deepcopy(entry)
                other["resource"]["id"] = "another"
                entries.append(other)
            elif kind == 1:
                entries.remove(entry)
            elif kind == 2:
                coverage["status"] = choose.choice(("active", "cancelled"))
            elif kind == 3:
                end = TODAY + timedelta(choose.randint(-100, 500))
                coverage["period"] = {"start": "2020-01-01", "end": end.isoformat()}
            elif kind == 4:
                coverage["payor"] = [{"reference": 'Organization/"%b"'}]
            elif kind == 5:
                coverage.pop("id", None)
            else:
                coding = {"system": "https://nahdo.org/sopt", "code": choose.choice(PROGRAMS)}
                coverage["type"] = {"coding": [coding]}
    return request


def otherwise_asked(request: Json, choose: random.Random) -> Json:
    """Other options of the caller, no encounter, or the other hook of ordering."""
    extension = request.setdefault("extension", {})
    extension["davinci-crd.configuration"] = {
        "max-cards": choose.choice((0, 1, 2, 10)),
        "guideline": choose.random() < 0.8,
        "claim": choose.random() < 0.8,
        "coverage-info": choose.random() < 0.8,
    }
    if choose.random() < 0.5:
        request["context"].pop("encounterId", None)
    orders = request["context"].get("draftOrders", {}).get("entry", [])
    if orders and request["hook"] == "order-sign" and choose.random() < 0.3:
        request["hook"] = "order-select"
        request["context"]["selections"] = [
            f"{e['resource']['resourceType']}/{e['resource'].get('id', 'x')}" for e in orders
        ]
    return request


def of_another_kind(request: Json, choose: random.Random) -> Json:
    """An order that is only planned, has no id or no name, or whose payer was not sent."""
    kind = choose.randrange(5)
    for entry in request["context"].get("draftOrders", {}).get("entry", []):
        if kind == 4:
            entry["fullUrl"] = "urn:uuid:00000000-0000-4000-8000-000000000001"
    for order in orders_of(request):
        if kind == 0:
            order["intent"] = choose.choice(("order", "plan"))
        if kind in (1, 4):
            order.pop("id", None)
        if kind in (2, 4):
            order["code"] = {"coding": [{"system": CPT, "code": choose.choice(CODES)}]}
    for coverage in resources_in(request["prefetch"]):
        if kind == 3 and coverage["resourceType"] == "Coverage":
            coverage["payor"] = [{"reference": f"Organization/not-sent-{choose.randrange(3)}"}]
    return request


MUTATIONS: Sequence[Callable[[Json, random.Random], Json]] = (
    renamed,
    called_otherwise,
    of_another_day,
    of_another_code,
    with_several_orders,
    under_another_coverage,
    otherwise_asked,
    of_another_kind,
)
ORDINARY = tuple(
    f"order-sign/{name}"
    for name in (
        "mrs-medicare-advantage",
        "mrs-original-medicare",
        "mrs-program-not-told",
        "no-date-of-service",
        "mrs-and-unrelated-mri",
    )
)
"""Fixtures that are chosen often, so that calls that differ little meet in what is kept."""


def mutated(request: Json, choose: random.Random) -> Json:
    """The request with one to three of the mutations."""
    changed = copy.deepcopy(request)
    for mutation in choose.sample(MUTATIONS, choose.choice((1, 1, 1, 2, 3))):
        changed = mutation(changed, choose)
    return changed


def alike_in_both_ways(reviewed: Reviewed, request: Json, at: datetime, client: str = "") -> Any:
    """The answer, which is the same at first use, from what is kept, and written for the call."""
    expected = reviewed.written_for_it(request, at, client)
    for _ in range(2):
        found = reviewed.usual(request, at, client)
        assert found == expected
    return expected


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_every_fixture_is_answered_alike_in_both_ways(reviewed: Reviewed, version: str) -> None:
    for name in FIXTURE_NAMES:
        request = call_of(name, version)
        request.pop("fhirServer", None)
        alike_in_both_ways(reviewed, request, NOW)


def test_mutations_of_them_are_answered_alike_in_both_ways(reviewed: Reviewed) -> None:
    choose = random.Random(26)
    answered = 0
    for i in range(reviewed.mutations):
        names = choose.choice((FIXTURE_NAMES, ORDINARY))
        request = call_of(choose.choice(names), choose.choice(("2.0", "2.2")))
        request.pop("fhirServer", None)
        at = NOW + timedelta(seconds=choose.randint(0, 3 * 86_400))
        found = alike_in_both_ways(reviewed, mutated(request, choose), at, f"ehr {i % 2}")
        answered += isinstance(found, tuple)
    assert answered > reviewed.mutations * 0.6


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_an_answer_that_comes_back_and_a_form_on_file_are_answered_alike_in_both_ways(
    reviewed: Reviewed, client: FlaskClient, version: str
) -> None:
    for name in ("mrs-original-medicare", "mrs-medicare-advantage"):
        request = call_of(f"order-sign/{name}", version)
        request.pop("fhirServer", None)
        answer, _, _ = alike_in_both_ways(reviewed, request, NOW)
        (action,) = json.loads(answer)["systemActions"]
        request["context"]["draftOrders"]["entry"][0]["resource"] = action["resource"]
        _, _, (asserted,) = alike_in_both_ways(reviewed, request, NOW)
        assert not asserted.sent
        forms = [{"resource": filed(client, "abn-record", "Patient/bo", ABN)}]
        request["prefetch"]["forms"] = {"resourceType": "Bundle", "entry": forms}
        _, _, (asserted,) = alike_in_both_ways(reviewed, request, NOW)
        # By the records both are members of Medicare Advantage, which takes no such form.
        assert asserted.sent == (name == "mrs-original-medicare" and not reviewed.has_records)


def test_cards_of_a_shape_are_written_once_and_of_no_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviewed = Reviewed(monkeypatch, tmp_path)
    request = call_of("order-sign/mrs-medicare-advantage", "2.2")
    request.pop("fhirServer", None)
    written: list[str] = []
    write = CardWriter.on_policies

    def watched(writer: CardWriter, decided: Sequence[Decided], *rest: Any) -> Any:
        written.append(repr((decided, rest)))
        return write(writer, decided, *rest)

    monkeypatch.setattr(CardWriter, "on_policies", watched)
    own = {"ann": "zoe-7", "mrs-brain": "order-8", "visit-ann": "visit-9", "ma-ann": "plan-6"}
    text = json.dumps(request)
    for known, other in own.items():
        text = re.sub(rf'(?<=["/]){known}(?=")', other, text)
    first, second = reviewed.usual(request)[0], reviewed.usual(json.loads(text))[0]
    assert len(json.loads(first)["cards"]) == len(json.loads(second)["cards"]) == 2
    for known, other in own.items():
        assert known.encode() in first
        assert known.encode() not in second
        assert other.encode() in second
    (shaped,) = written
    for of_a_patient in ("Patient/ann", "mrs-brain", "visit-ann", "ma-ann", "Testcase"):
        assert of_a_patient not in shaped


def of(kind: type) -> set[str]:
    """The fields of a type, without those that are made of others."""
    return {f.name for f in dataclasses.fields(kind) if f.init}


def test_each_field_of_what_an_answer_is_written_of_is_in_the_shape_or_in_a_place() -> None:
    """Whoever adds one decides here, in `shape_of` or `with_values`, and in the list below."""
    in_shape_or_place = {
        Determination: {
            "order", "finding", "covered", "program", "day", "policy", "policy_determination",
            "undetermined", "matched", "billing_codes", "notices", "notice_on_file",
            "documentation_on_file", "rejected_forms", "missing", "approval", "payer", "caveat",
            "situations", "decision",
        },
        Order: {"reference", "codings", "name", "service_day", "intent", "coverage_information"},
        Coverage: {"reference", "payer", "payer_told", "ends", "payer_unread"},
        CoverageFinding: {"outcome", "coverage"},
        ProgramFinding: {"program", "entry"},
        PayerFinding: {
            "outcome", "authorization", "out_of_network", "exempt", "situations",
            "contradictions",
        },
        ResponseContext: {
            "version", "options", "patient", "encounter", "ehr", "orders_in_request", "tier",
            "now", "orders_unread", "questionnaires_missing", "unread_because", "hook", "client",
        },
        Decided: {"resource", "determination", "depends_on"},
    }  # fmt: skip
    in_no_text = {
        Determination: {"trace", "possible"},
        Order: {"place", "status", "do_not_perform", "patient", "insurance"},
        Coverage: {
            "place", "type_codes", "payer_identifiers", "status", "starts", "beneficiary",
            "program", "order",
        },
        CoverageFinding: {"because", "candidates"},
        ProgramFinding: {"source", "evidence", "contradictory"},
        # A coverage is corrected by its days: an offer, written for each call.
        PayerFinding: {
            "because", "record", "program", "starts", "ends", "primary", "had_on",
            "history_known",
        },
        # The patient is in prefilled forms, which are not kept; the others are in offers.
        ResponseContext: {"patient_at_hand", "apps", "coverages"},
        # Likewise.
        Decided: {"details", "facts"},
    }  # fmt: skip
    for kind, known in in_shape_or_place.items():
        assert of(kind) == known | in_no_text[kind]
