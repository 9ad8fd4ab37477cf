import pytest

from service.fhir.references import host_of, parse_literal


@pytest.mark.parametrize(
    ("written", "local"),
    [
        ("Patient/123", "Patient/123"),
        ("https://ehr.example/fhir/r4/Patient/123", "Patient/123"),
        ("http://127.0.0.1:8643/fhir/Patient/123/_history/4", "Patient/123"),
        ("Patient/with_underscore", "Patient/with_underscore"),
    ],
)
def test_a_literal_reference_is_reduced_to_type_and_id(written: str, local: str) -> None:
    literal = parse_literal(written)
    assert literal is not None
    assert literal.local == local


@pytest.mark.parametrize(
    "written",
    [
        "#contained",
        "urn:uuid:4f1b",
        "../metadata",
        "Patient/..",
        "Patient/1?x=y",
        "Patient/%2e%2e",
        "patient/1",
        "https://ehr.example/fhir/Patient/1/../../admin",
    ],
)
def test_what_is_no_literal_reference_is_not_taken_for_one(written: str) -> None:
    assert parse_literal(written) is None


def test_an_id_that_contains_another_id_is_another_id() -> None:
    assert parse_literal("Patient/1") != parse_literal("Patient/11")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://EHR.example.org/fhir/Patient/1", "ehr.example.org"),
        ("http://ehr.example.org:8080/fhir", "ehr.example.org"),
        ("https://ehr.example.org", "ehr.example.org"),
        ("https://[2001:db8::1]/fhir", "2001:db8::1"),
        ("https://[2001:db8::1/fhir", None),
        ("http:///fhir", None),
        ("urn:uuid:5f3c", None),
        (f"https://{'a' * 400}.example.org/fhir", f"{'a' * 400}.example.org"),
    ],
)
def test_the_host_of_an_address_is_told_by_its_beginning(url: str, host: str | None) -> None:
    assert host_of(url) == host
    assert host_of(f"{url}/Observation/another") == host


@pytest.mark.threat("costly-call")
def test_a_reference_longer_than_any_servers_is_none() -> None:
    base = "https://ehr.example.org/" + "Coverage/a/" * 300
    assert parse_literal(f"{base}Coverage/a") == (base[:-1], "Coverage", "a", None)
    assert parse_literal(f"{base * 300}Coverage/a") is None
