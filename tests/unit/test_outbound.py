"""Which FHIR servers are called, and at which addresses."""

from pathlib import Path

import pytest

from service.bootstrap.app import wire_fetcher
from service.ehr.allowlist import OutboundPolicy, parse_base
from service.ehr.fetch_report import Outcome
from service.errors import ConfigurationError, FetchFailed
from service.settings import Settings, load_settings

EHR = "https://ehr.example.org/fhir"
PUBLIC = "93.184.215.14"


def refused(url: str, policy: OutboundPolicy, allowed: frozenset[str] | None) -> bool:
    try:
        policy.admit(url, allowed)
    except FetchFailed as failure:
        return failure.outcome == Outcome.NOT_ALLOWED
    return False


def outcome_at(*addresses: str, networks: tuple[str, ...] = (), server: str = EHR) -> object:
    """The addresses that are left of what a resolver told, or the outcome if it is none."""
    policy = OutboundPolicy([server], networks, lambda host, port: addresses)
    try:
        return policy.addresses(policy.admit(server, frozenset()))
    except FetchFailed as failure:
        return failure.outcome


@pytest.mark.parametrize(
    "written",
    [
        "https://ehr.example.org/fhir/",
        "HTTPS://EHR.example.org/fhir",
        "https://ehr.example.org:443/fhir",
    ],
)
def test_a_base_url_has_one_spelling(written: str) -> None:
    assert parse_base(written).url == EHR


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ehr.example.org/fhir",
        "ftp://ehr.example.org/fhir",
        "file:///etc/passwd",
        "https://",
        "https://user@ehr.example.org/fhir",
        "https://ehr.example.org:443@evil.example/fhir",
        "https://ehr.example.org/fhir?x=1",
        "https://ehr.example.org/fhir#x",
        "https://ehr.example.org/fhir/../admin",
        "https://ehr.example.org/./fhir",
        "https://ehr.example.org/fhir/%2e%2e/admin",
        "https://ehr.example.org\\@evil.example/fhir",
        "https://ehr.example.org/fhir\r\nX: y",
        "https://ehr.exa\tmple.org/fhir",
        "https://ehr.example.org:0/fhir",
        "https://ehr.example.org:70000/fhir",
        "https://[ehr.example.org]/fhir",
        "https://[1.2.3.4]/fhir",
        "https://[fe80::1%25eth0]/fhir",
        "https://ähr.example.org/fhir",
        "http://ehr.example.org/fhir",
        "http://10.0.0.1/fhir",
    ],
)
def test_what_is_no_plain_base_url_is_none(written: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_base(written)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8643/fhir",
        "http://localhost:8643/fhir",
        "http://[::1]:8643/fhir",
        "https://localhost/fhir",
    ],
)
def test_in_open_mode_any_server_on_this_machine_is_let_by(url: str) -> None:
    assert OutboundPolicy().admit(url, None).url == url


@pytest.mark.parametrize(
    "url",
    [
        EHR,
        "http://127.0.0.1.evil.example/fhir",
        "http://localhost.evil.example/fhir",
        "http://127.1/fhir",
        "http://2130706433/fhir",
        "http://0.0.0.0/fhir",
        "http://[::ffff:127.0.0.1]/fhir",
        "http://169.254.169.254/latest",
    ],
)
def test_in_open_mode_nothing_else_is_let_by(url: str) -> None:
    assert refused(url, OutboundPolicy(), None)


def test_a_known_client_may_name_its_own_servers_only() -> None:
    policy = OutboundPolicy(["https://shared.example.org/fhir"])
    own = frozenset({EHR})
    assert policy.admit(f"{EHR}/", own).url == EHR
    assert policy.admit("https://shared.example.org/fhir", own).host == "shared.example.org"
    for url in (
        "https://ehr.example.org/fhir2",
        "https://ehr.example.org",
        "https://ehr.example.org/fhir/tenant",
        "https://ehr.example.org:8443/fhir",
        "https://other.example.org/fhir",
        "http://127.0.0.1:8643/fhir",
    ):
        assert refused(url, policy, own)


def test_a_server_on_this_machine_may_be_listed_for_a_client() -> None:
    listed = frozenset({"http://127.0.0.1:8643/fhir"})
    base = OutboundPolicy().admit("http://127.0.0.1:8643/fhir", listed)
    assert OutboundPolicy().addresses(base) == ("127.0.0.1",)


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07::1", f"::ffff:{PUBLIC}"])
def test_a_public_address_is_connected_to(address: str) -> None:
    assert outcome_at(address) == (address,)


@pytest.mark.threat("ssrf")
@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "0.0.0.0",
        "100.64.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "192.0.0.192",
        "168.63.129.16",
        "198.18.0.1",
        "224.0.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.1.2.3",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_an_address_that_is_not_public_is_not_connected_to(address: str) -> None:
    assert outcome_at(address) == Outcome.NOT_ALLOWED


def test_of_several_addresses_the_public_ones_are_left() -> None:
    assert outcome_at("169.254.169.254", PUBLIC, "10.0.0.1") == (PUBLIC,)


def test_a_private_address_is_connected_to_where_its_network_is_listed() -> None:
    assert outcome_at("10.1.2.3", networks=("10.1.0.0/16",)) == ("10.1.2.3",)
    assert outcome_at("::ffff:10.1.2.3", networks=("10.1.0.0/16",)) == ("::ffff:10.1.2.3",)
    assert outcome_at("10.2.2.3", networks=("10.1.0.0/16",)) == Outcome.NOT_ALLOWED
    assert outcome_at("fd12::1", networks=("fd12::/16",)) == ("fd12::1",)


def test_a_listed_address_needs_no_network() -> None:
    assert outcome_at(server="https://10.1.2.3/fhir") == ("10.1.2.3",)


def test_a_name_of_this_machine_that_leads_elsewhere_leads_nowhere() -> None:
    policy = OutboundPolicy(resolver=lambda host, port: [PUBLIC])
    base = policy.admit("http://localhost:8643/fhir", None)
    with pytest.raises(FetchFailed, match=Outcome.NOT_ALLOWED):
        policy.addresses(base)


def test_a_name_that_does_not_resolve_is_an_error_of_the_server() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError

    policy = OutboundPolicy([EHR], resolver=unknown)
    with pytest.raises(FetchFailed, match=Outcome.ERROR):
        policy.addresses(policy.admit(EHR, frozenset()))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fhir_servers", f"{EHR} http://ehr.example.org/fhir"),
        ("fhir_servers", "ehr.example.org"),
        ("fhir_networks", "10.0.0.0/8 everywhere"),
        ("fhir_networks", "10.1.2.3/8"),
        ("fhir_ca_file", "/nowhere/authorities.pem"),
        ("fetch_budget_ms", -1),
    ],
)
def test_a_setting_that_is_wrong_stops_the_start_and_is_named(setting: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"COVERCARD_{setting.upper()}"):
        load_settings(**{setting: value})


def test_a_file_without_authorities_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "authorities.pem"
    file.write_text("no certificate\n")
    with pytest.raises(ConfigurationError, match=r"authorities\.pem"):
        wire_fetcher(Settings(fhir_ca_file=file))
