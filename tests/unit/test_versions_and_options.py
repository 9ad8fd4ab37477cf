import pytest

from service.crd.configuration_options import DEFAULT_MAX_CARDS, Options, read_options
from service.crd.versions import CrdVersion, negotiate


@pytest.mark.parametrize(
    ("requested", "version"),
    [
        ("2.2", CrdVersion.V2_2),
        ("2.2.1", CrdVersion.V2_2),
        ("2.0", CrdVersion.V2_0),
        ("2.0.1", CrdVersion.V2_0),
        (None, CrdVersion.V2_0),
        ("9.9", CrdVersion.V2_0),
        (22, CrdVersion.V2_0),
        (["2.2"], CrdVersion.V2_0),
    ],
)
def test_a_request_is_answered_in_the_version_it_names_else_in_2_0(
    requested: object, version: CrdVersion
) -> None:
    assert negotiate(requested) is version


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
