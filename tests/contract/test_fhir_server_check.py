"""A call's fhirServer is a base URL: what is none is refused, with its place and the repair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.crd.call_limits import CallLimits
from service.crd.hook_request import RequestReader
from service.crd.hooks import SERVICES
from service.crd.versions import CrdVersions
from service.errors import RequestError
from service.review.fhir_server_check import FhirServerCheck
from service.web.json_body import encode

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
OWN, OTHERS, SHARED = (f"https://{n}.example.org/fhir" for n in ("own", "others", "shared"))


@pytest.mark.parametrize(
    "server",
    [
        "nonsense",
        "ehr.example.org/fhir",
        "ftp://ehr.example.org/fhir",
        "https://",
        "https:///fhir",
        "https://ehr.example.org/fhir?access_token=abc",
        "https://ehr.example.org/fhir?",
        "https://ehr.example.org/fhir#part",
        "https://user@ehr.example.org/fhir",
        "https://ehr.example.org/fh ir",
        "https://ehr.example.org/fhir\n",
        "https:\\\\ehr.example.org",
        "https://[::1/fhir",
    ],
)
@pytest.mark.parametrize(("version", "status"), [("2.0", 422), ("2.2", 400)])
def test_what_is_no_base_url_is_refused_by_its_place(
    client: FlaskClient, fixture: Read, server: str, version: str, status: int
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request["fhirServer"] = server
    request["extension"] = {"davinci-crd.requestedVersion": version}
    reply = client.post(URL, json=request)
    assert reply.status_code == status
    (issue,) = reply.get_json()["issue"]
    assert issue["expression"] == ["fhirServer"]
    assert "expected the base URL of a FHIR server, such as https://" in issue["diagnostics"]


@pytest.mark.parametrize(
    "server",
    [
        "",
        None,
        "https://ehr.example.org",
        "https://ehr.example.org/fhir/",
        "http://ehr.example.org:8080/fhir/R4",
        "https://[2001:db8::1]/fhir",
        "https://ehr.example.org/tenant%20one/fhir",
        "HTTPS://EHR.example.org/FHIR",
    ],
)
def test_a_base_url_however_spelled_is_answered(
    client: FlaskClient, fixture: Read, server: str | None
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request.pop("fhirAuthorization", None)
    request["fhirServer"] = server
    assert client.post(URL, json=request).status_code == 200


@pytest.mark.threat("ssrf")
@pytest.mark.parametrize(
    ("server", "is_refused"),
    [
        (OWN, False),
        (SHARED, False),
        ("https://nobodys.example.org/fhir", False),
        (OTHERS, True),
        (f"{OTHERS}/", True),
        ("HTTPS://OTHERS.example.org:443/fhir", True),
        ("https://others.example.org/another/fhir", False),
    ],
)
def test_another_clients_server_is_refused_however_it_is_spelled(
    fixture: Read, server: str, is_refused: bool
) -> None:
    check = FhirServerCheck([OWN, OTHERS, SHARED], [SHARED])
    service = next(s for s in SERVICES if s.hook == "order-sign")
    request = fixture("order-sign/mrs-medicare-advantage") | {"fhirServer": server}
    read = RequestReader(service, CrdVersions(), CallLimits()).read(encode(request))
    check.check(read, None)  # open mode has no clients
    if not is_refused:
        check.check(read, frozenset({OWN}))
        return
    with pytest.raises(RequestError, match="another client's") as refused:
        check.check(read, frozenset({OWN}))
    assert refused.value.problems[0][0] == "fhirServer"
    assert "others" not in str(refused.value)
