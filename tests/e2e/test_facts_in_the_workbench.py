"""Facts in the workbench, with the example policies: one is missing, it is added, the order is
decided.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.conftest import ROOT
from tests.contract.test_example_policies import ICD, completed, with_data
from tests.e2e.chromium import OpenPage, check_page
from tests.e2e.servers import Server
from tests.e2e.test_workbench import bench, fire, request_of

pytestmark = pytest.mark.chromium

Json = dict[str, Any]
LUMBAR_MRI = "72148"


@pytest.fixture(scope="module")
def examples(start_server: Callable[..., Server]) -> Server:
    """A server with the example policies: one setting names them and their payer."""
    return start_server(policies_dir=ROOT / "examples" / "policies")


@pytest.fixture
def page(examples: Server, open_page: OpenPage) -> Page:
    """The workbench with an order for an MRI of the lumbar spine."""
    page = bench(open_page(examples.base + "/"))
    page.get_by_label("Code").fill(LUMBAR_MRI)
    page.get_by_label("Code").blur()
    page.get_by_text("The request as JSON").first.click()
    return page


def write(page: Page, request: Json) -> None:
    """Writes another request in place of the one in the workbench."""
    page.get_by_label("The request as JSON").fill(json.dumps(request, indent=2))


def diagnosed(request: Json, *codes: str) -> Json:
    """The request, its order with these diagnoses and no others."""
    changed = copy.deepcopy(request)
    order = order_in(changed)
    order.pop("reasonCode", None)
    if codes:
        order["reasonCode"] = [{"coding": [{"system": ICD, "code": code}]} for code in codes]
    return changed


def order_in(request: Json) -> Json:
    """The one order of a request."""
    (entry,) = request["context"]["draftOrders"]["entry"]
    order: Json = entry["resource"]
    return order


def stated(page: Page) -> Locator:
    """What changes in the order."""
    return page.get_by_role("group", name="Orders")


def step(page: Page, topic: str) -> Locator:
    """The steps of a topic on the way to the answer, such as the missing facts."""
    return page.locator(f".path li.step-{topic}")


def form_back(examples: Server, request: Json, weeks: int) -> Json:
    """The form that the policy asks for, as DTR gets it and somebody fills it in."""
    (coverage,) = (
        entry["resource"]
        for entry in request["prefetch"]["coverage"]["entry"]
        if entry["resource"]["resourceType"] == "Coverage"
    )
    asked = [("coverage", coverage), ("order", order_in(request))]
    parameters = [{"name": name, "resource": resource} for name, resource in asked]
    reply = examples.post(
        "/fhir/Questionnaire/$questionnaire-package",
        json={"resourceType": "Parameters", "parameter": parameters},
    )
    assert reply.status_code == 200, reply.text
    return completed(reply.json(), weeks_of_care={"valueInteger": weeks})


def test_a_missing_diagnosis_is_named_and_settles_the_order_once_it_is_told(page: Page) -> None:
    request = request_of(page)
    write(page, diagnosed(request))
    cards = fire(page)
    expect(cards).to_have_count(2)
    expect(cards.last).to_contain_text("conservative care")
    expect(cards.first).to_contain_text("Add the diagnosis: with a red flag the scan is covered")
    expect(stated(page)).to_contain_text("Conditional")
    expect(step(page, "missing")).to_contain_text(["order.reason", "weeks-of-care"])
    check_page(page)

    write(page, diagnosed(request, "G83.4"))
    expect(fire(page)).to_have_count(0)
    expect(stated(page)).to_contain_text("The diagnosis is a red flag")
    expect(step(page, "answer")).to_contain_text("Covered")
    expect(step(page, "missing")).to_have_count(0)


@pytest.mark.parametrize(
    ("weeks", "card", "said"),
    [
        (8, "Covered with prior authorization", "Needed auth-needed"),
        (2, "Not covered yet", "Less than six weeks of conservative care"),
    ],
)
def test_the_form_that_a_missing_fact_asks_for_settles_the_order_once_it_is_back(
    page: Page, examples: Server, weeks: int, card: str, said: str
) -> None:
    request = diagnosed(request_of(page), "M54.50")
    write(page, request)
    expect(fire(page).first).to_contain_text("Fill in the form: after six weeks")
    expect(stated(page)).to_contain_text("conservative-care|1.0.0")
    expect(step(page, "missing")).to_contain_text(["weeks-of-care"])

    write(page, with_data(request, form_back(examples, request, weeks)))
    expect(fire(page).first.get_by_role("heading")).to_contain_text(card)
    expect(stated(page)).to_contain_text(said)
    expect(step(page, "missing")).to_have_count(0)
