"""The requests that the workbench offers, read from their folder."""

from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.web.fixtures import load_fixtures
from tests.conftest import FIXTURES, TODAY, fixture_text

MAIN = "order-sign/mrs-medicare-advantage.json"


def test_every_request_of_the_folder_is_offered_with_what_it_shows() -> None:
    fixtures = load_fixtures(FIXTURES)
    offered = {f.name: f for f in fixtures}
    files = {p.relative_to(FIXTURES).as_posix() for p in FIXTURES.glob("*-*/*.json")}
    assert offered.keys() == files
    assert all(f.shows for f in fixtures)
    assert offered[MAIN].title == "MRS Medicare Advantage"
    assert offered[MAIN].cards == ("guideline", "claim")
    assert offered[MAIN].statements == (("ServiceRequest/mrs-brain", "not-covered"),)


def test_a_request_is_read_with_its_days_reckoned_from_today() -> None:
    name = "order-sign/mrs-original-medicare.json"
    read = load_fixtures(FIXTURES).read(name, TODAY)
    assert read == fixture_text(FIXTURES / name).encode()
    assert b'"occurrenceDateTime": "2026-12-01"' in read


@pytest.mark.parametrize("name", ["../pyproject.toml", "README.md", "", "order-sign/no-such.json"])
def test_only_what_is_offered_can_be_read(name: str) -> None:
    assert load_fixtures(FIXTURES).read(name, TODAY) is None


def test_without_the_folder_nothing_is_offered(tmp_path: Path) -> None:
    assert len(load_fixtures(tmp_path / "nowhere")) == 0


@pytest.mark.parametrize(
    ("listing", "told"),
    [
        ("order-sign/gone.json: {cards: [], statements: []}", "gone.json"),
        ("order-sign/x.json: {cards: []}", "statements"),
        ("[: no yaml", "expected.yaml"),
        ("- a list", "expected.yaml"),
    ],
)
def test_a_listing_that_does_not_fit_says_so(tmp_path: Path, listing: str, told: str) -> None:
    (tmp_path / "expected.yaml").write_text(listing, "utf-8")
    with pytest.raises(ConfigurationError, match=told):
        load_fixtures(tmp_path)
