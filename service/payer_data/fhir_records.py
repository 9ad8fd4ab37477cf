"""A payer's FHIR resources, read into records: the shapes of Da Vinci's PDex, PAS and Plan-Net.

`Coverage` and `Patient` make a member, a preauthorization's `ClaimResponse` an authorization for
each of its items, a paid claim's `ExplanationOfBenefit` a service rendered for each of its items,
`PractitionerRole` and `OrganizationAffiliation` a network contract. What cannot be read is left
out: half a record decides nothing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from service.decision.facts import APPROVED, DENIED, PENDING
from service.decision.order import Code
from service.decision.policy import Program
from service.decision.programs import ProgramTable
from service.fhir.dates import day_range, period_range
from service.fhir.prior_decisions import SAID_BY
from service.fhir.systems import canonical_code
from service.payer_data.numbers import plain_number
from service.payer_data.records import (
    Authorization,
    Member,
    NetworkContract,
    ServiceRendered,
    Standing,
)

Json = Mapping[str, Any]

NPI = "http://hl7.org/fhir/sid/us-npi"
_PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition"
_AUTHORIZED_DETAIL = f"{_PAS}/extension-itemAuthorizedDetail"
_AUTHORIZATION_NUMBER = f"{_PAS}/extension-authorizationNumber"
_PREAUTH_PERIOD = f"{_PAS}/extension-itemPreAuthPeriod"
_ISSUED = f"{_PAS}/extension-itemPreAuthIssueDate"
_REVIEW_ACTION = f"{_PAS}/extension-reviewAction"
_REVIEW_ACTION_CODE = f"{_PAS}/extension-reviewActionCode"
_NETWORK = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/network-reference"
_DENIAL = "denialreason"
"""CARIN's adjudication of a claim's item that the payer has denied."""
_NUMBER_TYPES = frozenset({"MB", "SN", "MC", "um"})
_CLASSES = ("plan", "group")

TOLD_BY: Mapping[str, str | None] = {
    "members": "Patient and Coverage",
    "authorizations": "ClaimResponse of preauthorizations",
    "network": "PractitionerRole and OrganizationAffiliation",
    "history": "ExplanationOfBenefit of claims; none found is not never",
    "exemptions": None,
}
"""The resources of each kind of records. FHIR and its payer guides have none for a gold card."""

NOT_TOLD = tuple(kind for kind, resources in TOLD_BY.items() if resources is None)

_STANDINGS: Mapping[str, Standing] = {
    APPROVED: "approved",
    DENIED: "denied",
    PENDING: "pending",
}
"""The decisions that are authorizations. One in part, or modified, is none: it does not approve
what was asked for.
"""


def members_of(payer: str, resources: Iterable[Json], programs: ProgramTable) -> Iterator[Member]:
    """A member for each coverage whose beneficiary came too, with a birth date and a number."""
    found = list(resources)
    patients = {f"Patient/{r['id']}": r for r in found if _is(r, "Patient")}
    for coverage in found:
        if _is(coverage, "Coverage") and coverage.get("status") != "entered-in-error":
            patient = patients.get(_local(coverage.get("beneficiary")))
            member = _member(payer, coverage, patient, programs) if patient else None
            if member is not None:
                yield member


def _member(payer: str, coverage: Json, patient: Json, programs: ProgramTable) -> Member | None:
    born = day_range(patient.get("birthDate"), None)
    told = [coverage.get("subscriberId"), *_numbers(coverage), *_numbers(patient)]
    numbers = [n for t in told if isinstance(t, str) and (n := plain_number(t))]
    if born is None or born[0] != born[1] or not numbers:
        return None
    name: Json = next((n for n in _mappings(patient.get("name")) if n.get("use") != "old"), {})
    given = name.get("given")
    starts, ends = period_range(coverage.get("period"), None)
    if coverage.get("status") in ("cancelled", "draft"):
        # Not in force at any time that it does not tell the end of.
        ends = ends or (starts - timedelta(days=1) if starts else date.min)
    classes = dict(_classes(coverage))
    deceased = day_range(patient.get("deceasedDateTime"), None)
    order = coverage.get("order")
    return Member(
        payer=payer,
        number=numbers[0],
        person=str(patient["id"]),
        program=_program(coverage, programs),
        birth_date=born[0],
        family=_text(name.get("family")) or _text(name.get("text")),
        given=" ".join(filter(None, map(_text, given if isinstance(given, list) else ()))),
        alternates=tuple(dict.fromkeys(n for n in numbers if n != numbers[0])),
        plan=classes.get("plan", ""),
        group=classes.get("group", ""),
        starts=starts,
        ends=ends,
        pays="primary" if order == 1 else "secondary" if isinstance(order, int) else "",
        deceased=deceased[0] if deceased else None,
        version=_version(coverage),
    )


def _program(coverage: Json, programs: ProgramTable) -> str:
    entry = programs.find(_types(coverage)).entry
    return entry.id if entry is not None else Program.UNKNOWN.value


def authorizations_of(
    payer: str, members: Iterable[Member], resources: Iterable[Json]
) -> Iterator[Authorization]:
    """An authorization for each item of a preauthorization that says what it is for."""
    number_of = {m.person: m.number for m in members}
    for response in resources:
        person = _local(response.get("patient")).removeprefix("Patient/")
        of_ours = _is(response, "ClaimResponse") and response.get("use") == "preauthorization"
        if of_ours and person in number_of and response.get("status") in (None, "active"):
            yield from _authorizations(payer, number_of[person], response)


def _authorizations(payer: str, member: str, response: Json) -> Iterator[Authorization]:
    whole = period_range(response.get("preAuthPeriod"), None)
    created = day_range(response.get("created"), None)
    for item in (*_mappings(response.get("item")), *_mappings(response.get("addItem"))):
        extensions = list(_mappings(item.get("extension")))
        period = _value(extensions, _PREAUTH_PERIOD)
        starts, ends = period_range(period, None) if isinstance(period, dict) else whole
        issued = day_range(_value(extensions, _ISSUED), None) or created
        number = _value(extensions, _AUTHORIZATION_NUMBER) or response.get("preAuthRef")
        codes = tuple(dict.fromkeys(_codes(item, extensions)))
        standing = _standing(item, response)
        if codes and standing and isinstance(number, str) and number.strip():
            yield Authorization(
                payer=payer,
                number=number.strip(),
                member=member,
                codes=codes,
                status=standing,
                starts=starts,
                ends=ends,
                decided=issued[0] if issued else None,
                version=_version(response),
            )


def _standing(item: Json, response: Json) -> Standing | None:
    """By the item's review action; where it has none, a queued response is pending."""
    for adjudication in _mappings(item.get("adjudication")):
        action = _extension(_mappings(adjudication.get("extension")), _REVIEW_ACTION)
        inner = list(_mappings(action.get("extension"))) if action else []
        concept = _value(inner, _REVIEW_ACTION_CODE)
        codings = concept.get("coding") if isinstance(concept, Mapping) else None
        for coding in _mappings(codings):
            said = SAID_BY.get(str(coding.get("code")))
            if said is not None:
                return _STANDINGS.get(said)
    return "pending" if response.get("outcome") == "queued" else None


