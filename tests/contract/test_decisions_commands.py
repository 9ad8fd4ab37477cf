"""covercard decisions and covercard db, as call center, policy staff and operators use them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import text

from service.bootstrap.app import RECORDER, create_app
from service.cli import cli
from service.database.engines import database_file, open_engine
from service.decision_log.chain_proof import chain_proof
from service.decision_log.instants import instant_of, new_call_id
from service.settings import Settings
from tests.conftest import in_folder, settle
from tests.contract.answer_rules import parts, stated
from tests.policies import LIBRARY

Read = Callable[[str], dict[str, Any]]
Run = Callable[..., Result]
URL = "/cds-services/order-sign-crd"


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path)


@pytest.fixture
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture
def run(own: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the log of `http`."""
    monkeypatch.setenv("COVERCARD_DATABASE_URL", own.database_url)
    monkeypatch.setenv("COVERCARD_RECORDS_DIR", str(own.records_dir))
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["decisions", *arguments], catch_exceptions=False)

    return invoke


@pytest.fixture
def answer(http: FlaskClient, fixture_today: Read) -> dict[str, Any]:
    """The answer to a call about Ann's MR spectroscopy, which is in the log."""
    reply = http.post(URL, json=fixture_today("order-sign/mrs-medicare-advantage"))
    settle(http)
    told: dict[str, Any] = reply.get_json()
    return told


def assertion_id(answer: dict[str, Any]) -> str:
    (statement,) = stated(answer)
    (told,) = parts(statement, "coverage-assertion-id")
    return str(told)


@pytest.mark.requirement("crd-2.0.1:78")
def test_with_an_assertion_id_one_sees_what_was_asked_answered_and_why(
    run: Run, answer: dict[str, Any]
) -> None:
    shown = run("show", assertion_id(answer))
    assert shown.exit_code == 0
    for told in (
        "not-covered",
        "order-sign",
        "Patient/ann",
        "ServiceRequest/mrs-brain: 76390",
        "Coverage/ma-ann",
        "mr-spectroscopy, version 2023-10-01",
        "76390 is in group mrs",
        "scientific evidence for it is",
        "Card (warning): Not covered under the plan's medical policy: MR spectroscopy (76390)",
    ):
        assert told in shown.output


def test_the_whole_request_and_answer_can_be_printed(run: Run, answer: dict[str, Any]) -> None:
    def printed(option: str) -> Any:
        lines = run("show", assertion_id(answer), option).output.splitlines()
        # The recorder beside the command logs to the same output in this process.
        return json.loads("\n".join(line for line in lines if line[:1] in "{ }"))

    assert printed("--answer") == answer
    assert printed("--request")["hook"] == "order-sign"


def test_feedback_and_repetitions_are_shown(
    run: Run, http: FlaskClient, answer: dict[str, Any], fixture_today: Read
) -> None:
    item = {
        "card": answer["cards"][0]["uuid"],
        "outcome": "overridden",
        "overrideReason": {"userComment": "the plan has agreed"},
        "outcomeTimestamp": "2026-12-01T10:00:00Z",
    }
    http.post(f"{URL}/feedback", json={"feedback": [item]})
    assert "overridden: the plan has agreed" in run("show", assertion_id(answer)).output
    http.post(URL, json=fixture_today("order-sign/mrs-medicare-advantage"))
    assert "Asserted before, with the same facts" in run("show", assertion_id(answer)).output


def test_what_replaced_what_is_shown_on_both(
    run: Run, http: FlaskClient, answer: dict[str, Any], fixture_today: Read
) -> None:
    request = fixture_today("order-sign/mrs-medicare-advantage")
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["code"]["coding"] = [{"system": "http://www.ama-assn.org/go/cpt", "code": "0609T"}]
    changed = http.post(URL, json=request).get_json()
    assert f"Replaces        {assertion_id(answer)}" in run("show", assertion_id(changed)).output
    assert f"Replaced by     {assertion_id(changed)}" in run("show", assertion_id(answer)).output


def test_an_unknown_assertion_id_is_told_and_fails(run: Run, answer: dict[str, Any]) -> None:
    shown = run("show", "cc-nobody")
    assert shown.exit_code == 1
    assert "no decision has this assertion id" in shown.output
    assert "no call this id" in shown.output


