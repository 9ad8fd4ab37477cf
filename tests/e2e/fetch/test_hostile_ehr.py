"""Whatever the EHR does, the answer leaves in time and says what could not be checked.

The token goes to the server it came for; nothing that a server says leads anywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from service.cli.ehr_stub.fhir_server import DEMO_TOKEN
from service.errors import MalformedRequest, UnhandledPayer, UnprocessableRequest
from tests.contract.answer_rules import check_answer
from tests.e2e.conftest import Server
from tests.e2e.decision_log.instances import until
from tests.e2e.fetch.conftest import Ask, ReviewTarget, bare
from tests.e2e.fetch.ehrs import (
    Behavior,
    Ehr,
    body,
    changed,
    cut_short,
    drip_body,
    drip_head,
    each_coverage,
    hang,
    hang_up,
    huge,
    next_page,
    nonsense_status,
    redirect,
    serve,
    status,
    zip_bomb,
)
from tests.e2e.processes import without_threads

SIGN = "order-sign/mrs-original-medicare"
NAMES_ITS_COVERAGE = "order-sign/mrs-medicare-advantage"
COVERAGE = "Coverage?patient&status&_include"
SEARCHSET = '{"resourceType": "Bundle", "type": "searchset"'
NOT_READ = "could not be read from the EHR"


def another_patient(coverage: dict[str, Any]) -> None:
    coverage["beneficiary"] = {"reference": "Patient/ann"}


def patient_elsewhere(coverage: dict[str, Any]) -> None:
    coverage["beneficiary"] = {"reference": "https://elsewhere.example.org/fhir/Patient/bo"}


def other_port(ehr: Ehr) -> str:
    return f"http://127.0.0.1:{ehr.port + 1}/fhir/Coverage"


TROUBLE: dict[str, tuple[Behavior, str]] = {
    "401": (status(401), "rejected-token"),
    "403": (status(403), "refused"),
    "404": (status(404), "not-found"),
    "500": (status(500), "error"),
    "503": (status(503), "error"),
    "204": (status(204), "error"),
    "a status that is none": (nonsense_status, "error"),
    "HTML": (body("<html>Sign in</html>", Content_Type="text/html"), "not-fhir"),
    "HTML called JSON": (body("<html>Sign in</html>"), "not-fhir"),
    "JSON called text": (body(SEARCHSET + "}", Content_Type="text/plain"), "not-fhir"),
    "nothing": (body(""), "not-fhir"),
    "cut JSON": (body(SEARCHSET), "not-fhir"),
    "a body cut short": (cut_short, "error"),
    "a closed connection": (hang_up, "error"),
    "a list": (body("[]"), "not-fhir"),
    "a number": (body("1"), "not-fhir"),
    "no FHIR": (body('{"hello": "world"}'), "not-fhir"),
    "an OperationOutcome": (body('{"resourceType": "OperationOutcome"}'), "not-fhir"),
    "duplicate keys": (body(SEARCHSET + ', "type": "batch"}'), "not-fhir"),
    "NaN": (body(SEARCHSET + ', "total": NaN}'), "not-fhir"),
    "bytes that are no text": (body(b'{"resourceType": "Bundle", "x": "\xff\xfe"}'), "not-fhir"),
    "a JSON bomb": (body('{"a":' * 100_000 + "1" + "}" * 100_000), "not-fhir"),
    "100 levels": (body('{"resourceType":"Bundle","a":' + "[" * 99 + "]" * 99 + "}"), "not-fhir"),
    "too many values": (body(SEARCHSET + ', "x": [' + "[]," * 100_001 + "1]}"), "too-large"),
    "entries that are none": (body(SEARCHSET + ', "entry": "x"}'), "not-fhir"),
    "a coverage gone wrong": (each_coverage(lambda c: c.update(period="soon")), "not-fhir"),
    "a coverage without id": (each_coverage(lambda c: c.pop("id")), "not-fhir"),
    "100 MB": (huge, "too-large"),
    "100 MB in 100 kB": (zip_bomb, "too-large"),
    "broken compression": (body("no gzip", Content_Encoding="gzip"), "not-fhir"),
    "another patient's coverage": (each_coverage(another_patient), "wrong-patient"),
    "another server's patient": (each_coverage(patient_elsewhere), "wrong-patient"),
    "a redirect to metadata": (redirect("http://169.254.169.254/latest/meta-data/"), "not-allowed"),
    "a redirect to itself": (redirect("/fhir/Coverage"), "not-allowed"),
    "pages without end": (next_page(lambda h: f"{h.ehr.base}{h.path[5:]}"), "too-large"),
    "a page of metadata": (next_page(lambda _: "http://169.254.169.254/latest/"), "not-allowed"),
    "a page of another port": (next_page(lambda h: other_port(h.ehr)), "not-allowed"),
    "a page above": (next_page(lambda _: "../metadata"), "not-allowed"),
    "a page encoded above": (next_page(lambda _: "/fhir/%2e%2e/metadata"), "not-allowed"),
    "a page beside": (next_page(lambda _: "/fhirsecrets"), "not-allowed"),
    "a page as somebody": (
        next_page(lambda h: f"http://me@127.0.0.1:{h.ehr.port}/fhir"),
        "not-allowed",
    ),
    "a page that is no URL": (next_page(lambda _: "http://[x"), "not-allowed"),
}
SLOW: dict[str, Behavior] = {"hangs": hang, "drips head": drip_head, "drips body": drip_body}

each_trouble = pytest.mark.parametrize("trouble", TROUBLE, ids=lambda t: t.replace(" ", "-"))
each_slowness = pytest.mark.parametrize("slowness", SLOW, ids=lambda t: t.replace(" ", "-"))


def says_that_coverage_was_not_read(asked: ReviewTarget) -> None:
    """The cards are there, as without coverage, and say why; nothing is stated as if decided."""
    check_answer(asked.answer)
    first = asked.answer["cards"][0]
    assert NOT_READ in first["detail"]
    assert asked.statements == {}


@each_trouble
@pytest.mark.requirement("crd-2.2.1:found-34", "crd-2.0.1:63")
def test_trouble_with_the_coverage_is_said_and_breaks_nothing(
    trouble: str, ehr: Ehr, ask: Ask
) -> None:
    behavior, outcome = TROUBLE[trouble]
    ehr.misbehave["Coverage"] = behavior
    asked = ask(bare(SIGN, ehr.base, "patient", "encounter"))
    assert asked.outcomes == {COVERAGE: outcome}
    says_that_coverage_was_not_read(asked)


@each_slowness
def test_the_answer_leaves_while_the_ehr_has_yet_to_answer(
    slowness: str, ehr: Ehr, ask: Ask
) -> None:
    ehr.misbehave["Coverage"] = SLOW[slowness]
    asked = ask(bare(SIGN, ehr.base, "patient", "encounter"), fetch_budget_ms=2000)
    assert ehr.hanging.acquire(timeout=30)
    assert not ehr.release.is_set()
    assert asked.outcomes == {COVERAGE: "timeout"}
    says_that_coverage_was_not_read(asked)


@pytest.mark.threat("hostile-ehr")
def test_a_connection_that_only_drips_is_closed_when_time_is_up(ehr: Ehr, ask: Ask) -> None:
    ehr.misbehave["Coverage"] = drip_body
    ask(bare(SIGN, ehr.base, "patient", "encounter"), fetch_budget_ms=2000)
    assert ehr.hung_up.wait(timeout=30)


def test_a_server_that_owes_too_many_answers_is_not_asked_for_more(
    ehr: Ehr, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.ehr.resource_fetcher._MOST_OWED", 2)
    ehr.misbehave["Coverage"] = drip_head
    request = bare(SIGN, ehr.base, "patient", "encounter")
    for _ in range(4):
        asked = ask(request, fetch_budget_ms=200)
        assert asked.outcomes == {COVERAGE: "timeout"}
        says_that_coverage_was_not_read(asked)
    assert len(ehr.requests) <= 2


def test_a_machine_without_threads_answers_all_the_same(ehr: Ehr, ask: Ask) -> None:
    with without_threads("fetch"):
        # With a setting of its own, and so a review that has no thread to spare.
        asked = ask(bare(SIGN, ehr.base, "patient", "encounter"), fetch_budget_ms=19_000)
    assert asked.outcomes == {COVERAGE: "error"}
    says_that_coverage_was_not_read(asked)


@pytest.mark.requirement("crd-2.0.1:12")
def test_what_came_in_time_is_used_though_the_rest_hangs(ehr: Ehr, ask: Ask) -> None:
    ehr.misbehave["Encounter"] = hang
    asked = ask(bare(SIGN, ehr.base), fetch_budget_ms=6000)
    assert not ehr.release.is_set()
    assert asked.outcomes == {COVERAGE: "fetched", "Encounter/visit-bo": "timeout"}
    assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "conditional"
    (determination,) = asked.review.determinations
    assert ("data", "timeout") in [(s.topic, s.finding) for s in determination.trace]


@pytest.mark.requirement("crd-2.2.1:hook-13", "crd-2.2.1:hook-16")
def test_under_crd_2_2_a_call_without_a_coverage_that_can_be_read_is_refused(
    ehr: Ehr, ask: Ask
) -> None:
    ehr.misbehave["Coverage"] = status(500)
    request = bare(SIGN, ehr.base) | {"extension": {"davinci-crd.requestedVersion": "2.2"}}
    with pytest.raises(UnhandledPayer, match="could not be read from the FHIR server"):
        ask(request)


@pytest.mark.parametrize(("version", "covered"), [("2.0", "conditional"), ("2.2", "indeterminate")])
def test_a_coverage_that_the_order_names_but_nobody_gives_is_stated_as_technical_trouble(
    version: str, covered: str, ehr: Ehr, ask: Ask
) -> None:
    ehr.misbehave["Coverage"] = status(500)
    request = bare(NAMES_ITS_COVERAGE, ehr.base)
    request["extension"] = {"davinci-crd.requestedVersion": version}
    asked = ask(request)
    said = asked.statements["ServiceRequest/mrs-brain"]
    assert said["coverage"] == {"reference": "Coverage/ma-ann"}
    assert said["covered"] == covered
    technical = {"2.0": None, "2.2": "technical"}[version]
    assert said["reason"].get("coding", [{"code": None}])[0]["code"] == technical
    assert NOT_READ in asked.answer["cards"][0]["detail"]
    check_answer(asked.answer)


@pytest.mark.parametrize(("version", "covered"), [("2.0", "conditional"), ("2.2", "indeterminate")])
def test_a_payer_that_nobody_gives_is_stated_as_technical_trouble(
    version: str, covered: str, ehr: Ehr, ask: Ask
) -> None:
    ehr.misbehave["Organization"] = hang
    request = bare(SIGN, ehr.base, "patient", "coverage", "encounter")
    request["extension"] = {"davinci-crd.requestedVersion": version}
    del request["prefetch"]["coverage"]["entry"][1]
    asked = ask(request, fetch_budget_ms=300)
    assert not ehr.release.is_set()
    assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == covered
    assert NOT_READ in asked.answer["cards"][0]["detail"]


def test_a_statement_of_trouble_does_not_stand_in_the_way_of_the_answer(ehr: Ehr, ask: Ask) -> None:
    request = bare("order-sign/mrs-program-not-told", ehr.base)
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["insurance"] = [{"reference": "Coverage/not-told-cy"}]
    ehr.misbehave["Coverage"] = status(500)
    (action,) = ask(request).answer.get("systemActions", [])
    request["context"]["draftOrders"]["entry"][0]["resource"] = action["resource"]
    ehr.misbehave.clear()
    said = ask(request).statements["ServiceRequest/mrs-brain"]
    assert said["covered"] == "not-covered"


def test_a_code_that_nobody_gives_is_stated_as_technical_trouble(ehr: Ehr, ask: Ask) -> None:
    request = bare("order-sign/every-order-type", ehr.base, "patient", "coverage", "encounter")
    request["extension"] = {"davinci-crd.requestedVersion": "2.2"}
    for entry in request["context"]["draftOrders"]["entry"]:
        if entry["resource"]["resourceType"] == "MedicationRequest":
            entry["resource"].pop("medicationCodeableConcept")
            entry["resource"]["medicationReference"] = {"reference": "Medication/pill"}
    ehr.misbehave["Medication"] = status(503)
    said = ask(request).statements
    assert said["MedicationRequest/tablet"]["covered"] == "indeterminate"
    assert said["ServiceRequest/mrs-brain"]["covered"] == "not-covered"


def test_a_resource_other_than_the_one_asked_for_is_not_used(ehr: Ehr, ask: Ask) -> None:
    emergency = {"class": {"code": "EMER"}}
    for change in ({"id": "other"}, {"resourceType": "Patient"}, {"resourceType": "Bundle"}):
        ehr.misbehave["Encounter"] = changed(lambda e, c=change: e | emergency | c)
        asked = ask(bare(SIGN, ehr.base, "patient", "coverage"))
        assert asked.outcomes == {"Encounter/visit-bo": "not-fhir"}
        assert len(asked.summaries) == 2


@pytest.mark.threat("hostile-ehr")
def test_another_patients_encounter_is_dropped_and_reported(ehr: Ehr, ask: Ask) -> None:
    ehr.misbehave["Encounter"] = changed(
        lambda e: e | {"class": {"code": "EMER"}, "subject": {"reference": "Patient/ann"}}
    )
    asked = ask(bare(SIGN, ehr.base, "patient", "coverage"))
    assert asked.outcomes == {"Encounter/visit-bo": "wrong-patient"}
    assert len(asked.summaries) == 2


def test_of_a_mixed_search_the_patients_own_coverage_is_used(ehr: Ehr, ask: Ask) -> None:
    foreign = {
        "resourceType": "Coverage",
        "id": "foreign",
        "status": "active",
        "beneficiary": {"reference": "Patient/ann"},
    }
    ehr.misbehave["Coverage"] = changed(
        lambda b: b | {"entry": [{"resource": foreign}, *b["entry"]]}
    )
    asked = ask(bare(SIGN, ehr.base, "patient", "encounter"))
    assert asked.outcomes == {COVERAGE: "wrong-patient"}
    said = asked.statements["ServiceRequest/mrs-brain"]
    assert said["coverage"] == {"reference": "Coverage/om-bo"}


def test_orders_in_the_answer_to_another_question_are_not_taken_for_orders(
    ehr: Ehr, ask: Ask
) -> None:
    order = ehr.store.read("ServiceRequest", "mrs-to-dispatch-bo")
    planted = dict(order or {}) | {
        "id": "planted",
        "encounter": {"reference": "Encounter/visit-dee"},
    }
    planted["subject"] = {"reference": "Patient/dee"}
    ehr.misbehave["DeviceRequest"] = changed(lambda b: b | {"entry": [{"resource": planted}]})
    request = bare("encounter-start/nothing-ordered", ehr.base)
    request["context"] |= {"patientId": "dee", "encounterId": "visit-dee"}
    asked = ask(request)
    assert asked.outcomes["DeviceRequest?patient&encounter"] == "fetched"
    assert asked.summaries == []


def test_pages_are_read_to_the_last_one(ehr: Ehr, ask: Ask) -> None:
    def paged(handler: Any) -> None:
        if "page=2" in handler.path:
            serve(handler)
        else:
            link = {"relation": "next", "url": f"{handler.path}&page=2"}
            handler.send_json({"resourceType": "Bundle", "type": "searchset", "link": [link]})

    ehr.store.search = ignoring_pages(ehr.store.search)  # type: ignore[method-assign]
    ehr.misbehave["Coverage"] = paged
    asked = ask(bare(SIGN, ehr.base, "patient", "encounter"))
    assert asked.outcomes == {COVERAGE: "fetched"}
    assert "ServiceRequest/mrs-brain" in asked.statements


def ignoring_pages(search: Callable[..., Any]) -> Callable[..., Any]:
    return lambda kind, parameters: search(kind, [p for p in parameters if p[0] != "page"])


def test_more_orders_than_one_call_may_ask_about_are_reported(ehr: Ehr, ask: Ask) -> None:
    request = bare("order-dispatch/mrs-original-medicare", ehr.base)
    request["context"]["dispatchedOrders"] += [f"ServiceRequest/n{i}" for i in range(40)]
    asked = ask(request)
    assert len(ehr.requests) <= 24
    assert "too-large" in asked.outcomes.values()
    assert asked.summaries


@pytest.mark.threat("hostile-ehr")
def test_the_bytes_of_all_requests_of_a_call_are_counted_together(ehr: Ehr, ask: Ask) -> None:
    ehr.misbehave["Encounter"] = changed(lambda e: e | {"text": {"div": "x" * 3000}})
    asked = ask(bare(SIGN, ehr.base), fetch_max_bytes=6000)
    assert "too-large" in asked.outcomes.values()


# What the token and the requests must never reach.


@pytest.mark.threat("redirect")
@pytest.mark.parametrize(
    "leads_off",
    [
        lambda base: redirect(f"{base}/Coverage"),
        lambda base: next_page(lambda _: f"{base}/Coverage"),
        lambda base: each_coverage(
            lambda c: c.update(payor=[{"reference": f"{base}/Organization/example-payer"}])
        ),
    ],
    ids=["redirect", "next page", "absolute reference"],
)
def test_nothing_that_a_server_says_leads_to_another_one(
    leads_off: Callable[[str], Behavior], ehr: Ehr, elsewhere: Ehr, ask: Ask
) -> None:
    ehr.misbehave["Coverage"] = leads_off(elsewhere.base)
    asked = ask(bare(SIGN, ehr.base))
    assert ehr.requests
    assert elsewhere.requests == []
    check_answer(asked.answer)


@pytest.mark.threat("hostile-reference")
def test_a_reference_to_another_host_is_not_followed_and_said_to_be_unread(
    ehr: Ehr, elsewhere: Ehr, ask: Ask
) -> None:
    request = bare(SIGN, ehr.base, "patient", "coverage", "encounter")
    bundle = request["prefetch"]["coverage"]
    del bundle["entry"][1]
    payor = {"reference": f"{elsewhere.base}/Organization/example-payer"}
    bundle["entry"][0]["resource"]["payor"] = [payor]
    asked = ask(request)
    assert asked.outcomes == {"Organization/example-payer": "not-allowed"}
    assert (ehr.requests, elsewhere.requests) == ([], [])
    assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "conditional"


@pytest.mark.threat("hostile-reference")
@pytest.mark.parametrize(
    "reference",
    [
        "../../metadata",
        "Organization/../../metadata",
        "Organization/..",
        "Organization/%2e%2e",
        "Organization/a?_format=x",
        "Organization/a#b",
        "Organization/a/b",
        "Organization\\a",
        "//elsewhere.example.org/fhir/Organization/a",
        "https://elsewhere.example.org@127.0.0.1/fhir/Organization/a",
        "javascript:alert(1)",
        "Organization/" + "a" * 200,
        "Organization/a\r\nX-Injected: 1",
    ],
)
def test_a_reference_that_is_none_is_not_followed(reference: str, ehr: Ehr, ask: Ask) -> None:
    request = bare(SIGN, ehr.base, "patient", "coverage", "encounter")
    del request["prefetch"]["coverage"]["entry"][1]
    request["prefetch"]["coverage"]["entry"][0]["resource"]["payor"] = [{"reference": reference}]
    asked = ask(request)
    assert ehr.requests == []
    assert set(asked.outcomes.values()) == {"not-allowed"}
    assert "ServiceRequest/mrs-brain" in asked.statements


@pytest.mark.threat("hostile-reference")
@pytest.mark.parametrize(
    "id", ["../../metadata", "a,b", "a|b", "a$b", "bo&status=cancelled", "%2e%2e", "a b", "x" * 200]
)
def test_an_id_that_is_none_is_not_searched_for(id: str, ehr: Ehr, ask: Ask) -> None:
    request = bare(SIGN, ehr.base)
    request["context"] |= {"patientId": id, "encounterId": id}
    asked = ask(request)
    assert ehr.requests == []
    assert set(asked.outcomes.values()) == {"not-allowed"}
    assert not any(id in what for what in asked.outcomes)


@pytest.mark.parametrize("token", ["a\r\nX-Injected: 1", "two words", "ä"])
def test_a_token_that_does_not_fit_into_a_header_is_not_sent(
    token: str, ehr: Ehr, ask: Ask
) -> None:
    request = bare(SIGN, ehr.base)
    request["fhirAuthorization"]["access_token"] = token
    asked = ask(request)
    assert ehr.requests == []
    assert asked.token_use == "not-used"
    assert NOT_READ in asked.answer["cards"][0]["detail"]


def test_a_token_with_a_nul_is_refused_with_its_place_and_not_sent(ehr: Ehr, ask: Ask) -> None:
    request = bare(SIGN, ehr.base)
    request["fhirAuthorization"]["access_token"] = "\x00"
    with pytest.raises(MalformedRequest, match=r"fhirAuthorization\.access_token"):
        ask(request)
    assert ehr.requests == []


def test_a_rejected_token_is_told(ehr: Ehr, ask: Ask) -> None:
    request = bare(SIGN, ehr.base)
    request["fhirAuthorization"]["access_token"] = "expired"
    asked = ask(request)
    assert asked.token_use == "rejected"
    says_that_coverage_was_not_read(asked)


def test_a_server_that_the_client_may_not_name_is_not_called(ehr: Ehr, ask: Ask) -> None:
    for allowed in (frozenset[str](), frozenset({"https://ehr.example.org/fhir"})):
        asked = ask(bare(SIGN, ehr.base), allowed)
        assert asked.outcomes == {COVERAGE: "not-allowed", "Encounter/visit-bo": "not-allowed"}
        assert asked.token_use == "not-used"
    assert ehr.requests == []
    assert ask(bare(SIGN, ehr.base), frozenset({ehr.base})).token_use == "used"


@pytest.mark.threat("ssrf")
def test_in_open_mode_no_server_of_the_network_is_called(ask: Ask) -> None:
    for server in ("https://ehr.example.org/fhir", "http://169.254.169.254/latest"):
        assert set(ask(bare(SIGN, server)).outcomes.values()) == {"not-allowed"}
    assert ask(bare(SIGN, "")).outcomes == {}
    with pytest.raises(UnprocessableRequest, match="fhirServer"):
        ask(bare(SIGN, "no URL"))


@pytest.mark.threat("redirect")
def test_no_proxy_of_the_environment_sees_the_call(
    ehr: Ehr, elsewhere: Ehr, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{elsewhere.port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert ask(bare(SIGN, ehr.base)).outcomes[COVERAGE] == "fetched"
    assert elsewhere.requests == []


@pytest.mark.threat("redirect")
def test_no_password_of_the_environment_replaces_the_token(
    ehr: Ehr, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    ask(bare(SIGN, ehr.base))
    assert {h["Authorization"] for _, h in ehr.requests} == {f"Bearer {DEMO_TOKEN}"}


def test_no_cookie_of_one_call_comes_back_in_the_next(ehr: Ehr, ask: Ask) -> None:
    ehr.misbehave["Coverage"] = body(SEARCHSET + "}", Set_Cookie="session=bo; Path=/")
    ask(bare(SIGN, ehr.base))
    ask(bare(SIGN, ehr.base))
    assert all("Cookie" not in headers for _, headers in ehr.requests)


# The running server.


@pytest.fixture(scope="module")
def hurried(start_server: Callable[..., Server]) -> Server:
    """A server that gives EHRs little time."""
    return start_server(fetch_budget_ms=1000)


@pytest.mark.parametrize("trouble", ["401", "500", "HTML", "100 MB", "a redirect to metadata"])
def test_the_running_server_answers_whatever_the_ehr_does(
    trouble: str, ehr: Ehr, hurried: Server
) -> None:
    ehr.misbehave["Coverage"] = TROUBLE[trouble][0]
    answer = posted(hurried, bare(SIGN, ehr.base))
    assert NOT_READ in answer["cards"][0]["detail"]
    check_answer(answer)


@each_slowness
def test_the_running_server_answers_while_the_ehr_hangs_and_goes_on_answering(
    slowness: str, ehr: Ehr, hurried: Server
) -> None:
    ehr.misbehave |= dict.fromkeys(("Coverage", "Encounter"), SLOW[slowness])
    for _ in range(2):
        answer = posted(hurried, bare(SIGN, ehr.base))
        assert NOT_READ in answer["cards"][0]["detail"]
    assert not ehr.release.is_set()
    ehr.misbehave.clear()
    # On a busy machine an EHR that answers may be late, too.
    until(
        lambda: len(posted(hurried, bare(SIGN, ehr.base)).get("systemActions", [])) == 1,
        "it goes on answering",
    )


def test_the_running_server_prints_neither_token_nor_patient(
    start_server: Callable[..., Server], ehr: Ehr
) -> None:
    server = start_server(fetch_budget_ms=300)
    for behavior in (serve, status(401), hang, cut_short):
        ehr.misbehave["Coverage"] = behavior
        posted(server, bare(SIGN, ehr.base))
    printed = server.log.read_text("utf-8")
    assert not [w for w in (DEMO_TOKEN, "patient=bo", "Sampleson", "TEST-") if w in printed]


def posted(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    reply = requests.post(
        f"{server.base}/cds-services/{request['hook']}-crd",
        data=json.dumps(request),
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer
