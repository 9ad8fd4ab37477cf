"""The profile checker finds what is wrong: for each of its rules an instance that breaks it."""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.guides import CRD_PROFILES, crd_2_0, needs_crd_2_0
from tests.contract.profiles import Package, Profile

Json = dict[str, Any]
Break = Callable[[Json], object]

EXAMPLE = "http://example.org/fhir/"
CODES = {
    "resourceType": "CodeSystem",
    "url": f"{EXAMPLE}CodeSystem/colors",
    "concept": [{"code": "warm", "concept": [{"code": "red"}]}, {"code": "blue"}],
}
WARM = {
    "resourceType": "ValueSet",
    "url": f"{EXAMPLE}ValueSet/warm",
    "compose": {
        "include": [
            {
                "system": f"{EXAMPLE}CodeSystem/colors",
                "filter": [{"property": "concept", "op": "descendent-of", "value": "warm"}],
            }
        ]
    },
}
REDDISH = {
    "resourceType": "StructureDefinition",
    "url": f"{EXAMPLE}StructureDefinition/reddish",
    "type": "Basic",
    "kind": "resource",
    "snapshot": {
        "element": [
            {
                "id": "Basic",
                "path": "Basic",
                "constraint": [
                    {
                        "key": "two-authors",
                        "severity": "error",
                        "human": "no author without a subject",
                        "expression": "author.exists() implies subject.exists()",
                    },
                    {"key": "hint", "severity": "warning", "human": "", "expression": "false"},
                ],
            },
            {"id": "Basic.id", "path": "Basic.id", "min": 1, "max": "1"},
            {"id": "Basic.language", "path": "Basic.language", "fixedCode": "en", "max": "1"},
            {
                "id": "Basic.code",
                "path": "Basic.code",
                "min": 1,
                "max": "1",
                "type": [{"code": "CodeableConcept"}],
                "binding": {"strength": "required", "valueSet": f"{EXAMPLE}ValueSet/warm|1"},
            },
            {
                "id": "Basic.subject",
                "path": "Basic.subject",
                "max": "1",
                "type": [
                    {
                        "code": "Reference",
                        "targetProfile": [
                            "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"
                        ],
                    }
                ],
            },
            {"id": "Basic.author", "path": "Basic.author", "max": "1"},
            {
                "id": "Basic.extension",
                "path": "Basic.extension",
                "max": "*",
                "slicing": {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"},
            },
            {
                "id": "Basic.extension:shade",
                "path": "Basic.extension",
                "sliceName": "shade",
                "min": 1,
                "max": "1",
            },
            {
                "id": "Basic.extension:shade.url",
                "path": "Basic.extension.url",
                "min": 1,
                "max": "1",
                "fixedUri": f"{EXAMPLE}shade",
            },
            {
                "id": "Basic.extension:shade.value[x]",
                "path": "Basic.extension.value[x]",
                "min": 1,
                "max": "1",
                "type": [{"code": "code"}, {"code": "string"}],
            },
        ]
    },
}
GOOD = {
    "resourceType": "Basic",
    "id": "a",
    "language": "en",
    "code": {"coding": [{"system": f"{EXAMPLE}CodeSystem/colors", "code": "red"}]},
    "subject": {"reference": "Patient/a"},
    "author": {"reference": "Practitioner/b"},
    "extension": [
        {"url": f"{EXAMPLE}shade", "valueCode": "dark"},
        {"url": "http://example.org/other", "valueBoolean": True},
    ],
}


@pytest.fixture(scope="module")
def reddish(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    archive = tmp_path_factory.mktemp("package") / "example.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for number, resource in enumerate((CODES, WARM, REDDISH)):
            data = json.dumps(resource).encode()
            member = tarfile.TarInfo(f"package/{number}.json")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return Package(Path(archive), {}).profile(f"{EXAMPLE}StructureDefinition/reddish")


def broken(instance: Json, damage: Break) -> Json:
    changed = copy.deepcopy(instance)
    damage(changed)
    return changed


def test_an_instance_that_conforms_has_no_problem(reddish: Profile) -> None:
    assert reddish.problems(GOOD) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda b: b.pop("id"), "Basic.id: 1..1, but 0 found"),
        (lambda b: b.update(author=[{}, {}]), "Basic.author: 0..1, but 2 found"),
        (lambda b: b.update(language="fr"), "Basic.language: not 'en'"),
        (lambda b: b["code"]["coding"][0].update(code="blue"), "Basic.code: not in "),
        (lambda b: b["code"]["coding"][0].update(code="warm"), "Basic.code: not in "),
        (lambda b: b["subject"].update(reference="Group/a"), "Basic.subject: leads to Group"),
        (lambda b: b.pop("subject"), "Basic: two-authors: no author without a subject"),
        (lambda b: b.update(color="red"), "Basic.color: not in the profile"),
        (lambda b: b["extension"].pop(0), "Basic.extension:shade: 1..1, but 0 found"),
        (
            lambda b: b["extension"].append(b["extension"][0]),
            "Basic.extension:shade: 1..1, but 2 found",
        ),
        (
            lambda b: b["extension"][0].update(valueCode=[]),
            "Basic.extension:shade.value[x]: 1..1, but 0 found",
        ),
        (
            lambda b: b.update(extension=[{"url": f"{EXAMPLE}shade", "valueInteger": 1}]),
            "Basic.extension:shade.valueInteger: not one of the types code, string",
        ),
    ],
)
def test_each_breach_of_a_rule_is_found(reddish: Profile, damage: Break, problem: str) -> None:
    assert [p for p in reddish.problems(broken(GOOD, damage)) if p.startswith(problem)]


