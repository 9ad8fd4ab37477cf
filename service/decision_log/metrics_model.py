"""CRD metric data of a logged call (logical model CRDMetricData, informative)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from cards.coverage_information.reader import (
    WrittenCoverageInformation,
    read_coverage_information,
)
from service.decision_log.feedback_rows import ACCEPTED
from service.decision_log.fetched_resources import fetched_types
from service.decision_log.queries import LoggedCall
from service.decision_log.rows import DeterminationRow, FeedbackRow
from service.fhir.document import Document
from service.fhir.resources import Resources, resources_in

_NPI = "http://hl7.org/fhir/sid/us-npi"
_ENGAGEMENT = {ACCEPTED: "accept", "overridden": "override"}

Json = dict[str, Any]


def metric_record(logged: LoggedCall, said: Iterable[FeedbackRow] = ()) -> Json:
    """The metric record of one call; `said` is the feedback on its cards. Unknowns are absent."""
    row = logged.row
    requested = _resources(logged.request)
    user = _user(logged.request, requested)
    payers = [d.payer for d in logged.determinations if d.payer]
    answered_at = logged.received_at + timedelta(microseconds=row.elapsed_us)
    record: Json = {
        "source": "payer-src",
        "hookInstance": row.hook_instance or logged.request.get("hookInstance"),
        "hookType": row.hook,
        "providerId": _npi(requested, user, "practitioner"),
        "groupId": _npi(requested, user, "organization"),
        "payerId": _identifier(payers[0]) if payers else None,
        "requestTime": _instant(logged.received_at),
        "responseTime": _instant(answered_at),
        "httpResponse": row.status,
        "issue": [{"code": i.get("code")} for i in logged.answer.get("issue", [])],
        "tokenUse": row.token_use,
        "orderDetail": [_codeable(d) for d in logged.determinations],
        "resources": [
            *_counted((r.type for r in requested), prefetch=True),
            *_counted(fetched_types(logged.kept.fetched), prefetch=False),
        ],
        "response": [*_cards(logged.cards, said), *_coverage_information(logged)],
    }
    return {name: value for name, value in record.items() if value not in (None, [], {})}


def _resources(request: Mapping[str, Any]) -> Resources:
    """The resources of the call."""
    found = Resources()
    document = Document(b"", request)
    for part in ("context", "prefetch"):
        values = request.get(part)
        for key, value in (values if isinstance(values, Mapping) else {}).items():
            for resource in resources_in(document, value, (part, key)):
                found.add(resource)
    return found


def _counted(types: Iterable[str], *, prefetch: bool) -> Iterator[Json]:
    for kind, count in sorted(Counter(types).items()):
        yield {"type": kind, "count": count, "prefetch": prefetch}


def _user(request: Mapping[str, Any], resources: Resources) -> Mapping[str, Any]:
    """The ordering PractitionerRole or Practitioner, if the call contains it."""
    context = request.get("context")
    user_id = context.get("userId") if isinstance(context, Mapping) else None
    found = resources.get(user_id) if isinstance(user_id, str) else None
    return found.data if found else {}


def _npi(resources: Resources, user: Mapping[str, Any], member: str) -> Json | None:
    """The NPI of the user's practitioner or organization, if present."""
    of: Mapping[str, Any] = user if user.get("resourceType", "").lower() == member else {}
    referred = user.get(member)
    if isinstance(referred, Mapping):
        own = referred.get("identifier")
        if isinstance(own, Mapping) and own.get("system") == _NPI:
            return {"system": _NPI, "value": own.get("value")}
        found = resources.get(str(referred.get("reference", "")))
        of = found.data if found else {}
    for identifier in of.get("identifier", []):
        if isinstance(identifier, Mapping) and identifier.get("system") == _NPI:
            return {"system": _NPI, "value": identifier.get("value")}
    return None


def _identifier(written: str) -> Json:
    system, _, value = written.rpartition("|")
    return {"system": system, "value": value}


def _codeable(d: DeterminationRow) -> Json:
    codings = []
    for written in msgspec.json.decode(d.codes):
        system, _, code = str(written).rpartition("|")
        codings.append({"system": system, "code": code} if system else {"code": code})
    return {"coding": codings}


def _cards(cards: Sequence[Json], said: Iterable[FeedbackRow]) -> Iterator[Json]:
    last = {item.card_uuid: item.outcome for item in said}
    for card in cards:
        about = card.get("extension", {}).get("davinci-crd.associated-resource", [])
        focus = dict.fromkeys(r["reference"].partition("/")[0] for r in about)
        yield {
            "type": card["source"]["topic"]["code"],
            "focus": list(focus),
            "engagement": _ENGAGEMENT.get(last.get(card["uuid"], ""), "ignore"),
        }


def _coverage_information(logged: LoggedCall) -> Iterator[Json]:
    lines = {d.assertion_id: d.program for d in logged.determinations}
    for action in logged.answer.get("systemActions", []):
        resource = action.get("resource", {})
        for written in read_coverage_information(resource):
            if written.assertion_id in lines:
                info = _coverage_info(written)
                info["businessLine"] = {"text": lines[written.assertion_id]}
                focus = [resource.get("resourceType")]
                yield {"type": "coverage-info", "focus": focus, "coverageInfo": [info]}


_PARTS = {
    "covered": "covered",
    "pa-needed": "paNeeded",
    "doc-needed": "docNeeded",
    "info-needed": "infoNeeded",
    "coverage-assertion-id": "assertionId",
    "satisfied-pa-id": "satisfiedId",
}


def _coverage_info(written: WrittenCoverageInformation) -> Json:
    info: Json = {}
    for part in written.parts:
        if part.url == "questionnaire":
            form = {"reference": part.value, "adaptive": False, "response": False}
            info.setdefault("questionnaire", []).append(form)
        elif part.url in _PARTS:
            info[_PARTS[part.url]] = part.value
    return info


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
