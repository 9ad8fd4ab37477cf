"""The presets for Inferno hold what the fixtures hold, and the service answers what they send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.cli import cli
from service.crd.hooks import SERVICES
from tests.conftest import NOW, ROOT, in_folder
from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import (
    FIXTURE_NAMES,
    PRIMARY_HOOKS,
    Json,
    answer,
    call_of,
    post,
    resources_in,
)
from tests.contract.card_kinds import is_coverage_information, kinds
from tests.contract.inferno_preset import FOLDER, ONLY_IN_2_2, REQUESTS, SUITES, files, preset

each_version = pytest.mark.parametrize("version", SUITES)


def inputs(version: str) -> dict[str, Any]:
    """A preset's inputs by name, JSON read where it stands in a text field."""
    loaded = json.loads((FOLDER / f"covercard-crd-{version}.json").read_text("utf-8"))
    return {
        i["name"]: json.loads(i["value"]) if i["type"] == "textarea" else i["value"]
        for i in loaded["inputs"]
    }


def calls(version: str) -> list[Json]:
    return [
        call
        for name, value in inputs(version).items()
        if "_request_bod" in name
        for call in (value if isinstance(value, list) else [value])
    ]


def test_the_files_are_those_that_the_fixtures_make() -> None:
    for name, text in files():
        assert (FOLDER / name).read_text("utf-8") == text, "python -m tests.contract.inferno_preset"


@each_version
def test_a_preset_is_for_its_suite_and_has_every_input_of_it(version: str) -> None:
    made = preset(version)
    assert made["test_suite_id"] == SUITES[version]
    assert made.keys() == {"title", "id", "test_suite_id", "inputs"}
    bodies = set(REQUESTS) | (set(ONLY_IN_2_2) if version == "2.2" else set())
    plain = {"base_url", "authentication_required", "encryption_method", "jwks_kid"}
    assert inputs(version).keys() == plain | bodies | {"mock_ehr_bundle"}
    for call in calls(version):
        assert call["extension"]["davinci-crd.requestedVersion"] == version


