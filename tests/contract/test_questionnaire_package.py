"""$questionnaire-package: the forms for an order, each with a response begun from what was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.parameters import Parameters
from flask import Flask
from flask.testing import FlaskClient

from service.bootstrap.app import Library, wire_fhir, wire_packages
from service.decision_log.recall import RecalledCall
from service.dtr.logged_calls import LoggedCalls
from service.dtr.package import QuestionnairePackages
from service.fhir.document import Document, Resource
from service.settings import Settings
from service.web.problems import translate_errors
from tests.conftest import FIXTURES, NOW, fixture_text
from tests.contract.calls import coverage_of, orders_of
from tests.filling import answers_of

Json = dict[str, Any]
Read = Callable[[str], Json]

OPERATION = "/fhir/Questionnaire/$questionnaire-package"
CANONICAL = "https://covercard.example/fhir/Questionnaire/"
DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"


def parameters(*given: tuple[str, Any]) -> Json:
    """A Parameters resource: resources as they are, anything else as (name, {value…: …})."""
    made = []
    for name, value in given:
        resource = isinstance(value, dict) and "resourceType" in value
        made.append({"name": name, **({"resource": value} if resource else value)})
    return {"resourceType": "Parameters", "parameter": made}


def asked(request: Json, *more: tuple[str, Any], orders: bool = True) -> Json:
    """What a DTR client posts about a hook request's orders."""
    posted = [("order", o) for o in orders_of(request)] if orders else []
    return parameters(("coverage", coverage_of(request)), *posted, *more)


@pytest.fixture
def package(client: FlaskClient) -> Callable[[Json], Json]:
    """Posts the operation's input and returns the checked output of a 200."""

    def post(body: Json) -> Json:
        return checked(client, body)

    return post


def checked(client: FlaskClient, body: Json) -> Json:
    reply = client.post(OPERATION, json=body)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    assert reply.content_type == "application/fhir+json"
    assert reply.headers["Cache-Control"] == "no-store"
    output: Json = reply.get_json()
    Parameters.model_validate(output)
    assert output["parameter"]
    for bundle in bundles(output):
        Bundle.model_validate(bundle)
    return output


def bundles(output: Json) -> list[Json]:
    return [p["resource"] for p in output["parameter"] if p["name"].lower() == "packagebundle"]


def issues(output: Json) -> list[Json]:
    outcomes = [p["resource"] for p in output["parameter"] if p["name"].endswith("utcome")]
    assert len(outcomes) <= 1
    return [i for o in outcomes for i in o["issue"]]


def begun(output: Json) -> list[Json]:
    return [b["entry"][1]["resource"] for b in bundles(output)]


def told(response: Json) -> list[tuple[str, Any]]:
    return [
        (link, next(v for k, v in a.items() if k.startswith("value")))
        for link, a in answers_of(response["item"])
    ]


Package = Callable[[Json], Json]


@pytest.mark.form_rule("dtr-package")
@pytest.mark.requirement("crd-2.2.1:found-4", "crd-2.0.1:17", "crd-2.0.1:18", "crd-2.0.1:19")
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("mrs-original-medicare", "abn-record"),
        ("mrs-medicare-advantage", "organization-determination-request"),
    ],
)
def test_an_order_gets_the_form_of_its_program_with_a_response_begun(
    package: Package, fixture: Read, name: str, form: str
) -> None:
    request = fixture(f"order-sign/{name}")
    output = package(asked(request))
    assert issues(output) == []
    (bundle,) = bundles(output)
    assert bundle["type"] == "collection"
    questionnaire, response, *others = (e["resource"] for e in bundle["entry"])
    assert {other["resourceType"] for other in others} == {"Library"}
    assert questionnaire["resourceType"] == "Questionnaire"
    assert questionnaire["url"] == CANONICAL + form
    assert response["questionnaire"] == f"{CANONICAL}{form}|{questionnaire['version']}"
    assert response["status"] == "in-progress"
    assert response["subject"]["reference"] == coverage_of(request)["beneficiary"]["reference"]
    links = {e["url"]: e for e in response["extension"]}
    coverage = f"Coverage/{coverage_of(request)['id']}"
    assert links[DTR + "qr-coverage"]["valueReference"] == {"reference": coverage}
    assert links[DTR + "qr-context"]["valueReference"] == {"reference": "ServiceRequest/mrs-brain"}
    assert DTR + "intendedUse" in links
    answers = dict(told(response))
    assert answers["service"] == "MR spectroscopy (76390)"
    assert answers["service-code"] == "76390"


