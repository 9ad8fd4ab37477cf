"""What the payer's own records say of orders is counted and looked up, and replay minds it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import cli
from service.database.engines import database_file
from service.payer_data.forgetting import forget
from tests.conftest import in_folder
from tests.contract.payer_records import HEALTH_PLAN, Plan, call, plan, records_database
from tests.contract.test_payer_records import ANN, HEADER, MEMBERS

Run = Callable[..., Result]
ORIGINAL = {"type": {"coding": [{"system": "https://nahdo.org/sopt", "code": "121"}]}}


@pytest.fixture
def payer(tmp_path: Path) -> Iterator[Plan]:
    """A payer that knows Ann and Bo."""
    url = records_database(tmp_path)
    with plan(url, tmp_path) as payer:
        payer.put("members", MEMBERS)
        yield payer


@pytest.fixture
def run(payer: Plan, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the log of the payer's service."""
    own = in_folder(payer.folder)
    monkeypatch.setenv("COVERCARD_DATABASE_URL", own.database_url)
    monkeypatch.setenv("COVERCARD_RECORDS_DIR", str(own.records_dir))
    monkeypatch.setenv("COLUMNS", "250")

    def invoke(*arguments: str, source: str = payer.url) -> Result:
        monkeypatch.setenv("COVERCARD_PAYER_DATA", source)
        return CliRunner().invoke(cli, ["decisions", *arguments], catch_exceptions=False)

    return invoke


def replay(run: Run, source: str) -> list[dict[str, str]]:
    policies = str(in_folder(Path()).policies_dir)
    lines = run("replay", "--policies", policies, "--json", source=source).output.splitlines()
    # The recorder beside the command logs to the same output in this process.
    return [json.loads(line) for line in lines[:-1] if line.startswith("{")]


def test_a_contradiction_is_found_with_its_evidence_and_without_the_patient(
    payer: Plan, run: Run
) -> None:
    payer.answer(call())
    payer.answer(call(coverage=ORIGINAL))
    payer.answer(call(number="NOBODYS-NUMBER"))
    found = json.loads(run("payer-findings", "--json").output)
    assert found["counts"] == {"known": 2, "no member": 1, "contradiction: program": 1}
    (listed,) = found["findings"]
    assert listed["finding"] == "contradiction: program"
    assert listed["evidence"].startswith("records: Medicare Advantage 2022-01-01; told: ")
    shown = run("payer-findings").output
    assert listed["assertion_id"] in shown
    assert "contradiction: program" in shown
    for secret in ("Patient/", "Testcase", "TEST-MEMBER", "TESTMEMBER", "1951-04"):
        assert secret not in shown + json.dumps(found)


def test_of_a_call_that_a_proxy_repeated_the_findings_count_once(payer: Plan, run: Run) -> None:
    for _ in range(2):
        payer.answer(call())
    assert json.loads(run("payer-findings", "--json").output)["counts"] == {"known": 2}
    with sqlite3.connect(database_file(in_folder(payer.folder).database_url)) as log:
        log.execute("UPDATE call SET repeated = 1 WHERE call_id = (SELECT max(call_id) FROM call)")
    log.close()
    assert json.loads(run("payer-findings", "--json").output)["counts"] == {"known": 1}


def test_other_findings_are_listed_by_their_name(payer: Plan, run: Run) -> None:
    for number in ("NOBODYS-NUMBER", "TEST-MEMBER-0002"):
        payer.answer(call(number=number))
    found = json.loads(
        run("payer-findings", "--kind", "no member", "--limit", "1", "--json").output
    )
    assert (found["counts"], len(found["findings"])) == ({"no member": 2}, 1)
    assert (
        "there are 2; --limit is 1"
        in run("payer-findings", "--kind", "no member", "--limit", "1").output
    )
    assert "payer-findings" in run("accesses").output


def test_findings_are_counted_in_the_metrics_by_their_kind(payer: Plan) -> None:
    payer.answer(call(coverage=ORIGINAL))
    payer.answer(call(number="NOBODYS-NUMBER"))
    text = payer.app.test_client().get("/metrics").get_data(as_text=True)
    counted = {
        line.partition("{")[2] for line in text.splitlines() if "_payer_findings_total{" in line
    }
    assert counted == {
        'finding="known"} 1.0',
        'finding="contradiction: program"} 1.0',
        'finding="no member"} 1.0',
    }


def test_replayed_with_the_same_records_nothing_changes(payer: Plan, run: Run) -> None:
    payer.answer(call())
    assert replay(run, payer.url) == []


def test_a_replay_tells_apart_what_comes_from_records_that_have_changed(
    payer: Plan, run: Run
) -> None:
    payer.answer(call())
    payer.put("members", f"{HEADER}{ANN}2026-11-30,,,\n")
    changes = {c["what"]: c for c in replay(run, payer.url)}
    assert changes["payer's records"]["before"].startswith("known: member record ")
    assert changes["payer's records"]["after"].startswith("not active: member record ")
    assert changes["reason"]["before"] == "investigational"
    assert {c["records"] for c in changes.values()} == {"changed"}
    policies = str(in_folder(Path()).policies_dir)
    shown = run("replay", "--policies", policies).output
    assert "of 1 calls the payer's own records have changed since" in shown


def test_a_member_who_is_forgotten_is_no_change_of_the_policies(payer: Plan, run: Run) -> None:
    payer.answer(call())
    forget(payer.url, "TEST-MEMBER-0001", [HEALTH_PLAN])
    changes = replay(run, payer.url)
    assert {c["records"] for c in changes} == {"changed"}
    assert "no member: no one member fits" in next(
        c["after"] for c in changes if c["what"] == "payer's records"
    )


def test_a_replay_without_the_source_says_that_the_records_were_not_asked(
    payer: Plan, run: Run
) -> None:
    payer.answer(call())
    (change,) = (c for c in replay(run, "") if c["what"] == "payer's records")
    assert (change["after"], change["records"]) == ("not asked", "changed")
