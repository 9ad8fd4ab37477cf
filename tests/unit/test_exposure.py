"""Which settings would leave the service open to strangers, and which fit together."""

from pathlib import Path
from typing import Any

import pytest
from annotated_types import Le

from service.accepted_risks import LARGEST, RISKS, accepted_risks
from service.errors import ConfigurationError
from service.settings import Settings, load_settings, misnamed_settings

FILE = Path("clients.yaml")
PUBLIC = "https://covercard.example.org"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_on_loopback_nothing_needs_to_be_set(host: str) -> None:
    settings = Settings(host=host)
    settings.check_exposure()
    assert not settings.asks_for_clients


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "covercard.example.org", "", "127"])
def test_beyond_loopback_open_is_refused(host: str) -> None:
    settings = Settings(host=host, client_auth="open", public_url=PUBLIC, clients_file=FILE)
    with pytest.raises(ConfigurationError, match="COVERCARD_CLIENT_AUTH"):
        settings.check_exposure()


def test_beyond_loopback_clients_are_asked_for_without_being_told_to() -> None:
    settings = Settings(host="192.0.2.7", public_url=PUBLIC, clients_file=FILE)
    settings.check_exposure()
    assert settings.asks_for_clients


def test_behind_a_proxy_clients_are_asked_for_though_it_listens_on_loopback() -> None:
    settings = Settings(public_url=PUBLIC)
    assert settings.asks_for_clients
    with pytest.raises(ConfigurationError, match="COVERCARD_CLIENTS_FILE"):
        settings.check_exposure()


def test_behind_a_proxy_open_is_refused() -> None:
    settings = Settings(public_url=PUBLIC, client_auth="open", clients_file=FILE)
    with pytest.raises(ConfigurationError, match="COVERCARD_CLIENT_AUTH"):
        settings.check_exposure()


def test_a_variable_that_is_no_setting_is_told_with_the_one_that_may_be_meant() -> None:
    names = ["PATH", "COVERCARD_CLIENT_FILE", "COVERCARD_PORT", "covercard_host", "COVERCARD_ZZZ"]
    assert list(misnamed_settings(names)) == [
        "COVERCARD_CLIENT_FILE is no setting; is COVERCARD_CLIENTS_FILE meant?",
        "COVERCARD_ZZZ is no setting",
    ]


def test_a_clients_file_means_that_clients_are_asked_for() -> None:
    assert Settings(clients_file=FILE).asks_for_clients
    assert not Settings(clients_file=FILE, client_auth="open").asks_for_clients


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"host": "0.0.0.0", "public_url": PUBLIC}, "COVERCARD_CLIENTS_FILE"),
        ({"host": "0.0.0.0", "clients_file": FILE}, "COVERCARD_PUBLIC_URL"),
        ({"client_auth": "required"}, "COVERCARD_CLIENTS_FILE"),
        ({"public_url": "http://covercard.example.org"}, "COVERCARD_PUBLIC_URL"),
        ({"public_url": "http://localhost.example.org"}, "COVERCARD_PUBLIC_URL"),
    ],
)
def test_what_is_missing_or_unsafe_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Settings(**settings).check_exposure()


@pytest.mark.threat("open-by-mistake")
@pytest.mark.parametrize(
    "url",
    [
        "https://user@covercard.example.org",
        "https://user:opensesame@covercard.example.org/payer",
        "https://:opensesame@covercard.example.org",
        "https://covercard.example.org?key=opensesame",
        "https://covercard.example.org/?",
        "https://covercard.example.org/payer#part",
        "https://covercard.example.org\\@evil.example.org",
        "https://covercard.example.org:port",
        "https://covercard.example.org:0",
        "https://[covercard",
        "https://",
        "https:///payer",
        "https://covercard.example.org/a b",
        "https://covercard.example.org/\x1b[31m",
    ],
)
def test_a_public_url_is_a_base_url_and_nothing_else(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"COVERCARD_PUBLIC_URL: .*base URL") as refused:
        load_settings(public_url=url)
    assert "opensesame" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="COVERCARD_FORMER_BASE_URLS"):
        load_settings(former_base_urls=f"https://old.example.org {url}")


def test_a_public_url_with_port_and_path_is_a_base_url() -> None:
    assert load_settings(public_url=f"{PUBLIC}:8443/payer/").base_url == f"{PUBLIC}:8443/payer"
    assert load_settings(public_url="http://[::1]:8642").base_url == "http://[::1]:8642"


