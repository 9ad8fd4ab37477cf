"""The real service under a service manager: ready when it answers, silent when its worker hangs."""

import contextlib
import os
import signal
import time
from pathlib import Path

import requests

from tests.e2e.servers import free_port, running
from tests.unit.test_service_manager import Manager


def test_the_manager_hears_of_a_service_that_answers_and_not_of_one_that_hangs(
    tmp_path: Path,
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
    port = free_port()
    with running(tmp_path, variables, port=port) as server:
        assert manager.heard(30) == ["STATUS=Starting"]
        assert "READY=1" in manager.heard(30)
        assert requests.get(f"{server.base}/livez", timeout=30).status_code == 200
        assert manager.heard(30) == ["WATCHDOG=1"]
        worker = server.told("worker begun")[0]["process"]
        os.kill(worker, signal.SIGSTOP)
        try:
            until = time.monotonic() + 30
            while manager.heard(4):
                assert time.monotonic() < until, "a hanging service still counts as alive"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT)
        assert manager.heard(30) == ["WATCHDOG=1"]
    manager.socket.close()


def test_the_service_starts_with_its_database_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "database-url"
    file.write_text(f"sqlite:///{tmp_path}/in-a-file.sqlite3\n")
    with running(tmp_path, database_url_file=file) as server:
        assert server.get("/readyz").json()["checks"]["records"]["store"] == "up"
    assert (tmp_path / "in-a-file.sqlite3").is_file()
