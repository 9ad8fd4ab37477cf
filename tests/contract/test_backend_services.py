"""SMART Backend Services: an access token for a signed assertion, and what it opens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.auth.backend_services import ASSERTION_TYPE
from service.bootstrap.app import RECORDER, create_app
from service.errors import ConfigurationError
from tests.conftest import in_folder
from tests.contract.calls import call_of
from tests.contract.test_questionnaire_package import asked
from tests.e2e.signing import Signer, changed, ec_signer, entry, rsa_signer, unsigned, write_clients

Json = dict[str, Any]
BASE = "http://127.0.0.1:8642"
TOKEN_URL = f"{BASE}/oauth/token"
OPERATION = "/fhir/2.2/Questionnaire/$questionnaire-package"
CLINIC = ec_signer("https://ehr.clinic.example.org")
CLINICS_ID = "clinic-backend"


class Clock:
    """The present time, and later."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Service:
    """A service with clients, and one of them at its token endpoint."""

    client: FlaskClient
    clock: Clock
    signer: Signer = CLINIC
    client_id: str = CLINICS_ID

    def assertion(self, **claims: Any) -> str:
        told = {"iss": self.client_id, "sub": self.client_id, "iat": None, **claims}
        return self.signer.token(TOKEN_URL, **told)

    def ask(self, **given: Any) -> Any:
        form = {
            "grant_type": "client_credentials",
            "scope": "system/*.rs",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion() if "client_assertion" not in given else None,
            **given,
        }
        return self.client.post("/oauth/token", data={k: v for k, v in form.items() if v})

    def token(self, **given: Any) -> str:
        reply = self.ask(**given)
        assert reply.status_code == 200, reply.get_data(as_text=True)
        token: str = reply.get_json()["access_token"]
        return token

    def call(self, token: str, url: str = OPERATION) -> Any:
        body = asked(call_of("order-sign/mrs-original-medicare"))
        return self.client.post(url, json=body, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    apps = []

    def start(signer: Signer = CLINIC, clock: Clock | None = None, **settings: Any) -> Service:
        known = {**entry(signer), "client_id": CLINICS_ID}
        other = entry(ec_signer("https://no-backend.example.org", kid="other"))
        file = write_clients(tmp_path, known, other)
        own = clock or Clock()
        told = in_folder(tmp_path, clients_file=file, client_auth="required", **settings)
        apps.append(create_app(told, clock=own))
        return Service(apps[-1].test_client(), own, signer)

    yield start
    for app in apps:
        app.extensions[RECORDER].stop()


@pytest.fixture
def service(started: Callable[..., Service]) -> Service:
    return started()


def error(reply: Any) -> tuple[int, str]:
    assert reply.headers["Cache-Control"] == "no-store"
    return reply.status_code, reply.get_json()["error"]


@pytest.mark.parametrize(
    "signer", [CLINIC, rsa_signer("https://ehr.clinic.example.org")], ids=["ES384", "RS384"]
)
def test_an_assertion_gets_a_token_of_five_minutes_that_opens_the_operations(
    started: Callable[..., Service], signer: Signer
) -> None:
    service = started(signer)
    reply = service.ask(scope="system/Questionnaire.rs system/Patient.rs launch")
    assert reply.status_code == 200
    assert reply.headers["Cache-Control"] == "no-store"
    told = reply.get_json()
    assert told.pop("access_token")
    # Of the scopes that were asked for, it has those that there is something for.
    assert told == {"token_type": "bearer", "expires_in": 300, "scope": "system/Questionnaire.rs"}


@pytest.mark.parametrize("prefix", ["/fhir", "/fhir/2.0", "/fhir/2.2"])
def test_the_fhir_endpoint_takes_either_token(service: Service, prefix: str) -> None:
    url = f"{prefix}/Questionnaire/$questionnaire-package"
    assert service.call(service.token(), url).status_code == 200
    assert service.call(CLINIC.token(BASE + url), url).status_code == 200


def test_one_token_serves_many_calls(service: Service) -> None:
    token = service.token()
    assert {service.call(token).status_code for _ in range(3)} == {200}


@pytest.mark.parametrize(
    "prefix",
    ["/fhir/.well-known", "/fhir/2.0/.well-known", "/fhir/2.2/.well-known", "/.well-known"],
)
def test_discovery_tells_the_token_endpoint(service: Service, prefix: str) -> None:
    reply = service.client.get(f"{prefix}/smart-configuration")
    assert reply.content_type == "application/json"
    told = reply.get_json()
    assert told["token_endpoint"] == TOKEN_URL
    assert "client_credentials" in told["grant_types_supported"]
    assert told["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert set(told["token_endpoint_auth_signing_alg_values_supported"]) == {"ES384", "RS384"}
    statement = service.client.get("/fhir/metadata").get_json()
    assert TOKEN_URL in statement["rest"][0]["security"]["description"]


def test_no_app_is_launched_here(service: Service) -> None:
    assert error(service.client.get("/oauth/authorize")) == (400, "unauthorized_client")
    code = service.ask(grant_type="authorization_code", code="x")
    assert error(code) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"client_assertion_type": "other"}, 400, "invalid_request"),
        ({"client_assertion": ""}, 400, "invalid_request"),
        ({"client_assertion": "no.jwt.here"}, 401, "invalid_client"),
        ({"scope": "user/Patient.read"}, 400, "invalid_scope"),
        ({"scope": "system/Questionnaire.c"}, 400, "invalid_scope"),
        ({"scope": None}, 400, "invalid_request"),
        ({"scope": ["system/*.rs", "system/ValueSet.rs"]}, 400, "invalid_request"),
    ],
)
def test_a_request_that_is_none_is_refused_in_the_words_of_oauth(
    service: Service, given: Json, status: int, code: str
) -> None:
    assert error(service.ask(**given)) == (status, code)


@pytest.mark.threat("smart-assertion")
@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "another-id"},
        {"iss": "https://no-backend.example.org", "sub": "https://no-backend.example.org"},
        {"sub": "another-id"},
        {"aud": f"{BASE}/fhir"},
        {"aud": None},
        {"exp": int(time.time()) - 60},
        {"exp": int(time.time()) + 86_400},  # an hour may pass before its turn has come
        {"exp": None},
        {"jti": None},
        {"jti": ""},
    ],
)
def test_an_assertion_with_a_wrong_claim_gets_no_token(service: Service, claims: Json) -> None:
    reply = service.ask(client_assertion=service.assertion(**claims))
    assert error(reply) == (401, "invalid_client")
    # The answer is the same for every reason.
    assert reply.get_json()["error_description"] == "the client assertion is not valid"


@pytest.mark.threat("smart-assertion")
def test_an_assertion_counts_once(service: Service) -> None:
    assertion = service.assertion()
    assert service.ask(client_assertion=assertion).status_code == 200
    assert error(service.ask(client_assertion=assertion)) == (401, "invalid_client")


@pytest.mark.threat("smart-assertion")
def test_only_the_clients_own_pinned_key_signs(service: Service) -> None:
    stranger = replace(service, signer=ec_signer("https://elsewhere.example.org"))
    assert error(stranger.ask()) == (401, "invalid_client")
    claims = {**CLINIC.good_claims(TOKEN_URL), "iss": CLINICS_ID, "sub": CLINICS_ID}
    assert error(service.ask(client_assertion=unsigned(claims, CLINIC.kid)))[0] == 401


@pytest.mark.threat("smart-token")
def test_a_token_that_has_ended_says_so(service: Service) -> None:
    token = service.token()
    service.clock.ahead = timedelta(seconds=301)
    reply = service.call(token)
    assert reply.status_code == 401
    assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
    assert "exp: the token has expired" in reply.headers["WWW-Authenticate"]