def test_only_what_was_sent_is_filled_in(package: Package, fixture: Read) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    (without,) = begun(package(asked(request)))
    assert {"patient-name", "birth-date", "plan"}.isdisjoint(dict(told(without)))
    patient = ("referenced", request["prefetch"]["patient"])
    payer = ("referenced", request["prefetch"]["coverage"]["entry"][1]["resource"])
    (with_them,) = begun(package(asked(request, patient, payer)))
    answers = dict(told(with_them))
    assert answers["patient-name"] == "Ann Testcase"
    assert answers["birth-date"] == "1951-04-12"
    assert answers["plan"] == "Example Health Plan"


@pytest.mark.form_rule("dtr-shared-response")
def test_orders_that_share_a_form_share_its_response(package: Package, fixture: Read) -> None:
    (response,) = begun(package(asked(fixture("order-sign/disc-pain-four-orders"))))
    context = [e for e in response["extension"] if e["url"] == DTR + "qr-context"]
    assert len(context) == 4
    codes = [v for link, v in told(response) if link == "service-code"]
    assert codes == ["0609T", "0610T", "0611T", "0612T"]


def test_a_form_asked_for_by_its_canonical_comes_once(package: Package, fixture: Read) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    forms = [
        ("questionnaire", {"valueCanonical": CANONICAL + "abn-record"}),
        ("questionnaire", {"valueCanonical": CANONICAL + "abn-record|1.2.0"}),
        ("questionnaire", {"valueCanonical": CANONICAL + "organization-determination-request"}),
    ]
    output = package(asked(request, *forms))
    ids = [b["entry"][0]["resource"]["id"] for b in bundles(output)]
    assert ids == ["abn-record", "organization-determination-request"]
    # The order goes with each of them.
    for response in begun(output):
        assert any(e["url"] == DTR + "qr-context" for e in response["extension"])


def test_a_form_can_be_asked_for_without_an_order(package: Package, fixture: Read) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    form = ("questionnaire", {"valueCanonical": CANONICAL + "abn-record"})
    (response,) = begun(package(asked(request, form, orders=False)))
    assert told(response) == []
    assert not any(e["url"] == DTR + "qr-context" for e in response["extension"])


@pytest.mark.form_rule("dtr-unknown-form")
def test_a_form_that_is_not_there_is_a_warning_and_not_quoted(
    package: Package, fixture: Read
) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    forms = [
        ("questionnaire", {"valueCanonical": "http://other.example.org/secret-form"}),
        ("questionnaire", {"valueCanonical": CANONICAL + "abn-record|9"}),
    ]
    output = package(asked(request, *forms))
    found = issues(output)
    assert [(i["severity"], i["code"]) for i in found] == [("warning", "not-found")] * 2
    assert [i["expression"] for i in found] == [
        ["parameter[2].valueCanonical"],
        ["parameter[3].valueCanonical"],
    ]
    assert "secret-form" not in str(output)
    assert len(bundles(output)) == 1


@pytest.mark.form_rule("dtr-changed-since")
@pytest.mark.parametrize(
    ("since", "comes"),
    [
        ("2020-01-01T00:00:00Z", True),
        ("2030-01-01T00:00:00+02:00", False),
    ],
)
@pytest.mark.parametrize("value", ["valueInstant", "valueDateTime"])
def test_a_form_that_has_not_changed_since_does_not_come_again(
    package: Package, fixture: Read, since: str, comes: bool, value: str
) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    output = package(asked(request, ("changedsince", {value: since})))
    assert len(bundles(output)) == comes
    texts = " ".join(i["diagnostics"] for i in issues(output))
    assert ("has not changed" in texts) != comes


@pytest.mark.form_rule("dtr-no-form")
def test_an_order_that_needs_no_form_is_answered_without_one(
    package: Package, fixture: Read
) -> None:
    output = package(asked(fixture("order-sign/do-not-perform")))
    assert bundles(output) == []
    (issue,) = issues(output)
    assert issue["severity"] == "information"
    assert "not to be carried out" in issue["diagnostics"]


