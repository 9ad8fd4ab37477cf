"""The servers that end-to-end tests share: one open on loopback, one that asks for clients."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.chromium import browser, open_page  # noqa: F401  (fixtures)
from tests.e2e.decision_log.instances import Instance
from tests.e2e.servers import Server, free_port, running
from tests.e2e.signing import Signer, ec_signer, rsa_signer, write_clients

HERE = Path(__file__).parent
HOSPITAL = "https://ehr.hospital.example.org"
CLINIC = "https://ehr.clinic.example.org"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def start_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Server]]:
    """Starts servers, each with its own settings and folder; stops them all at the end."""
    with ExitStack() as started:

        def start(**settings: object) -> Server:
            return started.enter_context(running(tmp_path_factory.mktemp("server"), **settings))

        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    """One server with default settings for all tests that need nothing special."""
    return start_server()


@pytest.fixture(scope="session")
def order() -> bytes:
    """A good order-sign call."""
    file = FIXTURES / "order-sign" / "mrs-medicare-advantage.json"
    return fixture_text_today(file).encode()


@dataclass(frozen=True)
class Guarded:
    """A service that knows two clients: a hospital with an EC and an RSA key, a clinic with one."""

    server: Server
    hospital: Signer
    hospital_rsa: Signer
    clinic: Signer

    @property
    def url(self) -> str:
        """The URL of the order-sign service."""
        return f"{self.server.base}/cds-services/order-sign-crd"


@pytest.fixture(scope="session")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., Server]
) -> Guarded:
    """With a clients file, and two worker processes."""
    folder = tmp_path_factory.mktemp("clients")
    hospital, hospital_rsa = ec_signer(HOSPITAL), rsa_signer(HOSPITAL)
    clinic = ec_signer(CLINIC, kid="clinic-1")
    (folder / "hospital.jwks.json").write_text(
        json.dumps({"keys": [hospital.public(), hospital_rsa.public()]})
    )
    clients = [
        {"issuer": HOSPITAL, "name": "hospital", "jwks_file": "hospital.jwks.json"},
        {"issuer": CLINIC, "name": "clinic", "jwks": {"keys": [clinic.public()]}},
    ]
    file = write_clients(folder, *clients)
    # Attacks by the dozen come from here: the limit of invalid tokens has tests of its own.
    server = start_server(clients_file=file, workers=2, failed_tokens_per_minute=10_000)
    return Guarded(server, hospital, hospital_rsa, clinic)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    """An instance of two workers that answers."""
    instance = Instance(tmp_path / "instance", free_port())
    instance.start()
    yield instance
    instance.kill()
