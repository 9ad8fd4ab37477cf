"""The effect of an overdue review, as the policy's file says it: warn, verify or stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import create_app
from service.policies.lint import lint_library
from service.settings import Settings
from tests.conftest import NOW
from tests.contract.answer_rules import check_answer, parts, stated
from tests.policies import LIBRARY, PAYERS

Read = Callable[[str], dict[str, Any]]
Effect = Callable[[str], Path]

OVERDUE = 'next: "2024-06"'


@pytest.fixture
def library(tmp_path: Path) -> Effect:
    """The shipped library whose policy has an effect of its overdue review."""

    def made(effect: str, due: str = "2024-06") -> Path:
        copy = tmp_path / f"{effect}-{due}"
        copytree(LIBRARY, copy, ignore=ignore_patterns("manifest.yaml"))
        file = copy / "mr-spectroscopy" / "2023-10-01.yaml"
        text = file.read_text("utf-8")
        assert text.count(OVERDUE) == 1
        review = f'next: "{due}"\n  when_overdue: {effect}'
        file.write_text(text.replace(OVERDUE, review), "utf-8")
        return copy

    return made


def client_of(library: Path) -> FlaskClient:
    return create_app(Settings(policies_dir=library), clock=lambda: NOW).test_client()


def answered(library: Path, request: dict[str, Any]) -> dict[str, Any]:
    reply = client_of(library).post("/cds-services/order-sign-crd", json=request)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    answer: dict[str, Any] = reply.get_json()
    check_answer(answer)
    return answer


MA = "order-sign/mrs-medicare-advantage"


def test_with_warn_the_policy_answers_and_the_card_says_overdue(
    library: Effect, fixture: Read
) -> None:
    answer = answered(library("warn"), fixture(MA))
    (statement,) = stated(answer)
    assert parts(statement, "covered") == ["not-covered"]
    assert "is **overdue**" in answer["cards"][0]["detail"]


def test_with_verify_the_answer_is_conditional_and_says_to_ask_the_plan(
    library: Effect, fixture: Read
) -> None:
    answer = answered(library("verify"), fixture(MA))
    (statement,) = stated(answer)
    assert parts(statement, "covered") == ["conditional"]
    assert "The policy is under review. Ask the plan" in str(statement)
    (card,) = answer["cards"]
    assert (
        card["summary"]
        == "Ask the plan before MR spectroscopy (76390): its policy is under review."
    )
    assert "Not covered" not in str(answer)
    assert "suggestions" not in card


def test_with_stop_the_policy_gives_no_answer(library: Effect, fixture: Read) -> None:
    answer = answered(library("stop"), fixture(MA))
    (statement,) = stated(answer)
    assert parts(statement, "covered") == ["conditional"]
    assert "The review of the policy for this code is overdue." in str(statement)
    assert "not covered" not in str(answer["cards"]).lower()


@pytest.mark.parametrize("effect", ["verify", "stop"])
def test_a_review_that_is_not_overdue_has_no_effect(
    library: Callable[[str, str], Path], fixture: Read, effect: str
) -> None:
    (statement,) = stated(answered(library(effect, "2026-11"), fixture(MA)))
    assert parts(statement, "covered") == ["not-covered"]


@pytest.mark.parametrize(
    ("effect", "lint", "page"),
    [
        ("verify", "under review, ask the plan (verify)", "every answer is: under review"),
        ("stop", "this policy gives no answer (stop)", "this policy gives no answers."),
    ],
)
def test_lint_readiness_and_page_say_which_effect(
    library: Effect, effect: str, lint: str, page: str
) -> None:
    made = library(effect)
    found = [f for f in lint_library(made, PAYERS, NOW.date()) if f.field == "review.next"]
    assert [(lint in str(f), f.warning) for f in found] == [(True, True)]
    client = client_of(made)
    warnings = client.get("/readyz").get_json()["warnings"]
    assert f"mr-spectroscopy 2023-10-01: review was due 2024-06; effect: {effect}" in warnings
    shown = client.get("/policies/mr-spectroscopy", headers={"Accept": "text/html"})
    assert page in shown.get_data(as_text=True)


def test_an_unknown_effect_stops_the_start(library: Effect) -> None:
    found = [f for f in lint_library(library("later"), PAYERS, NOW.date()) if not f.warning]
    assert [f.field for f in found] == ["review.when_overdue"]