@pytest.mark.form_rule("dtr-nothing-resolved")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unlisted-code", "No coverage policy"),
        ("code-as-text-only", "no billing code"),
        ("before-the-policy", "none was in force"),
        ("unknown-payer", "payer is not one handled here"),
        ("expired-coverage", "not active on the day of service"),
    ],
)
def test_where_no_form_can_be_told_at_all_the_refusal_says_why(
    client: FlaskClient, fixture: Read, name: str, says: str
) -> None:
    request = fixture(f"order-sign/{name}")
    payers = [
        ("referenced", e["resource"])
        for e in request["prefetch"]["coverage"]["entry"]
        if e["resource"]["resourceType"] == "Organization"
    ]
    (issue,) = refused(client, asked(request, *payers))
    assert issue["severity"] == "error"
    assert says in issue["diagnostics"]
    assert issue["expression"][0].startswith("parameter[")


@pytest.mark.form_rule("dtr-nothing-resolved")
def test_a_form_alone_that_is_not_there_is_not_found(client: FlaskClient, fixture: Read) -> None:
    unknown = ("questionnaire", {"valueCanonical": "http://other.example.org/secret-form"})
    body = asked(fixture("order-sign/mrs-original-medicare"), unknown, orders=False)
    (issue,) = refused(client, body, 404)
    assert issue["code"] == "not-found"
    assert "secret-form" not in str(issue)


def test_of_two_orders_one_without_a_form_is_a_warning(package: Package, fixture: Read) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    (other,) = orders_of(fixture("order-sign/unlisted-code"))
    other["subject"] = orders_of(request)[0]["subject"]
    output = package(asked(request, ("order", other)))
    assert len(bundles(output)) == 1
    assert [i["severity"] for i in issues(output)] == ["warning"]


def refused(client: FlaskClient, body: Json, status: int = 422) -> list[Json]:
    """The issues of a call that no form could be told for."""
    reply = client.post(OPERATION, json=body)
    assert reply.status_code == status, reply.get_data(as_text=True)
    outcome = reply.get_json()
    OperationOutcome.model_validate(outcome)
    found: list[Json] = outcome["issue"]
    return found


def test_an_order_of_another_patient_gets_no_form(client: FlaskClient, fixture: Read) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    order = orders_of(request)[0] | {"subject": {"reference": "Patient/ann"}}
    (issue,) = refused(client, parameters(("coverage", coverage_of(request)), ("order", order)))
    assert "another patient" in issue["diagnostics"]


def booked(fixture: Read) -> tuple[Json, Json]:
    """A hook request that books MR spectroscopy for Ann, and its appointment."""
    request = fixture("appointment-book/mrs-appointment")
    (entry,) = request["context"]["appointments"]["entry"]
    return request, entry["resource"]


def test_an_appointment_of_several_patients_gets_the_form_of_the_one_asked_about(
    package: Package, fixture: Read
) -> None:
    request, appointment = booked(fixture)
    child = {"actor": {"reference": "Patient/child"}, "status": "accepted"}
    appointment["participant"].insert(0, child)
    output = package(parameters(("coverage", coverage_of(request)), ("order", appointment)))
    (response,) = begun(output)
    assert response["subject"] == {"reference": "Patient/ann"}


def test_an_appointment_for_an_order_that_was_not_sent_is_no_all_clear(
    client: FlaskClient, fixture: Read
) -> None:
    request, appointment = booked(fixture)
    appointment["basedOn"] = [{"reference": "ServiceRequest/elsewhere"}]
    appointment["serviceType"] = [{"text": "Scan"}]
    body = parameters(("coverage", coverage_of(request)), ("order", appointment))
    (issue,) = refused(client, body)
    assert (issue["severity"], issue["code"]) == ("error", "incomplete")
    assert "code of the order could not be read" in issue["diagnostics"]


def test_a_resource_that_is_no_order_is_a_warning(package: Package, fixture: Read) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    output = package(asked(request, ("order", {"resourceType": "SupplyRequest", "id": "s"})))
    assert len(bundles(output)) == 1
    assert [i["code"] for i in issues(output)] == ["not-supported"]


def test_where_the_program_is_not_told_both_forms_come_and_it_is_said_to_pick(
    package: Package, fixture: Read
) -> None:
    output = package(asked(fixture("order-sign/mrs-program-not-told")))
    ids = [b["entry"][0]["resource"]["id"] for b in bundles(output)]
    assert ids == ["organization-determination-request", "abn-record"]
    assert "only one is to be filled in" in issues(output)[0]["diagnostics"]


