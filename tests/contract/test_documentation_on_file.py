"""Documentation on file: a policy asks once for a form that decides nothing."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from cards.coverage_information import DOCUMENTATION_ON_FILE
from cards.coverage_information.reader import read_coverage_information
from service.bootstrap.app import RECORDER, create_app
from service.decision.determination import FormOnFile
from service.ehr.fhir_query import Search
from tests.conftest import NOW, in_folder
from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import answer, asking, change_orders
from tests.contract.test_example_policies import (
    CPT,
    EXAMPLES,
    HCPCS,
    completed,
    form_cards,
    order_of,
    packaged,
    said,
    with_data,
)
from tests.contract.test_facts_fetched import Ehr, for_facts, reviewed

Json = dict[str, Any]

VERSIONS = ("2.0", "2.2")
FORM = "https://covercard.example/fhir/Questionnaire/hospital-bed-need"
TITLE = "Why a hospital bed is needed at home (example)"
ON_FILE = f'The form "{TITLE}" is on file for this order. Nobody has to fill it in again.'
each_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    app = create_app(in_folder(tmp_path_factory.mktemp("r"), policies_dir=EXAMPLES), lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def bed() -> Json:
    return order_of(HCPCS, "E0250", "G82.20")


def filled_in(client: FlaskClient, request: Json) -> Json:
    """The form of the order, filled in."""
    return completed(
        packaged(client, request),
        position={"valueString": "Upright, for two hours."},
        ordinary_bed={"valueString": "Its head does not rise."},
    )


@each_version
@pytest.mark.form_rule("crd-documentation-on-file")
def test_a_form_is_asked_for_once(client: FlaskClient, version: str) -> None:
    request = bed()
    before = said(client, request, version)
    assert parts(before, "doc-needed") == ["clinical"]
    assert parts(before, "questionnaire") == [f"{FORM}|1.0.0"]
    assert form_cards(client, request, version)
    assert ON_FILE not in str(before)

    back = with_data(request, filled_in(client, request))
    after = said(client, back, version)
    for part in ("doc-needed", "doc-purpose", "questionnaire", "response"):
        assert parts(after, part) == [], part
    assert not form_cards(client, back, version)
    assert ON_FILE in str(after)
    for part in ("covered", "pa-needed", "billingCode"):
        assert parts(after, part) == parts(before, part) != []
    (ids,) = zip(
        parts(before, "coverage-assertion-id"), parts(after, "coverage-assertion-id"), strict=True
    )
    assert ids[0] != ids[1], "another answer is another assertion"


@each_version
def test_it_stays_settled_when_the_order_comes_back_with_its_answer(
    client: FlaskClient, version: str
) -> None:
    request = bed()
    back = with_data(request, filled_in(client, request))
    (action,) = answer(client, asking(back, version))["systemActions"]
    again = change_orders(back, lambda order: order.update(action["resource"]))
    body = answer(client, asking(again, version))
    check_answer(body)
    assert not body.get("systemActions"), "nothing new is said"


def in_progress(form: Json) -> None:
    form["status"] = "in-progress"


def of_another_order(form: Json) -> None:
    for extension in form["extension"]:
        if extension["url"].endswith("qr-context"):
            extension["valueReference"]["reference"] = "ServiceRequest/another"


def of_another_patient(form: Json) -> None:
    form["subject"] = {"reference": "Patient/bo"}


def of_no_order(form: Json) -> None:
    form["extension"] = [e for e in form["extension"] if not e["url"].endswith("qr-context")]


def of_another_form(form: Json) -> None:
    form["questionnaire"] = "https://covercard.example/fhir/Questionnaire/oxygen-need|1.0.0"


def of_another_major_version(form: Json) -> None:
    form["questionnaire"] = f"{FORM}|2.0.0"


def with_an_open_question(form: Json) -> None:
    form["item"] = [i for i in form["item"] if i["linkId"] != "position"]


REJECTED = (
    (in_progress, "it is not completed"),
    (of_no_order, "it does not say which order it is for"),
    (with_an_open_question, "a required question is not answered"),
    (of_another_order, None),
    (of_another_patient, None),
    (of_another_form, None),
    (of_another_major_version, None),
)


@each_version
@pytest.mark.form_rule("crd-documentation-rejected")
@pytest.mark.parametrize(("change", "why"), REJECTED, ids=[c.__name__ for c, _ in REJECTED])
def test_a_form_that_does_not_count_is_asked_for_again(
    client: FlaskClient, change: Callable[[Json], None], why: str | None, version: str
) -> None:
    request = bed()
    form = filled_in(client, request)
    change(form)
    back = with_data(request, form)
    info = said(client, back, version)
    assert parts(info, "doc-needed") == ["clinical"]
    assert parts(info, "questionnaire") == [f"{FORM}|1.0.0"]
    assert form_cards(client, back, version)
    assert ON_FILE not in str(info)
    told = f'The form "{TITLE}" came back for this order and does not count: {why}.'
    assert (told in str(info)) is (why is not None)
    assert ("came back" in str(info)) is (why is not None)


@each_version
def test_of_several_responses_one_that_counts_is_enough(client: FlaskClient, version: str) -> None:
    request = bed()
    form = filled_in(client, request)
    begun = copy.deepcopy(form) | {"id": "begun", "status": "in-progress"}
    info = said(client, with_data(request, begun, form), version)
    assert parts(info, "doc-needed") == []
    assert "came back" not in str(info)


@each_version
def test_an_order_may_name_the_form_instead(client: FlaskClient, version: str) -> None:
    request = bed()
    form = filled_in(client, request)
    of_no_order(form)
    named = change_orders(
        with_data(request, form),
        lambda order: order.update(
            supportingInfo=[{"reference": "QuestionnaireResponse/form-back"}]
        ),
    )
    assert parts(said(client, named, version), "doc-needed") == []


@each_version
def test_each_order_has_its_own_form(client: FlaskClient, version: str) -> None:
    request = bed()
    form = filled_in(client, request)
    entries = request["context"]["draftOrders"]["entry"]
    other = copy.deepcopy(entries[0])
    other["resource"]["id"] = "another"
    entries.append(other)
    back = with_data(request, form)
    body = answer(client, asking(back, version))
    check_answer(body)
    settled, open_ = stated(body)
    assert (parts(settled, "doc-needed"), parts(open_, "doc-needed")) == ([], ["clinical"])
    (card,) = form_cards(client, back, version)
    ((action,),) = (s["actions"] for s in card["suggestions"])
    assert action["resource"]["basedOn"] == [{"reference": "ServiceRequest/another"}]


@pytest.fixture(scope="module")
def asks_twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The service with a policy that asks for two forms."""
    folder = tmp_path_factory.mktemp("twice")
    policies = shutil.copytree(EXAMPLES, folder / "policies")
    policy = policies / "hospital-bed"
    file = policy / "2026-01-01.yaml"
    text = file.read_text("utf-8")
    for old, new in (
        (
            "    reason: The plan wants to know why an ordinary bed does not do.\n",
            "    reason: The plan wants to know why an ordinary bed does not do.\n"
            "  bed-room:\n"
            "    needed: admin\n"
            "    purpose: withclaim\n"
            "    reason: The plan wants to know where the bed goes.\n",
        ),
        ("documentation: [hospital-bed-need]", "documentation: [hospital-bed-need, bed-room]"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    file.write_text(text, "utf-8")
    forms = policy / "questionnaires"
    form = (forms / "hospital-bed-need.json").read_text("utf-8")
    (forms / "bed-room.json").write_text(form.replace("hospital-bed-need", "bed-room"), "utf-8")
    app = create_app(in_folder(folder, policies_dir=policies), lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@each_version
def test_of_several_forms_the_remaining_ones_are_asked_for(
    asks_twice: FlaskClient, version: str
) -> None:
    request = bed()
    both = said(asks_twice, request, version)
    needed = ["both"] if version == "2.0" else ["clinical", "admin"]
    assert parts(both, "doc-needed") == needed
    one = filled_in(asks_twice, request)
    left = said(asks_twice, with_data(request, one), version)
    assert parts(left, "doc-needed") == ["admin"]
    assert parts(left, "doc-purpose") == ["withclaim"]
    (canonical,) = parts(left, "questionnaire")
    assert canonical.endswith("/bed-room|1.0.0")
    other = copy.deepcopy(one) | {"id": "other-back", "questionnaire": canonical}
    none = said(asks_twice, with_data(request, one, other), version)
    assert parts(none, "doc-needed") == parts(none, "questionnaire") == []
    (info,) = read_coverage_information({"extension": [none]})
    assert info.detail(DOCUMENTATION_ON_FILE) == (
        "QuestionnaireResponse/other-back",
        "QuestionnaireResponse/form-back",
    )


@each_version
def test_dtr_gives_the_form_on_request_all_the_same(client: FlaskClient, version: str) -> None:
    request = bed()
    back = with_data(request, filled_in(client, request))
    (action,) = answer(client, asking(back, version))["systemActions"]
    again = change_orders(back, lambda order: order.update(action["resource"]))
    package = packaged(client, again)
    assert FORM in str(package)
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "coverage", "resource": again["prefetch"]["coverage"]["entry"][0]["resource"]},
            {"name": "questionnaire", "valueCanonical": FORM},
        ],
    }
    reply = client.post(f"/fhir/{version}/Questionnaire/$questionnaire-package", json=parameters)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    assert FORM in reply.get_data(as_text=True)


