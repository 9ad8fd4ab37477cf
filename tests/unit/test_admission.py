"""The gate is the application's: what nobody thought about is closed."""

from collections.abc import Callable
from dataclasses import replace
from threading import BoundedSemaphore

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from service.auth.call_places import CallPlaces, PlaceLimits
from service.auth.client_share import (
    FailedTokens,
    MinuteCounts,
    SlowRefusals,
    SpentShares,
    StoredBytes,
)
from service.auth.clients import ANYONE, Client
from service.auth.places import Places
from service.auth.rate_limit import CallLimit, MemoryCallCounts
from service.bootstrap.app import create_app
from service.errors import TooManyCalls, Unauthenticated
from service.settings import Settings
from service.web.client_auth import Admission, current_client, open_to_all, require_client
from service.web.problems import translate_errors
from service.web.request_log import log_calls
from tests.conftest import applications

HOSPITAL = Client("https://ehr.hospital.example.org", "hospital")
BASE = "https://covercard.example.org"


CLINIC = Client("https://ehr.clinic.example.org", "clinic")
OF_TOKEN = {"good": HOSPITAL, "other": CLINIC}


def client_of(token: str, url: str, address: str, request: str | None) -> Client:
    if token not in OF_TOKEN or url != f"{BASE}/later/feature":
        raise Unauthenticated("aud", "must be the URL that is called")
    return OF_TOKEN[token]


def places(
    at_work: int = 10, of_one: int = 10, waiting: int = 10, wait_of_one: int = 10
) -> CallPlaces:
    return CallPlaces(PlaceLimits(at_work, of_one, waiting, wait_of_one))


def admission(
    places: CallPlaces,
    of: Callable[[str, str, str, str | None], Client] | None = client_of,
    *,
    bytes_a_minute: int = 1_000_000,
    limit: CallLimit | None = None,
    bodies: Places | None = None,
) -> Admission:
    return Admission(
        client_of=of,
        base_url=BASE,
        behind_proxy=False,
        checks=BoundedSemaphore(2),
        stored=StoredBytes(bytes_a_minute, MinuteCounts(lambda: 90.0)),
        limit=limit,
        bodies=bodies or Places("request bodies", 100, 100),
        places=places,
        spent=SpentShares(MinuteCounts(lambda: 90.0)),
    )


def application(admits: Admission) -> Flask:
    """An application to which somebody later adds a room."""
    app = Flask("later")
    log_calls(app)
    translate_errors(app)
    require_client(app, admits)
    room = Blueprint("later", __name__, static_folder="static")

    @room.get("/later/feature")
    def feature() -> str:
        return current_client().name

    @room.get("/later/page")
    @open_to_all
    def page() -> str:
        return "for all"

    @room.get("/later/broken")
    @open_to_all
    def broken() -> str:
        return current_client().name

    app.register_blueprint(room)
    return app


@pytest.fixture
def one() -> CallPlaces:
    return places(at_work=1, of_one=1)


@pytest.fixture
def guarded(one: CallPlaces) -> Flask:
    return application(admission(one))


@pytest.mark.threat("open-by-mistake")
def test_a_view_that_says_nothing_asks_for_a_client(guarded: Flask) -> None:
    http = guarded.test_client()
    assert http.get("/later/feature").status_code == 401
    bad = http.get("/later/feature", headers={"Authorization": "Bearer bad"})
    assert bad.status_code == 401
    good = http.get("/later/feature", headers={"Authorization": "bearer good"})
    assert (good.status_code, good.text) == (200, "hospital")


def test_a_view_that_says_so_is_open_to_all(guarded: Flask) -> None:
    assert guarded.test_client().get("/later/page").text == "for all"


def test_an_open_view_has_no_client_to_rely_on(guarded: Flask) -> None:
    assert guarded.test_client().get("/later/broken").status_code == 500


def test_an_open_service_answers_anyone(one: CallPlaces) -> None:
    http = application(admission(one, None)).test_client()
    assert http.get("/later/feature").text == ANYONE.name


def test_a_refused_call_gives_its_place_back(guarded: Flask) -> None:
    http = guarded.test_client()
    for _ in range(3):
        assert http.get("/later/feature").status_code == 401


