"""What browsers are told: who may call across origins, and what a page may do here."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Guarded
from tests.e2e.servers import Server, refused_start

PATH = "/cds-services/order-sign-crd"
SANDBOX = "https://sandbox.cds-hooks.org"
CORS = "Access-Control-Allow-"


@pytest.fixture(scope="module")
def listed(start_server: Callable[..., Server]) -> Server:
    """A service that two origins may call."""
    return start_server(cors_origins=f"{SANDBOX} https://app.example.org:8443")


def preflight(
    server: Server, origin: str, method: str = "POST", asked: str = "authorization, content-type"
) -> requests.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    headers["Access-Control-Request-Headers"] = asked
    return requests.options(server.base + PATH, headers=headers, timeout=30)


def told(reply: requests.Response) -> dict[str, str]:
    return {n: v for n, v in reply.headers.items() if n.lower().startswith("access-control-")}


@pytest.mark.threat("cross-origin")
@pytest.mark.requirement("cds-hooks-2.0:208")
@pytest.mark.parametrize("origin", [SANDBOX, "https://app.example.org:8443"])
def test_a_listed_origin_may_send_what_is_accepted_and_no_more(listed: Server, origin: str) -> None:
    reply = preflight(listed, origin)
    assert reply.status_code == 200
    assert reply.headers[f"{CORS}Origin"] == origin
    assert {m.strip() for m in reply.headers[f"{CORS}Methods"].split(",")} == {"GET", "POST"}
    allowed = {h.strip().lower() for h in reply.headers[f"{CORS}Headers"].split(",")}
    assert allowed == {"authorization", "content-type"}
    assert f"{CORS}Credentials" not in reply.headers
    assert "Origin" in reply.headers["Vary"]


@pytest.mark.requirement("cds-hooks-2.0:208")
def test_a_call_of_a_listed_origin_can_be_read_by_its_page(listed: Server, order: bytes) -> None:
    headers = {"Origin": SANDBOX, "Content-Type": "application/json"}
    reply = listed.post(PATH, data=order, headers=headers)
    assert reply.status_code == 200
    assert reply.headers[f"{CORS}Origin"] == SANDBOX
    assert "Origin" in reply.headers["Vary"]
    bad = listed.post(PATH, data=b"{", headers=headers)
    assert (bad.status_code, bad.headers[f"{CORS}Origin"]) == (400, SANDBOX)
    assert listed.get("/cds-services", headers=headers).headers[f"{CORS}Origin"] == SANDBOX


@pytest.mark.threat("cross-origin")
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.org",
        "null",
        "*",
        "",
        "http://sandbox.cds-hooks.org",
        "https://sandbox.cds-hooks.org.evil.example.org",
        "https://sandbox.cds-hooks.org:444",
        "https://sandbox-cds-hooks.org",
        "https://evil.example.org/https://sandbox.cds-hooks.org",
        "https://sandbox.cds-hooks.org, https://evil.example.org",
        "https://app.example.org",
    ],
)
def test_another_origin_is_told_nothing(listed: Server, order: bytes, origin: str) -> None:
    assert told(preflight(listed, origin)) == {}
    headers = {"Origin": origin, "Content-Type": "application/json"}
    assert told(listed.post(PATH, data=order, headers=headers)) == {}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_a_method_that_is_not_accepted_is_not_offered(listed: Server, method: str) -> None:
    assert method not in told(preflight(listed, SANDBOX, method)).get(f"{CORS}Methods", "")


def test_a_header_that_is_not_accepted_is_not_offered(listed: Server) -> None:
    offered = told(preflight(listed, SANDBOX, asked="x-evil, cookie")).get(f"{CORS}Headers", "")
    assert offered == ""


def test_what_is_no_endpoint_of_clients_is_not_for_other_origins(listed: Server) -> None:
    assert told(listed.get("/", headers={"Origin": SANDBOX})) == {}
    assert told(listed.get("/metrics", headers={"Origin": SANDBOX})) == {}


def test_without_a_list_no_origin_may_call(server: Server) -> None:
    assert told(preflight(server, SANDBOX)) == {}
    assert told(server.get("/cds-services", headers={"Origin": SANDBOX})) == {}


def test_a_preflight_needs_no_token_for_a_browser_cannot_send_one(guarded: Guarded) -> None:
    assert preflight(guarded.server, SANDBOX).status_code == 200


@pytest.mark.threat("cross-origin")
def test_a_list_with_anything_else_than_whole_origins_stops_the_start(tmp_path: Path) -> None:
    assert "COVERCARD_CORS_ORIGINS" in refused_start(tmp_path, cors_origins="*")


@pytest.mark.threat("cached-or-framed")
@pytest.mark.parametrize("path", ["/cds-services", "/nothing-here", PATH])
def test_every_answer_tells_browsers_to_load_frame_guess_and_keep_nothing(
    server: Server, path: str
) -> None:
    reply = server.get(path)
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert "Strict-Transport-Security" not in reply.headers
    assert "Set-Cookie" not in reply.headers


@pytest.mark.threat("cached-or-framed")
def test_what_speaks_of_a_patient_is_never_kept_on_the_way(server: Server, order: bytes) -> None:
    json_type = {"Content-Type": "application/json"}
    for body, status in ((order, 200), (b"{", 400)):
        reply = server.post(PATH, data=body, headers=json_type)
        assert (reply.status_code, reply.headers["Cache-Control"]) == (status, "no-store")


@pytest.mark.threat("dns-rebinding")
@pytest.mark.parametrize("host", ["evil.example.org", "evil.example.org:80", "127.0.0.1.evil.org"])
def test_an_open_service_does_not_answer_under_a_name_that_is_not_its_own(
    server: Server, order: bytes, host: str
) -> None:
    headers = {"Content-Type": "application/json", "Host": host}
    reply = server.post(PATH, data=order, headers=headers)
    assert reply.status_code == 400
    assert "Host" in reply.json()["issue"][0]["diagnostics"]


@pytest.mark.threat("dns-rebinding")
def test_a_form_of_a_hostile_page_is_refused_by_its_content_type(
    server: Server, order: bytes
) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        reply = server.post(PATH, data=order, headers={"Content-Type": kind})
        assert reply.status_code == 415
