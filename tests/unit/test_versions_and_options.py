import re
from dataclasses import replace
from typing import Any

import pytest

from cards.coverage_information import CoverageInformation, DocNeeded
from cards.texts.wording import ReasonLabels
from service.crd.configuration_options import DEFAULT_MAX_CARDS, Options, read_options
from service.crd.crd_version import CrdVersion
from service.crd.v2_0 import V2_0
from service.crd.v2_2 import V2_2
from service.crd.versions import VERSIONS, CrdVersions
from service.errors import ConfigurationError


@pytest.mark.parametrize(
    ("requested", "version"),
    [
        ("2.2", V2_2),
        ("2.2.1", V2_2),
        ("2.0", V2_0),
        ("2.0.1", V2_0),
        (None, V2_0),
        ("9.9", V2_0),
        (22, V2_0),
        (["2.2"], V2_0),
    ],
)
def test_a_request_is_answered_in_the_version_it_names_else_in_2_0(
    requested: object, version: CrdVersion
) -> None:
    assert CrdVersions().negotiate(requested) is version


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
def test_a_version_has_a_code_for_every_documentation_that_a_notice_can_need(
    version: CrdVersion,
) -> None:
    assert set(version.doc_needed) == set(DocNeeded)


def writes_no_date(info: CoverageInformation, labels: ReasonLabels) -> dict[str, Any]:
    extension = V2_2.coverage_information(info, labels)
    parts = [p for p in extension["extension"] if p["url"] != "date"]
    return {**extension, "extension": parts}


def writes_something_else(info: CoverageInformation, labels: ReasonLabels) -> dict[str, Any]:
    return {**V2_2.coverage_information(info, labels), "url": "http://example.org/extension"}


@pytest.mark.parametrize(
    ("lack", "message"),
    [
        ({"doc_needed": {DocNeeded.ADMIN: "admin"}}, "doc_needed has no code for 'clinical'"),
        ({"name": "STU3"}, "CRD version 'STU3': its name is not \"major.minor\""),
        ({"topic_system": ""}, "topic_system is empty"),
        ({"dtr": replace(V2_2.dtr, purpose_system="")}, "dtr.purpose_system is empty"),
        (
            {"coverage_information": writes_no_date},
            "coverage_information writes None as date, expected '2026-01-01'",
        ),
        ({"coverage_information": writes_something_else}, "writes another extension"),
    ],
)
def test_a_version_that_lacks_something_stops_the_start_and_says_what(
    lack: dict[str, Any], message: str
) -> None:
    broken = replace(V2_2, **{"name": "2.3", **lack})
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        CrdVersions((*VERSIONS, broken))


def test_a_version_stands_once_and_the_default_is_spoken() -> None:
    with pytest.raises(ConfigurationError, match="one name is used twice"):
        CrdVersions((V2_0, V2_2, replace(V2_2)))
    with pytest.raises(ConfigurationError, match=r"the default 2\.0 is not among them"):
        CrdVersions((V2_2,))


@pytest.mark.requirement("crd-2.2.1:dev-15", "crd-2.0.1:129")
def test_without_configuration_everything_is_wanted() -> None:
    assert read_options(None) == Options()


@pytest.mark.requirement(
    "crd-2.2.1:dev-17", "crd-2.2.1:dev-6", "crd-2.0.1:131", "crd-2.0.1:117", "crd-2.0.1:118"
)
@pytest.mark.parametrize(
    "nonsense",
    [
        [],
        "all",
        {"max-cards": -1},
        {"max-cards": True},
        {"max-cards": "many"},
        {"coverage-info": "no"},
        {"guideline": None},
        {"unheard-of": False},
    ],
)
def test_a_nonsensical_configuration_leaves_the_defaults(nonsense: object) -> None:
    assert read_options(nonsense) == Options(max_cards=DEFAULT_MAX_CARDS)


def test_zero_cards_can_be_asked_for() -> None:
    assert read_options({"max-cards": 0}).max_cards == 0
