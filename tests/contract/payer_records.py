"""A service with the payer's own records, and calls about people whom it knows or does not."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask

from cards.coverage_information import EXTENSION_URL
from service.bootstrap.app import RECORDER, Library, create_app, wire_review
from service.database.table_revisions import upgrade
from service.decision.determination import Determination
from service.payer_data.importing import import_file
from service.payer_data.payer_tables import MIGRATIONS
from service.payer_data.record_files import RecordReader
from service.payer_data.record_rows import KINDS
from service.policies.library import load_payers
from service.settings import load_settings
from tests.conftest import NOW, ROOT, in_folder
from tests.contract.calls import Json, asking, call_of, coverages_of
from tests.contract.calls import answer as answered

_LISTED = load_payers(load_settings().payers_file)
PAYERS = {f"{s}|{v}": p.key for p in _LISTED for s, v in p.identifiers}
HEALTH_PLAN = PAYERS["http://example.org/payers|example-health-plan"]
EXAMPLES = ROOT / "examples" / "payer-data"


@dataclass
class Plan:
    """The service of a payer with records of its own, in a database at `url`."""

    url: str
    folder: Path
    app: Flask
    settings: dict[str, Any] = field(default_factory=dict)

    def put(self, kind: str, text: str, **options: Any) -> None:
        """Import a CSV text; its lines are the health plan's unless they say otherwise."""
        path = self.folder / f"{kind}.csv"
        path.write_text(text, "utf-8")
        self.take(path, kind, **options)

    def take(self, path: Path, kind: str, **options: Any) -> None:
        reader = RecordReader(KINDS[kind], PAYERS, _LISTED.programs, HEALTH_PLAN)
        given: dict[str, Any] = {"whole": True, "most_refused": 0, "at": NOW, **options}
        report = import_file(self.url, path, KINDS[kind], reader, **given)
        assert report.done, report.refusals

    def answer(self, request: Json) -> Json:
        return answered(self.app.test_client(), request)

    def determinations(self, request: Json, now: datetime = NOW) -> tuple[Determination, ...]:
        """What is determined, with its trace."""
        import json

        settings = in_folder(self.folder, payer_data=self.url, **self.settings)
        review = wire_review(settings, Library(settings), clock=lambda: now)
        service = f"{request['hook']}-crd"
        return review.review(service, json.dumps(request).encode()).determinations

    def trace(self, request: Json) -> list[tuple[str, str]]:
        """What the payer's records say of each order, as the trace tells it."""
        steps = [s for d in self.determinations(request) for s in d.trace if s.topic == "payer"]
        return [(s.finding, s.because) for s in steps]


def records_database(folder: Path) -> str:
    """The URL of a database under `folder` with the tables of the embedded source."""
    url = f"sqlite:///{folder}/payer-data.sqlite3"
    upgrade(url, MIGRATIONS)
    return url


@contextlib.contextmanager
def plan(url: str, folder: Path, **settings: Any) -> Iterator[Plan]:
    """The service with records at `url`, whose tables are there."""
    app = create_app(in_folder(folder, payer_data=url, **settings), clock=lambda: NOW)
    yield Plan(url, folder, app, settings)
    app.extensions[RECORDER].stop()


def call(
    version: str | None = "2.2",
    *,
    name: str = "order-sign/mrs-medicare-advantage",
    number: str | None = None,
    patient_number: str | None = None,
    coverage: Mapping[str, Any] | None = None,
    patient: Mapping[str, Any] | None = None,
    code: str | None = None,
) -> Json:
    """The fixture's call with other member numbers, elements of coverage or patient, or code."""
    request = copy.deepcopy(asking(call_of(name), version))
    (first, *_) = coverages_of(request)
    if number is not None:
        first["subscriberId"] = number
        first["identifier"][0]["value"] = number
    first.update(coverage or {})
    told = request["prefetch"]["patient"]
    if patient_number is not None:
        told["identifier"].append({"type": MEMBER_NUMBER, "value": patient_number})
    told.update(patient or {})
    if code is not None:
        order = request["context"]["draftOrders"]["entry"][0]["resource"]
        order["code"] = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": code}]}
    return request


MEMBER_NUMBER = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MB"}]
}


def parts(answer: Json) -> list[list[tuple[str, Any]]]:
    """The coverage information of each order that comes back, as (part, value)."""
    return [
        [(p["url"], _value(p)) for p in extension["extension"]]
        for action in answer["systemActions"]
        for extension in action["resource"]["extension"]
        if extension["url"] == EXTENSION_URL
    ]


def said(answer: Json, part: str) -> list[Any]:
    """The values of a part, of the one order that comes back."""
    (only,) = parts(answer)
    return [value for url, value in only if url == part]


def reason_codes(answer: Json) -> list[str]:
    concepts = said(answer, "reason")
    return [c["code"] for concept in concepts for c in concept.get("coding", ())]


def reasons(answer: Json) -> str:
    return " ".join(concept["text"] for concept in said(answer, "reason"))


def _value(part: Json) -> Any:
    return next((v for k, v in part.items() if k.startswith("value")), part.get("extension"))


def details(answer: Json) -> str:
    return "\n".join(f"{c['summary']}\n{c.get('detail', '')}" for c in answer["cards"])


def without_uuids(answer: Json) -> Json:
    copied = copy.deepcopy(answer)
    for card in copied["cards"]:
        card.pop("uuid")
        for suggestion in card.get("suggestions", ()):
            suggestion.pop("uuid")
    return copied