def _codes(item: Json, extensions: Iterable[Json]) -> list[str]:
    """The codes of what was authorized; where that is not told, of what was asked for."""
    detail = _extension(extensions, _AUTHORIZED_DETAIL)
    inner = list(_mappings(detail.get("extension"))) if detail else []
    authorized = list(_coded(_value(inner, "productOrServiceCode")))
    return authorized or list(_coded(item.get("productOrService")))


def _coded(concept: object) -> Iterator[str]:
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    for coding in _mappings(codings):
        system, value = coding.get("system"), coding.get("code")
        if isinstance(system, str) and isinstance(value, str):
            code = canonical_code(system, value)
            if code is not None:
                yield f"{code.system}|{code.value}"


def services_of(
    payer: str, members: Iterable[Member], resources: Iterable[Json], codes: Container[str]
) -> Iterator[ServiceRendered]:
    """The services with one of the codes, as the members' claims tell them.

    A claim counts if it is active and adjudicated, an item of it unless it is denied. Of a range of
    days the last one counts, on which the service may have been.
    """
    number_of = {m.person: m.number for m in members}
    for claim in resources:
        member = number_of.get(_local(claim.get("patient")).removeprefix("Patient/"))
        counts = claim.get("status") == "active" and claim.get("outcome") in ("complete", "partial")
        if member and counts and _is(claim, "ExplanationOfBenefit") and claim.get("use") == "claim":
            for day, code in _rendered(claim):
                if code in codes:
                    yield ServiceRendered(payer, member, code, day, version=_version(claim))


