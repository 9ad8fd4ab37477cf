"""Certificate authorities of the servers that are asked: the public ones, or a file of one's own.

Private authorities often lack what RFC 5280 wants of them, key usage above all. Python refuses
those since 3.13 (VERIFY_X509_STRICT), as an unreachable server. Here the same file counts with each
Python, and strictness is the operator's word.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from service.errors import ConfigurationError


def tls_context(authorities: Path | None, *, strict: bool = False) -> ssl.SSLContext:
    """TLS 1.2 or newer, by a PEM file of authorities in place of the public ones.

    `strict`: the authorities must be as RFC 5280 wants them. Raises ConfigurationError for a file
    without any, and for one that is not strict enough, with the names of what it lacks.
    """
    try:
        context = ssl.create_default_context(cafile=authorities or DEFAULT_CA_BUNDLE_PATH)
    except OSError as error:
        raise ConfigurationError(
            f"{authorities}: expected a PEM file of certificate authorities: {error}"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities is not None and strict:
        lacking = "\n".join(_lacking(authorities))
        if lacking:
            raise ConfigurationError(
                f"COVERCARD_FHIR_CA_FILE: {authorities}:\n{lacking}\nhave the authority issued anew"
                " with it, or set COVERCARD_FHIR_CA_STRICT=false"
            )
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    elif authorities is not None:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _lacking(authorities: Path) -> Iterator[str]:
    """A line for each authority that OpenSSL refuses when it is strict (RFC 5280 4.2.1)."""
    from cryptography import x509

    for certificate in x509.load_pem_x509_certificates(authorities.read_bytes()):
        told = {e.oid: e for e in certificate.extensions}
        lacks = []
        usage = told.get(x509.KeyUsage.oid)
        if usage is None:
            lacks.append("key usage (keyUsage with keyCertSign)")
        elif not (isinstance(usage.value, x509.KeyUsage) and usage.value.key_cert_sign):
            lacks.append("keyCertSign in its key usage (keyUsage)")
        basic = told.get(x509.BasicConstraints.oid)
        if basic is None or not basic.critical:
            lacks.append("critical basic constraints (basicConstraints)")
        if x509.SubjectKeyIdentifier.oid not in told:
            lacks.append("the subject key identifier (subjectKeyIdentifier)")
        if certificate.issuer != certificate.subject and (
            x509.AuthorityKeyIdentifier.oid not in told
        ):
            lacks.append("the authority key identifier (authorityKeyIdentifier)")
        if lacks:
            yield f"  {certificate.subject.rfc4514_string()} lacks {', '.join(lacks)}"
