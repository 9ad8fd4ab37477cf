"""Every fixture gets the answer that its README promises."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from ruamel.yaml import YAML

from cards.coverage_information import EXTENSION_URL
from service.crd.hooks import SERVICES

FIXTURES = Path(__file__).parent.parent.parent / "fhir_fixtures"
EXPECTED = YAML(typ="safe").load((FIXTURES / "expected.yaml").read_text("utf-8"))
SERVICE_OF_HOOK = {s.hook: s.id for s in SERVICES}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_fixture_is_answered_as_its_readme_says(
    client: FlaskClient, fixture: Any, name: str
) -> None:
    expected = EXPECTED[name]
    request = fixture(name.removesuffix(".json"))
    reply = client.post(f"/cds-services/{SERVICE_OF_HOOK[request['hook']]}", json=request)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    answer = reply.get_json()
    assert [c["source"]["topic"]["code"] for c in answer["cards"]] == expected["cards"]
    assert sorted(stated(answer)) == sorted(
        (s["order"], s["covered"]) for s in expected["statements"]
    )


def stated(answer: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for action in answer.get("systemActions", []):
        resource = action["resource"]
        for extension in resource["extension"]:
            if extension["url"] == EXTENSION_URL:
                parts = {p["url"]: p for p in extension["extension"]}
                order = f"{resource['resourceType']}/{resource['id']}"
                found.append((order, parts["covered"]["valueCode"]))
    return found