@each_version
def test_a_policys_card_says_so(tmp_path: Path, version: str) -> None:
    policies = shutil.copytree(EXAMPLES, tmp_path / "policies")
    file = policies / "hospital-bed" / "2026-01-01.yaml"
    text = file.read_text("utf-8")
    covered = "    prior_authorization: auth-needed\n"
    assert text.count(covered) == 1
    words = '    summary: "{services} is covered."\n    statement: "Nothing else is to be done."\n'
    file.write_text(text.replace(covered, covered + words), "utf-8")
    app = create_app(in_folder(tmp_path, policies_dir=policies), lambda: NOW)
    client = app.test_client()
    try:
        request = bed()
        form = filled_in(client, request)
        body = answer(client, asking(with_data(request, form), version))
        check_answer(body)
        (card,) = (c for c in body["cards"] if "Nothing else is to be done." in c["detail"])
        assert ON_FILE in card["detail"]
        in_progress(form)
        body = answer(client, asking(with_data(request, form), version))
        (card,) = (c for c in body["cards"] if "Nothing else is to be done." in c["detail"])
        assert "does not count: it is not completed." in card["detail"]
        assert ON_FILE not in card["detail"]
    finally:
        app.extensions[RECORDER].stop()


@each_version
def test_a_form_that_came_back_without_the_deciding_answer_stays_asked_for(
    client: FlaskClient, version: str
) -> None:
    request = order_of(CPT, "72148", "M54.50")
    form = completed(packaged(client, request), kind_of_care={"valueString": "Exercises"})
    info = said(client, with_data(request, form), version)
    assert parts(info, "covered") == ["conditional"]
    assert parts(info, "questionnaire")
    assert "on file" not in str(info)


