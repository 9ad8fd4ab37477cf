"""Which settings would leave the service open to strangers, and which fit together."""

from pathlib import Path
from typing import Any

import pytest

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
    settings = Settings(host="0.0.0.0", public_url=PUBLIC, clients_file=FILE)
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


def test_calls_are_counted_together_where_there_are_several_workers() -> None:
    assert not Settings().counts_in_database
    assert Settings(workers=2).counts_in_database
    assert Settings(call_counts="database").counts_in_database
    assert not Settings(workers=2, call_counts="memory").counts_in_database


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
