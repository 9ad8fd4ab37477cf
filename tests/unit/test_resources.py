"""What a reference leads to: the resources at hand, unless it names another server."""

from __future__ import annotations

from typing import Any

import pytest

from service.fhir.document import Document, Resource
from service.fhir.resources import Resources, resources_in

SERVER = "https://ehr.example.org/fhir/r4"
PATIENT = {"resourceType": "Patient", "id": "ann"}


def holding(server: str | None, full_url: str | None = None) -> Resources:
    resources = Resources(server)
    resources.add(Resource(PATIENT, Document(b"", PATIENT), (), full_url))
    return resources


@pytest.mark.parametrize(
    "written",
    [
        "Patient/ann",
        "Patient/ann/_history/3",
        f"{SERVER}/Patient/ann",
        f"{SERVER}/Patient/ann/_history/3",
        "http://EHR.example.org/fhir/Patient/ann",
    ],
)
def test_a_reference_to_the_calls_own_server_leads_to_the_resource_at_hand(written: str) -> None:
    resources = holding(SERVER)
    found = resources.get(written)
    assert found is not None
    assert found.data is PATIENT
    assert resources.local(written) == "Patient/ann"


@pytest.mark.parametrize("full_url", [None, f"{SERVER}/Patient/ann", "urn:uuid:5f3c"])
def test_the_same_id_on_another_server_is_somebody_else(full_url: str | None) -> None:
    resources = holding(SERVER, full_url)
    elsewhere = "https://ehr.example.org.evil.example/fhir/r4/Patient/ann"
    assert resources.get(elsewhere) is None
    assert resources.local(elsewhere) == elsewhere


def test_where_the_call_names_no_server_its_full_urls_tell_which_it_is() -> None:
    resources = holding(None, f"{SERVER}/Patient/ann")
    assert resources.get(f"{SERVER}/Patient/ann/_history/2") is not None
    assert resources.local(f"{SERVER}/Patient/bo") == "Patient/bo"
    assert resources.get("https://other.example.org/fhir/Patient/ann") is None


def test_where_nothing_tells_the_server_an_absolute_reference_is_the_callers_own() -> None:
    resources = holding(None, "urn:uuid:5f3c")
    assert resources.get(f"{SERVER}/Patient/ann") is not None
    assert resources.get("urn:uuid:5f3c") is not None
    assert resources.local("urn:uuid:5f3c") == "Patient/ann"


def test_a_full_url_of_another_server_is_found_by_that_very_url() -> None:
    registry = "https://registry.example.org/Patient/ann"
    resources = holding(SERVER, registry)
    assert resources.get(registry) is not None
    assert resources.get("https://registry.example.org/Patient/bo") is None


def test_a_list_of_resources_is_looked_into_and_each_knows_its_place() -> None:
    task = {"resourceType": "Task", "id": "t"}
    data: dict[str, Any] = {"tasks": [task, None, {"resourceType": "Bundle", "entry": []}, 3]}
    (found,) = resources_in(Document(b"", data), data["tasks"], ("tasks",))
    assert (found.data, found.place) == (task, "tasks[0]")
