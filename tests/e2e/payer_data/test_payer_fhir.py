"""The payer's own FHIR server as a source: members, preauthorizations and network over the wire."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli import cli
from service.errors import ConfigurationError
from service.payer_data import payer_fhir
from service.settings import Settings
from tests.conftest import ROOT
from tests.contract.payer_records import (
    Plan,
    call,
    details,
    parts,
    plan,
    reason_codes,
    reasons,
    said,
)
from tests.e2e.payer_data.payer_server import (
    SECRET,
    PayerServer,
    benefit,
    claim_response,
    coverage,
    patient,
    payer_server,
    role,
)
from tests.e2e.processes import without_threads


@pytest.fixture
def server() -> Iterator[PayerServer]:
    """A payer's server that knows Ann."""
    with payer_server() as server:
        server.resources = [patient(), coverage()]
        yield server


def settings(server: PayerServer, folder: Path, **more: Any) -> dict[str, Any]:
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n", "utf-8")
    return {
        "payer_data_token_url": server.token_url,
        "payer_data_client_id": "covercard",
        "payer_data_secret_file": secret,
        "payer_data_timeout_ms": 5000,
        "payer_data_cache_seconds": 0,
        **more,
    }


@pytest.fixture
def payer(server: PayerServer, tmp_path: Path) -> Iterator[Plan]:
    """The service with that server as its source."""
    with plan(server.fhir, tmp_path, **settings(server, tmp_path)) as payer:
        yield payer


def test_a_member_is_found_and_the_answer_rests_on_the_servers_record(
    payer: Plan, server: PayerServer
) -> None:
    answer = payer.answer(call())
    assert said(answer, "covered") == ["not-covered"]
    assert reason_codes(answer) == []
    assert "/fhir/Patient?identifier=TEST-MEMBER-0001&_revinclude=Coverage%3Abeneficiary" in (
        server.asked
    )


@pytest.mark.parametrize(
    ("resources", "code"),
    [
        ([], "no-member-found"),
        ([patient(birthDate="1950-01-01"), coverage()], "no-member-found"),
        ([patient(), coverage(status="cancelled")], "no-active-coverage"),
        ([patient(), coverage(period={"end": "2026-06-30"})], "no-active-coverage"),
        ([patient(birthDate=None), coverage()], "no-member-found"),
    ],
    ids=["nobody", "born another day", "cancelled", "ended", "no birth date"],
)
def test_what_the_server_does_not_know_is_no_member_or_no_coverage(
    payer: Plan, server: PayerServer, resources: list[dict[str, Any]], code: str
) -> None:
    server.resources = resources
    assert reason_codes(payer.answer(call())) == [code]


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_a_certified_preauthorization_satisfies(
    payer: Plan, server: PayerServer, version: str
) -> None:
    server.resources.append(claim_response("A1"))
    answer = payer.answer(call(version))
    assert said(answer, "pa-needed") == ["satisfied"]
    assert said(answer, "satisfied-pa-id") == ["PA-4711"]
    assert "until 2027-02-04" in details(answer)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (claim_response("A4"), "is pending at the plan (number PA-4711)"),
        (claim_response("A3"), "has decided against this service on 2026-11-05"),
        (claim_response("A2"), None),
        (claim_response("A6"), None),
        (claim_response(status="cancelled"), None),
        (claim_response(preAuthPeriod={"end": "2026-11-30"}), None),
        (claim_response(patient={"reference": "Patient/p2"}), None),
    ],
    ids=["pended", "not certified", "in part", "modified", "cancelled", "ended", "other's"],
)
def test_any_other_preauthorization_satisfies_nothing(
    payer: Plan, server: PayerServer, response: dict[str, Any], words: str | None
) -> None:
    server.resources.append(response)
    answer = payer.answer(call())
    assert said(answer, "covered") == ["not-covered"]
    if words is None:
        assert "PA-4711" not in json.dumps(answer)
    else:
        assert words in details(answer).replace("\\", "")


def test_a_performer_that_the_directory_knows_in_no_network_is_outside(
    payer: Plan, server: PayerServer
) -> None:
    request = call(name="order-dispatch/two-orders")
    imaging = "9999999029"

    def outside() -> bool:
        return "outside the plan's network" in json.dumps(parts(payer.answer(request)))

    assert not outside()  # the directory does not know it: nothing is said
    server.resources.append(role(imaging, network=False))
    assert outside()
    server.resources[-1] = role(imaging, network=True)
    assert not outside()


@pytest.fixture
def examples(server: PayerServer, tmp_path: Path) -> Iterator[Plan]:
    """The service with that server and the example policies: 82270 is covered once in a year."""
    folder = ROOT / "examples" / "policies"
    more = {"added_policies_dir": folder, "payers_file": folder / "payers.yaml"}
    with plan(server.fhir, tmp_path, **settings(server, tmp_path), **more) as payer:
        yield payer


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_a_paid_claim_uses_up_a_limit_of_once_in_a_period(
    examples: Plan, server: PayerServer, version: str
) -> None:
    server.resources.append(benefit())
    answer = examples.answer(call(version, code="82270"))
    assert said(answer, "covered") == ["not-covered"]
    assert "less than twelve months ago" in reasons(answer)
    assert "/fhir/ExplanationOfBenefit?patient=p1" in server.asked
    steps = dict(examples.trace(call(version, code="82270")))
    assert steps["had before"] == "2026-03-02"


