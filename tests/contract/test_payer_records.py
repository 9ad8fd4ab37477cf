"""What the payer itself knows decides: who is a member, of what, and what was approved before."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.database.engines import open_engine
from service.decision_log.queries import TimeSpan, all_calls, by_assertion, one_call
from service.errors import PayerDataUnavailable
from service.payer_data.embedded import SqliteSource
from service.payer_data.forgetting import forget
from service.payer_data.port import Records, Wanted
from service.settings import load_settings
from tests.conftest import ROOT, in_folder, settle
from tests.contract.answer_rules import check_answer, stated
from tests.contract.calls import coverages_of
from tests.contract.guides import needs_crd_2_0
from tests.contract.never_again import check_never_again
from tests.contract.payer_records import (
    HEALTH_PLAN,
    Plan,
    call,
    details,
    parts,
    plan,
    reason_codes,
    reasons,
    records_database,
    said,
    without_uuids,
)
from tests.contract.test_coverage_information_rules import (
    invariants,
    keeps,
    keeps_the_invariants_of_2_2,
)

__all__ = ["invariants"]
BOTH = pytest.mark.parametrize("version", ["2.0", "2.2"])
HEADER = "number,person,program,birth_date,family,given,plan,starts,ends,pays,dual,hospice_starts\n"
ANN = "TEST-MEMBER-0001,ann,medicare_advantage,1951-04-12,Testcase,Ann,plan-0001,2022-01-01,"
BO = "TEST-MEMBER-0002,bo,medicare_advantage,1948-09-30,Sampleson,Bo,plan-0001,2022-01-01,,,,\n"
MEMBERS = f"{HEADER}{ANN},,,\n{BO}"
UNLISTED = "70553"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return records_database(tmp_path)


@pytest.fixture
def payer(url: str, tmp_path: Path) -> Iterator[Plan]:
    """A payer that knows Ann and Bo."""
    with plan(url, tmp_path) as payer:
        payer.put("members", MEMBERS)
        yield payer


@BOTH
def test_a_member_is_answered_by_the_policy_and_the_trace_names_the_record(
    payer: Plan, version: str
) -> None:
    request = call(version)
    assert said(payer.answer(request), "covered") == ["not-covered"]
    ((finding, because),) = payer.trace(request)
    assert finding == "known"
    assert because.startswith("member record ")
    (determination,) = payer.determinations(request)
    assert determination.program.source == "payer's records"


NOBODY: list[dict[str, Any]] = [
    {"number": "NOBODYS-NUMBER"},
    {"number": "TEST-MEMBER-0002"},
    {"patient_number": "UNKNOWN-MEMBER"},
    {"patient_number": "TEST-MEMBER-0002"},
    {"patient": {"birthDate": "1951-04-13"}},
    {"patient": {"name": [{"family": "Testcase", "given": ["Amy"]}]}},
]


@pytest.mark.requirement("crd-2.2.1:resp-44")
@BOTH
@pytest.mark.parametrize("told", NOBODY, ids=["unknown", "other", "mb", "other mb", "born", "twin"])
def test_whoever_fits_no_member_is_not_covered_for_that_reason(
    payer: Plan, version: str, told: dict[str, Any]
) -> None:
    answer = payer.answer(call(version, **told))
    assert said(answer, "covered") == ["not-covered"]
    assert reason_codes(answer) == (["no-member-found"] if version == "2.2" else [])
    assert "No member of this plan fits" in reasons(answer)
    (card,) = answer["cards"]
    assert "The plan finds no member" in card["summary"]
    assert card["source"]["label"] == "Example Health Plan"


@pytest.mark.requirement("crd-2.2.1:resp-44")
@BOTH
def test_without_a_member_number_nobody_can_be_found_and_that_is_said(
    payer: Plan, version: str
) -> None:
    request = call(version)
    (coverage,) = coverages_of(request)
    del coverage["subscriberId"], coverage["identifier"]
    answer = payer.answer(request)
    assert said(answer, "covered") == ["not-covered"]
    assert reason_codes(answer) == (["no-member-found"] if version == "2.2" else [])
    assert "has no member number" in reasons(answer)


@pytest.mark.threat("member-enumeration")
@BOTH
def test_a_number_of_nobody_and_one_of_somebody_else_get_the_very_same_answer(
    payer: Plan, version: str
) -> None:
    def told(number: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        request = call(version, number=number)
        answer = without_uuids(payer.answer(request))
        text = json.dumps(answer).replace(number, "NUMBER")
        return json.loads(text), payer.trace(request)

    assert told("TEST-MEMBER-0002") == told("TEST-MEMBER-9999")


@pytest.mark.threat("member-enumeration")
def test_it_takes_the_same_one_question_whether_a_number_is_somebodys_or_not(
    payer: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    look = SqliteSource._look_up

    def counting(self: SqliteSource, wanted: Wanted) -> Records:
        asked[-1] += 1
        return look(self, wanted)

    monkeypatch.setattr(SqliteSource, "_look_up", counting)
    for number in ("TEST-MEMBER-0001", "TEST-MEMBER-0002", "TEST-MEMBER-9999"):
        asked.append(0)
        payer.answer(call(number=number))
    assert asked == [1, 1, 1]


@pytest.mark.requirement("crd-2.2.1:resp-45")
@BOTH
@pytest.mark.parametrize("number", ["UNKNOWN-COVERAGE", "TEST-MEMBER-0002"])
def test_a_known_member_with_an_unknown_coverage_is_told_so(
    payer: Plan, version: str, number: str
) -> None:
    answer = payer.answer(call(version, number=number, patient_number="TEST-MEMBER-0001"))
    assert said(answer, "covered") == ["not-covered"]
    assert reason_codes(answer) == (["coverage-not-found"] if version == "2.2" else [])
    assert "not this coverage" in reasons(answer)


def test_a_patient_is_known_by_a_number_of_a_system_that_the_payers_file_names(
    url: str, tmp_path: Path
) -> None:
    system = "http://example.org/plan-numbers"
    shipped = Path(load_settings().payers_file).read_text("utf-8")
    own = shipped.replace(
        "    line_of_business: medicare_advantage\n",
        f'    line_of_business: medicare_advantage\n    member_systems: ["{system}"]\n',
    )
    (tmp_path / "payers.yaml").write_text(own, "utf-8")
    numbers = [{"system": system, "value": "TEST-MEMBER-0001"}]
    told = call("2.2", number="UNKNOWN-COVERAGE", patient={"identifier": numbers})
    with plan(url, tmp_path) as without:
        without.put("members", MEMBERS)
        assert reason_codes(without.answer(told)) == ["no-member-found"]
    with plan(url, tmp_path, payers_file=tmp_path / "payers.yaml") as payer:
        assert reason_codes(payer.answer(told)) == ["coverage-not-found"]


@pytest.mark.requirement("crd-2.2.1:resp-45")
@BOTH
def test_a_coverage_that_has_ended_by_the_records_is_not_active_whatever_the_chart_says(
    payer: Plan, version: str
) -> None:
    payer.put("members", f"{HEADER}{ANN}2026-11-30,,,\n")
    answer = payer.answer(call(version))
    assert said(answer, "covered") == ["not-covered"]
    assert reason_codes(answer) == (["no-active-coverage"] if version == "2.2" else [])
    assert ("contradiction: ended", "records: 2026-11-30; told: otherwise") in payer.trace(
        call(version)
    )


@pytest.mark.requirement("crd-2.2.1:resp-45")
@BOTH
@pytest.mark.parametrize(
    ("told", "ends", "code", "words"),
    [
        ({"number": "NOBODYS-NUMBER"}, "", "no-member-found", "No member of this plan fits"),
        (
            {"number": "UNKNOWN", "patient_number": "TEST-MEMBER-0001"},
            "",
            "coverage-not-found",
            "not this coverage",
        ),
        ({}, "2026-11-30", "no-active-coverage", "not active on the day"),
    ],
)
def test_each_order_of_a_call_gets_the_reason(
    payer: Plan, version: str, told: dict[str, Any], ends: str, code: str, words: str
) -> None:
    payer.put("members", f"{HEADER}{ANN}{ends},,,\n")
    answer = payer.answer(call(version, name="order-sign/mrs-and-unrelated-mri", **told))
    both = parts(answer)
    assert len(both) == 2
    for order in both:
        assert ("covered", "not-covered") in order
        given = [value for part, value in order if part == "reason"]
        codes = [c["code"] for reason in given for c in reason.get("coding", ())]
        assert codes == ([code] if version == "2.2" else [])
        assert any(words in reason["text"] for reason in given)


@BOTH
def test_a_coverage_in_force_by_the_records_counts_although_the_chart_says_it_is_cancelled(
    payer: Plan, version: str
) -> None:
    answer = payer.answer(call(version, coverage={"status": "cancelled"}))
    assert reason_codes(answer) == []
    assert "By the plan's records this coverage is active since 2022-01-01" in details(answer)


@BOTH
def test_a_program_that_the_chart_contradicts_is_the_records_and_the_card_says_so(
    payer: Plan, version: str
) -> None:
    original = {"coding": [{"system": "https://nahdo.org/sopt", "code": "121"}]}
    request = call(version, coverage={"type": original})
    answer = payer.answer(request)
    assert said(answer, "covered") == ["not-covered"]
    assert "The plan's records show Medicare Advantage since 2022-01-01" in details(answer)
    trace = dict(payer.trace(request))
    assert trace["contradiction: program"].startswith("records: Medicare Advantage 2022-01-01")


@BOTH
def test_where_the_chart_cannot_tell_the_program_the_records_do(payer: Plan, version: str) -> None:
    silent = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode"}]}
    (determination,) = payer.determinations(call(version, coverage={"type": silent}))
    assert determination.program.program.value == "medicare_advantage"
    assert "contradiction" not in str(payer.trace(call(version, coverage={"type": silent})))


def test_of_several_coverages_the_one_that_the_records_know_to_pay_first_counts(
    payer: Plan,
) -> None:
    flo = "TEST-MEMBER-00{},flo,{},1953-03-08,Specimen,Flo,,2022-01-01,,{},,\n"
    ours = flo.format("09", "medicare_advantage", "primary")
    theirs = flo.format("10", "original_medicare", "secondary")
    lines = f"example-health-plan,{ours}example-payer,{theirs}"
    payer.put("members", f"payer,{HEADER}{lines}")
    request = call("2.2", name="order-sign/several-coverages")
    (determination,) = payer.determinations(request)
    assert determination.coverage is not None
    assert determination.coverage.reference == "Coverage/ma-flo"
    assert said(payer.answer(request), "covered") == ["not-covered"]


AUTHORIZATIONS = "number,member,codes,status,kind,starts,ends,units,decided\n"


@BOTH
def test_an_approval_on_file_satisfies_and_no_card_says_that_it_is_not_covered(
    payer: Plan, version: str
) -> None:
    line = "OD-77,TEST-MEMBER-0001,76390,approved,organization-determination,2026-11-01,2027-01-31"
    payer.put("authorizations", f"{AUTHORIZATIONS}{line},,2026-11-05\n")
    answer = payer.answer(call(version))
    assert said(answer, "covered") == ["covered"]
    assert said(answer, "pa-needed") == ["satisfied"]
    assert said(answer, "satisfied-pa-id") == ["OD-77"]
    assert said(answer, "info-needed") == []
    (card,) = answer["cards"]
    assert card["summary"] == "Authorization on file for 76390: number OD-77 until 2027-01-31."
    assert len(card["summary"]) < 140
    assert ("authorization approved", "OD-77, until 2027-01-31") in payer.trace(call(version))


@pytest.mark.parametrize(
    "line",
    [
        "A1,TEST-MEMBER-0001,76390,approved,,2026-01-01,2026-11-30,,",
        "A1,TEST-MEMBER-0001,0609T,approved,,,,,",
        "A1,TEST-MEMBER-0002,76390,approved,,,,,",
        "A1,TEST-MEMBER-0001,76390,cancelled,,,,,",
    ],
    ids=["ended", "another code", "another member", "cancelled"],
)
def test_an_authorization_that_does_not_hold_for_the_order_satisfies_nothing(
    payer: Plan, line: str
) -> None:
    payer.put("authorizations", f"{AUTHORIZATIONS}{line}\n")
    assert said(payer.answer(call()), "covered") == ["not-covered"]


def test_an_authorization_whose_units_are_used_up_satisfies_nothing(payer: Plan) -> None:
    line = "A1,TEST-MEMBER-0001,76390,approved,,2026-01-01,,1,"
    payer.put("authorizations", f"{AUTHORIZATIONS}{line}\n")
    assert said(payer.answer(call()), "satisfied-pa-id") == ["A1"]
    payer.put("history", "member,code,day\nTEST-MEMBER-0001,76390,2026-03-01\n")
    answer = payer.answer(call())
    assert said(answer, "covered") == ["not-covered"]
    assert ("had before", "2026-03-01") in payer.trace(call())


@BOTH
@pytest.mark.parametrize(
    ("status", "words"),
    [("pending", "is pending at the plan"), ("denied", "has decided against this service on 2026")],
)
def test_a_determination_that_was_asked_for_is_not_asked_for_again(
    payer: Plan, version: str, status: str, words: str
) -> None:
    line = f"OD-7,TEST-MEMBER-0001,76390,{status},organization-determination,,,,2026-11-05"
    payer.put("authorizations", f"{AUTHORIZATIONS}{line}\n")
    answer = payer.answer(call(version))
    assert said(answer, "covered") == ["not-covered"]
    (card,) = answer["cards"]
    assert words in card["detail"]
    assert "OD\\-7" in card["detail"] or "OD-7" in card["detail"]


@BOTH
def test_outside_the_network_authorization_is_needed_and_the_reason_says_why(
    payer: Plan, version: str
) -> None:
    payer.put("network", "npi,plan\n9999998310,\n")
    answer = payer.answer(call(version, name="order-dispatch/two-orders"))
    unlisted = [o for o in parts(answer) if ("covered", "conditional") in o]
    (order,) = unlisted
    assert ("pa-needed", "auth-needed") in order
    codes = [c["code"] for url, r in order if url == "reason" for c in r.get("coding", ())]
    assert ("auth-out-network" in codes) is (version == "2.2")
    assert "outside the plan's network" in json.dumps(order)
    payer.put("network", "npi,plan\n9999998310,\n9999999029,\n")
    assert "outside the plan's network" not in json.dumps(
        payer.answer(call(version, name="order-dispatch/two-orders"))
    )


@BOTH
def test_a_gold_card_needs_no_authorization_and_covers_nothing(payer: Plan, version: str) -> None:
    payer.put("exemptions", f"npi,codes\n9999998310,76390;{UNLISTED}\n")
    answer = payer.answer(call(version, code=UNLISTED))
    assert said(answer, "covered") == ["conditional"]
    assert said(answer, "pa-needed") == ["no-auth"]
    assert "gold-card" in reason_codes(answer)
    check_never_again(answer)
    answer = payer.answer(call(version))
    assert said(answer, "covered") == ["not-covered"]
    assert reason_codes(answer) == []


@pytest.fixture
def examples(url: str, tmp_path: Path) -> Iterator[Plan]:
    """A payer that knows Ann and Bo, and applies the example policies."""
    folder = ROOT / "examples" / "policies"
    with plan(
        url, tmp_path, added_policies_dir=folder, payers_file=folder / "payers.yaml"
    ) as payer:
        payer.put("members", MEMBERS)
        yield payer


@BOTH
@pytest.mark.parametrize(
    ("history", "covered", "words"),
    [
        ("TEST-MEMBER-0001,82270,2026-03-02", "not-covered", "less than twelve months ago"),
        ("TEST-MEMBER-0001,82270,2025-11-30", "covered", "once in twelve months"),
        ("TEST-MEMBER-0002,82270,2026-03-02", "covered", "once in twelve months"),
    ],
    ids=["in the period", "before it", "another member"],
)
def test_a_limit_of_once_in_a_period_is_used_up_by_the_payers_history(
    examples: Plan, version: str, history: str, covered: str, words: str
) -> None:
    examples.put("history", f"member,code,day\n{history}\n")
    answer = examples.answer(call(version, code="82270"))
    assert said(answer, "covered") == [covered]
    assert words in reasons(answer)


@BOTH
def test_without_a_history_the_limit_hangs_on_what_the_chart_tells(
    examples: Plan, version: str
) -> None:
    answer = examples.answer(call(version, code="82270"))
    assert said(answer, "covered") == ["conditional"]


@BOTH
@pytest.mark.parametrize(
    ("kind", "lines", "need", "code"),
    [
        ("exemptions", "npi,codes\n9999998310,82270\n", "no-auth", "gold-card"),
        ("network", "npi\n9999998310\n", "auth-needed", "auth-out-network"),
    ],
)
def test_a_policys_word_on_authorization_is_corrected_by_the_records(
    examples: Plan, version: str, kind: str, lines: str, need: str, code: str
) -> None:
    examples.put("history", "member,code,day\nTEST-MEMBER-0002,82270,2026-03-02\n")
    examples.put(kind, lines)
    request = call(version, code="82270")
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    npi = {"system": "http://hl7.org/fhir/sid/us-npi", "value": "9999999029"}
    order["performer"] = [{"identifier": npi}]
    answer = examples.answer(request)
    assert said(answer, "covered") == ["covered"]
    assert said(answer, "pa-needed") == [need]
    assert (code in reason_codes(answer)) is (version == "2.2" or code == "gold-card")


SCENARIOS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "nobody": ({}, {"number": "NOBODYS-NUMBER"}),
    "no such coverage": (
        {},
        {"number": "UNKNOWN-COVERAGE", "patient_number": "TEST-MEMBER-0001"},
    ),
    "ended": ({"members": f"{HEADER}{ANN}2026-11-30,,,\n"}, {}),
    "approved": (
        {"authorizations": "number,member,codes,status\nA1,TEST-MEMBER-0001,76390,approved\n"},
        {},
    ),
    "approved, a policy that wants one": (
        {"authorizations": "number,member,codes,status\nA1,TEST-MEMBER-0001,72148,approved\n"},
        {"code": "72148"},
    ),
    "exempt": ({"exemptions": "npi,codes\n9999998310,72148\n"}, {"code": "72148"}),
    "exempt, no policy": (
        {"exemptions": f"npi,codes\n9999998310,{UNLISTED}\n"},
        {"code": UNLISTED},
    ),
    "outside": ({"network": "npi\n9999998310\n"}, {"code": "72148"}),
    "had it": (
        {"history": "member,code,day\nTEST-MEMBER-0001,82270,2026-03-02\n"},
        {"code": "82270"},
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("version", [pytest.param("2.0", marks=needs_crd_2_0), "2.2"])
def test_every_answer_from_the_records_keeps_the_invariants_of_its_version(
    examples: Plan, request: pytest.FixtureRequest, version: str, name: str
) -> None:
    files, told = SCENARIOS[name]
    for kind, text in files.items():
        examples.put(kind, text)
    answer = examples.answer(call(version, **told))
    check_answer(answer)
    (statement,) = stated(answer)
    if version == "2.2":
        keeps_the_invariants_of_2_2(statement)
    else:
        keeps(request.getfixturevalue("invariants"), statement)


def test_another_payer_first_is_said_on_the_card(payer: Plan) -> None:
    payer.put("members", f"{HEADER}{ANN},secondary,,\n")
    assert "another insurance pays first" in details(payer.answer(call()))


def test_a_qualified_medicare_beneficiary_is_a_situation_of_the_abn(payer: Plan) -> None:
    line = BO.replace("medicare_advantage", "original_medicare").replace(",,,,", ",,,qmb,")
    payer.put("members", f"payer,{HEADER}example-payer,{line}")
    request = call("2.2", name="order-sign/mrs-original-medicare")
    assert "Qualified Medicare Beneficiary" in details(payer.answer(request))


def test_hospice_is_said_on_its_days(payer: Plan) -> None:
    payer.put("members", f"{HEADER}{ANN},,,2026-10-01\n")
    assert "has elected hospice" in details(payer.answer(call()))
    payer.put("members", f"{HEADER}{ANN},,,2026-12-02\n")
    assert "has elected hospice" not in details(payer.answer(call()))


@BOTH
def test_a_source_that_is_away_costs_no_answer_and_is_told_apart(
    payer: Plan, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: SqliteSource, wanted: Wanted) -> Records:
        raise PayerDataUnavailable("OperationalError")

    monkeypatch.setattr(SqliteSource, "_look_up", away)
    for _ in range(4):
        answer = payer.answer(call(version))
        assert said(answer, "covered") == ["not-covered"]
        assert "member records could not be reached" in reasons(answer)
        assert "member records could not be reached" in details(answer)
    client = payer.app.test_client()
    ready = client.get("/readyz")
    assert (ready.status_code, ready.get_json()["status"]) == (200, "degraded")
    check = ready.get_json()["checks"]["payer_data"]
    assert (check["asked"], check["failed"], check["refused"]) == (3, 3, 1)
    metrics = client.get("/metrics").get_data(as_text=True)
    assert 'covercard_payer_data_seconds_count{outcome="unreachable"} 4.0' in metrics


def test_a_patient_who_did_not_come_along_is_neither_found_nor_denied(payer: Plan) -> None:
    request = call("2.2")
    del request["prefetch"]["patient"]
    request.pop("fhirServer")
    request.pop("fhirAuthorization")
    ((finding, _),) = payer.trace(request)
    assert finding == "not checked"
    assert reason_codes(payer.answer(request)) == []


def test_with_no_source_all_is_as_the_call_tells(url: str, tmp_path: Path) -> None:
    with plan("", tmp_path) as without, plan(url, tmp_path) as payer:
        payer.put("members", MEMBERS)
        told = call("2.2", number="NOBODYS-NUMBER")
        assert reason_codes(without.answer(told)) == []
        assert reason_codes(payer.answer(told)) == ["no-member-found"]


def test_a_member_who_is_forgotten_leaves_the_decision_readable(payer: Plan, url: str) -> None:
    (assertion,) = said(payer.answer(call()), "coverage-assertion-id")
    forget(url, "TEST-MEMBER-0001", [HEALTH_PLAN])
    assert reason_codes(payer.answer(call())) == ["no-member-found"]
    trace = logged_trace(payer, assertion)
    assert any(topic == "payer" and "member record" in because for topic, _, because in trace)
    assert "Testcase" not in str(trace)
    assert "TESTMEMBER" not in str(trace)


def logged_trace(payer: Plan, assertion: str) -> list[tuple[str, ...]]:
    """The way to a decision, as the decision log kept it."""
    settle(payer.app.test_client())
    log = open_engine(in_folder(payer.folder).database_url)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with log.connect() as connection:
            for found in by_assertion(connection, assertion, 5):
                logged = one_call(connection, found.call_id)
                assert logged is not None
                return [tuple(step) for step in logged.kept.traces[found.determination.position]]
    raise AssertionError("the decision is not in the log")


@pytest.mark.threat("patient-in-logs")
@BOTH
def test_nothing_of_a_member_that_the_call_does_not_tell_is_answered_logged_or_counted(
    payer: Plan, version: str
) -> None:
    header = HEADER.replace("birth_date", "alternates,group,birth_date")
    ann = ANN.replace("1951-04-12", "MBI-SECRET;7777755555333,GROUP-SECRET,1951-04-12")
    bo = BO.replace("1948-09-30", "BO-SECRET,GROUP-SECRET,1948-09-30")
    ann = ann.replace("Testcase", "Secretname Testcase").replace("ann,", "person-secret,")
    payer.put("members", f"{header}{ann},,,\n{bo}")
    payer.put(
        "authorizations",
        "number,member,codes,status\nAUTH-SECRET,TEST-MEMBER-0001,99999,approved\n",
    )
    payer.put("history", "member,code,day\nTEST-MEMBER-0001,99999,2020-02-02\n")
    answers = [
        payer.answer(call(version, number=n)) for n in ("TEST-MEMBER-0001", "TEST-MEMBER-0002")
    ]
    settle(payer.app.test_client())
    log = open_engine(in_folder(payer.folder).database_url)
    with log.connect() as connection:
        logged = list(all_calls(connection, TimeSpan()))
        rows = [str((c.row, c.determinations, c.request, c.answer, c.kept.traces)) for c in logged]
    assert len(rows) == 2
    metrics = payer.app.test_client().get("/metrics").get_data(as_text=True)
    told = json.dumps(answers) + "".join(rows) + metrics
    for secret in (
        "SECRET",
        "Secretname",
        "person-secret",
        "7777755555333",
        "2020-02-02",
        "1948-09-30",
    ):
        assert secret not in told


@pytest.mark.threat("patient-in-logs")
def test_no_log_line_tells_a_member_number(payer: Plan, caplog: Any, capfd: Any) -> None:
    with caplog.at_level("DEBUG"):
        for told in NOBODY:
            payer.answer(call(**told))
    written = caplog.text + "".join(capfd.readouterr())
    for secret in ("TEST-MEMBER", "TESTMEMBER", "NOBODYS", "UNKNOWN-MEMBER", "Testcase", "1951-04"):
        assert secret not in written
