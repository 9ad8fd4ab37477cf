"""`pytest --requirements` never ends with 0 while something was not looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.requirements.specifications import ALL, ROOT
from tests.requirements.statements import all_ids, not_applicable

pytest_plugins = ["pytester"]

CLAIMED = "crd-2.2.1:resp-37"
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def guides(tmp_path: Path) -> Path:
    """A folder that holds everything published that tests need; the contents do not matter."""
    for published in ALL:
        path = tmp_path / published.places[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, guides: Path) -> Run:
    """Runs a file in which one test claims what is applicable; `claims` is the body of another."""
    monkeypatch.setenv("COVERCARD_SPECIFICATIONS", str(guides))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\nmarkers = requirement(*ids): what is verified\n")

    def of(*options: str, statement: str = CLAIMED, body: str = "pass") -> pytest.RunResult:
        others = sorted(all_ids() - not_applicable().keys() - {CLAIMED})
        pytester.makepyfile(
            "import pytest\n"
            f"@pytest.mark.requirement(*{others!r})\n"
            "def test_the_others(): pass\n"
            f"@pytest.mark.requirement({statement!r})\n"
            f"def test_one(): {body}\n"
        )
        return pytester.runpytest_subprocess("-p", "tests.requirements.plugin", *options)

    return of


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_it_passes_where_everything_was_looked_at(run: Run, workers: tuple[str, ...]) -> None:
    result = run("--requirements", *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["crd-2.2.1: 144 statements", "*open: 0 (SHALL: 0)"])


def test_a_failed_test_verifies_nothing(run: Run) -> None:
    result = run("--requirements", body="assert False")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*open *SHALL NOT *crd-2.2.1:resp-37*"])


def test_a_statement_that_no_test_claims_fails(run: Run) -> None:
    result = run("--requirements=at-hand", "-k", "test_the_others")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*open *SHALL NOT *crd-2.2.1:resp-37*"])


def test_a_skipped_test_is_named_and_fails(run: Run) -> None:
    result = run("--requirements", body="pytest.skip('no curl here')")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*not run *crd-2.2.1:resp-37*", "1 test: no curl here"])


def test_a_guide_that_is_not_at_hand_is_named_with_its_place_and_fails(
    run: Run, guides: Path
) -> None:
    (guides / "ig" / "davinci-crd-2.0.1.tgz").unlink()
    result = run("--requirements")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*NOT LOOKED AT*", "*package of CRD 2.0.1 not at hand: put it at ig/*"]
    )


def test_at_hand_asks_only_that_no_shall_is_open(run: Run, guides: Path) -> None:
    (guides / "ig" / "davinci-crd-2.0.1.tgz").unlink()
    result = run("--requirements=at-hand", body="pytest.skip('no curl here')")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*NOT LOOKED AT*", "1 test: no curl here"])


def test_a_claim_of_an_unknown_statement_stops_the_run(run: Run) -> None:
    result = run(statement="crd-2.2.1:resp-999")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no such statement: crd-2.2.1:resp-999*"])


def test_without_the_option_a_missing_guide_is_still_said_loudly(run: Run, guides: Path) -> None:
    (guides / "ig" / "davinci-crd-2.0.1.tgz").unlink()
    module = "tests.requirements.specifications"
    result = run(body=f"pytest.skip(pytest.importorskip({module!r}).CRD_2_0_PACKAGE.reason)")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*NOT LOOKED AT*", "1 test: the FHIR package of CRD 2.0.1*"])