RISKS_RUN: list[tuple[dict[str, Any], str, str]] = [
    ({"host": "0.0.0.0", "public_url": PUBLIC, "clients_file": FILE}, "HOST", "all-addresses"),
    ({"host": "::", "public_url": PUBLIC, "clients_file": FILE}, "HOST", "all-addresses"),
    ({"host": "[::]", "public_url": PUBLIC, "clients_file": FILE}, "HOST", "all-addresses"),
    ({"host": "0", "public_url": PUBLIC, "clients_file": FILE}, "HOST", "all-addresses"),
    ({"host": "0x0.0", "public_url": PUBLIC, "clients_file": FILE}, "HOST", "all-addresses"),
    (
        {"host": "::ffff:0.0.0.0", "public_url": PUBLIC, "clients_file": FILE},
        "HOST",
        "all-addresses",
    ),
    ({"fhir_networks": "0.0.0.0/0"}, "FHIR_NETWORKS", "wide-networks"),
    ({"fhir_networks": "10.1.0.0/16 ::/0"}, "FHIR_NETWORKS", "wide-networks"),
    ({"fhir_networks": "0.0.0.0/1 128.0.0.0/1"}, "FHIR_NETWORKS", "wide-networks"),
    ({"calls_per_minute": 0}, "CALLS_PER_MINUTE", "unbounded-limits"),
    *(({name: largest + 1}, name.upper(), "unbounded-limits") for name, largest in LARGEST.items()),
]


@pytest.mark.threat("open-by-mistake")
@pytest.mark.parametrize(("settings", "named", "risk"), RISKS_RUN)
def test_a_risk_is_refused_by_its_setting_until_it_is_said_aloud(
    settings: dict[str, Any], named: str, risk: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"COVERCARD_{named}: .*{risk} in") as refused:
        Settings(**settings).check_exposure()
    assert "COVERCARD_ACCEPTED_RISKS" in str(refused.value)
    others = " ".join(set(RISKS) - {risk})
    with pytest.raises(ConfigurationError, match=f"COVERCARD_{named}"):
        Settings(**settings, accepted_risks=others).check_exposure()
    accepted = Settings(**settings, accepted_risks=risk)
    accepted.check_exposure()
    assert {name for name, _ in accepted_risks(accepted)} == {risk}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"fhir_networks": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7"},
        dict(LARGEST),
        {"refused_bytes_per_minute": 0},
    ],
)
def test_what_is_bounded_is_no_risk(settings: dict[str, Any]) -> None:
    Settings(**settings).check_exposure()
    assert list(accepted_risks(Settings(**settings, accepted_risks=" ".join(RISKS)))) == []


def test_every_limit_of_size_without_a_bound_of_its_own_has_a_largest_value() -> None:
    unbounded = {
        name
        for name, field in Settings.model_fields.items()
        if field.annotation is int and not any(isinstance(m, Le) for m in field.metadata)
    }
    assert unbounded - {"retention_days", "retention_floor_days"} == set(LARGEST)


def test_a_risk_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"COVERCARD_ACCEPTED_RISKS: .*all-addresses"):
        load_settings(accepted_risks="everything")


def test_calls_are_counted_in_a_database_that_several_instances_may_share() -> None:
    postgres = "postgresql+psycopg://db/covercard"
    assert not Settings(database_url=postgres).counts_in_database
    assert Settings(workers=2, database_url=postgres).counts_in_database
    assert not Settings(workers=2).counts_in_database
    assert Settings(call_counts="database").counts_in_database
    assert not Settings(workers=2, call_counts="memory", database_url=postgres).counts_in_database


@pytest.mark.parametrize(
    "origins",
    [
        "*",
        "null",
        "https://*.example.org",
        "https://a.example.org/app",
        "example.org",
        "https://a.example.org https://b.example.org/",
        "HTTPS://A.EXAMPLE.ORG",
        "https://a.example.org:*",
        "https://a.example.org$",
        "javascript://a.example.org",
    ],
)
def test_an_origin_is_whole_and_exact(origins: str) -> None:
    with pytest.raises(ConfigurationError, match="COVERCARD_CORS_ORIGINS"):
        load_settings(cors_origins=origins)


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVERCARD_CLIENTS_FILE", "")
    monkeypatch.setenv("COVERCARD_CLIENT_AUTH", "")
    assert Settings().clients_file is None
    assert Settings().client_auth is None


def test_the_workbench_is_off_where_its_calls_would_need_a_token() -> None:
    assert Settings().workbench_on
    assert not Settings(clients_file=FILE).workbench_on
