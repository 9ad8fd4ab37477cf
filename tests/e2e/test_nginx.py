"""examples/nginx.conf, run on loopback with a throw-away certificate before the real service."""

import contextlib
import re
import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.conftest import files_below
from tests.e2e.certificates import Authority
from tests.e2e.conftest import HOSPITAL
from tests.e2e.nginx import NGINX, in_front
from tests.e2e.servers import Server, free_port, running
from tests.e2e.signing import Signer, ec_signer, entry, write_clients
from tests.e2e.test_limits import head

pytestmark = pytest.mark.skipif(
    NGINX is None, reason="nginx is not installed (on Debian: apt-get install nginx-light)"
)

PATH = "/cds-services/order-sign-crd"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Site:
    """nginx with the example's configuration before a service that knows one client."""

    url: str
    port: int
    trusted: Path
    clients: Authority
    service: Server
    hospital: Signer
    log: Path

    def call(self, order: bytes, **options: object) -> requests.Response:
        headers = {**JSON, **self.hospital.call(self.url + PATH)}
        return requests.post(  # type: ignore[call-overload, no-any-return]
            self.url + PATH,
            data=order,
            headers=headers,
            verify=str(self.trusted),
            timeout=30,
            **options,
        )

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, verify=str(self.trusted), timeout=30)


@contextlib.contextmanager
def site(folder: Path, *, mutual: bool = False) -> Iterator[Site]:
    """Run both until the block ends."""
    authority, clients = Authority(folder, "authority"), Authority(folder, "clients")
    authority.issue("localhost")
    port, hospital = free_port(), ec_signer(HOSPITAL)
    url = f"https://localhost:{port}"
    clients_file = write_clients(folder, entry(hospital))
    with (
        running(folder, clients_file=clients_file, public_url=url) as service,
        in_front(folder, port, service.port, mutual=mutual),
    ):
        yield Site(url, port, authority.file, clients, service, hospital, folder / "error.log")


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("nginx")) as running_site:
        yield running_site


@pytest.mark.requirement("cds-hooks-2.0:2", "cds-hooks-2.0:168", "crd-2.2.1:sec-2", "crd-2.0.1:89")
def test_a_client_calls_over_tls_and_its_token_names_the_public_url(
    proxied: Site, order: bytes
) -> None:
    reply = proxied.call(order)
    assert reply.status_code == 200
    assert reply.json()["cards"]
    assert proxied.get("/cds-services").status_code == 200


def test_a_token_for_the_inner_address_does_not_hold_outside(proxied: Site, order: bytes) -> None:
    headers = {**JSON, **proxied.hospital.call(proxied.service.base + PATH)}
    reply = requests.post(
        proxied.url + PATH, data=order, headers=headers, verify=str(proxied.trusted), timeout=30
    )
    assert reply.status_code == 401


@pytest.mark.threat("interception")
def test_browsers_are_told_to_come_by_tls_only(proxied: Site, order: bytes) -> None:
    for reply in (proxied.call(order), proxied.get("/cds-services"), proxied.get("/nothing")):
        seconds = re.match(r"max-age=(\d+)", reply.headers["Strict-Transport-Security"])
        assert seconds is not None
        assert int(seconds[1]) >= 31_536_000


def handshake(
    site: Site, version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0", name: str = "localhost"
) -> str | None:
    """The protocol agreed on; raises ssl.SSLError or ConnectionError where there is none."""
    context = ssl.create_default_context(cafile=str(site.trusted))
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", site.port), 30) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        return connection.version()


@pytest.mark.threat("interception")
@pytest.mark.requirement("crd-2.2.1:sec-3", "crd-2.0.1:91")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(proxied: Site, version: ssl.TLSVersion) -> None:
    assert handshake(proxied, version) == version.name.replace("_", ".")


