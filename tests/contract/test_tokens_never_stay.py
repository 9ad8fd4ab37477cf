"""Wherever in a call an EHR's token stands, accepted or refused, no column of the log has it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from service.bootstrap.app import RECORDER, create_app
from service.database.engines import open_engine
from service.decision_log import queries
from service.decision_log.queries import LoggedCall
from service.decision_log.tables import card, feedback
from service.decision_log.token_removal import REMOVED
from service.settings import Settings
from tests.conftest import NOW, in_folder, settle
from tests.contract.test_mutated_requests import SEEDS, SERVICE_OF_HOOK

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
TOKEN = "Zm9vYmFy+c2VjcmV0/dG9rZW4.of-the-ehr~1=="
MISSPELLED = (
    "access_token",
    "Access_Token",
    "accessToken",
    "acces_token",
    "access_tokn",
    "acess-token",
    "refresh_token",
    "bearerToken",
    "client_secret",
)

pytestmark = pytest.mark.threat("misplaced-token")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return in_folder(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture(scope="module")
def log(http: FlaskClient, own: Settings) -> Iterator[Connection]:
    http.post(URL, data=b"{}", content_type="application/json")
    settle(http)
    with open_engine(own.database_url).connect() as connection:
        yield connection


def kept(log: Connection, call_id: str, http: FlaskClient) -> LoggedCall:
    settle(http)
    log.rollback()
    call = queries.one_call(log, call_id)
    assert call is not None
    return call


def columns(log: Connection, call: LoggedCall) -> Iterator[str]:
    """Every value of every column of a call, JSON with and without its escapes."""
    rows: list[msgspec.Struct] = [call.row, *call.determinations]
    for row in rows:
        yield from (str(value) for value in msgspec.structs.astuple(row))
    for shown in log.execute(select(card).where(card.c.call_id == call.row.call_id)):
        yield from map(str, shown)
    payload = call.kept
    for body in (payload.request, payload.answer, payload.fetched):
        if body is not None:
            yield body.decode("utf-8", "replace")
            yield json.dumps(json.loads(body), ensure_ascii=False)
    yield str(payload.traces)


def assert_nowhere(log: Connection, call: LoggedCall, token: str = TOKEN) -> None:
    forms = {token, token.upper(), quote(token, safe=""), json.dumps(token)[1:-1]}
    for column in columns(log, call):
        assert not any(form in column for form in forms), column[:2000]


def posted(http: FlaskClient, log: Connection, request: object, url: str = URL) -> LoggedCall:
    body = request if isinstance(request, bytes) else msgspec.json.encode(request)
    reply = http.post(url, data=body, content_type="application/json")
    assert reply.status_code in (200, 400, 412, 422), reply.get_data(as_text=True)
    return kept(log, reply.headers["Covercard-Call"], http)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each text of a request."""
    if isinstance(node, str):
        yield path
    elif isinstance(node, dict | list):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in pairs:
            yield from places(value, (*path, key))


def at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


TOKENS = st.text(
    st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"),
    min_size=12,
    max_size=40,
).map(lambda text: f"q9{text}7X")


@st.composite
def with_tokens(draw: st.DrawFn) -> tuple[str, bytes]:
    """A token, and a call that has it in its own place and in up to four others."""
    token = draw(TOKENS)
    request = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    request["fhirAuthorization"] = {"access_token": token, "token_type": "Bearer", "scope": "x"}
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from([p for p in places(request) if p[0] != "fhirAuthorization"]))
        parent = at(request, path[:-1])
        text = parent[path[-1]]
        written = draw(
            st.sampled_from([token, f"Bearer {token}", f"{text} {token}.", text + token])
        )
        if draw(st.booleans()):
            parent[path[-1]] = written
        elif isinstance(parent, dict):
            parent[draw(st.sampled_from([*MISSPELLED, token, "note"]))] = draw(
                st.sampled_from([token, [token], {"inner": token}])
            )
    body = msgspec.json.encode(request).decode()
    for n in draw(st.lists(st.integers(0, len(token) - 1), max_size=3)):
        # The same text in JSON's other spellings, in places that differ.
        spelled = json.dumps(token)[1:-1]
        odd = spelled[:n] + f"\\u{ord(token[n]):04x}" + spelled[n + 1 :]
        head, found, tail = body.rpartition(spelled)
        body = head + (odd if found else "") + tail
    return token, body.encode()


@settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=with_tokens())
def test_wherever_a_token_stands_no_column_has_it(
    http: FlaskClient, log: Connection, case: tuple[str, bytes]
) -> None:
    token, body = case
    service = SERVICE_OF_HOOK.get(str(json.loads(body).get("hook")), "order-sign-crd")
    call = posted(http, log, body, f"/cds-services/{service}")
    assert_nowhere(log, call, token)
    assert call.kept.request is not None
    assert call.request["fhirAuthorization"]["access_token"] == ""


