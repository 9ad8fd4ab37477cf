"""The example records fit the fixtures: what they make certain is answered so, nothing else."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli import cli
from service.payer_data.embedded import open_embedded
from service.payer_data.numbers import plain_number
from service.payer_data.port import Wanted
from tests.conftest import FIXTURES, ROOT
from tests.contract.calls import answer, call_of
from tests.contract.payer_records import EXAMPLES, PAYERS, Plan, call, plan, records_database
from tests.contract.test_fixtures_answered import EXPECTED, stated

CERTAIN: dict[str, dict[str, Any]] = {
    # The chart does not tell the program; the payer knows that it is Original Medicare.
    "order-sign/mrs-program-not-told.json": {
        "cards": ["guideline", "claim"],
        "statements": [("ServiceRequest/mrs-brain", "conditional")],
    },
    # Two coverages are active; the payers know which one pays first.
    "order-sign/several-coverages.json": {
        "cards": ["guideline", "claim"],
        "statements": [("ServiceRequest/mrs-brain", "not-covered")],
    },
    # Type and payer contradict each other; the payer knows that it is Medicare Advantage.
    "order-sign/contradictory-coverage.json": {
        "cards": ["guideline", "claim"],
        "statements": [("ServiceRequest/mrs-brain", "not-covered")],
    },
    # The chart tells the hospice benefit only; the payer knows that it is Original Medicare.
    "order-sign/medicare-hospice.json": {
        "cards": ["guideline", "claim"],
        "statements": [("ServiceRequest/mrs-brain", "conditional")],
    },
}


@pytest.fixture(scope="module")
def payer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """The service with the example records, imported as `make run` does."""
    folder = tmp_path_factory.mktemp("example-records")
    url = records_database(folder)
    with plan(url, folder) as payer:
        yield payer


@pytest.fixture(scope="module", autouse=True)
def imported(payer: Plan) -> str:
    """What the import said."""
    runner = CliRunner(env={"COVERCARD_PAYER_DATA": payer.url})
    done = runner.invoke(cli, ["payer-data", "import", str(EXAMPLES)])
    assert done.exit_code == 0, done.output
    return done.output


def test_every_example_record_is_imported(imported: str) -> None:
    kinds = re.findall(r"^(\w+): (\d+) added, .* 0 refused$", imported, re.MULTILINE)
    assert [k for k, _ in kinds] == [
        "members",
        "authorizations",
        "network",
        "history",
        "exemptions",
    ]
    assert all(int(count) > 0 for _, count in kinds)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_fixture_is_answered_as_without_records_or_with_more_certainty(
    payer: Plan, name: str
) -> None:
    expected = CERTAIN.get(name) or {
        "cards": EXPECTED[name]["cards"],
        "statements": [(s["order"], s["covered"]) for s in EXPECTED[name]["statements"]],
    }
    told = answer(payer.app.test_client(), call_of(name.removesuffix(".json"), _version(name)))
    assert [c["source"]["topic"]["code"] for c in told["cards"]] == expected["cards"]
    assert sorted(stated(told)) == sorted(expected["statements"])


def _version(name: str) -> str | None:
    return "2.2" if "crd-2.2" in name else None


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("resources/Coverage-*.json")), ids=lambda path: path.stem
)
def test_each_fixture_of_a_coverage_of_these_payers_has_its_member(payer: Plan, path: Path) -> None:
    coverage = json.loads(path.read_text("utf-8"))
    number = plain_number(coverage["subscriberId"])
    source = open_embedded(payer.url)
    deadline = time.monotonic() + 60
    payers = sorted(set(PAYERS.values()))
    patient = beneficiary_of(path, coverage)
    born = date.fromisoformat(patient["birthDate"])
    wanted = [Wanted(p, frozenset({number}), born) for p in payers]
    found = [source.look_up(w, deadline).members for w in wanted]
    source.close()
    known = [(m.given, m.birth_date.isoformat()) for members in found for m in members]
    told = patient["name"][0]["given"][0], patient["birthDate"]
    others = {"unknown-payer-ivy", "no-identifier-joy", "supplement-max", "medicaid-oda"}
    assert known == ([] if coverage["id"] in others else [told])


def beneficiary_of(path: Path, coverage: dict[str, Any]) -> dict[str, Any]:
    beneficiary = coverage["beneficiary"]["reference"].replace("/", "-")
    patient: dict[str, Any] = json.loads((path.parent / f"{beneficiary}.json").read_text("utf-8"))
    return patient


def test_the_trace_of_the_first_fixture_names_the_members_record(payer: Plan) -> None:
    ((finding, because),) = payer.trace(call("2.0"))
    assert (finding, because.split()[:2]) == ("known", ["member", "record"])


def test_make_run_imports_the_example_records_where_nothing_was_imported(payer: Plan) -> None:
    recipe = (ROOT / "Makefile").read_text("utf-8")
    (line,) = re.findall(r"covercard (payer-data import .*)$", recipe, re.MULTILINE)
    command = [part.replace("examples/", f"{ROOT}/examples/") for part in line.split()]
    runner = CliRunner(env={"COVERCARD_PAYER_DATA": payer.url})
    again = runner.invoke(cli, command)
    assert (again.exit_code, again.output.count("added")) == (0, 0), again.output


def test_the_commands_say_what_they_did_without_a_word_of_a_member(
    payer: Plan, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/own.sqlite3"
    runner = CliRunner(env={"COVERCARD_PAYER_DATA": url})
    bad = tmp_path / "members.csv"
    bad.write_text((EXAMPLES / "members.csv").read_text("utf-8") + "example-payer,X1\n", "utf-8")
    refused = runner.invoke(cli, ["payer-data", "import", str(bad)])
    assert refused.exit_code == 1
    assert f"{bad}:19: 2 fields, the header has 13" in refused.output
    assert "nothing of it was imported" in refused.output
    allowed = runner.invoke(cli, ["payer-data", "import", str(bad), "--allow-refused", "1"])
    assert allowed.exit_code == 0
    status = runner.invoke(cli, ["payer-data", "status"])
    assert "members: 17 (whole of " in status.output
    assert "history: 0 (never imported)" in status.output
    gone = runner.invoke(cli, ["payer-data", "forget", "test member 0006", "--yes"])
    assert "3 members, 0 authorizations, 0 services deleted" in gone.output
    said = refused.output + allowed.output + status.output + gone.output
    assert not any(word in said for word in ("Testcase", "TEST-MEMBER", "TESTMEMBER", "1951"))


@pytest.mark.parametrize(
    ("setting", "command", "says"),
    [
        ("", ["payer-data", "status"], "COVERCARD_PAYER_DATA: records are kept here only"),
        ("sqlite:///x", ["payer-data", "import", "README.md"], "does not begin with a kind"),
    ],
)
def test_a_command_that_cannot_work_says_what_to_set(
    setting: str, command: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner(env={"COVERCARD_PAYER_DATA": setting}).invoke(cli, command)
    assert done.exit_code != 0
    assert says in done.output + str(done.exception)