def _rendered(claim: Json) -> Iterator[tuple[date, str]]:
    """Day and code of each item that is not denied."""
    whole = period_range(claim.get("billablePeriod"), None)[1]
    for item in (*_mappings(claim.get("item")), *_mappings(claim.get("addItem"))):
        day = _serviced(item) or whole
        if day is not None and not _denied(item):
            for code in dict.fromkeys(_codes(item, ())):
                yield day, code


def _serviced(item: Json) -> date | None:
    written = day_range(item.get("servicedDate"), None)
    return written[1] if written else period_range(item.get("servicedPeriod"), None)[1]


def _denied(item: Json) -> bool:
    concepts = (a.get("category") for a in _mappings(item.get("adjudication")))
    codings = (c.get("coding") for c in concepts if isinstance(c, Mapping))
    return any(c.get("code") == _DENIAL for found in codings for c in _mappings(found))


def contracts_of(
    payer: str, resources: Mapping[str, Iterable[Json]]
) -> tuple[tuple[NetworkContract, ...], bool]:
    """The contracts of each NPI by what the directory has of it, and whether it has anything.

    A provider that the directory knows and that belongs to no network is outside; of one that it
    does not know nothing is said.
    """
    contracts: list[NetworkContract] = []
    known = False
    for npi, found in resources.items():
        for role in found:
            if not (_is(role, "PractitionerRole") or _is(role, "OrganizationAffiliation")):
                continue
            known = True
            in_network = bool(role.get("network")) or any(
                e.get("url") == _NETWORK for e in _mappings(role.get("extension"))
            )
            if in_network and role.get("active") is not False:
                starts, ends = period_range(role.get("period"), None)
                contracts.append(
                    NetworkContract(payer, npi, "", starts, ends, version=_version(role))
                )
    return tuple(contracts), known


def _types(coverage: Json) -> list[Code]:
    concept = coverage.get("type")
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    codes: list[Code] = []
    for coding in _mappings(codings):
        system, value = coding.get("system"), coding.get("code")
        if isinstance(system, str) and isinstance(value, str):
            code = canonical_code(system, value)
            codes.extend([code] if code else ())
    return codes


def _numbers(resource: Json) -> Iterator[str]:
    for identifier in _mappings(resource.get("identifier")):
        concept = identifier.get("type")
        codings = concept.get("coding") if isinstance(concept, Mapping) else None
        kinds = {c.get("code") for c in _mappings(codings) if isinstance(c.get("code"), str)}
        value = identifier.get("value")
        if isinstance(value, str) and kinds & _NUMBER_TYPES:
            yield value


def _classes(coverage: Json) -> Iterator[tuple[str, str]]:
    for each in _mappings(coverage.get("class")):
        concept = each.get("type")
        codings = concept.get("coding") if isinstance(concept, Mapping) else None
        for coding in _mappings(codings):
            if coding.get("code") in _CLASSES:
                yield str(coding["code"]), _text(each.get("value"))


def _version(resource: Json) -> str:
    """Type, id and version as the payer's server tells them: where to look the record up."""
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, Mapping) else None
    return f"{resource.get('resourceType')}/{resource.get('id')}" + (
        f"/_history/{version}" if isinstance(version, str) else ""
    )


def _value(extensions: Iterable[Json], url: str) -> Any:
    found = _extension(extensions, url)
    return next((v for k, v in found.items() if k.startswith("value")), None) if found else None


def _extension(extensions: Iterable[Json], url: str) -> Json | None:
    return next((e for e in extensions if e.get("url") == url), None)


def _is(resource: Json, kind: str) -> bool:
    return resource.get("resourceType") == kind and isinstance(resource.get("id"), str)


def _local(reference: object) -> str:
    written = reference.get("reference") if isinstance(reference, Mapping) else None
    if not isinstance(written, str):
        return ""
    return "/".join(written.partition("/_history/")[0].rsplit("/", 2)[-2:])


def _mappings(value: object) -> Iterator[Json]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            yield item


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
