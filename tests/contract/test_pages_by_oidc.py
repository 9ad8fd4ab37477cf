"""The decisions page by OpenID Connect: the ID token of a proxy opens it, nothing else does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from service.auth.proxy_sign_in import load_proxy_sign_in
from service.bootstrap.app import RECORDER, create_app
from service.errors import LibraryError, Unauthenticated
from tests.conftest import FIXTURES, NOW, ROOT, fixture_text, in_folder, settle
from tests.e2e.readers import READER, SECRET, readers_file
from tests.e2e.signing import Signer, changed, ec_signer, rsa_signer, unsigned, with_hmac

ISSUER, AUDIENCE = "https://login.example.org/realms/plan", "covercard-pages"
BROWSER = {"Accept": "text/html,*/*;q=0.8"}
KEY = RSAKey.generate_key(2048)
PROVIDER = Signer(ISSUER, KEY, "RS256", "idp-1")


def claims(*groups: str, **more: Any) -> dict[str, Any]:
    now = int(NOW.timestamp())
    told = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "8d1e-77",
        "iat": now,
        "exp": now + 300,
        "preferred_username": "quill",
        "groups": list(groups),
        **more,
    }
    return {name: value for name, value in told.items() if value is not None}


def token(*groups: str, signer: Signer = PROVIDER, **more: Any) -> str:
    return signer.sign(json.dumps(claims(*groups, **more)))


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}", **BROWSER}


def provider_file(folder: Path, **more: Any) -> Path:
    (folder / "keys.json").write_text(json.dumps({"keys": [PROVIDER.public()]}))
    told = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_file": "keys.json",
        "roles": {"reader": ["call-center"], "author": ["policy-staff"], "auditor": ["audit"]},
        **more,
    }
    file = folder / "pages-oidc.yaml"
    file.write_text(json.dumps({k: v for k, v in told.items() if v is not None}))
    return file


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    settings = in_folder(tmp_path, pages_oidc_file=provider_file(tmp_path))
    app = create_app(settings, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def look(client: FlaskClient, id_token: str, form_token: str) -> TestResponse:
    form = {"form_token": form_token, "patient": "ann"}
    return client.post("/decisions", data=form, headers=bearer(id_token))


def form_token_of(page: TestResponse) -> str:
    (found, *_) = re.findall(r'name="form_token" value="([^"]+)"', page.text)
    return str(found)


def test_a_reader_finds_a_decision_and_is_named_in_the_log_of_accesses(
    client: FlaskClient,
) -> None:
    call = fixture_text(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
    client.post("/cds-services/order-sign-crd", data=call, content_type="application/json")
    settle(client)
    page = client.get("/decisions", headers=bearer(token("call-center")))
    assert page.status_code == 200
    assert "Signed in as <strong>quill</strong>" in page.text
    assert "Sign out" not in page.text  # that is the proxy's
    assert "Set-Cookie" not in page.headers
    # The proxy renews tokens; the provider's session stays, and with it the form of the page.
    same = token("call-center", sid="0f6c1d0e-52a1-4b5e")
    page = client.get("/decisions", headers=bearer(same))
    renewed = token("call-center", sid="0f6c1d0e-52a1-4b5e", jti="another")
    found = look(client, renewed, form_token_of(page))
    assert found.status_code == 200
    assert "ServiceRequest/mrs-brain" in found.text


@pytest.mark.parametrize(
    ("groups", "decisions", "feedback"),
    [
        (["call-center"], 200, 403),
        (["policy-staff"], 403, 200),
        (["audit"], 200, 200),
        (["call-center", "policy-staff"], 200, 200),
        (["everybody"], 403, 403),
        ([], 403, 403),
    ],
)
def test_each_role_opens_its_pages(
    client: FlaskClient, groups: list[str], decisions: int, feedback: int
) -> None:
    headers = bearer(token(*groups))
    assert client.get("/decisions", headers=headers).status_code == decisions
    assert client.get("/decisions/feedback", headers=headers).status_code == feedback
    if decisions == 403:
        refused = client.post("/decisions", data={"patient": "ann"}, headers=headers)
        assert refused.status_code == 403


FOREIGN = rsa_signer(ISSUER, kid="idp-1")
now = int(NOW.timestamp())
FORGED = {
    "of another key": Signer(ISSUER, FOREIGN.key, "RS256", "idp-1").sign(
        json.dumps(claims("audit"))
    ),
    "unsigned": unsigned(claims("audit"), "idp-1"),
    "signed with the public key as a secret": with_hmac(
        claims("audit"), json.dumps(PROVIDER.public()).encode(), "idp-1", "HS256"
    ),
    "of an algorithm that is not accepted": token(
        "audit", signer=ec_signer(ISSUER, "P-521", "ES512", "idp-1")
    ),
    "of an unknown key": token("audit", signer=Signer(ISSUER, KEY, "RS256", "idp-2")),
    "of another provider": token("audit", iss="https://login.evil.example.org"),
    "for another application": token("audit", aud="another"),
    "for several, and given to another": token("audit", aud=[AUDIENCE, "x"], azp="x"),
    "without audience": token("audit", aud=None),
    "expired": token("audit", iat=now - 900, exp=now - 600),
    "without end": token("audit", exp=None),
    "of the future": token("audit", iat=now + 600, exp=now + 900),
    "not valid yet": token("audit", nbf=now + 600),
    "of nobody": token("audit", sub=None),
    "changed": changed(token("call-center")),
    "no token": "marigold",
    "nothing": "",
}


@pytest.mark.threat("open-by-mistake")
@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_token_opens_nothing(client: FlaskClient, forged: str) -> None:
    for path in ("/decisions", "/decisions/feedback"):
        reply = client.get(path, headers=bearer(FORGED[forged]))
        assert reply.status_code == 401
        assert "Not signed in" in reply.text
        assert "form_token" not in reply.text


@pytest.mark.threat("open-by-mistake")
def test_headers_that_anybody_can_write_open_nothing(client: FlaskClient) -> None:
    written = {
        "X-Forwarded-User": "quill",
        "X-Forwarded-Groups": "audit",
        "X-Auth-Request-User": "quill",
        "X-Auth-Request-Groups": "audit",
        "X-Forwarded-Access-Token": token("audit"),
        **BROWSER,
    }
    assert client.get("/decisions", headers=written).status_code == 401
    assert client.get("/decisions/sign-in", headers=BROWSER).status_code == 401
    assert client.get("/decisions", headers={"Authorization": "Basic cXVpbGw6"}).status_code == 401


def test_a_form_of_another_session_or_site_is_refused(client: FlaskClient) -> None:
    own, another = token("audit"), token("audit", sub="somebody-else")
    page = client.get("/decisions", headers=bearer(another))
    assert look(client, own, form_token_of(page)).status_code == 403
    page = client.get("/decisions", headers=bearer(own))
    form = {"form_token": form_token_of(page), "patient": "ann"}
    headers = bearer(own) | {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/decisions", data=form, headers=headers).status_code == 403


def test_a_name_is_shown_as_text_and_the_subject_where_there_is_none(client: FlaskClient) -> None:
    page = client.get("/decisions", headers=bearer(token("audit", preferred_username="<b>\u202e")))
    assert "<strong>&lt;b&gt;\N{REPLACEMENT CHARACTER}</strong>" in page.text
    page = client.get("/decisions", headers=bearer(token("audit", preferred_username=None)))
    assert "<strong>8d1e-77</strong>" in page.text


def test_readers_with_secrets_may_be_there_beside_it(tmp_path: Path) -> None:
    settings = in_folder(
        tmp_path, pages_oidc_file=provider_file(tmp_path), readers_file=readers_file(tmp_path)
    )
    app = create_app(settings, clock=lambda: NOW)
    client = app.test_client()
    assert client.get("/decisions", headers=bearer(token("audit"))).status_code == 200
    assert client.get("/decisions").headers["Location"] == "/decisions/sign-in"
    signed = client.post("/decisions/sign-in", data={"name": READER, "secret": SECRET})
    assert signed.status_code == 303
    assert client.get("/decisions").status_code == 200
    # A token that does not open it is refused, also beside a session.
    assert client.get("/decisions", headers=bearer(token("everybody"))).status_code == 403
    app.extensions[RECORDER].stop()


def test_keys_are_read_from_the_providers_url(tmp_path: Path) -> None:
    url = f"{ISSUER}/certs"
    asked = []

    def fetch(of: str) -> bytes:
        asked.append(of)
        return json.dumps({"keys": [PROVIDER.public()]}).encode()

    file = provider_file(tmp_path, jwks_file=None, jwks_url=url)
    sign_in = load_proxy_sign_in(file, lambda: NOW, fetch)
    assert sign_in.of(f"Bearer {token('audit')}").session.reader.name == "quill"
    with pytest.raises(Unauthenticated):
        sign_in.of(f"Bearer {FORGED['expired']}")
    assert asked == [url]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"jwks_file": None}, "expected jwks_url or jwks_file"),
        ({"jwks_url": "https://login.example.org/certs"}, "expected jwks_url or jwks_file"),
        ({"jwks_file": "none.json"}, "jwks_file: has no usable public key"),
        ({"roles": {}}, "expected a group for at least one of reader, author, auditor"),
        ({"roles": {"admin": ["x"]}}, "roles.admin"),
        ({"audience": ""}, "audience"),
        ({"jwks_file": None, "jwks_url": "http://login.example.org/certs"}, "expected https://"),
    ],
)
def test_a_wrong_file_stops_the_start_and_says_why(
    tmp_path: Path, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(LibraryError, match=re.escape(says)):
        create_app(in_folder(tmp_path, pages_oidc_file=provider_file(tmp_path, **wrong)))


def test_the_example_is_one(tmp_path: Path) -> None:
    load_proxy_sign_in(
        ROOT / "examples" / "pages-oidc.example.yaml", lambda: NOW + timedelta(0), lambda _: b"{}"
    )


def test_without_file_or_readers_there_is_no_such_page(tmp_path: Path) -> None:
    app = create_app(in_folder(tmp_path), clock=lambda: NOW)
    client = app.test_client()
    assert client.get("/decisions", headers=bearer(token("audit"))).status_code == 404
    app.extensions[RECORDER].stop()