STATEMENT = {
    "url": f"{CRD_PROFILES}ext-coverage-information",
    "extension": [
        {"url": "coverage", "valueReference": {"reference": "Coverage/a"}},
        {"url": "covered", "valueCode": "conditional"},
        {"url": "pa-needed", "valueCode": "conditional"},
        {"url": "info-needed", "valueCode": "timeframe"},
        {"url": "date", "valueDate": "2026-11-22"},
        {"url": "coverage-assertion-id", "valueString": "1"},
    ],
}


def with_part(url: str, **value: object) -> Break:
    def damage(extension: Json) -> None:
        extension["extension"] = [p for p in extension["extension"] if p["url"] != url]
        if value:
            extension["extension"].append({"url": url, **value})

    return damage


@needs_crd_2_0
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (with_part("coverage"), "Extension.extension:coverage: 1..1, but 0 found"),
        (
            with_part("coverage", valueReference={"reference": "Patient/a"}),
            "Extension.extension:coverage.valueReference: leads to Patient, not to Coverage",
        ),
        (
            with_part("covered", valueCode="indeterminate"),
            "Extension.extension:covered.valueCode: not in ",
        ),
        (
            with_part("contact", valueContactDetail={"name": "a"}),
            "Extension.extension:contact.valueContactDetail: not one of the types ContactPoint",
        ),
        (
            with_part("detail", extension=[{"url": "code", "valueCodeableConcept": {"text": "a"}}]),
            "Extension.extension:detail.extension:value: 1..1, but 0 found",
        ),
        (with_part("questionnaire", valueCanonical="http://example.org/q"), "Extension: crd-ci-q1"),
        (with_part("pa-needed"), "Extension: crd-ci-q2"),
        (
            lambda e: [with_part(u, valueCode="covered")(e) for u in ("covered", "pa-needed")],
            "Extension: crd-ci-q3",
        ),
        (with_part("satisfied-pa-id", valueString="1"), "Extension: crd-ci-q5"),
    ],
)
def test_each_breach_of_crds_own_rules_is_found(damage: Break, problem: str) -> None:
    profile = crd_2_0().profile(f"{CRD_PROFILES}ext-coverage-information")
    assert profile.problems(STATEMENT) == []
    assert [p for p in profile.problems(broken(STATEMENT, damage)) if p.startswith(problem)]


@needs_crd_2_0
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda t: t.update(status="draft"), "Task.status: not 'ready'"),
        (lambda t: t.pop("requester"), "Task.requester: 1..1, but 0 found"),
        (lambda t: t.update(focus={"reference": "ServiceRequest/a"}), "Task: sdc-t1"),
        (lambda t: t["input"].pop(), "Task.input:afterCompletion: 1..*, but 0 found"),
        (lambda t: t["input"][0].pop("valueCanonical"), "Task.input.value[x]: 1..1, but 0 found"),
        (
            lambda t: t["requester"].update(reference="Practitioner/a"),
            "Task.requester: leads to Practitioner, not to Organization",
        ),
        (
            lambda t: t["code"]["coding"][0].update(code="approve"),
            "Task.code: not in http://hl7.org/fhir/uv/sdc/ValueSet/task-code",
        ),
    ],
)
def test_each_breach_of_the_tasks_rules_is_found(damage: Break, problem: str) -> None:
    (task,) = (e for e in crd_2_0().examples if e["resourceType"] == "Task")
    profile = crd_2_0().profile(f"{CRD_PROFILES}profile-taskquestionnaire")
    assert profile.problems(task) == []
    assert [p for p in profile.problems(broken(dict(task), damage)) if p.startswith(problem)]


@needs_crd_2_0
def test_the_official_example_of_an_annotated_order_conforms() -> None:
    (order,) = (e for e in crd_2_0().examples if e["id"] == "annotated-example")
    profile = crd_2_0().profile(f"{CRD_PROFILES}ext-coverage-information")
    assert [profile.problems(e) for e in order["extension"]] == [[]]
