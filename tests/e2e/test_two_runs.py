"""Two `make run` at once: one serves, the other says why it cannot, and harms nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.e2e.servers import environment, free_port


def clone(folder: Path) -> Path:
    """A checkout of the project whose packages are installed already: those that run this test."""
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    for name in (".made", ".run"):
        (folder / ".venv" / name).touch()
    return folder


def make_run(folder: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["make", "run"],
        cwd=folder,
        env=environment({"port": port, "workers": 1}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("clones", [("one", "other"), ("one", "one")], ids=["two", "one"])
def test_of_two_at_one_port_one_serves_and_the_other_says_that_the_port_is_taken(
    clones: tuple[str, str], tmp_path: Path, order: bytes
) -> None:
    folders = {name: clone(tmp_path / name) for name in set(clones)}
    port = free_port()
    makes = [make_run(folders[name], port) for name in clones]
    try:
        until = time.monotonic() + 240
        while all(make.poll() is None for make in makes):
            assert time.monotonic() < until, "both go on"
            time.sleep(0.1)
        [loser, winner] = sorted(makes, key=lambda make: make.poll() is None)
        said = loser.communicate(timeout=60)[0]
        assert loser.returncode != 0
        assert f"cannot listen on 127.0.0.1:{port} (address already in use)" in said
        base = f"http://127.0.0.1:{port}"
        while True:  # the winner has the port, and may still start its worker
            try:
                if requests.get(f"{base}/livez", timeout=30).status_code == 200:
                    break
            except (requests.ConnectionError, requests.Timeout):
                assert time.monotonic() < until, "nobody answers"
                time.sleep(0.1)
        reply = requests.post(
            f"{base}/cds-services/order-sign-crd",
            data=order,
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        assert reply.status_code == 200, reply.text
        # The member is known: the example records came in once, from whichever of the two.
        assert "organization determination" in reply.text
        records = requests.get(f"{base}/readyz", timeout=30).json()["checks"]["records"]
        assert records["status"] == "ready"
        assert winner.poll() is None
    finally:
        for make in makes:
            if make.poll() is None:
                os.killpg(make.pid, signal.SIGTERM)
        for make in makes:
            make.communicate(timeout=60)
    folder = folders[clones[makes.index(winner)]]
    verified = subprocess.run(
        [sys.executable, "-c", "from service.cli import main; main()", "decisions", "verify"],
        cwd=folder,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