DENIED = {"adjudication": [{"category": {"coding": [{"code": "denialreason"}]}}]}
IN_APRIL = {"servicedDate": None, "servicedPeriod": {"start": "2026-04-01", "end": "2026-04-03"}}


@pytest.mark.parametrize(
    "claim",
    [
        benefit("2025-11-30"),
        benefit(use="preauthorization"),
        benefit(status="cancelled"),
        benefit(outcome="queued"),
        benefit(patient={"reference": "Patient/p2"}),
        benefit(item=DENIED),
        benefit(item={"servicedDate": None}),
        benefit(item={"productOrService": {"text": "a test"}}),
    ],
    ids=[
        "long ago",
        "preauthorization",
        "cancelled",
        "queued",
        "other",
        "denied",
        "no day",
        "text",
    ],
)
def test_any_other_claim_uses_up_nothing_and_no_claim_is_not_never(
    examples: Plan, server: PayerServer, claim: dict[str, Any]
) -> None:
    server.resources.append(claim)
    assert said(examples.answer(call("2.2", code="82270")), "covered") == ["conditional"]


@pytest.mark.parametrize(
    ("claim", "day"),
    [
        (benefit(item=IN_APRIL), "2026-04-03"),
        (benefit(item={"servicedDate": None}, billablePeriod={"end": "2026-05-31"}), "2026-05-31"),
        (benefit("2026-06"), "2026-06-30"),
    ],
)
def test_of_several_days_of_a_claim_the_last_counts(
    examples: Plan, server: PayerServer, claim: dict[str, Any], day: str
) -> None:
    server.resources.append(claim)
    assert dict(examples.trace(call("2.2", code="82270")))["had before"] == day


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_server_without_claims_tells_all_else_and_the_trace_says_so(
    payer: Plan, server: PayerServer, status: int
) -> None:
    server.statuses["ExplanationOfBenefit"] = status
    server.resources.append(claim_response())
    assert said(payer.answer(call()), "pa-needed") == ["satisfied"]
    ((_, because), *_) = payer.trace(call())
    assert "; not told: history, exemptions; read " in because


def test_claims_that_are_late_hold_up_nothing_else(server: PayerServer, tmp_path: Path) -> None:
    server.delays["ExplanationOfBenefit"] = 30
    with plan(server.fhir, tmp_path, **settings(server, tmp_path)) as payer:
        ((finding, because), *_) = payer.trace(call())
    assert finding == "known"
    assert "not told: history, exemptions" in because