@pytest.mark.threat("smart-token")
def test_a_token_without_the_scope_is_forbidden_and_told_which(service: Service) -> None:
    token = service.token(scope="system/ValueSet.rs")
    reply = service.call(token)
    assert reply.status_code == 403
    told = reply.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope", scope="system/Questionnaire.rs"' in told
    expand = service.client.get(
        "/fhir/ValueSet/$expand?url=x", headers={"Authorization": f"Bearer {token}"}
    )
    assert expand.status_code == 404  # of the value set: the token is good for it


@pytest.mark.threat("smart-token")
def test_a_token_is_no_good_for_the_hooks(service: Service) -> None:
    body = call_of("order-sign/mrs-original-medicare")
    headers = {"Authorization": f"Bearer {service.token()}"}
    reply = service.client.post("/cds-services/order-sign-crd", json=body, headers=headers)
    assert reply.status_code == 401


@pytest.mark.threat("smart-token")
def test_a_token_of_another_service_or_changed_is_refused(
    started: Callable[..., Service], tmp_path: Path
) -> None:
    service = started()
    assert service.call(changed(service.token())).status_code == 401
    (tmp_path / "other-key").write_bytes(b"k" * 32)
    other = started(access_token_key_file=tmp_path / "other-key")
    assert service.call(other.token()).status_code == 401


@pytest.mark.threat("smart-token")
def test_a_token_ends_with_its_client(started: Callable[..., Service], tmp_path: Path) -> None:
    token = started().token()
    file = write_clients(tmp_path, {**entry(CLINIC), "client_id": "renamed"})
    app = create_app(in_folder(tmp_path, clients_file=file, client_auth="required"))
    try:
        reply = Service(app.test_client(), Clock()).call(token)
        assert reply.status_code == 401
        assert "no client of this service any more" in reply.headers["WWW-Authenticate"]
    finally:
        app.extensions[RECORDER].stop()


@pytest.mark.threat("smart-limits")
@pytest.mark.usefixtures("one_minute")
def test_too_many_invalid_assertions_are_slowed(started: Callable[..., Service]) -> None:
    service = started(failed_tokens_per_minute=2)
    wrong = [service.ask(client_assertion=service.assertion(sub="x")) for _ in range(3)]
    assert [r.status_code for r in wrong] == [401, 401, 429]
    assert wrong[2].headers["Retry-After"] == "60"
    assert service.ask().status_code == 429


@pytest.mark.threat("smart-limits")
@pytest.mark.usefixtures("one_minute")
def test_token_requests_count_as_calls_of_the_client(started: Callable[..., Service]) -> None:
    service = started(calls_per_minute=2)
    token = service.token()
    assert service.call(token).status_code == 200
    assert service.ask().status_code == 429


@pytest.mark.threat("smart-limits")
def test_a_large_token_request_is_not_read(service: Service) -> None:
    assert service.ask(client_assertion="x" * 20_000).status_code == 413


def test_without_a_client_id_there_is_no_token_endpoint(tmp_path: Path) -> None:
    file = write_clients(tmp_path, entry(CLINIC))
    app = create_app(in_folder(tmp_path, clients_file=file, client_auth="required"))
    try:
        client = app.test_client()
        assert client.post("/oauth/token").status_code == 404
        assert "security" not in client.get("/fhir/metadata").get_json()["rest"][0]
    finally:
        app.extensions[RECORDER].stop()


def test_all_workers_sign_with_one_key_that_only_its_owner_reads(
    started: Callable[..., Service], tmp_path: Path
) -> None:
    first, second = started(), started()
    assert second.call(first.token()).status_code == 200
    key = tmp_path / "records" / "access-token-key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_too_short_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"short")
    file = write_clients(tmp_path, {**entry(CLINIC), "client_id": CLINICS_ID})
    settings = in_folder(
        tmp_path, clients_file=file, access_token_key_file=tmp_path / "short", workers=1
    )
    with pytest.raises(ConfigurationError, match="at least 32 random bytes"):
        create_app(settings)
