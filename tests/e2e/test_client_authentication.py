"""Who may call (CDS Hooks 2.0, Trusting CDS Clients), with all the tricks that attackers know.

Over HTTP: the service runs in two worker processes and knows two clients.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.conftest import Guarded
from tests.e2e.servers import Server, refused_start, running, talk
from tests.e2e.signing import (
    Signer,
    b64,
    ec_signer,
    entry,
    rsa_signer,
    unsigned,
    with_hmac,
    write_clients,
)
from tests.minutes import within_a_minute

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def post(guarded: Guarded, order: bytes) -> Callable[..., requests.Response]:
    """Posts the order with a token, or with the Authorization header as given."""

    def send(
        token: str | None = None, authorization: str | None = None, url: str | None = None
    ) -> requests.Response:
        headers = dict(JSON)
        if token is not None:
            authorization = f"Bearer {token}"
        if authorization is not None:
            headers["Authorization"] = authorization
        return requests.post(url or guarded.url, data=order, headers=headers, timeout=30)

    return send


SAID = "expected Authorization: Bearer with a valid token of a registered client"


def refused(server: Server, reply: requests.Response) -> str:
    """The failed claim of a 401: the log tells it, the answer says the same for every reason."""
    assert reply.status_code == 401, reply.text
    outcome = reply.json()
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    assert issue["diagnostics"] == SAID
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="covercard", error="invalid_token"'
    line = server.line_of(reply)
    assert line["address"] == "127.0.0.1"
    return str(line["claim"])


@pytest.mark.requirement(
    "cds-hooks-2.0:176", "cds-hooks-2.0:200", "cds-hooks-2.0:205", "cds-hooks-2.0:207"
)
@pytest.mark.parametrize("who", ["hospital", "hospital_rsa", "clinic"])
def test_a_call_signed_with_es384_or_rs384_by_a_known_client_is_answered(
    guarded: Guarded, post: Callable[..., requests.Response], who: str
) -> None:
    signer: Signer = getattr(guarded, who)
    reply = post(signer.token(guarded.url))
    assert reply.status_code == 200
    assert reply.json()["cards"]
    assert guarded.server.line_of(reply)["client"] == who.removesuffix("_rsa")


def test_a_list_of_audiences_that_names_the_url_called_is_accepted(
    guarded: Guarded, post: Callable[..., requests.Response]
) -> None:
    token = guarded.hospital.token(guarded.url, aud=["https://other.example.org", guarded.url])
    assert post(token).status_code == 200


@pytest.mark.threat("token-lifetime")
def test_clocks_may_differ_by_a_few_seconds(
    guarded: Guarded, post: Callable[..., requests.Response]
) -> None:
    for seconds in (10, -310):  # not issued yet, and over, by the clock here
        iat = int(time.time()) + seconds
        token = guarded.hospital.token(guarded.url, iat=iat, nbf=iat, exp=iat + 300)
        assert post(token).status_code == 200


@pytest.mark.threat("no-credential")
@pytest.mark.requirement("cds-hooks-2.0:177")
@pytest.mark.parametrize(
    "authorization", [None, "null", "Bearer null", "Bearer ", "Bearer", "Basic YTpi", "", "Token x"]
)
def test_a_call_without_a_credential_is_told_that_one_is_needed(
    post: Callable[..., requests.Response], authorization: str | None
) -> None:
    reply = post(authorization=authorization)
    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="covercard"'
    assert "Authorization: Bearer" in reply.json()["issue"][0]["diagnostics"]


def test_discovery_is_open_to_all_with_and_without_a_token(guarded: Guarded) -> None:
    url = f"{guarded.server.base}/cds-services"
    for headers in ({}, {"Authorization": "null"}, {"Authorization": "Bearer nonsense"}):
        assert requests.get(url, headers=headers, timeout=30).status_code == 200


def test_what_is_not_there_is_not_there_for_anyone(guarded: Guarded) -> None:
    assert requests.get(f"{guarded.server.base}/nothing", timeout=30).status_code == 404
    assert requests.put(guarded.url, timeout=30).status_code == 405


def test_an_unknown_service_is_told_to_clients_only(
    guarded: Guarded, post: Callable[..., requests.Response]
) -> None:
    url = f"{guarded.server.base}/cds-services/no-such-service"
    assert post(url=url).status_code == 401
    assert post(guarded.hospital.token(url), url=url).status_code == 404


def test_policies_are_open_to_all_and_the_workbench_is_for_nobody(guarded: Guarded) -> None:
    base = guarded.server.base
    assert requests.get(f"{base}/policies", timeout=30).status_code == 200
    assert requests.post(f"{base}/workbench/explain", json={}, timeout=30).status_code == 404
    assert requests.get(base, allow_redirects=False, timeout=30).status_code == 302


def test_forms_are_open_to_all_and_what_is_filled_in_is_for_clients(guarded: Guarded) -> None:
    forms = f"{guarded.server.base}/fhir/Questionnaire"
    listed = requests.get(forms, timeout=30)
    assert listed.status_code == 200
    assert requests.get(listed.json()["entry"][0]["fullUrl"], timeout=30).status_code == 200
    package = f"{forms}/$questionnaire-package"
    sent = {"resourceType": "Parameters"}
    stranger = requests.post(package, json=sent, timeout=30)
    assert stranger.status_code == 401
    assert stranger.json()["resourceType"] == "OperationOutcome"
    headers = guarded.hospital.call(package)
    assert requests.post(package, json=sent, headers=headers, timeout=30).status_code != 401
    assert requests.post(package, json=sent, headers=headers, timeout=30).status_code == 401


Attack = Callable[[Guarded], str]
ATTACKS: dict[str, tuple[str, Attack]] = {}


def attack(claim: str) -> Callable[[Attack], Attack]:
    """A token that must be refused, and the claim that the answer must name."""

    def register(make: Attack) -> Attack:
        ATTACKS[make.__name__] = (claim, make)
        return make

    return register


def good_claims(guarded: Guarded) -> dict[str, Any]:
    return guarded.hospital.good_claims(guarded.url)


def public_pem(signer: Signer) -> bytes:
    key: Any = signer.key.public_key
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


# Algorithms: the token does not choose how it is checked.


@attack("alg")
def the_rsa_public_key_as_hmac_secret(g: Guarded) -> str:
    return with_hmac(good_claims(g), public_pem(g.hospital_rsa), g.hospital_rsa.kid)


@attack("alg")
def the_rsa_public_key_as_json_as_hmac_secret(g: Guarded) -> str:
    secret = json.dumps(g.hospital_rsa.public()).encode()
    return with_hmac(good_claims(g), secret, g.hospital_rsa.kid, "HS256")


@attack("signature")
def an_hmac_that_calls_itself_rs384(g: Guarded) -> str:
    _, payload, mac = with_hmac(good_claims(g), public_pem(g.hospital_rsa), "rsa-1").split(".")
    head = b64(json.dumps({"alg": "RS384", "typ": "JWT", "kid": "rsa-1"}).encode())
    return f"{head}.{payload}.{mac}"


@attack("alg")
def no_signature_at_all(g: Guarded) -> str:
    return unsigned(good_claims(g), g.hospital.kid)


@attack("alg")
def none_in_other_letters(g: Guarded) -> str:
    return unsigned(good_claims(g), g.hospital.kid, alg="nOnE")


@attack("signature")
def an_empty_signature(g: Guarded) -> str:
    return unsigned(good_claims(g), g.hospital.kid, alg="ES384")


@attack("signature")
def a_signature_of_zeros(g: Guarded) -> str:
    return unsigned(good_claims(g), g.hospital.kid, alg="ES384") + b64(bytes(96))


@attack("alg")
def an_rsa_key_with_another_hash(g: Guarded) -> str:
    return g.hospital_rsa.token(g.url, header={"alg": "RS256"})


@attack("alg")
def another_padding(g: Guarded) -> str:
    return g.hospital_rsa.token(g.url, header={"alg": "PS384"})


@attack("alg")
def another_curve(g: Guarded) -> str:
    return ec_signer(g.hospital.issuer, "P-256", "ES256", g.hospital.kid).token(g.url)


@attack("kid")
def an_ec_key_for_an_rsa_signature(g: Guarded) -> str:
    return g.hospital_rsa.token(g.url, header={"kid": g.hospital.kid})


@attack("alg")
def no_algorithm(g: Guarded) -> str:
    head = b64(json.dumps({"typ": "JWT", "kid": g.hospital.kid}).encode())
    return ".".join([head, *g.hospital.token(g.url).split(".")[1:]])


@attack("alg")
def a_list_of_algorithms(g: Guarded) -> str:
    head = b64(json.dumps({"alg": ["ES384"], "typ": "JWT", "kid": g.hospital.kid}).encode())
    return ".".join([head, *g.hospital.token(g.url).split(".")[1:]])


# Keys: only the client's own, found by name in what the operator agreed to.


@attack("signature")
def another_key_under_a_known_id(g: Guarded) -> str:
    return ec_signer(g.hospital.issuer, kid=g.hospital.kid).token(g.url)


@attack("kid")
def an_unknown_key(g: Guarded) -> str:
    return ec_signer(g.hospital.issuer, kid="other").token(g.url)


@attack("kid")
def no_key_id(g: Guarded) -> str:
    return g.hospital.token(g.url, header={"kid": None})


@attack("kid")
def a_path_as_key_id(g: Guarded) -> str:
    return g.hospital.token(g.url, header={"kid": "../../../../../../dev/null"})


@attack("kid")
def sql_as_key_id(g: Guarded) -> str:
    return g.hospital.token(g.url, header={"kid": "' UNION SELECT 'x' --"})


@attack("kid")
def a_control_character_in_the_key_id(g: Guarded) -> str:
    return g.hospital.token(g.url, header={"kid": 'ec-1\r\n{"event":"forged"}'})


@attack("kid")
def the_key_of_another_client(g: Guarded) -> str:
    return g.clinic.token(g.url, iss=g.hospital.issuer)


@attack("iss")
def an_unknown_issuer(g: Guarded) -> str:
    return ec_signer("https://ehr.stranger.example.org").token(g.url)


@attack("iss")
def an_issuer_that_looks_alike(g: Guarded) -> str:
    return g.hospital.token(g.url, iss=g.hospital.issuer + "/")


@attack("iss")
def no_issuer(g: Guarded) -> str:
    return g.hospital.token(g.url, iss=None)


@attack("iss")
def an_issuer_that_is_no_text(g: Guarded) -> str:
    return g.hospital.token(g.url, iss=[g.hospital.issuer])


@attack("signature")
def a_key_that_the_token_brings_along(g: Guarded) -> str:
    stranger = ec_signer(g.hospital.issuer, kid=g.hospital.kid)
    jwk = {n: v for n, v in stranger.public().items() if n not in ("use", "alg")}
    return stranger.token(g.url, header={"jwk": jwk})


@attack("crit")
def a_header_that_asks_for_unknown_rules(g: Guarded) -> str:
    head = {"alg": "ES384", "kid": g.hospital.kid, "crit": ["exp"], "exp": 1}
    return ".".join([b64(json.dumps(head).encode()), *g.hospital.token(g.url).split(".")[1:]])


@attack("typ")
def another_kind_of_token(g: Guarded) -> str:
    return g.hospital.token(g.url, header={"typ": "at+jwt"})


# Claims: for this URL, now, once.


@attack("aud")
def another_of_our_services(g: Guarded) -> str:
    return g.hospital.token(f"{g.server.base}/cds-services/order-dispatch-crd")


@attack("aud")
def our_base_url_alone(g: Guarded) -> str:
    return g.hospital.token(g.server.base)


@attack("aud")
def a_longer_url(g: Guarded) -> str:
    return g.hospital.token(g.url + "/feedback")


@attack("aud")
def a_url_with_a_slash_more(g: Guarded) -> str:
    return g.hospital.token(g.url + "/")


@attack("aud")
def the_url_with_a_query(g: Guarded) -> str:
    return g.hospital.token(g.url + "?order=1")


@attack("aud")
def the_url_with_a_fragment(g: Guarded) -> str:
    return g.hospital.token(g.url + "#order")


@attack("aud")
def the_url_in_capitals(g: Guarded) -> str:
    return g.hospital.token(g.url.upper())


@attack("aud")
def the_url_at_another_port(g: Guarded) -> str:
    return g.hospital.token(g.url.replace(f":{g.server.port}", f":{g.server.port + 1}"))


@attack("aud")
def the_url_by_another_scheme(g: Guarded) -> str:
    return g.hospital.token(g.url.replace("http:", "https:"))


@attack("aud")
def the_url_by_another_name_of_the_host(g: Guarded) -> str:
    return g.hospital.token(g.url.replace("127.0.0.1", "localhost"))


@attack("aud")
def the_url_with_a_user(g: Guarded) -> str:
    return g.hospital.token(g.url.replace("http://", "http://hospital@"))


@attack("aud")
def the_url_written_in_percent(g: Guarded) -> str:
    return g.hospital.token(g.url.replace("order-sign", "order%2Dsign"))


@attack("aud")
def the_url_with_something_before_it(g: Guarded) -> str:
    return g.hospital.token(["x" + g.url, g.url + " ", [g.url]])


@attack("aud")
def another_host(g: Guarded) -> str:
    return g.hospital.token("https://other.example.org/cds-services/order-sign-crd")


@attack("aud")
def no_audience(g: Guarded) -> str:
    return g.hospital.token(g.url, aud=None)


@attack("aud")
def an_audience_that_is_an_object(g: Guarded) -> str:
    return g.hospital.token(g.url, aud={"url": g.url})


@attack("exp")
def expired(g: Guarded) -> str:
    now = int(time.time())
    return g.hospital.token(g.url, iat=now - 400, exp=now - 100)


@attack("exp")
def no_expiry(g: Guarded) -> str:
    return g.hospital.token(g.url, exp=None)


@attack("exp")
def a_lifetime_of_an_hour(g: Guarded) -> str:
    return g.hospital.token(g.url, exp=int(time.time()) + 3600)


@attack("exp")
def expired_before_it_was_issued(g: Guarded) -> str:
    now = int(time.time())
    return g.hospital.token(g.url, iat=now + 20, exp=now + 10)


@attack("exp")
def an_expiry_in_text(g: Guarded) -> str:
    return g.hospital.token(g.url, exp=str(int(time.time()) + 60))


@attack("exp")
def an_expiry_that_is_true(g: Guarded) -> str:
    return g.hospital.token(g.url, exp=True)


@attack("exp")
def an_expiry_beyond_all_numbers(g: Guarded) -> str:
    claims = json.dumps({**good_claims(g), "exp": 0}).replace('"exp": 0', '"exp": 1' + "0" * 400)
    return g.hospital.sign(claims)


@attack("payload")
def an_expiry_that_is_infinite(g: Guarded) -> str:
    claims = json.dumps({**good_claims(g), "exp": float("inf")})
    return g.hospital.sign(claims)


@attack("iat")
def issued_in_the_future(g: Guarded) -> str:
    now = int(time.time())
    return g.hospital.token(g.url, iat=now + 120, exp=now + 240)


@attack("iat")
def no_time_of_issue(g: Guarded) -> str:
    return g.hospital.token(g.url, iat=None)


@attack("nbf")
def not_valid_yet(g: Guarded) -> str:
    return g.hospital.token(g.url, nbf=int(time.time()) + 120)


@attack("jti")
def no_token_id(g: Guarded) -> str:
    return g.hospital.token(g.url, jti=None)


@attack("jti")
def an_empty_token_id(g: Guarded) -> str:
    return g.hospital.token(g.url, jti="")


@attack("jti")
def a_token_id_of_4000_characters(g: Guarded) -> str:
    return g.hospital.token(g.url, jti="x" * 4000)


@attack("jti")
def a_token_id_that_is_a_number(g: Guarded) -> str:
    return g.hospital.token(g.url, jti=7)


# Form: one meaning, of a sane size.


@attack("payload")
def a_claim_that_stands_twice(g: Guarded) -> str:
    payload = json.dumps(good_claims(g))
    return g.hospital.sign(payload[:-1] + ', "aud": "https://other.example.org"}')


@attack("payload")
def a_claim_that_stands_twice_in_other_letters(g: Guarded) -> str:
    payload = json.dumps(good_claims(g))
    return g.hospital.sign(payload[:-1] + ', "\\u0061ud": "https://other.example.org"}')


@attack("header")
def a_header_that_stands_twice(g: Guarded) -> str:
    head = b64(b'{"alg":"none","alg":"ES384","typ":"JWT","kid":"ec-1"}')
    return ".".join([head, *g.hospital.token(g.url).split(".")[1:]])


@attack("payload")
def claims_that_are_a_list(g: Guarded) -> str:
    return g.hospital.sign(json.dumps([good_claims(g)]))


@attack("payload")
def claims_nested_a_thousand_deep(g: Guarded) -> str:
    return g.hospital.sign("[" * 1000 + "]" * 1000)


@attack("signature")
def claims_that_were_changed_after_signing(g: Guarded) -> str:
    head, _, signature = g.hospital.token(g.url).split(".")
    return f"{head}.{b64(json.dumps(good_claims(g)).encode())}.{signature}"


@attack("token")
def a_token_of_nine_kilobytes(g: Guarded) -> str:
    return g.hospital.token(g.url, padding="x" * 9000)


@attack("token")
def words(g: Guarded) -> str:
    return "please let me in"


@attack("token")
def an_encrypted_token(g: Guarded) -> str:
    return "a.b.c.d.e"


@attack("header")
def three_dots(g: Guarded) -> str:
    return ".."


@pytest.mark.threat(
    "man-in-the-middle",
    "algorithm-confusion",
    "key-id-injection",
    "duplicate-claim",
    "audience",
    "token-lifetime",
)
@pytest.mark.requirement("cds-hooks-2.0:201", "cds-hooks-2.0:203", "cds-hooks-2.0:195")
@pytest.mark.parametrize("name", ATTACKS)
def test_a_token_that_does_not_hold_is_refused_by_the_name_of_its_claim(
    guarded: Guarded, post: Callable[..., requests.Response], name: str
) -> None:
    claim, make = ATTACKS[name]
    token = make(guarded)
    reply = post(token)
    assert refused(guarded.server, reply) == claim
    line = guarded.server.line_of(reply)
    assert (line["status"], line["claim"]) == (401, claim)
    assert "client" not in line
    told = reply.text + str(reply.headers) + guarded.server.printed()
    assert [part for part in token.split(".") if len(part) > 8 and part in told] == []


@pytest.mark.threat("oversized-credential")
def test_a_token_of_a_hundred_kilobytes_gets_no_further_than_the_headers(
    guarded: Guarded, post: Callable[..., requests.Response]
) -> None:
    reply = post(guarded.hospital.token(guarded.url, padding="x" * 100_000))
    assert reply.status_code == 431


@pytest.mark.threat("oversized-credential")
def test_two_credentials_in_one_call_are_refused(guarded: Guarded, order: bytes) -> None:
    head = (
        f"POST /cds-services/order-sign-crd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Authorization: Bearer {guarded.hospital.token(guarded.url)}\r\n"
        f"Authorization: Bearer {guarded.hospital.token(guarded.url)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(order)}\r\n\r\n"
    )
    assert talk(guarded.server.port, head.encode() + order).startswith(b"HTTP/1.1 401")


@pytest.mark.threat("audience")
def test_the_url_called_is_the_public_one_whatever_the_host_header_says(
    guarded: Guarded, order: bytes
) -> None:
    aud = "https://other.example.org/cds-services/order-sign-crd"
    headers = {**JSON, **guarded.hospital.call(aud), "Host": "other.example.org"}
    headers["X-Forwarded-Host"] = "other.example.org"
    headers["X-Forwarded-Proto"] = "https"
    reply = requests.post(guarded.url, data=order, headers=headers, timeout=30)
    assert refused(guarded.server, reply) == "aud"


def test_a_token_counts_once(guarded: Guarded, post: Callable[..., requests.Response]) -> None:
    token = guarded.hospital.token(guarded.url)
    assert post(token).status_code == 200
    assert refused(guarded.server, post(token)) == "jti"


@pytest.mark.threat("replay")
def test_a_token_counts_once_however_many_workers_get_it_at_the_same_time(
    guarded: Guarded, post: Callable[..., requests.Response]
) -> None:
    token = guarded.hospital.token(guarded.url)
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: post(token), range(36)))
    assert sorted(r.status_code for r in replies) == [200] + [401] * 35
    assert {refused(guarded.server, r) for r in replies if r.status_code == 401} == {"jti"}


def test_a_token_id_is_one_clients_own(
    guarded: Guarded, post: Callable[..., requests.Response]
) -> None:
    jti = uuid.uuid4().hex
    assert post(guarded.hospital.token(guarded.url, jti=jti)).status_code == 200
    assert post(guarded.clinic.token(guarded.url, jti=jti)).status_code == 200
    assert refused(guarded.server, post(guarded.hospital_rsa.token(guarded.url, jti=jti))) == "jti"


@pytest.mark.threat("audience")
def test_a_query_at_the_url_called_is_no_part_of_the_audience(
    guarded: Guarded, post: Callable[..., requests.Response]
) -> None:
    """Neither does it make a token of another service fit."""
    assert post(guarded.hospital.token(guarded.url), url=guarded.url + "?a=b").status_code == 200
    other = guarded.url.replace("order-sign", "order-select")
    assert (
        refused(
            guarded.server, post(guarded.hospital.token(guarded.url), url=f"{other}?{guarded.url}")
        )
        == "aud"
    )


@pytest.mark.threat("feedback-flood")
def test_feedback_is_taken_from_clients_only_and_under_its_own_url(
    guarded: Guarded, post: Callable[..., requests.Response]
) -> None:
    url = guarded.url + "/feedback"
    said = {"feedback": []}

    def send(**headers: str) -> requests.Response:
        return requests.post(url, json=said, headers=headers, timeout=30)

    assert send().status_code == 401
    assert refused(guarded.server, send(**guarded.hospital.call(guarded.url))) == "aud"
    assert send(**guarded.hospital.call(url)).status_code == 200


def test_a_refused_token_does_not_use_up_its_id(
    guarded: Guarded, post: Callable[..., requests.Response]
) -> None:
    jti = uuid.uuid4().hex
    forged = ec_signer(guarded.hospital.issuer, kid=guarded.hospital.kid)
    assert refused(guarded.server, post(forged.token(guarded.url, jti=jti))) == "signature"
    assert post(guarded.hospital.token(guarded.url, jti=jti)).status_code == 200


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_weak_rsa_key_in_the_clients_file_is_not_a_key(tmp_path: Any) -> None:
    weak = rsa_signer("https://weak.example.org", bits=1024)
    said = refused_start(tmp_path, clients_file=write_clients(tmp_path, entry(weak)))
    assert "clients[0].jwks" in said
    assert "2048" in said


def test_an_open_service_on_loopback_asks_for_no_token_and_minds_none(
    server: Server, order: bytes
) -> None:
    url = f"{server.base}/cds-services/order-sign-crd"
    for headers in ({}, {"Authorization": "null"}, {"Authorization": "Bearer nonsense"}):
        reply = requests.post(url, data=order, headers={**JSON, **headers}, timeout=30)
        assert reply.status_code == 200


@contextlib.contextmanager
def behind_a_proxy(
    tmp_path: Any, client: Signer, order: bytes
) -> Iterator[Callable[[Signer, str], requests.Response]]:
    """A service with this client behind a proxy, three failed tokens a minute allowed; what sends
    an order with a token of a signer from an address.
    """
    with running(
        tmp_path,
        clients_file=write_clients(tmp_path, entry(client)),
        failed_tokens_per_minute=3,
        proxies=1,
    ) as server:
        url = f"{server.base}/cds-services/order-sign-crd"

        def send(signer: Signer, address: str) -> requests.Response:
            headers = {**JSON, **signer.call(url), "X-Forwarded-For": address}
            return requests.post(url, data=order, headers=headers, timeout=30)

        yield send


@pytest.mark.threat("failed-tokens")
def test_a_caller_whose_tokens_fail_too_often_is_sent_away_and_the_client_elsewhere_is_not(
    tmp_path: Any, order: bytes
) -> None:
    client = ec_signer("https://ehr.hospital.example.org")
    forged = ec_signer(client.issuer, kid=client.kid)
    with behind_a_proxy(tmp_path, client, order) as send:

        def tries(address: str) -> list[requests.Response]:
            return [send(forged, address) for _ in range(5)]

        failed = within_a_minute(tries, [f"192.0.2.{n}" for n in (66, 67, 68)])
        assert send(client, "192.0.2.7").status_code == 200
    assert [reply.status_code for reply in failed] == [401, 401, 401, 429, 429]
    assert all(1 <= int(reply.headers["Retry-After"]) <= 60 for reply in failed[3:])


@pytest.mark.threat("failed-tokens")
@pytest.mark.parametrize(
    "address", ["2001:db8:0:{net}::{n}", "[2001:db8:0:{net}::{n}]:443", "192.0.2.{net}:5{n}"]
)
def test_the_addresses_of_one_network_and_the_ports_of_one_address_count_together(
    tmp_path: Any, order: bytes, address: str
) -> None:
    client = ec_signer("https://ehr.hospital.example.org")
    forged = ec_signer(client.issuer, kid=client.kid)
    with behind_a_proxy(tmp_path, client, order) as send:

        def tries(net: int) -> list[int]:
            return [send(forged, address.format(net=net, n=n)).status_code for n in range(5)]

        assert within_a_minute(tries, (66, 67, 68)) == [401, 401, 401, 429, 429]
