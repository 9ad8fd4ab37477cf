"""Payers: recognized by identifier and system together, and nothing else."""

from pathlib import Path

import pytest

from service.decision.coverage import Contact, PolicyLink
from service.errors import LibraryError
from service.policies.library import load_payers
from service.policies.payers import Payers
from tests.policies import PAYERS

SYSTEM = "urn:oid:2.999.7.1"


@pytest.fixture(scope="module")
def payers() -> Payers:
    return load_payers(PAYERS)


def test_a_payer_is_found_by_system_and_identifier(payers: Payers) -> None:
    plan = payers.by_identifier(SYSTEM, "example-health-plan")
    assert plan is not None
    assert plan.name == "Example Health Plan"
    assert plan.line_of_business == "medicare_advantage"
    assert plan.policies == (PolicyLink("mr-spectroscopy"),)


def test_a_payer_says_which_programs_it_speaks_of_by_a_policy(payers: Payers) -> None:
    plan, payer = (
        payers.by_identifier(SYSTEM, name) for name in ("example-health-plan", "example-payer")
    )
    assert plan is not None
    assert payer is not None
    assert not plan.applies("mr-spectroscopy", "original_medicare")
    assert payer.applies("mr-spectroscopy", "original_medicare")
    assert not payer.applies("mr-spectroscopy", "commercial")


def test_a_payer_may_leave_its_line_of_business_untold(payers: Payers) -> None:
    payer = payers.by_identifier(SYSTEM, "example-payer")
    assert payer is not None
    assert payer.line_of_business == "not_told"


@pytest.mark.parametrize(
    ("system", "value"),
    [(SYSTEM, "another-payer"), ("http://example.org/others", "example-payer"), (SYSTEM, "")],
)
def test_an_identifier_in_another_system_or_unknown_is_nobodys(
    payers: Payers, system: str, value: str
) -> None:
    assert payers.by_identifier(system, value) is None


def test_a_payer_is_recognized_by_each_of_its_identifiers_and_sends_the_first(
    payers: Payers,
) -> None:
    plan = payers.by_identifier(SYSTEM, "example-health-plan")
    assert plan is not None
    assert payers.by_identifier("http://example.org/payers", "example-health-plan") is plan
    assert (plan.system, plan.identifier) == (SYSTEM, "example-health-plan")


def test_one_identifier_of_two_payers_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "payers.yaml"
    file.write_text(
        """
        operator: A Plan
        payers:
          - identifier: {system: "urn:a", value: "1"}
            name: A Plan
            line_of_business: not_told
            policies: []
          - identifiers: [{system: "urn:b", value: "1"}, {system: "urn:a", value: "1"}]
            name: B Plan
            line_of_business: not_told
            policies: []
        """
    )
    with pytest.raises(LibraryError, match=r"payers\[1\]\.identifiers\[1\].*urn:a\|1 stands for"):
        load_payers(file)


def test_both_shipped_payers_have_somebody_to_ask(payers: Payers) -> None:
    for value in ("example-health-plan", "example-payer"):
        payer = payers.by_identifier(SYSTEM, value)
        assert payer and payer.contact and payer.contact.system == "phone"


def test_the_operators_name_stands_where_a_request_names_no_insurer(payers: Payers) -> None:
    assert payers.operator_name == "Example Health Plan"


def test_a_payers_own_page_of_a_policy_and_its_contact_are_read(tmp_path: Path) -> None:
    file = tmp_path / "payers.yaml"
    file.write_text(
        """
        operator: A Plan
        payers:
          - identifier: {system: "urn:a", value: a-plan}
            name: A Plan
            line_of_business: original_medicare
            contact: {name: The desk, system: email, value: desk@example.org}
            policies: [{id: mr-spectroscopy, url: "https://example.org/mrs"}]
        """,
        "utf-8",
    )
    (payer,) = load_payers(file)
    assert payer.policies == (PolicyLink("mr-spectroscopy", "https://example.org/mrs"),)
    assert payer.contact == Contact("The desk", "email", "desk@example.org")


def test_a_missing_payers_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="cannot be read"):
        load_payers(tmp_path / "nobody.yaml")
