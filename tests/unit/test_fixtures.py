"""The fixtures are what their README says: valid, synthetic, consistent, each described."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import fixture_text

FIXTURES = Path(__file__).parents[2] / "fhir_fixtures"
RESOURCES = FIXTURES / "resources"
HOOKS = (
    "order-sign",
    "order-select",
    "order-dispatch",
    "appointment-book",
    "encounter-start",
    "encounter-discharge",
)
WHAT_A_HOOK_CALLS_ITS_ORDERS = {
    "order-sign": {"userId", "draftOrders"},
    "order-select": {"userId", "draftOrders", "selections"},
    "order-dispatch": {"dispatchedOrders", "performer"},
    "appointment-book": {"userId", "appointments"},
    "encounter-start": {"userId", "encounterId"},
    "encounter-discharge": {"userId", "encounterId"},
}
NOT_FHIR_ON_PURPOSE = {"order-sign/system-aliases.json"}  # a padded code
PROGRAMS = {"medicare_advantage", "original_medicare", "not_told"}

# Eleven places, 4-3-4 with or without hyphens; letters without S, L, O, I, B, Z (CMS, 2018).
_LETTER, _EITHER = "[AC-HJKMNP-RT-Y]", "[0-9AC-HJKMNP-RT-Y]"
MEDICARE_NUMBER = re.compile(
    rf"(?<![0-9A-Z])[1-9]{_LETTER}{_EITHER}[0-9]-?{_LETTER}{_EITHER}[0-9]-?{_LETTER}{{2}}[0-9]{{2}}"
    r"(?![0-9A-Z])",
    re.IGNORECASE,
)
TELEPHONE = re.compile(r"\b[0-9]{3}-[0-9]{3}-[0-9]{4}\b")
PATIENT_REFERENCE = re.compile(r"(?:^|/)Patient/([A-Za-z0-9.-]+)(?:/_history/[^/]+)?$")


def _name(path: Path) -> str:
    return path.relative_to(FIXTURES).as_posix()


REQUEST_FILES = sorted(path for hook in HOOKS for path in (FIXTURES / hook).glob("*.json"))
RESOURCE_FILES = sorted(RESOURCES.glob("*.json"))
EXPECTED: dict[str, dict[str, Any]] = YAML(typ="safe").load(
    (FIXTURES / "expected.yaml").read_text("utf-8")
)

each_request = pytest.mark.parametrize("path", REQUEST_FILES, ids=_name)
each_resource = pytest.mark.parametrize("path", RESOURCE_FILES, ids=_name)


def _load(path: Path) -> dict[str, Any]:
    loaded = json.loads(fixture_text(path))
    assert isinstance(loaded, dict)
    return loaded


def _validate(resource: dict[str, Any]) -> None:
    kind = resource["resourceType"]
    model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
    model.model_validate(resource)


def _nodes(value: object, without: str | None = None) -> Iterator[object]:
    """The value and everything below it, but what stands under the key `without`."""
    yield value
    children: list[object] = []
    if isinstance(value, dict):
        children = [child for key, child in value.items() if key != without]
    elif isinstance(value, list):
        children = value
    for child in children:
        yield from _nodes(child, without)


def _resources_in(value: object, without: str | None = None) -> list[dict[str, Any]]:
    """Every resource at any depth, Bundles left out: their entries are looked at one by one."""
    return [
        node
        for node in _nodes(value, without)
        if isinstance(node, dict) and node.get("resourceType", "Bundle") != "Bundle"
    ]


def _references_of(resources: list[dict[str, Any]]) -> set[str]:
    return {f"{resource['resourceType']}/{resource.get('id')}" for resource in resources}


@each_resource
def test_every_resource_is_valid_fhir_r4_and_named_after_its_type_and_id(path: Path) -> None:
    resource = _load(path)
    _validate(resource)
    assert path.stem == f"{resource['resourceType']}-{resource['id']}"


@each_request
def test_every_request_is_a_hook_call_in_the_folder_of_its_hook(path: Path) -> None:
    request = _load(path)
    assert request["hook"] == path.parent.name
    assert str(uuid.UUID(request["hookInstance"])) == request["hookInstance"]
    assert request["context"]["patientId"]
    assert request["context"].keys() >= WHAT_A_HOOK_CALLS_ITS_ORDERS[request["hook"]]


@each_request
def test_every_resource_in_a_request_is_valid_unless_it_is_wrong_on_purpose(path: Path) -> None:
    resources = _resources_in(_load(path))
    if _name(path) in NOT_FHIR_ON_PURPOSE:
        with pytest.raises(ValueError, match="validation error"):
            for resource in resources:
                _validate(resource)
    else:
        for resource in resources:
            _validate(resource)


@each_request
def test_every_prefetched_resource_is_the_one_that_the_fhir_server_would_hold(path: Path) -> None:
    request = _load(path)
    in_context = _resources_in(request["context"])
    strangers = [
        f"{resource['resourceType']}/{resource['id']}"
        for resource in _resources_in(request.get("prefetch"), without="contained")
        if resource not in in_context
        and resource["resourceType"] != "OperationOutcome"
        and _load(RESOURCES / f"{resource['resourceType']}-{resource['id']}.json") != resource
    ]
    assert strangers == []


@each_request
def test_every_patient_in_a_request_is_one_of_the_synthetic_patients(path: Path) -> None:
    request = _load(path)
    patients = {request["context"]["patientId"]}
    for node in _nodes(request):
        reference = node.get("reference") if isinstance(node, dict) else None
        if isinstance(reference, str) and (found := PATIENT_REFERENCE.search(reference)):
            patients.add(found[1])
    assert patients <= {path.stem.removeprefix("Patient-") for path in RESOURCES.glob("Patient-*")}


@each_resource
def test_every_reference_between_resources_leads_to_one_of_them(path: Path) -> None:
    resource = _load(path)
    references = [
        node["reference"]
        for node in _nodes(resource)
        if isinstance(node, dict) and "reference" in node
    ]
    missing = [
        reference
        for reference in references
        if not reference.startswith("#")
        and not (RESOURCES / f"{reference.replace('/', '-', 1)}.json").exists()
    ]
    assert missing == []


def test_the_table_the_expectations_and_the_folders_name_the_same_requests() -> None:
    names = {_name(path) for path in REQUEST_FILES}
    assert len(names) >= 18
    assert set(EXPECTED) == names
    assert set(_table()) == names


def test_the_table_says_what_the_expectations_say() -> None:
    said = {name: (row[1], row[2]) for name, row in _table().items()}
    meant = {
        name: (
            ", ".join(expected["cards"]) or "none",
            "; ".join(f"{s['order']} {s['covered']}" for s in expected["statements"]) or "none",
        )
        for name, expected in EXPECTED.items()
    }
    assert said == meant


def test_no_two_rows_of_the_table_show_the_same() -> None:
    shown = [row[0] for row in _table().values()]
    assert all(shown)
    assert len(set(shown)) == len(shown)


@each_request
def test_every_expectation_is_of_the_known_kinds_and_about_orders_in_the_request(
    path: Path,
) -> None:
    expected = EXPECTED[_name(path)]
    assert expected.keys() <= {"cards", "worded_for", "statements"}
    assert expected["cards"] in ([], ["guideline"], ["guideline", "claim"])
    assert ("worded_for" in expected) == bool(expected["cards"])
    assert expected.get("worded_for", "not_told") in PROGRAMS
    orders = [statement["order"] for statement in expected["statements"]]
    assert len(set(orders)) == len(orders)
    assert set(orders) <= _references_of(_resources_in(_load(path)))
    assert {s["covered"] for s in expected["statements"]} <= {"not-covered", "conditional"}


def test_no_medicare_number_stands_anywhere_in_the_fixtures() -> None:
    assert MEDICARE_NUMBER.search("member 1EG4-TE5-MK73.")
    assert [_name(p) for p in _files() if MEDICARE_NUMBER.search(p.read_text("utf-8"))] == []


def test_every_telephone_number_is_one_kept_free_for_fiction() -> None:
    numbers = {n for path in _files() for n in TELEPHONE.findall(path.read_text("utf-8"))}
    assert numbers
    assert {n for n in numbers if not re.fullmatch(r"[0-9]{3}-555-01[0-9]{2}", n)} == set()


def test_the_only_web_addresses_are_examples_this_machine_and_code_systems() -> None:
    places = ("example.org", "127.0.0.1:8643", "hl7.org", "www.ama-assn.org", "www.cms.gov")
    codes = (
        *("snomed.info", "loinc.org", "nahdo.org", "www.nlm.nih.gov", "nucc.org", "www.w3.org"),
        "codesystem.x12.org",
    )
    hosts = {
        host
        for path in (*REQUEST_FILES, *RESOURCE_FILES)
        for host in re.findall(r"https?://([^/\"\\|)`\s]+)", path.read_text("utf-8"))
    }
    known = (*places, *codes)
    assert {
        h for h in hosts if h not in known and not h.endswith((".example.org", ".hl7.org"))
    } == (set())


def test_orders_without_a_date_are_signed_while_the_policy_is_in_force() -> None:
    authored = {
        resource["authoredOn"]
        for path in (FIXTURES / "order-sign").glob("*.json")
        for resource in _resources_in(_load(path)["context"])
        if resource["resourceType"] == "ServiceRequest"
    }
    assert authored
    assert all(date.fromisoformat(day) >= date(2023, 10, 1) for day in authored)


def test_the_fixtures_stay_small_enough_to_read() -> None:
    sizes = [path.stat().st_size for path in (*REQUEST_FILES, *RESOURCE_FILES)]
    assert max(sizes) < 30_000
    assert sum(sizes) / len(sizes) < 10_000


def _files() -> list[Path]:
    """Everything under `fhir_fixtures/` that a person or a program reads."""
    return [p for p in FIXTURES.rglob("*") if p.suffix in (".json", ".yaml", ".md")]


def _table() -> dict[str, tuple[str, str, str]]:
    """README's table of requests: file → what it shows, cards, coverage-information."""
    lines = (FIXTURES / "README.md").read_text("utf-8").splitlines()
    start = lines.index("| file | shows | cards | coverage-information |") + 2
    rows: dict[str, tuple[str, str, str]] = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        file, shows, cards, statements = (cell.strip() for cell in line.strip("|").split("|"))
        assert file.strip("`") not in rows
        rows[file.strip("`")] = (shows, cards, statements)
    return rows
