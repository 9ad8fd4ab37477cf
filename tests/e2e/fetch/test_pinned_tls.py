"""The address that was checked is the one connected to; the certificate is its name's."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.cli.ehr_stub.fhir_server import DEMO_TOKEN
from service.ehr.allowlist import OutboundPolicy
from service.ehr.authorities import tls_context
from service.ehr.fetch_report import Outcome
from service.ehr.fhir_client import Access, FhirClients, Limits
from service.ehr.fhir_query import Read
from service.errors import FetchFailed
from tests.e2e.fetch.ehrs import Ehr

NAME = "ehr.example.org"
METADATA = "169.254.169.254"
PATIENT = Read("Patient/bo")


class Authority:
    """A throw-away certificate authority."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Throw-away authority")])
        certificate = self._sign(self.name, self.key, [], days=1, is_authority=True)
        self.pem = folder / "authority.pem"
        self.pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, days: int = 1) -> ssl.SSLContext:
        """A server's side of TLS, with a certificate for `name`; `days` may lie in the past."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key, [x509.DNSName(name)], days)
        file = self.folder / f"{name}{days}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: list[x509.GeneralName],
        days: int,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@dataclass
class Resolver:
    """Answers with the first of `answers`, then the next, and at last always the last."""

    answers: list[list[str]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


Start = Callable[[ssl.SSLContext], Ehr]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts EHRs that speak TLS."""
    started: list[Ehr] = []

    def with_context(context: ssl.SSLContext) -> Ehr:
        started.append(Ehr(context))
        return started[-1]

    yield with_context
    for ehr in started:
        ehr.close()


def clients(resolver: Resolver, authority: Authority | None) -> FhirClients:
    """Clients to which loopback is a network like any other."""
    policy = OutboundPolicy(networks=["127.0.0.0/8"], resolver=resolver)
    return FhirClients(policy, Limits(), tls_context(authority.pem) if authority else None)


def outcome(shared: FhirClients, ehr: Ehr, name: str = NAME, *, times: int = 1) -> str:
    """How reading a patient from the EHR of that name ends."""
    server = f"https://{name}:{ehr.port}/fhir"
    try:
        client = shared.client(Access(server, DEMO_TOKEN, frozenset({server})))
        for _ in range(times):
            client.documents(PATIENT, time.monotonic() + 10)
    except FetchFailed as failure:
        return failure.outcome
    return Outcome.FETCHED


@pytest.mark.threat("dns-change")
def test_the_certificate_is_verified_against_the_name_though_the_address_is_connected_to(
    authority: Authority, start: Start
) -> None:
    named: list[str | None] = []
    context = authority.server(NAME)
    context.sni_callback = lambda _, name, __: named.append(name)
    ehr = start(context)
    assert outcome(clients(Resolver([["127.0.0.1"]]), authority), ehr) == "fetched"
    assert named == [NAME]
    ((_, headers),) = ehr.requests
    assert headers["Host"] == f"{NAME}:{ehr.port}"


@pytest.mark.threat("dns-change")
def test_a_name_is_looked_up_once_a_call(authority: Authority, start: Start) -> None:
    resolver = Resolver([["127.0.0.1"], [METADATA]])
    ehr = start(authority.server(NAME))
    assert outcome(clients(resolver, authority), ehr, times=3) == "fetched"
    assert resolver.asked == [NAME]
    assert len(ehr.requests) == 3


@pytest.mark.threat("dns-change")
def test_a_name_that_leads_elsewhere_in_the_next_call_leads_nowhere(
    authority: Authority, start: Start
) -> None:
    shared = clients(Resolver([["127.0.0.1"], [METADATA]]), authority)
    ehr = start(authority.server(NAME))
    assert [outcome(shared, ehr), outcome(shared, ehr)] == ["fetched", "not-allowed"]
    assert len(ehr.requests) == 1


def test_the_next_address_is_tried_where_nobody_listens(authority: Authority, start: Start) -> None:
    ehr = start(authority.server(NAME))
    resolver = Resolver([["127.0.0.2", "127.0.0.1"]])
    assert outcome(clients(resolver, authority), ehr) == "fetched"


@pytest.mark.parametrize(("name", "days"), [("other.example.org", 1), (NAME, -1)])
def test_a_certificate_of_another_name_or_time_is_not_trusted(
    name: str, days: int, authority: Authority, start: Start
) -> None:
    ehr = start(authority.server(name, days))
    assert outcome(clients(Resolver([["127.0.0.1"]]), authority), ehr) == "error"
    assert ehr.requests == []


def test_a_certificate_of_an_authority_that_nobody_named_is_not_trusted(
    authority: Authority, start: Start
) -> None:
    ehr = start(authority.server(NAME))
    assert outcome(clients(Resolver([["127.0.0.1"]]), None), ehr) == "error"
    assert ehr.requests == []


def test_a_kept_connection_serves_no_other_name_at_the_same_address(
    authority: Authority, start: Start
) -> None:
    shared = clients(Resolver([["127.0.0.1"]]), authority)
    ehr = start(authority.server(NAME))
    assert outcome(shared, ehr) == "fetched"
    assert outcome(shared, ehr, "other.example.org") == "error"
    assert len(ehr.requests) == 1


def test_a_server_without_tls_gets_no_token(authority: Authority) -> None:
    plain = Ehr()
    try:
        assert outcome(clients(Resolver([["127.0.0.1"]]), authority), plain) == "error"
        assert plain.requests == []
    finally:
        plain.close()