def test_without_a_free_place_a_call_is_to_come_again(guarded: Flask, one: CallPlaces) -> None:
    other = one.enter(CLINIC)
    http = guarded.test_client()
    refused = http.get("/later/feature", headers={"Authorization": "Bearer good"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json is not None and refused.json["resourceType"] == "OperationOutcome"
    assert http.get("/later/page").status_code == 200
    other.leave()
    assert http.get("/later/feature", headers={"Authorization": "Bearer good"}).status_code == 200


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize(
    ("path", "token"),
    [("feature", "good"), ("feature", "bad"), ("page", ""), ("broken", ""), ("none", "good")],
)
def test_however_a_request_ends_no_costly_call_waits_for_it_afterwards(
    guarded: Flask, one: CallPlaces, path: str, token: str
) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    for method in ("GET", "POST", "HEAD", "OPTIONS"):
        guarded.test_client().open(f"/later/{path}", method=method, headers=headers)
    assert (one.costly._quick, one.at_work) == (0, 0)
    with one.enter(CLINIC).turn():
        guarded.test_client().get(f"/later/{path}", headers=headers)
    assert (one.costly._quick, one.at_work) == (1, 1)


def get(http: FlaskClient, token: str) -> tuple[int, str | None]:
    reply = http.get("/later/feature", headers={"Authorization": f"Bearer {token}"})
    return reply.status_code, reply.headers.get("Retry-After")


@pytest.mark.threat("failed-tokens")
def test_a_token_that_does_not_hold_takes_no_place(one: CallPlaces) -> None:
    """It is checked before a place is looked for: those who wait for a check hold up no call."""
    one.enter(CLINIC)
    http = application(admission(one)).test_client()
    assert get(http, "bad") == (401, None)
    assert get(http, "good") == (503, "1")


@pytest.mark.threat("client-share")
def test_a_client_with_its_share_of_calls_under_way_is_refused_alone() -> None:
    admits = admission(places(of_one=1))
    http = application(admits).test_client()
    held = admits.places.enter(HOSPITAL)
    assert get(http, "good") == (429, "1")
    assert get(http, "other") == (200, None)
    held.leave()
    assert [get(http, "good")[0] for _ in range(3)] == [200] * 3


@pytest.mark.threat("client-share")
def test_a_client_that_has_had_its_bytes_waits_for_the_next_minute_alone() -> None:
    admits = admission(places(), bytes_a_minute=20)
    http = application(admits).test_client()
    assert [get(http, "good")[0] for _ in range(3)] == [200] * 3
    assert get(http, "good") == (429, "30")
    assert get(http, "other") == (200, None)


@pytest.mark.threat("slow-body")
def test_a_body_under_way_holds_no_place_of_a_call_and_counts_for_its_client_alone(
    one: CallPlaces,
) -> None:
    bodies = Places("request bodies", 2, 1)
    http = application(admission(one, bodies=bodies)).test_client()
    with bodies.held(HOSPITAL.issuer):
        assert get(http, "good") == (429, "1")
        assert get(http, "other") == (200, None)
        with bodies.held("https://ehr.third.example.org"):
            assert get(http, "other") == (503, "1")
    assert get(http, "good") == (200, None)


@pytest.mark.threat("client-share")
@pytest.mark.parametrize(("at_work", "status"), [(10, 429), (1, 503)])
def test_who_is_to_come_again_waits_a_moment_for_it_and_nobody_else_does(
    at_work: int, status: int
) -> None:
    paused: list[str] = []
    admits = replace(admission(places(at_work, of_one=1)), pause=lambda: paused.append("paused"))
    http = application(admits).test_client()
    held = admits.places.enter(HOSPITAL if status == 429 else CLINIC)
    assert [get(http, token)[0] for token in ("good", "bad")] == [status, 401]
    assert paused == ["paused"]
    held.leave()
    assert get(http, "good")[0] == 200
    assert paused == ["paused"]


def test_only_so_many_refusals_are_held_at_a_time() -> None:
    held: list[float] = []

    def sleep(seconds: float) -> None:
        held.append(seconds)
        refusals.pause()  # one more meanwhile

    refusals = SlowRefusals(3, sleep)
    refusals.pause()
    assert len(held) == 3
    refusals.pause()
    assert len(held) == 6


@pytest.mark.threat("client-share")
def test_of_a_client_that_has_had_its_share_no_further_token_of_that_minute_is_checked() -> None:
    """So that a flood costs no signatures; from elsewhere it is told as before."""
    now = 90.0
    spent = SpentShares(MinuteCounts(lambda: now))
    admits = replace(
        admission(places(), limit=CallLimit(1, MemoryCallCounts(), lambda: now)), spent=spent
    )
    http = application(admits).test_client()
    assert [get(http, "good")[0] for _ in range(2)] == [200, 429]
    with pytest.raises(TooManyCalls, match="share is spent") as refused:
        spent.check(HOSPITAL, "127.0.0.1")
    assert (refused.value.client, refused.value.retry_after) == (HOSPITAL.name, 30)
    spent.check(HOSPITAL, "192.0.2.1")
    spent.check(CLINIC, "127.0.0.1")
    now = 120.0
    spent.check(HOSPITAL, "127.0.0.1")


@pytest.mark.threat("client-share")
def test_a_share_that_was_spent_as_its_minute_ended_is_none_of_the_next_minute() -> None:
    """Counting may take a while, in a database; its refusal may come in the next minute."""
    now = 119.9

    class SlowCounts(MemoryCallCounts):
        def add(self, issuer: str, minute: int) -> int:
            nonlocal now
            now = 120.1
            return super().add(issuer, minute)

    spent = SpentShares(MinuteCounts(lambda: now))
    limit = CallLimit(0, SlowCounts(), lambda: now)
    http = application(replace(admission(places(), limit=limit), spent=spent)).test_client()
    assert get(http, "good") == (429, "1")
    spent.check(HOSPITAL, "127.0.0.1")


def test_counts_of_a_minute_end_with_it_and_keep_only_so_many_keys() -> None:
    now = 0.0
    counts = MinuteCounts(lambda: now)
    for n in range(20_000):
        counts.add((str(n),))
    assert counts.of(("0",)) == 1
    assert len(counts._counts) < 20_000
    counts.add(("a key that came too late",), 100)
    assert counts.of(("a key that came too late",)) >= 100
    now = 61.0
    assert counts.of(("0",)) == 0
    assert counts.seconds_left() == 59


@pytest.mark.threat("failed-tokens")
def test_failed_tokens_are_counted_by_issuer_and_address() -> None:
    failed = FailedTokens(2, MinuteCounts(lambda: 0.0))
    failed.add("a", "192.0.2.1")
    failed.check("a", "192.0.2.1")
    failed.add("a", "192.0.2.1")
    with pytest.raises(TooManyCalls, match="2 invalid tokens"):
        failed.check("a", "192.0.2.1")
    failed.check("a", "192.0.2.2")
    failed.check("b", "192.0.2.1")


@pytest.mark.threat("failed-tokens")
def test_tokens_that_fail_from_masses_of_addresses_lock_out_no_other_address() -> None:
    failed = FailedTokens(60, MinuteCounts(lambda: 0.0))
    for n in range(30_000):
        failed.add("a", f"2001:db8:{n >> 8:x}:{n & 255:x}::")
    failed.check("a", "192.0.2.1")
    failed.check("b", "192.0.2.1")


OPEN_TO_ALL = {
    "/",
    "/cds-services",
    *(
        f"/fhir{version}/{path}"
        for version in ("", "/2.0", "/2.2")
        for path in (
            "metadata",
            "Questionnaire",
            "Questionnaire/<resource_id:form_id>",
            "Library/<resource_id:library_id>",
            "ValueSet/<resource_id:set_id>",
        )
    ),
    "/policies",
    "/policies.json",
    "/policies/<policy_id>",
    "/static/<version>/<name>",
    "/workbench/explain",  # decides nothing where clients are asked for
    "/workbench/fixtures/<path:name>",
    "/livez",
    "/readyz",
    "/metrics",
}
"""Nothing here speaks of a patient. What is added here is added on purpose."""


@pytest.mark.parametrize("workbench", ["on", "off"])
def test_what_is_open_to_all_is_known(workbench: str) -> None:
    app = create_app(Settings(workbench=workbench))
    opened = {
        rule.rule
        for each in applications(app)
        for rule in each.url_map.iter_rules()
        if getattr(each.view_functions[rule.endpoint], "open_to_all", False)
    }
    assert opened <= OPEN_TO_ALL
    assert {"/cds-services/<service_id>"} & opened == set()