@pytest.mark.form_rule("dtr-bad-call")
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"not json", 400, "not JSON"),
        (b"[]", 400, "expected an object"),
        (b'{"resourceType": "Bundle", "parameter": []}', 400, "Parameters"),
        (b'{"resourceType": "Parameters"}', 400, "missing: parameter"),
        (b'{"resourceType": "Parameters", "parameter": [{}]}', 400, "missing: name"),
        (b'{"resourceType": "Parameters", "parameter": []}', 422, "expected a parameter coverage"),
    ],
)
def test_what_is_no_call_of_the_operation_is_an_operation_outcome(
    client: FlaskClient, body: bytes, status: int, says: str
) -> None:
    reply = client.post(OPERATION, data=body, content_type="application/fhir+json")
    assert reply.status_code == status
    assert reply.content_type == "application/fhir+json"
    outcome = reply.get_json()
    OperationOutcome.model_validate(outcome)
    assert says in " ".join(i["diagnostics"] for i in outcome["issue"])


@pytest.mark.parametrize(
    ("given", "status", "place"),
    [
        ([], 422, "parameter"),
        ([("coverage", {"resourceType": "Coverage"}), ("context", {"valueString": "x"})], 422, ""),
        ([("context", {"valueUri": "x"})], 400, "parameter[1]"),
        ([("questionnaire", {"valueUri": "x"})], 400, "parameter[1].valueCanonical"),
        ([("context", {"valueString": "x"}), ("context", {"valueString": "y"})], 422, "parameter"),
        (
            [("context", {"valueString": "x"}), ("changedsince", {"valueInstant": "2026-12-01"})],
            400,
            "parameter[2].valueInstant",
        ),
        ([("context", {"valueString": "cc0"})], 404, ""),
    ],
)
def test_a_wrong_parameter_is_named_by_its_place(
    client: FlaskClient, fixture: Read, given: list[tuple[str, Any]], status: int, place: str
) -> None:
    coverage = coverage_of(fixture("order-sign/mrs-original-medicare"))
    reply = client.post(OPERATION, json=parameters(("coverage", coverage), *given))
    assert reply.status_code == status, reply.get_data(as_text=True)
    assert place in reply.get_json()["issue"][0].get("expression", [""])[0]


def test_a_coverage_without_a_patient_is_refused(client: FlaskClient, fixture: Read) -> None:
    coverage = coverage_of(fixture("order-sign/mrs-original-medicare"))
    del coverage["beneficiary"]
    body = parameters(("coverage", coverage), ("context", {"valueString": "x"}))
    reply = client.post(OPERATION, json=body)
    assert reply.status_code == 422
    assert reply.get_json()["issue"][0]["expression"] == ["parameter[0].resource.beneficiary"]


class Log:
    """A decision log of one call, known by the id "known" to the client "clinic"."""

    def __init__(self, request: Mapping[str, Any], order: str, *fetched: Resource) -> None:
        service_id = f"{request['hook']}-crd"
        self.call = RecalledCall(service_id, order, json.dumps(request).encode(), fetched)

    def by_assertion_id(self, assertion_id: str, client: str) -> RecalledCall | None:
        return self.call if (assertion_id, client) == ("known", "clinic") else None


