"""GET /cds-services: what it declares, in the shape of CDS Hooks 2.0 and of CRD's own example."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.crd.hooks import SERVICES
from tests.contract.calls import FIXTURE_NAMES, Json, answer, call_of
from tests.contract.guides import crd_2_2_example, needs_crd_2_2

HOOKS = {
    "order-sign",
    "order-select",
    "order-dispatch",
    "appointment-book",
    "encounter-start",
    "encounter-discharge",
}
TOKEN = re.compile(r"\{\{(.*?)\}\}")
READ = re.compile(r"[A-Z]\w+/\{\{context\.\w+\}\}")
SEARCH = re.compile(r"[A-Z]\w+\?(?:[a-z-]+=(?:\{\{context\.\w+\}\}|[a-z-]+)&?)+")


@pytest.fixture(scope="module")
def services(client: FlaskClient) -> list[Json]:
    found: list[Json] = client.get("/cds-services").get_json()["services"]
    return found


def options(service: Json) -> list[Json]:
    declared: list[Json] = service["extension"]["davinci-crd.configuration-options"]
    return declared


@pytest.mark.requirement(
    "cds-hooks-2.0:1",
    "cds-hooks-2.0:4",
    "cds-hooks-2.0:5",
    "cds-hooks-2.0:6",
    "cds-hooks-2.0:13",
)
def test_discovery_is_a_200_with_a_list_of_services_in_json(client: FlaskClient) -> None:
    reply = client.get("/cds-services")
    assert reply.status_code == 200
    assert reply.mimetype == "application/json"
    assert isinstance(reply.get_json()["services"], list)
    assert reply.get_json().keys() == {"services"}


@pytest.mark.requirement(
    "cds-hooks-2.0:7",
    "cds-hooks-2.0:8",
    "cds-hooks-2.0:9",
    "cds-hooks-2.0:10",
    "crd-2.2.1:hook-4",
    "crd-2.0.1:152",
)
def test_there_is_one_service_for_each_hook_of_crd_with_title_and_description(
    services: list[Json],
) -> None:
    assert len(services) == len(HOOKS)
    assert {s["hook"] for s in services} == HOOKS
    assert len({s["id"] for s in services}) == len(services)
    for service in services:
        for name in ("id", "hook", "title", "description"):
            assert isinstance(service[name], str)
            assert service[name]


@pytest.mark.requirement("cds-hooks-2.0:16")
def test_each_service_is_called_at_its_id_below_the_discovery_endpoint(
    client: FlaskClient, services: list[Json]
) -> None:
    for service in services:
        call = next(call_of(n) for n in FIXTURE_NAMES if n.startswith(f"{service['hook']}/"))
        assert client.post(f"/cds-services/{service['id']}", json=call).status_code == 200


@pytest.mark.requirement("crd-2.2.1:dev-1", "crd-2.2.1:dev-2")
def test_each_service_declares_the_versions_of_crd_that_it_answers_in(
    client: FlaskClient, services: list[Json]
) -> None:
    for service in services:
        assert service["extension"]["davinci-crd.version"] == ["2.0", "2.2"]
    systems = {
        version: answer(client, call_of("order-sign/mrs-medicare-advantage", version))["cards"][0][
            "source"
        ]["topic"]["system"]
        for version in ("2.0", "2.2")
    }
    assert systems["2.0"] != systems["2.2"]


@pytest.mark.requirement(
    "cds-hooks-2.0:11", "cds-hooks-2.0:29", "cds-hooks-2.0:36", "crd-2.2.1:found-24"
)
def test_each_prefetch_template_has_a_key_and_is_one_query(services: list[Json]) -> None:
    for service in services:
        assert service["prefetch"]
        for key, template in service["prefetch"].items():
            assert re.fullmatch(r"[a-z]+", key)
            assert READ.fullmatch(template) or SEARCH.fullmatch(template), template


@pytest.mark.requirement(
    "cds-hooks-2.0:35",
    "cds-hooks-2.0:55",
    "cds-hooks-2.0:56",
    "cds-hooks-2.0:57",
    "cds-hooks-2.0:58",
    "cds-hooks-2.0:59",
)
def test_each_prefetch_token_is_a_plain_field_of_the_hooks_context(services: list[Json]) -> None:
    of_hook = {s.hook: s.context_schema["properties"] for s in SERVICES}
    for service in services:
        for template in service["prefetch"].values():
            (token,) = TOKEN.findall(template)
            root, _, field = token.partition(".")
            assert root == "context"
            kind = of_hook[service["hook"]][field]["type"]
            assert kind == "string" or set(kind) == {"string", "null"}


def test_no_prefetch_template_repeats_a_parameter(services: list[Json]) -> None:
    for service in services:
        for template in service["prefetch"].values():
            names = re.findall(r"[?&]([^=]+)=", template)
            assert len(names) == len(set(names))


@pytest.mark.requirement(
    "crd-2.2.1:found-26",
    "crd-2.2.1:found-27",
    "crd-2.2.1:found-28",
    "crd-2.0.1:41",
    "crd-2.0.1:42",
)
def test_no_more_is_prefetched_than_patient_coverage_and_the_encounter_at_hand(
    services: list[Json],
) -> None:
    for service in services:
        expected = {"patient", "coverage", "encounter"}
        if service["hook"] == "order-dispatch":
            expected.remove("encounter")
        assert set(service["prefetch"]) == expected


@needs_crd_2_2
@pytest.mark.requirement("crd-2.2.1:found-29")
def test_each_prefetch_template_is_the_standard_one_of_the_hook(services: list[Json]) -> None:
    standard = {s["hook"]: s["prefetch"] for s in crd_2_2_example("CRDServices")["services"]}
    for service in services:
        assert service["prefetch"].items() <= standard[service["hook"]].items()


@needs_crd_2_2
@pytest.mark.requirement("crd-2.2.1:dev-4", "crd-2.0.1:108")
def test_discovery_has_the_shape_of_the_official_example(services: list[Json]) -> None:
    official = crd_2_2_example("CRDServices")["services"]
    example = {s["hook"]: s for s in official}
    # What each option of the example has; its names of options are card types and max-cards.
    option = {name: type(value) for name, value in options(official[0])[0].items()}
    codes = {o["code"] for s in official for o in options(s)}
    for service in services:
        like = example[service["hook"]]
        assert service.keys() == like.keys()
        assert service["extension"].keys() == like["extension"].keys()
        for key, value in service.items():
            assert isinstance(value, type(like[key]))
        for declared in options(service):
            assert declared.keys() == option.keys()
            assert declared["code"] in codes


@pytest.mark.requirement(
    "crd-2.2.1:dev-4",
    "crd-2.2.1:dev-7",
    "crd-2.0.1:108",
    "crd-2.0.1:110",
    "crd-2.0.1:111",
    "crd-2.0.1:112",
    "crd-2.0.1:113",
    "crd-2.0.1:114",
    "crd-2.0.1:120",
)
def test_each_option_has_code_type_name_description_and_a_default_of_its_type(
    services: list[Json],
) -> None:
    types: dict[str, type[Any]] = {"boolean": bool, "integer": int}
    for service in services:
        for option in options(service):
            assert re.fullmatch(r"[a-z][a-z-]*", option["code"])
            assert type(option["default"]) is types[option["type"]]
            assert option["name"]
            assert 1 <= len(re.findall(r"[.;]", option["description"])) <= 2


@pytest.mark.requirement("crd-2.2.1:dev-8", "crd-2.0.1:122")
def test_codes_names_and_descriptions_are_unique_within_a_service(services: list[Json]) -> None:
    for service in services:
        for name in ("code", "name", "description"):
            values = [option[name] for option in options(service)]
            assert len(values) == len(set(values))


@pytest.mark.requirement("crd-2.2.1:dev-9", "crd-2.0.1:123")
def test_an_option_is_the_same_whichever_hook_offers_it(services: list[Json]) -> None:
    by_code: dict[str, Json] = {}
    for service in services:
        for option in options(service):
            assert by_code.setdefault(option["code"], option) == option
    assert by_code.keys() == {
        "coverage-info",
        "guideline",
        "claim",
        "insurance",
        "therapy-alternatives-opt",
        "therapy-alternatives-req",
        "max-cards",
    }


@pytest.mark.requirement(
    "crd-2.2.1:dev-5", "crd-2.2.1:dev-10", "crd-2.0.1:115", "crd-2.0.1:116", "crd-2.0.1:124"
)
@pytest.mark.parametrize("name", FIXTURE_NAMES)
def test_whatever_a_hook_sends_has_an_option_that_keeps_it_back(
    client: FlaskClient, services: list[Json], name: str
) -> None:
    (service,) = (s for s in services if name.startswith(f"{s['hook']}/"))
    offered = {o["code"]: o["type"] for o in options(service)}
    answered = answer(client, call_of(name))
    for code in {c["source"]["topic"]["code"] for c in answered["cards"]}:
        assert offered[code] == "boolean"
        without = answer(client, call_of(name, None, **{code: False}))
        assert code not in {c["source"]["topic"]["code"] for c in without["cards"]}
    if answered.get("systemActions", []):
        assert offered["coverage-info"] == "boolean"
        without = answer(client, call_of(name, None, coverage_info=False))
        assert without.get("systemActions", []) == []


@pytest.mark.requirement("crd-2.2.1:found-15", "crd-2.0.1:27")
def test_one_endpoint_answers_for_all_payers_and_programs(client: FlaskClient) -> None:
    labels = {
        name: answer(client, call_of(f"order-sign/{name}"))["cards"][0]["source"]["label"]
        for name in ("mrs-medicare-advantage", "mrs-original-medicare", "mrs-program-not-told")
    }
    assert set(labels.values()) == {"Example Health Plan", "Example Payer"}
