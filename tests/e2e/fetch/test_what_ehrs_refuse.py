"""EHRs that do less than asked, write it otherwise, ask for no token or stand behind a gateway."""

from __future__ import annotations

import copy
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from service.errors import ConfigurationError, UnhandledPayer
from service.settings import load_settings
from tests.contract.answer_rules import check_answer
from tests.e2e.fetch.conftest import Ask, bare
from tests.e2e.fetch.ehrs import (
    Behavior,
    Ehr,
    Handler,
    changed,
    each_coverage,
    found,
    serve,
    status,
)

SIGN = "order-sign/mrs-original-medicare"
DISCHARGE = "encounter-discharge/mrs-ordered"
ALL_OF_IT = ("patient", "coverage", "encounter")


def strict(*known: str, code: int = 400) -> Behavior:
    """An EHR that refuses a search with a parameter that it does not know."""

    def answer(handler: Handler) -> None:
        names = {name for name, _ in parse_qsl(urlsplit(handler.path).query)}
        (status(code) if names - set(known) else serve)(handler)

    return answer


@pytest.mark.requirement("crd-2.2.1:found-5", "crd-2.0.1:60")
@pytest.mark.parametrize("code", [400, 422, 501])
@pytest.mark.parametrize("known", [("patient",), ("patient", "status"), ("patient", "_include")])
def test_an_ehr_that_refuses_parameters_still_gives_its_coverage(
    known: tuple[str, ...], code: int, ehr: Ehr, ask: Ask
) -> None:
    ehr.misbehave["Coverage"] = strict(*known, code=code)
    asked = ask(bare(SIGN, ehr.base))
    assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "conditional"
    assert asked.summaries == ask(bare(SIGN, ehr.base, *ALL_OF_IT)).summaries
    assert "/fhir/Coverage?patient=bo" in ehr.paths
    assert asked.outcomes["Coverage?patient&status&_include"] == "fetched"


def test_what_the_server_did_not_look_at_is_looked_at_here(ehr: Ehr, ask: Ask) -> None:
    def with_another(bundle: Any) -> Any:
        (coverage, *_) = (e["resource"] for e in bundle["entry"])
        over = {**copy.deepcopy(coverage), "id": "over", "status": "cancelled"}
        return bundle | {"entry": [{"resource": over}, *bundle["entry"]]}

    ehr.misbehave["Coverage"] = changed(with_another)
    statement = ask(bare(SIGN, ehr.base)).statements["ServiceRequest/mrs-brain"]
    assert statement["coverage"] == {"reference": "Coverage/om-bo"}


def test_an_ehr_that_refuses_the_plainest_search_too_is_asked_no_third_time(
    ehr: Ehr, ask: Ask
) -> None:
    ehr.misbehave["Coverage"] = status(400)
    asked = ask(bare(SIGN, ehr.base, "patient", "encounter"))
    assert asked.outcomes == {"Coverage?patient&status&_include": "not-understood"}
    assert len(ehr.paths) == 2


@pytest.mark.requirement("crd-2.2.1:found-5")
def test_orders_are_found_where_the_ehr_cannot_search_them_by_encounter(ehr: Ehr, ask: Ask) -> None:
    easy = ask(bare(DISCHARGE, ehr.base))
    ehr.misbehave["ServiceRequest"] = strict("patient")
    strictly = ask(bare(DISCHARGE, ehr.base))
    assert strictly.summaries == easy.summaries
    assert len(strictly.summaries) == 1


def test_an_order_of_another_encounter_is_left_aside(ehr: Ehr, ask: Ask) -> None:
    def of_another(bundle: Any) -> Any:
        bundle = copy.deepcopy(bundle)
        for entry in bundle["entry"]:
            entry["resource"]["encounter"] = {"reference": "Encounter/another"}
        return bundle

    ehr.misbehave["ServiceRequest"] = changed(of_another)
    assert ask(bare(DISCHARGE, ehr.base)).summaries == []


@pytest.mark.parametrize(
    "kind",
    [
        "application/json+fhir",
        "application/json",
        "application/fhir+json;charset=UTF-8",
        "text/json",
    ],
)
def test_json_is_read_by_whichever_of_its_names_it_is_called(kind: str, ehr: Ehr, ask: Ask) -> None:
    def answer(handler: Handler) -> None:
        handler.send(json.dumps(found(handler)).encode(), **{"Content-Type": kind})

    ehr.misbehave["Coverage"] = answer
    assert ask(bare(SIGN, ehr.base)).statements


@pytest.mark.requirement("crd-2.2.1:found-33")
@pytest.mark.parametrize("url", ["", None])
def test_an_empty_link_to_a_next_page_is_no_next_page(url: Any, ehr: Ehr, ask: Ask) -> None:
    link = [{"relation": "self", "url": "x"}, {"relation": "next", "url": url}]
    ehr.misbehave["Coverage"] = changed(lambda bundle: bundle | {"link": link})
    assert ask(bare(SIGN, ehr.base)).outcomes["Coverage?patient&status&_include"] == "fetched"