@pytest.fixture(scope="module")
def with_examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The service as the suites call it: with the example policies, for the presets' payers."""
    settings = in_folder(
        tmp_path_factory.mktemp("examples"),
        payers_file=ROOT / "examples" / "inferno" / "payers.yaml",
        added_policies_dir=ROOT / "examples" / "policies",
    )
    app = create_app(settings, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture(scope="module")
def with_records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The same, with the records of examples/inferno/payer-data."""
    folder = tmp_path_factory.mktemp("records")
    settings = in_folder(
        folder,
        payers_file=ROOT / "examples" / "inferno" / "payers.yaml",
        added_policies_dir=ROOT / "examples" / "policies",
        payer_data=f"sqlite:///{folder}/payer-data.sqlite3",
    )
    environment = {
        "COVERCARD_PAYERS_FILE": str(settings.payers_file),
        "COVERCARD_ADDED_POLICIES_DIR": str(settings.added_policies_dir),
        "COVERCARD_PAYER_DATA": settings.payer_data,
    }
    records = str(ROOT / "examples" / "inferno" / "payer-data")
    done = CliRunner(env=environment).invoke(cli, ["payer-data", "import", records])
    assert done.exit_code == 0, done.output
    app = create_app(settings, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@each_version
def test_every_hook_is_called_and_answered(with_examples: FlaskClient, version: str) -> None:
    seen: dict[str, set[str]] = {service.hook: set() for service in SERVICES}
    for call in calls(version):
        answered = answer(with_examples, call)
        check_answer(answered)
        seen[call["hook"]].update(kind for card in answered["cards"] for kind in kinds(card))
        if call["hook"] in PRIMARY_HOOKS:
            assert answered.get("systemActions", [])
            assert all(is_coverage_information(a) for a in answered.get("systemActions", []))
    for hook, found in seen.items():
        # Of the mock EHR's visits nothing is known here: only the kit serves them.
        if not hook.startswith("encounter-"):
            assert found >= {
                "external reference",
                "instructions",
                "form completion",
                "SMART launch",
            }
    for hook in ("order-select", "order-sign"):
        assert seen[hook] >= {"alternate request", "additional orders"}


def test_the_special_answers_of_2_2_come_as_the_suite_wants_them(client: FlaskClient) -> None:
    wanted = {
        "no_active_coverage_request_body": ("not-covered", "no-active-coverage"),
        "technical_issues_request_body": ("indeterminate", "technical"),
    }
    # The other two take the payer's records: of_records below.
    assert wanted.keys() | OF_RECORDS.keys() == ONLY_IN_2_2.keys()
    for name, (covered, code) in wanted.items():
        (statement,) = stated(answer(client, inputs("2.2")[name]))
        assert parts(statement, "covered") == [covered]
        (first, *_) = parts(statement, "reason")
        assert first["coding"][0]["code"] == code
        assert first["text"]


OF_RECORDS = {
    "no_member_found_request_body": "no-member-found",
    "coverage_not_found_request_body": "coverage-not-found",
}


@pytest.mark.parametrize("name", OF_RECORDS)
def test_the_payers_records_give_the_other_two_answers(
    with_records: FlaskClient, name: str
) -> None:
    for information in stated(answer(with_records, inputs("2.2")[name])):
        assert parts(information, "covered") == ["not-covered"]
        (reason,) = parts(information, "reason")
        assert reason["coding"][0]["code"] == OF_RECORDS[name]


def test_an_approval_in_the_records_satisfies_and_is_named(with_records: FlaskClient) -> None:
    (information,) = stated(answer(with_records, call_of("order-sign/brain-imaging", "2.2")))
    assert parts(information, "satisfied-pa-id") == ["EXAMPLE-PA-0001"]


def test_a_coverages_days_by_the_records_are_offered_where_staff_sees_them(
    with_records: FlaskClient,
) -> None:
    def corrections(name: str) -> list[Json]:
        cards = answer(with_records, call_of(name, "2.2"))["cards"]
        return [c for c in cards if kinds(c) == ["coverage update"]]

    (card,) = corrections("appointment-book/mrs-appointment")
    ((action,),) = ([*s["actions"]] for s in card["suggestions"])
    assert action["type"] == "update"
    assert action["resource"]["period"] == {"start": "2022-01-01", "end": "2049-12-31"}
    assert card["source"]["topic"]["code"] == "insurance"
    # Clinicians are not asked about it (CRD 2.2.1 resp-70).
    assert corrections("order-sign/mrs-medicare-advantage") == []


@each_version
def test_requests_are_such_as_the_suite_accepts(version: str) -> None:
    for call in calls(version):
        context = call["context"]
        for name in ("patientId", "encounterId"):
            assert "/" not in context.get(name, "")
        if call["hook"] != "order-dispatch":
            assert context["userId"].split("/")[0] in ("Practitioner", "PractitionerRole")
        else:
            assert context["order"] == context["dispatchedOrders"][0]
            assert context["performer"]
            assert context["task"]["resourceType"] == "Task"
        for entry in call["prefetch"].get("coverage", {"entry": []})["entry"]:
            assert entry["resource"]["resourceType"] == "Coverage"
        for appointment in resources_in(context.get("appointments")):
            assert appointment["status"] == "proposed"
        assert call["fhirAuthorization"].keys() >= {
            "access_token",
            "token_type",
            "expires_in",
            "scope",
            "subject",
        }


@each_version
def test_the_mock_ehr_holds_everything_that_the_calls_refer_to(version: str) -> None:
    held = {
        f"{r['resourceType']}/{r['id']}" for r in resources_in(inputs(version)["mock_ehr_bundle"])
    }
    for call in calls(version):
        context = call["context"]
        assert f"Patient/{context['patientId']}" in held
        assert set(context.get("dispatchedOrders", ())) <= held
        if context.get("encounterId"):
            assert f"Encounter/{context['encounterId']}" in held


RULES_OF_2_2: dict[str, Callable[[Json], bool]] = {
    "crd-ci-q1": lambda i: not parts(i, "questionnaire") or bool(parts(i, "doc-needed")),
    "crd-ci-q2": lambda i: parts(i, "covered") != ["not-covered"] or not parts(i, "pa-needed"),
    "crd-ci-q3": lambda i: "conditional" not in _stated(i) or bool(parts(i, "info-needed")),
    "crd-ci-q4": lambda i: (
        parts(i, "pa-needed") != ["satisfied"] or "withpa" not in parts(i, "doc-purpose")
    ),
    "crd-ci-q5": lambda i: (
        (parts(i, "pa-needed") == ["satisfied"]) == bool(parts(i, "satisfied-pa-id"))
    ),
    "crd-ci-q6": lambda i: "OTH" not in parts(i, "info-needed") or bool(parts(i, "reason")),
    "crd-ci-q7": lambda i: all(reason.get("text") for reason in parts(i, "reason")),
    "crd-ci-q8": lambda i: not parts(i, "doc-purpose") or bool(parts(i, "reason")),
    "crd-ci-q9": lambda i: "indeterminate" not in _stated(i) or bool(parts(i, "reason")),
}
"""CRD 2.2.1's invariants of coverage information, as their texts say them."""


def _stated(information: Json) -> list[str]:
    return [
        value for url in ("covered", "pa-needed", "doc-needed") for value in parts(information, url)
    ]


@pytest.mark.parametrize("rule", RULES_OF_2_2)
def test_an_invariant_of_2_2_holds_for_every_policy(with_records: FlaskClient, rule: str) -> None:
    for name in FIXTURE_NAMES:
        reply = post(with_records, call_of(name, "2.2"))
        for information in stated(reply.get_json()) if reply.status_code == 200 else ():
            assert RULES_OF_2_2[rule](information), name
