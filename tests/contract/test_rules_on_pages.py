"""A policy's rules where people read them: its page, its JSON, and the trace of a call."""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.contract.test_example_policies import client as client


def test_the_page_shows_the_rules_as_a_table_with_their_value_sets(client: FlaskClient) -> None:
    page = client.get("/policies/home-oxygen").get_data(as_text=True)
    assert "The first rule whose condition is true decides" in page
    assert (
        "(the oxygen saturation of the last 30 days is at most 88 % or the arterial oxygen "
        "pressure of the last 30 days is at most 55 mm[Hg]) and whether other treatment was tried: "
        "yes"
    ) in page
    assert "It is not so that the diagnosis is among Chronic lung disease" in page
    assert "J44*, J84.1*, J96.1*" in page


def test_the_json_has_the_rules_in_their_order(client: FlaskClient) -> None:
    document = client.get("/policies/lumbar-mri.json").get_json()
    rules = [(r["id"], r["covered"], r["prior_authorization"]) for r in document["rules"]]
    assert rules == [
        ("approved", "covered", "satisfied"),
        ("red-flag", "covered", "no-auth"),
        ("after-conservative-care", "covered", "auth-needed"),
    ]
    (red_flags,) = document["value_sets"]
    assert "C00-D49" in red_flags["codes"]


def test_a_policy_without_rules_has_no_table_of_them(client: FlaskClient) -> None:
    assert 'id="rules"' not in client.get("/policies/non-covered-list").get_data(as_text=True)