def test_what_the_server_never_tells_is_said_by_trace_readiness_and_status(
    payer: Plan, server: PayerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((_, because), *_) = payer.trace(call())
    assert "; not told: exemptions; read " in because
    check = payer.app.test_client().get("/readyz").get_json()["checks"]["payer_data"]
    assert (check["status"], check["not_told"]) == ("ready", ["exemptions"])
    monkeypatch.setenv("COVERCARD_PAYER_DATA", "https://payer.example.org/fhir")
    status = CliRunner().invoke(cli, ["payer-data", "status"])
    assert "exemptions: not told, FHIR has no resource for them" in status.output
    assert "history: ExplanationOfBenefit of claims; none found is not never" in status.output


@pytest.mark.threat("member-enumeration")
def test_of_somebody_else_the_server_is_asked_no_more_than_of_nobody(
    payer: Plan, server: PayerServer
) -> None:
    server.resources = [
        patient("TEST-MEMBER-0002", birthDate="1948-09-30"),
        coverage("TEST-MEMBER-0002"),
    ]
    server.resources.append(claim_response())

    def asked(number: str) -> list[str]:
        server.asked.clear()
        assert reason_codes(payer.answer(call(number=number))) == ["no-member-found"]
        return sorted(path.replace(number, "NUMBER") for path in server.asked)

    assert asked("TEST-MEMBER-0002") == asked("TEST-MEMBER-0009")


def test_the_token_is_got_once_and_the_secret_goes_to_the_token_endpoint_only(
    payer: Plan, server: PayerServer
) -> None:
    payer.answer(call())
    payer.answer(call())
    ((_, form),) = server.token_requests
    assert form["grant_type"] == ["client_credentials"]
    assert "system/Coverage.rs" in form["scope"][0]
    assert set(server.authorizations) == {"Bearer t1"}
    assert SECRET not in json.dumps(server.asked)


def test_a_token_that_is_refused_is_got_anew_once(payer: Plan, server: PayerServer) -> None:
    server.refuse_token = "t1"
    assert reason_codes(payer.answer(call())) == []
    assert server.tokens == 2
    assert "Bearer t2" in server.authorizations


def test_a_wrong_secret_is_trouble_that_is_told_apart(server: PayerServer, tmp_path: Path) -> None:
    given = settings(server, tmp_path)
    given["payer_data_secret_file"].write_text("wrong", "utf-8")
    with plan(server.fhir, tmp_path, **given) as payer:
        assert "member records could not be reached" in reasons(payer.answer(call()))
    assert server.asked == []


def test_a_slow_server_costs_its_share_of_the_time_and_then_nothing(
    server: PayerServer, tmp_path: Path
) -> None:
    given = settings(server, tmp_path, payer_data_timeout_ms=200)
    with plan(server.fhir, tmp_path, **given) as payer:
        server.delay = 30
        for _ in range(5):
            started = time.monotonic()
            answer = payer.answer(call())
            assert "member records could not be reached" in reasons(answer)
            assert time.monotonic() - started < 10
        check = payer.app.test_client().get("/readyz").get_json()["checks"]["payer_data"]
    assert check["source"] == "fhir"
    assert check["status"] == "degraded"
    assert (check["asked"], check["refused"]) == (3, 2)


def test_a_machine_without_threads_answers_all_the_same_and_asks_again_when_there_are_some(
    server: PayerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payer_fhir, "_MOST_OWED", 6)  # as many as one look-up asks at a time
    with plan(server.fhir, tmp_path, **settings(server, tmp_path)) as payer:
        with without_threads("payer-fhir"):
            assert "member records could not be reached" in reasons(payer.answer(call()))
        server.delay = 0.3  # so that none of its queries ends before the last one is asked
        assert "member records could not be reached" not in reasons(payer.answer(call()))


def test_an_error_that_nobody_has_thought_of_is_trouble_and_is_logged_without_the_data(
    payer: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("TEST-MEMBER-0001")

    monkeypatch.setattr(payer_fhir, "resources_in", broken)
    assert "member records could not be reached" in reasons(payer.answer(call()))
    printed = capsys.readouterr().out
    assert "unexpected error while asking the payer" in printed
    assert "KeyError" in printed
    assert "TEST-MEMBER-0001" not in printed


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_answers_with_an_error_is_trouble_and_no_missing_member(
    payer: Plan, server: PayerServer, status: int
) -> None:
    server.status = status
    answer = payer.answer(call())
    assert "member records could not be reached" in reasons(answer)
    assert reason_codes(answer) == []


@pytest.mark.parametrize(
    "resources",
    [
        [
            patient(),
            coverage(**{"class": [{"type": {"coding": [{"code": ["plan"]}]}, "value": 1}]}),
        ],
        [patient(identifier="x"), coverage(subscriberId=7, order="first", period=["2022"])],
        [patient(name={"family": 1}), coverage(beneficiary="Patient/p1", type=[])],
        [patient(), coverage(), claim_response(item={"a": 1}, patient=[], preAuthPeriod="x")],
        [patient(), coverage(), claim_response(**{"use": ["preauthorization"]})],
        [patient(), coverage(), benefit(item={"productOrService": 1, "adjudication": [{}]})],
    ],
)
def test_what_is_no_fhir_fails_no_call(
    payer: Plan, server: PayerServer, resources: list[dict[str, Any]]
) -> None:
    server.resources = resources
    server.found = lambda path, _query: [  # type: ignore[method-assign]
        r for r in resources if r["resourceType"] in path or "Patient" in path
    ]
    assert said(payer.answer(call()), "covered") == ["not-covered"]


def test_an_answer_is_used_again_for_a_while_and_its_age_is_told(
    server: PayerServer, tmp_path: Path
) -> None:
    with plan(
        server.fhir, tmp_path, **settings(server, tmp_path, payer_data_cache_seconds=600)
    ) as payer:
        payer.answer(call())
        asked = len(server.asked)
        payer.answer(call())
        assert len(server.asked) == asked
        payer.answer(call(number="TEST-MEMBER-0002"))
        assert len(server.asked) > asked
    (determination,) = payer.determinations(call())
    (said_of_payer,) = [s for s in determination.trace if s.topic == "payer"]
    assert said_of_payer.because.startswith("member record Coverage/c1/_history/3")
    assert said_of_payer.because.endswith("s ago")


def test_a_number_that_is_no_plain_value_is_not_sent(payer: Plan, server: PayerServer) -> None:
    answer = payer.answer(call(number="1,2|3&_count=9999"))
    assert reason_codes(answer) == ["no-member-found"]
    assert all("_count" not in path for path in server.asked)


def test_a_source_that_is_half_configured_stops_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="COVERCARD_PAYER_DATA_CLIENT_ID"),
        plan(
            "https://payer.example.org/fhir",
            tmp_path,
            payer_data_token_url="https://payer.example.org/token",
        ),
    ):
        raise AssertionError("it started")


@pytest.mark.parametrize("url", ["http://payer.example.org/fhir", "ldap://x", "mysql://x"])
def test_a_source_that_is_none_is_refused_by_the_settings(url: str) -> None:
    with pytest.raises(ValueError, match=r"must begin with|https://"):
        Settings(payer_data=url)