def test_with_the_id_of_a_call_one_sees_it_also_where_it_was_refused(
    run: Run, http: FlaskClient, answer: dict[str, Any], fixture_today: Read
) -> None:
    request = fixture_today("order-sign/mrs-medicare-advantage")
    call = http.post(URL, json=request).headers["Covercard-Call"]
    shown = run("show", call)
    assert shown.exit_code == 0
    assert f"Call {call}: HTTP 200" in shown.output
    assert "ServiceRequest/mrs-brain: not-covered" in shown.output
    assert assertion_id(answer) in shown.output
    del request["context"]["patientId"]
    refused = run("show", http.post(URL, json=request).headers["Covercard-Call"]).output
    assert "HTTP 4" in refused
    assert "Refused: context: missing: patientId" in refused


def test_the_cards_can_be_read_as_the_clinician_read_them(run: Run, answer: dict[str, Any]) -> None:
    shown = run("show", assertion_id(answer), "--cards").output
    assert answer["cards"][0]["summary"] in shown
    assert answer["cards"][1]["suggestions"][0]["label"] in shown


def test_an_id_that_stands_for_two_patients_is_never_taken_for_one(
    run: Run, http: FlaskClient, answer: dict[str, Any], own: Settings
) -> None:
    """Two clients whose EHRs do not tell their address may have the same ids."""
    with sqlite3.connect(database_file(own.database_url)) as log:
        (call,) = log.execute("SELECT call_id FROM call").fetchone()
        older = "00" + call[2:]
        log.execute("CREATE TEMP TABLE c AS SELECT * FROM call")
        log.execute("UPDATE c SET call_id = ?, client = 'another hospital'", [older])
        log.execute("INSERT INTO call SELECT * FROM c")
        log.execute("CREATE TEMP TABLE d AS SELECT * FROM determination")
        log.execute("UPDATE d SET call_id = ?", [older])
        log.execute("INSERT INTO determination SELECT * FROM d")
    shown = run("show", assertion_id(answer)).output
    assert "Asserted before" not in shown
    assert "The same id, but another call" in shown
    assert f"another hospital, Patient/ann; show {older}" in shown
    assert "another hospital" in run("show", older).output


