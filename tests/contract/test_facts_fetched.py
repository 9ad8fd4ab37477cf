"""Facts are fetched where they can still change what a policy says, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.bootstrap.app import Library, wire_review
from service.ehr.fetch_report import FetchReport, Outcome
from service.ehr.fhir_client import Access
from service.ehr.fhir_query import FhirQuery, Read, Search
from service.ehr.resource_fetcher import Fetched, Plan
from service.fhir.document import Document, Resource
from service.fhir.resources import Resources
from service.review.order_review import OrderReview, Review
from tests.conftest import NOW, ROOT, in_folder
from tests.contract.calls import asking
from tests.contract.test_example_policies import CPT, HCPCS, order_of, saturation

Json = dict[str, Any]


@dataclass
class Ehr:
    """An EHR that has these resources, and refuses the types that the token does not reach."""

    has: Sequence[Json] = ()
    refuses: frozenset[str] = frozenset()
    asked: list[FhirQuery] = field(default_factory=list)

    def complete(
        self, resources: Resources, plan: Plan, access: Access | None, patient: str
    ) -> Fetched:
        reports, failed = [], set()
        while new := [n for n in plan(resources) if n not in self.asked]:
            need = new[0]
            self.asked.append(need)
            kind = need.type if isinstance(need, Search) else need.label.partition("/")[0]
            outcome = Outcome.REFUSED if kind in self.refuses else Outcome.FETCHED
            reports.append(FetchReport(need.label, outcome, 1))
            if outcome is Outcome.REFUSED:
                failed.add(need)
                continue
            for data in self.has:
                label = f"{data['resourceType']}/{data['id']}"
                wanted = need.label == label if isinstance(need, Read) else need.type == kind
                if wanted and data["resourceType"] == kind:
                    document = Document(json.dumps(data).encode(), data)
                    resources.add(Resource(data, document, (), named=f"fetched.{label}"))
        return Fetched(tuple(reports), frozenset(failed))

    def labels(self) -> list[str]:
        return [need.label for need in self.asked]


def reviewed(ehr: Ehr, request: Json, folder: Path) -> Review:
    settings = in_folder(folder, policies_dir=ROOT / "examples" / "policies")
    review: OrderReview = wire_review(settings, Library(settings), lambda: NOW, ehr)
    return review.review("order-sign-crd", json.dumps(asking(request, "2.2")).encode())


def basic(ehr: Ehr) -> list[str]:
    """What was asked for beside facts."""
    kinds = ("Observation", "Procedure", "QuestionnaireResponse", "Condition", "ServiceRequest")
    return [label for label in ehr.labels() if not label.startswith(kinds)]


def for_facts(ehr: Ehr) -> list[str]:
    return [label for label in ehr.labels() if label not in basic(ehr)]


def test_a_recent_value_is_searched_for_by_code_and_time(tmp_path: Path) -> None:
    ehr = Ehr([saturation(86, "2026-11-20")])
    review = reviewed(ehr, order_of(HCPCS, "E1390", "J44.9"), tmp_path)
    assert "Observation?patient&code&date" in for_facts(ehr)
    search = next(n for n in ehr.asked if isinstance(n, Search) and n.type == "Observation")
    assert dict(search.params) == {"patient": "ann", "code": "59408-5", "date": "ge2026-11-01"}
    (determination,) = review.determinations
    assert [spec.name for spec in determination.missing] == ["treatment-tried"]


def test_nothing_is_fetched_for_an_answer_that_is_certain(tmp_path: Path) -> None:
    ehr = Ehr([saturation(86, "2026-11-20")])
    reviewed(ehr, order_of(HCPCS, "E1390", "I10"), tmp_path)
    assert for_facts(ehr) == []


def test_no_earlier_test_in_an_answered_search_is_known_to_be_none(tmp_path: Path) -> None:
    (determination,) = reviewed(Ehr(), order_of(CPT, "82270"), tmp_path).determinations
    assert determination.covered == "covered"
    assert determination.missing == ()


def test_what_the_token_may_not_read_is_not_reachable_and_no_error(tmp_path: Path) -> None:
    ehr = Ehr(refuses=frozenset({"Procedure"}))
    (determination,) = reviewed(ehr, order_of(CPT, "82270"), tmp_path).determinations
    assert determination.covered == "conditional"
    assert [spec.name for spec in determination.missing] == ["last-test"]
    (step,) = (s for s in determination.trace if s.topic == "missing")
    assert step.because.startswith("not reachable")


def test_a_diagnosis_that_is_referred_to_is_read(tmp_path: Path) -> None:
    request = order_of(CPT, "72148")
    (entry,) = request["context"]["draftOrders"]["entry"]
    entry["resource"]["reasonReference"] = [{"reference": "Condition/red-flag"}]
    coding = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "C79.51"}
    condition = {
        "resourceType": "Condition",
        "id": "red-flag",
        "code": {"coding": [coding]},
        "subject": {"reference": "Patient/ann"},
    }
    ehr = Ehr([condition])
    (determination,) = reviewed(ehr, request, tmp_path).determinations
    assert "Condition/red-flag" in for_facts(ehr)
    assert determination.covered == "covered"


def test_a_policy_without_rules_asks_for_no_facts(tmp_path: Path) -> None:
    ehr = Ehr()
    reviewed(ehr, order_of(HCPCS, "X0100"), tmp_path)
    assert for_facts(ehr) == []
