"""Private certificate authorities on every Python: also where strictness is its default (3.13)."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from service.bootstrap.app import wire_fetcher
from service.ehr.allowlist import OutboundPolicy
from service.ehr.authorities import tls_context
from service.ehr.fhir_client import FhirClients, Limits
from service.errors import ConfigurationError, PayerDataUnavailable
from service.payer_data.client_credentials import ClientCredentials, Credentials
from service.settings import load_settings
from tests.e2e.certificates import Authority as PlainAuthority
from tests.e2e.fetch.ehrs import Ehr
from tests.e2e.fetch.test_pinned_tls import NAME, Authority, Resolver, outcome

STRICT = ssl.VERIFY_X509_STRICT
USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@pytest.fixture
def strict_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python as it is from 3.13 on: its contexts are strict."""
    made = ssl.create_default_context

    def strict(*args: object, **more: object) -> ssl.SSLContext:
        context = made(*args, **more)  # type: ignore[arg-type]
        context.verify_flags |= STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[tuple[Authority, Ehr]]:
    """An authority as `openssl req -x509` makes it, without key usage, and an EHR of it."""
    authority = Authority(tmp_path)
    ehr = Ehr(authority.server(NAME))
    yield authority, ehr
    ehr.close()


def read_by(context: ssl.SSLContext, ehr: Ehr) -> str:
    policy = OutboundPolicy(networks=["127.0.0.0/8"], resolver=Resolver([["127.0.0.1"]]))
    return outcome(FhirClients(policy, Limits(), context), ehr)


@pytest.mark.usefixtures("strict_python")
def test_an_authority_without_key_usage_is_trusted_where_python_is_strict(
    plain: tuple[Authority, Ehr],
) -> None:
    authority, ehr = plain
    # What would be without this service's own choice: nothing could be read.
    assert read_by(ssl.create_default_context(cafile=authority.pem), ehr) == "error"
    assert read_by(tls_context(authority.pem), ehr) == "fetched"
    assert ssl.create_default_context().verify_flags & STRICT
    assert tls_context(None).verify_flags & STRICT  # of the public ones Python knows best


Extension = tuple[Callable[[ec.EllipticCurvePublicKey], x509.ExtensionType], bool]
"""An extension for a key, and whether it is critical."""


def authority_with(folder: Path, *extensions: Extension) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "Clinic root")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    for extension, critical in extensions:
        made = made.add_extension(extension(key.public_key()), critical=critical)
    file = folder / "authority.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return file


BASIC = (lambda _: x509.BasicConstraints(ca=True, path_length=None), True)
NOT_CRITICAL = (lambda _: x509.BasicConstraints(ca=True, path_length=None), False)
KEY_ID = (x509.SubjectKeyIdentifier.from_public_key, False)
SIGNS = (lambda _: USAGE, True)


@pytest.mark.parametrize(
    ("extensions", "lacks"),
    [
        ([BASIC, KEY_ID], "key usage (keyUsage with keyCertSign)"),
        ([NOT_CRITICAL, SIGNS, KEY_ID], "critical basic constraints (basicConstraints)"),
        ([BASIC, SIGNS], "the subject key identifier (subjectKeyIdentifier)"),
    ],
)
def test_where_strictness_is_asked_for_the_start_names_what_an_authority_lacks(
    extensions: list[Extension],
    lacks: str,
    tmp_path: Path,
) -> None:
    file = authority_with(tmp_path, *extensions)
    settings = load_settings(fhir_ca_file=file, fhir_ca_strict=True)
    with pytest.raises(ConfigurationError) as refused:
        wire_fetcher(settings)
    said = str(refused.value)
    assert f"COVERCARD_FHIR_CA_FILE: {file}" in said
    assert f"CN=Clinic root lacks {lacks}\n" in said
    assert "COVERCARD_FHIR_CA_STRICT=false" in said
    wire_fetcher(load_settings(fhir_ca_file=file))


def test_an_authority_that_lacks_nothing_is_held_to_strictness(tmp_path: Path) -> None:
    file = authority_with(tmp_path, BASIC, SIGNS, KEY_ID)
    assert tls_context(file, strict=True).verify_flags & STRICT
    assert not tls_context(file).verify_flags & STRICT


class Tokens(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = b'{"access_token": "t-1", "token_type": "Bearer", "expires_in": 300}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("strict_python")
def test_the_payers_token_endpoint_is_trusted_by_the_same_file_and_by_no_other(
    tmp_path: Path,
) -> None:
    authority, other = PlainAuthority(tmp_path, "root"), PlainAuthority(tmp_path, "other")
    certificate, key = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), Tokens)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        asked = Credentials(f"https://localhost:{server.server_port}/token", "covercard", "secret")
        until = time.monotonic() + 60
        assert ClientCredentials(asked, tls_context(authority.file)).token(until) == "t-1"
        for untrusted in (tls_context(other.file), None):
            with pytest.raises(PayerDataUnavailable):
                ClientCredentials(asked, untrusted).token(until)
    finally:
        server.shutdown()
        server.server_close()