def test_no_id_is_broken_on_a_narrow_terminal(
    run: Run, answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert assertion_id(answer) in run("find").output
    assert assertion_id(answer) in run("show", assertion_id(answer)).output


def test_decisions_are_found_by_patient_order_and_time(
    run: Run, http: FlaskClient, answer: dict[str, Any], fixture_today: Read
) -> None:
    http.post(URL, json=fixture_today("order-sign/mrs-original-medicare"))

    def ids(*arguments: str) -> list[str]:
        found = run("find", "--json", *arguments)
        return [d["assertion_id"] for d in json.loads(found.stdout)] if not found.exit_code else []

    assert ids("--patient", "ann") == ids("--patient", "Patient/ann") == [assertion_id(answer)]
    assert len(ids("--order", "ServiceRequest/mrs-brain", "--since", "1h")) == 2
    assert len(ids("--order", "mrs-brain")) == 2
    assert ids("--until", "2020-01-01") == []
    assert "Patient/ann" in run("find", "--patient", "ann").output
    assert run("find", "--patient", "nobody").exit_code == 1
    assert "--limit is 1" in run("find", "--limit", "1").output


def test_decisions_of_several_ehrs_are_told_apart(
    run: Run, http: FlaskClient, fixture_today: Read
) -> None:
    request = fixture_today("order-sign/mrs-medicare-advantage")
    request.pop("fhirAuthorization", None)
    for ehr in ("https://one.example.org/fhir", "https://two.example.org/fhir"):
        assert http.post(URL, json={**request, "fhirServer": ehr}).status_code == 200
    both = run("find", "--patient", "ann")
    assert "https://one.example.org/fhir" in both.output
    assert "https://two.example.org/fhir" in both.output
    assert "one id may be another patient at each" in both.stderr
    one = run("find", "--patient", "ann", "--ehr", "https://one.example.org/fhir")
    assert "https://two.example.org/fhir" not in one.output
    assert one.stderr == ""


@pytest.mark.parametrize("when", ["yesterday", "7x", "2026-13-01"])
def test_a_time_that_is_none_is_told(run: Run, answer: dict[str, Any], when: str) -> None:
    found = run("find", "--since", when)
    assert found.exit_code == 2
    assert "2026-12-01, 7d" in found.output


def test_statistics_are_by_policy(run: Run, http: FlaskClient, answer: dict[str, Any]) -> None:
    item = {
        "card": answer["cards"][1]["uuid"],
        "outcome": "accepted",
        "acceptedSuggestions": [{"id": answer["cards"][1]["suggestions"][0]["uuid"]}],
        "outcomeTimestamp": "2026-12-01T10:00:00Z",
    }
    http.post(f"{URL}/feedback", json={"feedback": [item]})
    (counted,) = json.loads(run("stats", "--json").output)
    assert counted == {
        "policy": "mr-spectroscopy",
        "calls": 1,
        "orders": 1,
        "covered": {"not-covered": 1},
        "cards": 2,
        "accepted": 1,
        "overridden": {},
        "unanswered": 1,
        "forms_offered": 1,
        "forms_started": 1,
    }
    assert "1 of 1" in run("stats").output


def test_an_export_as_csv_has_a_row_a_determination(
    run: Run, http: FlaskClient, answer: dict[str, Any], fixture_today: Read
) -> None:
    http.post(URL, json=fixture_today("order-sign/disc-pain-four-orders"))
    rows = list(csv.DictReader(io.StringIO(run("export", "--format", "csv").output)))
    assert [r["order_ref"] for r in rows][:1] == ["ServiceRequest/mrs-brain"]
    assert len(rows) == 5
    assert rows[0]["assertion_id"] == assertion_id(answer)


@pytest.mark.threat("output-injection")
def test_no_cell_of_a_csv_is_a_formula(run: Run, http: FlaskClient, fixture_today: Read) -> None:
    request = fixture_today("order-sign/mrs-medicare-advantage")
    for n, start in enumerate(("=", "+", "-", "@", " =", "\t=")):
        request["hookInstance"] = f'{start}HYPERLINK("https://evil.example","{n}")'
        assert http.post(URL, json=request).status_code == 200
    rows = csv.DictReader(io.StringIO(run("export", "--format", "csv").output))
    cells = [cell for row in rows for cell in row.values() if cell]
    assert sum(cell.startswith("'") for cell in cells) == 6
    assert not [c for c in cells if c.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_an_export_as_json_lines_has_a_call_a_line_and_bodies_only_if_asked(
    run: Run, answer: dict[str, Any], tmp_path: Path
) -> None:
    (line,) = run("export").output.splitlines()
    call = json.loads(line)
    assert call["determinations"][0]["assertion_id"] == assertion_id(answer)
    assert call["determinations"][0]["trace"]
    assert "request" not in call
    file = tmp_path / "log.ndjson"
    assert run("export", "--bodies", "--output", str(file)).exit_code == 0
    assert json.loads(file.read_text("utf-8"))["answer"] == answer
    assert file.stat().st_mode & 0o077 == 0


def test_an_export_as_metric_data_has_a_call_a_line(run: Run, answer: dict[str, Any]) -> None:
    (line,) = run("export", "--format", "metrics-ndjson").output.splitlines()
    assert json.loads(line)["source"] == "payer-src"


def test_replayed_by_the_same_policies_nothing_changes(
    run: Run, http: FlaskClient, answer: dict[str, Any], fixture_today: Read, own: Settings
) -> None:
    for name in ("mrs-original-medicare", "disc-pain-four-orders", "no-coverage"):
        http.post(URL, json=fixture_today(f"order-sign/{name}"))
    http.post(URL, json={"hook": "nonsense"})
    replayed = run("replay", "--policies", str(own.policies_dir))
    assert replayed.output.strip() == "4 calls decided again, 1 not: 0 changes"
    assert replayed.exit_code == 0


def test_replayed_by_a_policy_of_a_later_start_the_changes_are_listed(
    run: Run, answer: dict[str, Any], own: Settings, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    shutil.copytree(own.policies_dir, library)
    published = library / "mr-spectroscopy" / "2023-10-01.yaml"
    later = published.read_text("utf-8").replace('start: "2023-10-01"', 'start: "2099-01-01"')
    (library / "mr-spectroscopy" / "2099-01-01.yaml").write_text(later, "utf-8")
    published.unlink()
    replayed = run("replay", "--policies", str(library))
    assert replayed.exit_code == 1
    assert "answer: not-covered → conditional" in replayed.output
    lines = run("replay", "--policies", str(library), "--json").output.splitlines()
    changes = {c["what"]: (c["before"], c["after"]) for c in map(json.loads, lines[:-1])}
    assert changes["policy"] == ("mr-spectroscopy 2023-10-01", "none")
    assert changes["reason"] == ("investigational", "no_policy_that_day")


@pytest.fixture
def old_call(answer: dict[str, Any], http: FlaskClient, own: Settings) -> str:
    """The id of the first of the calls of eleven years, one each four weeks."""
    now = datetime.now(UTC)
    with sqlite3.connect(database_file(own.database_url)) as log:
        log.execute("CREATE TEMP TABLE c AS SELECT * FROM call")
        for month in range(1, 11 * 13):
            log.execute("UPDATE c SET call_id = ?", [new_call_id(now - timedelta(28) * month)])
            log.execute("INSERT INTO call SELECT * FROM c")
        (oldest,) = log.execute("SELECT min(call_id) FROM call").fetchone()
    log.close()
    return str(oldest)


def logged_calls(own: Settings) -> list[str]:
    with sqlite3.connect(database_file(own.database_url)) as log:
        found = [str(row[0]) for row in log.execute("SELECT call_id FROM call ORDER BY call_id")]
    log.close()
    return found


def test_pruning_removes_what_is_past_its_retention_after_asking(
    run: Run, old_call: str, own: Settings
) -> None:
    assert logged_calls(own)[0] == old_call
    before = len(logged_calls(own))
    told = run("prune", "--dry-run").output
    count = int(told.split()[0])
    assert 0 < count < before
    assert run("prune").exit_code == 1  # nobody says yes
    assert len(logged_calls(own)) == before
    assert f"{count} calls" in run("prune", "--yes").output
    assert len(logged_calls(own)) == before - count
    assert "0 calls" in run("prune", "--yes").output


def test_pruning_names_the_moment_before_which_it_removes(
    run: Run, old_call: str, own: Settings
) -> None:
    """Not its day, of which calls stay and go."""

    def moment() -> str:
        before = datetime.now(UTC) - timedelta(days=own.retention_days)
        return f"calls from before {before.astimezone(own.zone):%Y-%m-%d %H:%M %Z} would be removed"

    first, told, last = moment(), run("prune", "--dry-run").output, moment()
    assert first in told or last in told


@pytest.mark.threat("early-removal")
def test_no_command_prunes_below_the_floor(
    run: Run, old_call: str, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = logged_calls(own)
    refused = run("prune", "--older-than", "364d", "--yes", "--clock-is-right")
    assert refused.exit_code == 2
    assert "kept for 365 days at least (COVERCARD_RETENTION_FLOOR_DAYS)" in refused.output
    assert logged_calls(own) == before
    monkeypatch.setenv("COVERCARD_RETENTION_FLOOR_DAYS", "3000")
    assert run("prune", "--older-than", "2999d", "--yes").exit_code == 2
    assert run("prune", "--older-than", "3000d", "--yes").exit_code == 0


@pytest.mark.threat("early-removal")
def test_a_removal_is_on_record(run: Run, old_call: str) -> None:
    run("prune", "--yes")
    (line,) = [li for li in run("accesses").output.splitlines() if " pruned " in li]
    assert "calls " in line
    assert f"oldest {instant_of(old_call).date()}" in line


@pytest.mark.threat("early-removal")
def test_where_the_records_do_not_bear_out_the_clock_nothing_is_removed_unless_one_says_so(
    run: Run, old_call: str, own: Settings
) -> None:
    with sqlite3.connect(database_file(own.database_url)) as log:
        log.execute("DELETE FROM call WHERE call_id > ?", [old_call])
    log.close()
    for arguments in (["--yes"], ["--dry-run"]):
        stopped = run("prune", *arguments)
        assert stopped.exit_code == 1
        assert "nothing is removed: no call is on record for 30 days after" in stopped.output
        assert "--clock-is-right" in stopped.output
    assert logged_calls(own) == [old_call]
    assert "1 calls" in run("prune", "--yes", "--clock-is-right").output
    assert logged_calls(own) == []


@pytest.mark.requirement("crd-2.0.1:80")
def test_every_look_at_the_log_is_logged(run: Run, answer: dict[str, Any]) -> None:
    looks = {
        "show": [assertion_id(answer)],
        "find": ["--patient", "ann"],
        "stats": [],
        "export": [],
        "replay": ["--policies", str(LIBRARY)],
        "prune": ["--dry-run"],
    }
    for command, arguments in looks.items():
        assert run(command, *arguments).exit_code == 0
    listed = run("accesses").output
    assert all(command in listed for command in looks)
    assert "patient Patient/ann" in listed
    assert assertion_id(answer) in listed


def test_before_anything_is_recorded_a_look_says_so_and_makes_nothing(
    run: Run, own: Settings
) -> None:
    found = run("find")
    assert found.exit_code == 1
    assert "nothing has been recorded" in found.output
    assert not database_file(own.database_url).exists()


@pytest.mark.threat("output-injection")
def test_control_characters_of_a_call_do_not_reach_the_terminal(
    run: Run, http: FlaskClient, fixture_today: Read
) -> None:
    request = fixture_today("order-sign/mrs-medicare-advantage")
    request["hookInstance"] = "\x1b]0;owned\x07\x1b[2J\u202e"
    answer = http.post(URL, json=request).get_json()
    shown = run("show", assertion_id(answer)).output
    assert "owned" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_records_that_are_not_in_the_database_yet_are_mentioned(
    run: Run, answer: dict[str, Any], own: Settings
) -> None:
    assert run("stats").exit_code == 0
    with closing(sqlite3.connect(database_file(own.database_url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "is not in the database yet" in run("stats").output
    assert "is not in the database yet" not in run("stats").output


def test_a_database_is_brought_up_to_date_by_the_command(
    run: Run, own: Settings, tmp_path: Path
) -> None:
    def upgrade() -> str:
        return CliRunner().invoke(cli, ["db", "upgrade"], catch_exceptions=False).output

    assert "now at" in upgrade()
    assert "already at" in upgrade()


def test_a_day_begins_in_the_services_own_time_zone(
    run: Run, http: FlaskClient, answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVERCARD_TIME_ZONE", "Pacific/Kiritimati")
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date()
    assert run("find", "--since", str(tomorrow)).exit_code == 1
    assert run("find", "--until", str(tomorrow)).exit_code == 0


def test_verify_says_that_the_chain_is_whole_and_names_its_first_break(
    run: Run, answer: dict[str, Any], own: Settings
) -> None:
    whole = run("verify")
    assert whole.exit_code == 0
    assert "the chain is whole" in whole.output
    with closing(sqlite3.connect(database_file(own.database_url), isolation_level=None)) as log:
        log.execute("UPDATE determination SET covered = 'covered'")
        (call,) = log.execute("SELECT call_id FROM call").fetchone()
    broken = run("verify")
    assert broken.exit_code == 1
    assert "first break in the rows: changed: chain" in broken.output
    assert f"the rows of call {call} differ" in broken.output
    assert "first break in the segments" not in broken.output


def test_verify_compares_with_anchors_that_were_told_elsewhere(
    run: Run, answer: dict[str, Any], own: Settings, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(database_file(own.database_url))) as log:
        chain, sequence, own_hash = log.execute(
            "SELECT chain, sequence, hash FROM chain_record WHERE call_id IS NOT NULL"
        ).fetchone()
    anchor = {"chain": f"{chain:016x}", "sequence": sequence, "at": "2026-11-22T15:30:00Z"}
    file = tmp_path / "anchors"
    file.write_text(json.dumps({**anchor, "hash": own_hash.hex()}) + "\n")
    assert run("verify", "--anchors", str(file)).exit_code == 0
    file.write_text(json.dumps({**anchor, "hash": "00"}) + "\n")
    told = run("verify", "--anchors", str(file))
    assert told.exit_code == 1
    assert "names another hash" in told.output


def test_the_chain_proof_of_a_call_is_its_record(
    run: Run, answer: dict[str, Any], own: Settings
) -> None:
    with open_engine(own.database_url).connect() as connection:
        call_id, own_hash = connection.execute(
            text("SELECT call_id, hash FROM chain_record WHERE call_id IS NOT NULL")
        ).one()
        proof = chain_proof(connection, call_id)
        assert chain_proof(connection, "0" * 32) is None
    assert proof is not None
    assert (proof.sequence, proof.hash) == (1, bytes(own_hash).hex())