class TestContext:
    """The coverage-assertion-id of an earlier answer in place of the order."""

    @pytest.fixture
    def request_(self, fixture: Read) -> Json:
        return fixture("order-sign/mrs-original-medicare")

    @pytest.fixture
    def ask(self, request_: Json) -> Callable[..., FlaskClient]:
        def client_of(name: str, order: str = "ServiceRequest/mrs-brain") -> FlaskClient:
            return served(Log(request_, order), name)

        return client_of

    def context(self, request: Json, assertion_id: str = "known", **more: Any) -> Json:
        return asked(request, ("context", {"valueString": assertion_id}), orders=False)

    def test_it_brings_form_patient_and_encounter_back(
        self, ask: Callable[..., FlaskClient], request_: Json
    ) -> None:
        (response,) = begun(checked(ask("clinic"), self.context(request_)))
        answers = dict(told(response))
        assert response["questionnaire"].endswith("/abn-record|1.2.0")
        assert answers["patient-name"] == "Bo Sampleson"
        assert answers["service-code"] == "76390"
        assert response["encounter"] == {"reference": "Encounter/visit-bo"}
        # The logged call spoke CRD 2.0: in DTR 2.0.1 the coverage is one of the context's.
        context = [
            e["valueReference"]["reference"]
            for e in response["extension"]
            if e["url"] == DTR + "qr-context"
        ]
        assert context == ["ServiceRequest/mrs-brain", "Coverage/om-bo"]

    @pytest.mark.form_rule("dtr-assertion-id")
    def test_another_client_is_told_the_same_as_for_an_unknown_one(
        self, ask: Callable[..., FlaskClient], request_: Json
    ) -> None:
        stranger = ask("hospital").post(OPERATION, json=self.context(request_))
        unknown = ask("clinic").post(OPERATION, json=self.context(request_, "unknown"))
        assert (stranger.status_code, unknown.status_code) == (404, 404)
        assert stranger.get_json() == unknown.get_json()
        assert "Send the order instead" in stranger.get_json()["issue"][0]["diagnostics"]

    def test_it_tells_nothing_for_another_patients_coverage(
        self, ask: Callable[..., FlaskClient], fixture: Read
    ) -> None:
        other = fixture("order-sign/mrs-medicare-advantage")
        reply = ask("clinic").post(OPERATION, json=self.context(other))
        assert reply.status_code == 404
        assert "Bo" not in reply.get_data(as_text=True)

    def test_beside_an_order_an_unknown_one_is_a_warning(
        self, ask: Callable[..., FlaskClient], request_: Json
    ) -> None:
        body = asked(request_, ("context", {"valueString": "unknown"}))
        output = checked(ask("clinic"), body)
        assert len(bundles(output)) == 1
        assert [i["code"] for i in issues(output)] == ["not-found"]

    def test_the_order_as_posted_now_counts_before_the_one_logged(
        self, ask: Callable[..., FlaskClient], request_: Json
    ) -> None:
        order = orders_of(request_)[0]
        order["code"] = {"coding": [{**order["code"]["coding"][0], "code": "0609T"}]}
        body = parameters(
            ("coverage", coverage_of(request_)),
            ("order", order),
            ("context", {"valueString": "known"}),
        )
        (response,) = begun(checked(ask("clinic"), body))
        assert dict(told(response))["service-code"] == "0609T"
        assert dict(told(response))["patient-name"] == "Bo Sampleson"

    def test_where_nothing_is_asked_for_any_more_it_is_said(
        self, ask: Callable[..., FlaskClient], request_: Json
    ) -> None:
        encounter = request_["prefetch"]["encounter"]
        encounter["class"] = {**encounter["class"], "code": "EMER"}
        output = checked(ask("clinic"), self.context(request_))
        assert bundles(output) == []
        assert "no longer asked for" in issues(output)[0]["diagnostics"]

    def test_an_order_that_the_call_does_not_hold_is_as_good_as_unknown(
        self, ask: Callable[..., FlaskClient], request_: Json
    ) -> None:
        reply = ask("clinic", "ServiceRequest/other").post(OPERATION, json=self.context(request_))
        assert reply.status_code == 404


def test_an_order_that_was_fetched_for_the_logged_call_is_known_by_its_context(
    fixture: Read,
) -> None:
    request = fixture("order-dispatch/mrs-original-medicare")
    reference = request["context"]["dispatchedOrders"][0]
    file = FIXTURES / "resources" / f"{reference.replace('/', '-', 1)}.json"
    document = Document(fixture_text(file).encode(), json.loads(fixture_text(file)))
    order = Resource(document.data, document, (), f"fetched.{reference}")
    coverage = coverage_of(request)
    request["prefetch"] = {k: v for k, v in request["prefetch"].items() if k == "patient"}
    client = served(Log(request, reference, order), "clinic")
    body = parameters(("coverage", coverage), ("context", {"valueString": "known"}))
    (response,) = begun(checked(client, body))
    assert dict(told(response))["service-code"] == "76390"
    assert dict(told(response))["patient-name"] == "Bo Sampleson"


def served(log: LoggedCalls, client: str) -> FlaskClient:
    """The operation with a decision log behind it, called by one client."""
    settings = Settings()
    library = Library(settings)
    packages: QuestionnairePackages = wire_packages(settings, library, log, clock=lambda: NOW)
    app = Flask("package")
    translate_errors(app)
    wire_fhir(app, settings, library, packages, lambda: client, lambda _, __: None, lambda: NOW)
    return app.test_client()