@pytest.mark.threat("interception")
@pytest.mark.requirement("crd-2.2.1:sec-3", "crd-2.0.1:91")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_older_tls_is_not_spoken(proxied: Site, version: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(proxied, ssl.TLSVersion[version])


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA"])
def test_ciphers_without_forward_secrecy_or_integrity_are_not_spoken(
    proxied: Site, ciphers: str
) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(proxied, ssl.TLSVersion.TLSv1_2, ciphers + ":@SECLEVEL=0")


@pytest.mark.threat("impersonated-service")
def test_who_calls_by_another_name_gets_no_handshake(proxied: Site) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(proxied, ssl.TLSVersion.TLSv1_3, name="other.example.org")


@pytest.mark.threat("interception")
def test_a_call_without_tls_is_refused(proxied: Site, order: bytes) -> None:
    reply = requests.post(f"http://localhost:{proxied.port}{PATH}", data=order, timeout=30)
    assert reply.status_code == 400
    assert "Location" not in reply.headers


@pytest.mark.parametrize("path", ["/", "/metrics", "/livez", "/readyz", "/cds-servicesx", "/.git/"])
def test_what_clients_do_not_need_stays_inside(proxied: Site, path: str) -> None:
    before = calls_that_came(proxied)
    assert proxied.get(path).status_code == 404
    assert calls_that_came(proxied) == before + 1


def calls_that_came(site: Site) -> int:
    """The calls that the service has had, this one's own the last: its one worker writes their
    lines in their order.
    """
    site.service.line_of(site.service.get("/cds-services"))
    return len(site.service.lines("call"))


@pytest.mark.threat("slow-body")
def test_a_slow_body_ends_at_the_proxy_and_never_reaches_the_service(
    proxied: Site, order: bytes, tmp_path: Path
) -> None:
    """At one of less patience: clients of the others have as long as the example gives them."""
    for name in ("localhost.pem", "localhost.key"):
        shutil.copy(proxied.trusted.parent / name, tmp_path)
    port = free_port()
    context = ssl.create_default_context(cafile=str(proxied.trusted))
    with (
        in_front(tmp_path, port, proxied.service.port, patience="1s"),
        socket.create_connection(("127.0.0.1", port), 60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(head(len(order)).replace(b"127.0.0.1", b"localhost") + order[:10])
        before = calls_that_came(proxied)
        received = connection.recv(65536)
    assert received == b"" or b" 408 " in received.splitlines()[0]
    assert calls_that_came(proxied) == before + 1


def test_the_limits_of_the_service_hold_behind_the_proxy_too(proxied: Site, order: bytes) -> None:
    assert proxied.call(b" " * 1_100_000).status_code == 413
    compressed = {**JSON, **proxied.hospital.call(proxied.url + PATH), "Content-Encoding": "gzip"}
    reply = requests.post(
        proxied.url + PATH, data=b"x", headers=compressed, verify=str(proxied.trusted), timeout=30
    )
    assert reply.status_code == 415
    assert proxied.call(order).status_code == 200


@pytest.mark.threat("files-at-rest")
def test_the_proxy_writes_nothing_about_a_call(proxied: Site, order: bytes) -> None:
    proxied.call(order)
    proxied.get("/cds-services/Marigold-Quistgaard?patient=Quistgaard")
    proxied.get("/Marigold-Quistgaard")
    written = files_below(proxied.log.parent, Path.read_bytes)
    assert proxied.log in written
    for file, content in written.items():
        if file.name != "clients.yaml":
            assert b"Quistgaard" not in content
            assert b"draftOrders" not in content


@pytest.mark.threat("man-in-the-middle")
@pytest.mark.requirement("cds-hooks-2.0:175", "cds-hooks-2.0:179", "crd-2.0.1:90")
def test_with_mutual_tls_only_certificates_of_the_authority_may_connect(
    tmp_path: Path, order: bytes
) -> None:
    with site(tmp_path, mutual=True) as guarded:
        assert guarded.call(order).status_code == 400
        stranger = Authority(tmp_path, "strangers").issue("stranger")
        with contextlib.suppress(requests.exceptions.SSLError):
            assert guarded.call(order, cert=tuple(map(str, stranger))).status_code == 400
        known = guarded.clients.issue("hospital")
        assert guarded.call(order, cert=tuple(map(str, known))).status_code == 200
