"""sd_notify: what the service manager is told, over a datagram socket as systemd's."""

import contextlib
import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.service_manager import ServiceManager, service_manager
from service.errors import ConfigurationError
from tests.e2e.servers import free_port


class Manager:
    """The manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)

    def heard(self, seconds: float) -> list[str]:
        """The next notification's lines; none in that time is an empty list."""
        self.socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            return self.socket.recv(4096).decode().splitlines()
        return []


class Answering(http.server.BaseHTTPRequestHandler):
    """A service whose liveness is `status`."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(type(self).status if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.socket.close()


@contextlib.contextmanager
def answering(port: int, status: int = 200) -> Iterator[type[Answering]]:
    kind = type("Kind", (Answering,), {"status": status})
    server = http.server.HTTPServer(("127.0.0.1", port), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kind
    finally:
        server.shutdown()
        server.server_close()


def test_ready_is_told_at_the_first_answer_and_not_before(tmp_path: Path, manager: Manager) -> None:
    port = free_port()
    ServiceManager(str(tmp_path / "notify")).begin("127.0.0.1", port)
    assert manager.heard(10) == ["STATUS=Starting"]
    assert manager.heard(0.5) == []
    with answering(port):
        assert "READY=1" in manager.heard(10)
        assert manager.heard(0.5) == []  # no watchdog, no sign of life


def test_the_watchdog_hears_of_the_service_while_it_answers(
    tmp_path: Path, manager: Manager
) -> None:
    port = free_port()
    with answering(port) as service:
        ServiceManager(str(tmp_path / "notify"), 2.0).begin("127.0.0.1", port)
        assert manager.heard(10) == ["STATUS=Starting"]
        assert "READY=1" in manager.heard(10)
        began = time.monotonic()
        assert [manager.heard(10) for _ in range(8)] == [["WATCHDOG=1"]] * 8
        assert time.monotonic() - began > 2.0  # four in its time, and no flood of them
        service.status = 503
        while manager.heard(1.5):
            assert time.monotonic() - began < 20
        service.status = 200
        assert manager.heard(10) == ["WATCHDOG=1"]


def test_a_service_that_answers_with_an_error_is_not_ready(
    tmp_path: Path, manager: Manager
) -> None:
    port = free_port()
    with answering(port, status=500):
        ServiceManager(str(tmp_path / "notify")).begin("127.0.0.1", port)
        assert manager.heard(10) == ["STATUS=Starting"]
        assert manager.heard(0.5) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_it_is_asked_where_it_listens(host: str, tmp_path: Path, manager: Manager) -> None:
    port = free_port()
    with answering(port):
        ServiceManager(str(tmp_path / "notify")).begin(host, port)
        manager.heard(10)
        assert "READY=1" in manager.heard(10)


def test_a_name_in_the_abstract_namespace_is_one() -> None:
    name = f"covercard-test-{os.getpid()}"
    abstract = Manager(f"\0{name}")
    ServiceManager(f"@{name}").tell("READY=1")
    assert abstract.heard(10) == ["READY=1"]
    abstract.socket.close()


def test_a_manager_that_cannot_be_reached_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"NOTIFY_SOCKET: cannot send to .*unset it"):
        ServiceManager(str(tmp_path / "absent")).begin("127.0.0.1", free_port())


def test_without_a_manager_nobody_is_told() -> None:
    assert service_manager({}, os.getpid()) is None


def test_the_managers_variables_are_for_this_process_alone() -> None:
    variables = {
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "60000000",
        "WATCHDOG_PID": "77",
        "PATH": "/usr/bin",
    }
    assert service_manager(dict(variables), 77) == ServiceManager("/run/systemd/notify", 60.0)
    assert service_manager(dict(variables), 78) == ServiceManager("/run/systemd/notify", None)
    service_manager(variables, 77)
    assert variables == {"PATH": "/usr/bin"}


def test_an_address_that_is_no_socket_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must begin with / or @"):
        service_manager({"NOTIFY_SOCKET": "vsock:2:1234"}, 1)