def test_the_tokens_own_place_is_emptied_and_every_other_byte_stays(
    http: FlaskClient, log: Connection, fixture: Read
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request["fhirAuthorization"] = {"access_token": TOKEN, "scope": "user/Coverage.read"}
    body = msgspec.json.encode(request).replace(b'"context":', b'"odd": 1.00 ,"context" : ')
    call = posted(http, log, body)
    assert call.row.status == 200
    assert call.kept.request == body.replace(msgspec.json.encode(TOKEN), b'""')


@pytest.mark.parametrize("is_valid", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize(
    "place",
    [
        lambda r: r["context"].update(echo=TOKEN),
        lambda r: r["context"].update(patientId=TOKEN, echo=[{"deep": f"see {TOKEN}!"}]),
        lambda r: r.update(extension={"davinci-crd.configuration": {"x": TOKEN}}),
        lambda r: r["context"]["draftOrders"]["entry"][0]["resource"].update(
            id=TOKEN.replace("+", "-").replace("/", "-").replace("~", "-").replace("=", "-"),
            note=[{"text": f"called with Bearer {TOKEN}"}],
            extension=[{"url": "https://ehr.example.org/access-token", "valueString": TOKEN}],
        ),
        lambda r: r.update(hookInstance=TOKEN),
        lambda r: r.update({TOKEN: {TOKEN: 1}}),
        lambda r: r["prefetch"].update(extra={"resourceType": "Basic", "id": "x", "note": TOKEN}),
    ],
    ids=["context", "patient", "extension", "order", "hookInstance", "name", "prefetch"],
)
def test_a_token_in_another_place_is_removed_and_the_rest_is_kept(
    http: FlaskClient,
    log: Connection,
    fixture: Read,
    place: Callable[[dict[str, Any]], None],
    is_valid: bool,
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request["fhirAuthorization"] = {"access_token": TOKEN}
    place(request)
    if not is_valid:
        request["prefetch"]["patient"] = "no resource"
    call = posted(http, log, request)
    assert_nowhere(log, call)
    assert call.request["hook"] == "order-sign"
    assert call.request["context"]["userId"] == request["context"]["userId"]


@pytest.mark.parametrize("name", MISSPELLED)
@pytest.mark.parametrize(
    "holder", ["fhirAuthorization", "FHIRAuthorisation", "fhirauth", "extension"]
)
def test_a_misspelled_member_is_emptied_and_its_value_removed_elsewhere(
    http: FlaskClient, log: Connection, fixture: Read, name: str, holder: str
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    del request["fhirAuthorization"]
    request[holder] = {name: TOKEN, "token_type": "Bearer"}
    request["context"]["echo"] = f"with {TOKEN}"
    call = posted(http, log, request)
    assert_nowhere(log, call)
    assert call.request["context"]["echo"] == f"with {REMOVED}"
    assert call.request[holder]["token_type"] == "Bearer"


@pytest.mark.parametrize(
    "server",
    [
        f"https://ehr.example.org/fhir?access_token={quote(TOKEN, safe='')}",
        f"https://ehr.example.org/fhir?x=1&Token={quote(TOKEN, safe='')}#part",
        f"https://user:{quote(TOKEN, safe='')}@ehr.example.org/fhir",
    ],
)
def test_a_token_in_the_servers_address_is_removed(
    http: FlaskClient, log: Connection, fixture: Read, server: str
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    del request["fhirAuthorization"]
    request["fhirServer"] = server
    call = posted(http, log, request)
    assert_nowhere(log, call)
    assert call.request["fhirServer"].partition("?")[0].endswith("ehr.example.org/fhir")
    assert REMOVED in call.request["fhirServer"]


def test_a_clients_own_jwt_is_told_by_its_form(
    http: FlaskClient, log: Connection, fixture: Read
) -> None:
    jwt = "eyJhbGciOiJFUzM4NCJ9.eyJpc3MiOiJodHRwczovL2VociJ9.c2lnbmF0dXJl_-A"
    request = fixture("order-sign/mrs-medicare-advantage")
    request["context"]["echo"] = {"header": f"Bearer {jwt}", "raw": jwt}
    assert_nowhere(log, posted(http, log, request), jwt)


def test_a_short_token_is_removed_by_its_name_and_leaves_common_words(
    http: FlaskClient, log: Connection, fixture: Read
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request["fhirAuthorization"] = {"access_token": "draft"}
    request["context"]["acces_token"] = "draft"
    call = posted(http, log, request)
    order = call.request["context"]["draftOrders"]["entry"][0]["resource"]
    assert order["status"] == "draft"
    assert call.request["fhirAuthorization"]["access_token"] == ""
    assert call.request["context"]["acces_token"] == ""


def test_a_number_that_no_machine_holds_stays_as_written_beside_a_token(
    http: FlaskClient, log: Connection, fixture: Read
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request["fhirAuthorization"] = {"access_token": TOKEN}
    request["context"]["echo"] = {"n": 12345678, "token": TOKEN}
    for number in (b"1e999", b"1.00", b"1" + b"0" * 400):
        body = msgspec.json.encode(request).replace(b"12345678", number)
        call = posted(http, log, body)
        assert_nowhere(log, call)
        assert b'"n":' + number in (call.kept.request or b"")


def test_a_comment_with_a_token_is_kept_without_it(http: FlaskClient, log: Connection) -> None:
    item = {
        "card": "some-card",
        "outcome": "overridden",
        "overrideReason": {
            "reason": {"code": "x", "display": f"Bearer {TOKEN}"},
            "userComment": f"it called https://ehr.example.org/fhir?access_token={TOKEN} twice",
        },
        "outcomeTimestamp": "2026-12-01T10:00:00Z",
    }
    assert http.post(f"{URL}/feedback", json={"feedback": [item]}).status_code == 200
    settle(http)
    log.rollback()
    (row,) = log.execute(select(feedback)).all()
    assert TOKEN not in str(row)
    assert row.comment == f"it called https://ehr.example.org/fhir?access_token={REMOVED} twice"