# What the EHR is asked for.


def test_a_first_signing_searches_for_no_form(tmp_path: Path) -> None:
    ehr = Ehr()
    reviewed(ehr, bed(), tmp_path)
    assert for_facts(ehr) == []


def carrying(client: FlaskClient, request: Json) -> Json:
    """The order with its answer in it, and nothing else sent."""
    (action,) = answer(client, asking(request, "2.2"))["systemActions"]
    again = change_orders(request, lambda order: order.update(action["resource"]))
    again["prefetch"].pop("more", None)
    return again


def test_a_form_that_was_asked_for_is_searched_for_by_its_canonical(
    client: FlaskClient, tmp_path: Path
) -> None:
    request = bed()
    form = filled_in(client, request)
    ehr = Ehr([form])
    done = reviewed(ehr, carrying(client, request), tmp_path)
    (asked,) = (need for need in ehr.asked if need.label in for_facts(ehr))
    assert isinstance(asked, Search)
    assert asked.type == "QuestionnaireResponse"
    assert dict(asked.params) == {"patient": "ann", "questionnaire": FORM}
    (found,) = done.determinations
    on_file = FormOnFile("hospital-bed-need", "QuestionnaireResponse/form-back")
    assert found.documentation_on_file == (on_file,)
    assert any((s.topic, s.finding) == ("documentation", "on file") for s in found.trace)


def test_a_form_on_file_is_read_again_by_its_reference(client: FlaskClient, tmp_path: Path) -> None:
    request = bed()
    form = filled_in(client, request)
    ehr = Ehr([form])
    done = reviewed(ehr, carrying(client, with_data(request, form)), tmp_path)
    assert for_facts(ehr) == ["QuestionnaireResponse/form-back"]
    (found,) = done.determinations
    assert [f.record for f in found.documentation_on_file] == ["QuestionnaireResponse/form-back"]


def test_a_form_that_the_order_names_is_read(client: FlaskClient, tmp_path: Path) -> None:
    request = bed()
    form = filled_in(client, request)
    named = change_orders(
        request,
        lambda order: order.update(
            supportingInfo=[{"reference": "QuestionnaireResponse/form-back"}]
        ),
    )
    ehr = Ehr([form])
    done = reviewed(ehr, named, tmp_path)
    assert for_facts(ehr) == ["QuestionnaireResponse/form-back"]
    assert done.determinations[0].documentation_on_file
