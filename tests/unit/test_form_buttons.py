"""Buttons of forms: what an EHR without the Questionnaire gets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cards.questionnaires import load_forms
from service.bootstrap.app import Library, wire_links
from service.response.form_buttons import FormButtons, FormSuggestion
from service.settings import load_settings
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "policies"
URL = "http://hl7.org/fhir/StructureDefinition/preferredTerminologyServer"


def servers(node: Any) -> list[str]:
    """The terminology servers that a form names."""
    if isinstance(node, list):
        return [url for each in node for url in servers(each)]
    if not isinstance(node, dict):
        return []
    own = [node["valueUrl"]] if node.get("url") == URL else []
    return own + [url for each in node.values() for url in servers(each)]


@pytest.mark.form_rule("dtr-terminology-server")
def test_a_form_that_an_ehr_keeps_names_the_address_of_this_service() -> None:
    settings = load_settings(policies_dir=EXAMPLES, public_url="https://payer.example.org")
    library = Library(settings)
    forms = load_forms(library.questionnaires, settings.form_bases)
    links = wire_links(settings, library, forms)
    form = links.form("oxygen-need")
    filler: Any = None  # asked for a response only
    to: Any = SimpleNamespace(questionnaires_missing=frozenset({form.canonical}))
    buttons = FormButtons(links, filler, FormSuggestion.TASK_AND_FORM)
    brought, response = buttons.beside_task("oxygen-need", to, dict)
    assert response is None
    assert brought is not None
    assert servers(brought.resource) == ["https://payer.example.org/fhir"] * 3
    assert servers(form.resource) == ["https://covercard.example/fhir"] * 3