class TestAnOpenServer:
    @staticmethod
    def without_token(request: dict[str, Any]) -> dict[str, Any]:
        del request["fhirAuthorization"]
        return request

    @staticmethod
    def openly(handler: Handler) -> None:
        assert "Authorization" not in handler.headers
        handler.send_json(found(handler) or {"resourceType": "OperationOutcome"})

    @pytest.mark.parametrize(
        "authorization", [None, {}, *({"access_token": none} for none in ("", None))]
    )
    def test_on_this_machine_is_asked_without_a_token(
        self, authorization: Any, ehr: Ehr, ask: Ask
    ) -> None:
        for kind in ("Coverage", "Encounter", "Organization"):
            ehr.misbehave[kind] = self.openly
        request = bare(SIGN, ehr.base)
        request["fhirAuthorization"] = authorization
        asked = ask(request)
        assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "conditional"
        assert asked.token_use == "used"

    def test_that_the_operator_listed_is_asked_and_no_other(self, ehr: Ehr, ask: Ask) -> None:
        ehr.misbehave["Coverage"] = self.openly
        request = self.without_token(bare(SIGN, ehr.base, "patient", "encounter"))
        assert ask(request, frozenset({ehr.base})).statements
        ehr.requests.clear()
        asked = ask(request, frozenset())
        assert ehr.requests == []
        assert asked.outcomes == {}
        assert asked.statements == {}

    def test_what_could_not_be_read_is_worded_apart_from_what_was_not_told(
        self, ehr: Ehr, ask: Ask
    ) -> None:
        request = self.without_token(bare(SIGN, ehr.base, *ALL_OF_IT))
        del request["prefetch"]["coverage"]["entry"][1]
        asked = ask(request, frozenset())
        reason = asked.statements["ServiceRequest/mrs-brain"]["reason"]["text"]
        assert "names its payer as Organization/example-payer" in reason
        assert "was not sent and could not be read: the request carries no token" in reason
        check_answer(asked.answer)
        for changed_, why in (
            ({"fhirServer": None}, "the request names no FHIR server"),
            ({"fhirAuthorization": {"access_token": "t"}}, "could not be read from the EHR"),
        ):
            other = ask(request | changed_, frozenset())
            assert why in other.statements["ServiceRequest/mrs-brain"]["reason"]["text"]

    def test_what_could_not_be_read_is_an_error_of_crd_2_2_with_the_cause(
        self, ehr: Ehr, ask: Ask
    ) -> None:
        request = self.without_token(bare(SIGN, ehr.base, *ALL_OF_IT))
        request["extension"] = {"davinci-crd.requestedVersion": "2.2"}
        del request["prefetch"]["coverage"]["entry"][1]
        with pytest.raises(UnhandledPayer, match="could not be read: the request carries no token"):
            ask(request, frozenset())


class TestAGateway:
    """Calls name its address, references and links the one of the server behind it."""

    INNER = "http://inner.ehr.example/fhir/r4"

    @pytest.fixture
    def behind_a_gateway(self, ehr: Ehr) -> dict[str, Any]:
        def inner(coverage: dict[str, Any]) -> None:
            coverage["beneficiary"] = {"reference": f"{self.INNER}/Patient/bo"}
            coverage["payor"] = [{"reference": f"{self.INNER}/Organization/example-payer"}]

        ehr.misbehave["Coverage"] = each_coverage(inner)
        request = bare(SIGN, ehr.base, "patient")
        order = request["context"]["draftOrders"]["entry"][0]["resource"]
        order["subject"] = {"reference": f"{self.INNER}/Patient/bo"}
        return request

    def test_that_the_operator_did_not_tell_of_leads_to_another_patient(
        self, behind_a_gateway: dict[str, Any], ask: Ask
    ) -> None:
        assert ask(behind_a_gateway).statements == {}

    def test_that_the_operator_told_of_is_the_same_ehr(
        self, behind_a_gateway: dict[str, Any], ehr: Ehr, ask: Ask
    ) -> None:
        asked = ask(behind_a_gateway, fhir_aliases=f"{ehr.base}={self.INNER}")
        assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "conditional"

    def test_has_its_next_pages_followed_at_its_own_address(self, ehr: Ehr, ask: Ask) -> None:
        pages: list[str] = []

        def answer(handler: Handler) -> None:
            pages.append(handler.path)
            link = {"relation": "next", "url": f"{self.INNER}/Coverage?page=2"}
            last = "page=2" in handler.path
            handler.send_json({"resourceType": "Bundle", "link": [] if last else [link]})

        ehr.misbehave["Coverage"] = answer
        ask(bare(SIGN, ehr.base, "patient"), fhir_aliases=f"{ehr.base}={self.INNER}")
        assert pages[1:] == ["/fhir/Coverage?page=2"]

    @pytest.mark.parametrize("wrong", ["https://a.example/fhir", "x=https://b.example", "=", "a=b"])
    def test_is_told_in_pairs_of_base_urls(self, wrong: str) -> None:
        with pytest.raises(ConfigurationError, match="COVERCARD_FHIR_ALIASES"):
            load_settings(fhir_aliases=wrong)
