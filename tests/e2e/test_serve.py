"""The service as a newcomer meets it: `covercard serve`, a request, the answer."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import fixture_text_today
from tests.contract.answer_rules import check_answer
from tests.e2e.servers import ROOT, Server, running

MAIN = ROOT / "fhir_fixtures" / "order-sign" / "mrs-medicare-advantage.json"


def fire(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from service.cli import main; main()", "fire", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.requirement("cds-hooks-2.0:4", "cds-hooks-2.0:5", "cds-hooks-2.0:13")
def test_discovery_lists_the_services(server: Server) -> None:
    reply = server.get("/cds-services")
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "application/json"
    hooks = {s["hook"] for s in reply.json()["services"]}
    assert {"order-sign", "order-select", "order-dispatch", "appointment-book"} <= hooks


@pytest.mark.requirement("cds-hooks-2.0:16", "cds-hooks-2.0:74", "cds-hooks-2.0:75")
def test_an_order_sign_posted_to_the_running_server_is_answered(server: Server) -> None:
    reply = server.post("/cds-services/order-sign-crd", json=json.loads(fixture_text_today(MAIN)))
    assert reply.status_code == 200
    assert reply.headers["Cache-Control"] == "no-store"
    answer = reply.json()
    check_answer(answer)
    assert len(answer["cards"]) == 2
    assert len(answer.get("systemActions", [])) == 1


def test_fire_shows_the_cards_of_a_running_server(server: Server) -> None:
    shown = fire(str(MAIN), "--url", server.base)
    assert shown.returncode == 0, shown.stderr
    assert "Not covered under the plan's medical policy: MR spectroscopy (76390)" in shown.stdout
    assert "not-covered" in shown.stdout


def test_fire_decides_in_process_without_a_server_and_explains() -> None:
    shown = fire(str(MAIN), "--explain")
    assert shown.returncode == 0, shown.stderr
    assert "Why: ServiceRequest/mrs-brain" in shown.stdout
    assert "mr-spectroscopy" in shown.stdout


def test_fire_explains_the_answer_of_a_running_server(server: Server) -> None:
    shown = fire(str(MAIN), "--url", server.base, "--explain")
    assert shown.returncode == 0, shown.stderr
    assert "Not covered under the plan's medical policy: MR spectroscopy (76390)" in shown.stdout
    assert "Why: ServiceRequest/mrs-brain" in shown.stdout
    assert "mr-spectroscopy" in shown.stdout


def test_fire_says_where_the_steps_are_if_the_workbench_is_off(tmp_path: Path) -> None:
    with running(tmp_path, workbench="off") as quiet:
        shown = fire(str(MAIN), "--url", quiet.base, "--explain")
    assert shown.returncode == 1
    assert "its workbench is off" in shown.stderr
    assert re.search(r"covercard decisions show [0-9a-f]{32}\b", shown.stderr)


def test_a_start_advises_nobody_on_threads(server: Server) -> None:
    assert "Python threads" not in server.printed()


def test_fire_can_ask_for_another_version_and_print_json() -> None:
    shown = fire(str(MAIN), "--version", "2.2", "--json")
    assert shown.returncode == 0, shown.stderr
    answer = json.loads(shown.stdout)
    topics = {c["source"]["topic"]["system"] for c in answer["cards"]}
    assert topics == {"http://terminology.hl7.org/CodeSystem/cdshooks-card-type"}


def test_fire_shows_an_error_answer_and_fails(tmp_path: object) -> None:
    shown = fire(str(ROOT / "pyproject.toml"))
    assert shown.returncode == 1
    assert "HTTP 400" in shown.stdout


def test_a_wrong_setting_stops_the_start_with_its_name() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from service.cli import main; main()", "serve"],
        cwd=ROOT,
        env={"COVERCARD_PORT": "no number", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "COVERCARD_PORT" in done.stderr
    assert "Traceback" not in done.stderr
