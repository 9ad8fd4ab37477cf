"""`.ci/fresh_debian.py`: what it takes from the README, and what of this machine goes in."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT
from tests.documents import document

SCRIPT = ROOT / ".ci" / "fresh_debian.py"
README = document("README.md").text


@pytest.fixture(scope="module")
def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("fresh_debian", SCRIPT)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_commands_that_it_runs_are_the_readmes(script: ModuleType) -> None:
    start, fire = script.two_commands(README)
    assert start == "make run"
    assert fire.startswith(".venv/bin/covercard fire fhir_fixtures/") and "\n" not in fire
    assert script.installed_by(README).split()[-3:] == ["git", "make", "python3-venv"]


def test_variables_of_the_network_go_in_and_no_others(script: ModuleType) -> None:
    own = {
        "PIP_INDEX_URL": "https://index.example.org",
        "https_proxy": "http://proxy.example.org",
        "REQUESTS_CA_BUNDLE": "/etc/ssl/own.pem",
    }
    others = {"PATH": "/bin", "PIP_FIND_LINKS": "/wheels", "A_TOKEN": "x", "COVERCARD_PORT": "1"}
    assert script.network({**own, **others}) == own


def test_certificates_are_copied_and_found_there(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in os.environ if script.network({n: ""})]:
        monkeypatch.delenv(name)
    authorities = tmp_path / "own.pem"
    authorities.write_text("an authority")
    monkeypatch.setenv("PIP_CERT", str(authorities))
    folder = tmp_path / "machine"
    (folder / "root").mkdir(parents=True)
    machine = script.Machine("trixie", folder)
    assert (folder / "root/given/PIP_CERT").read_text() == "an authority"
    assert machine.variables["PIP_CERT"] == "/root/given/PIP_CERT"
    assert machine.variables["CI"] == "true"
    words = machine.words("echo 'a b'")
    assert words[:3] == ["unshare", "--mount", "--pid"]
    assert subprocess.run(["bash", "-n", "-c", words[-1]], check=False).returncode == 0


def test_where_nothing_can_be_made_it_says_that_it_was_skipped(tmp_path: Path) -> None:
    """Here for want of debootstrap, or of root's rights: its own PATH is the system's."""
    text = SCRIPT.read_text("utf-8").replace("/usr/local/sbin:/usr/local/bin:/usr/sbin", "/none")
    text = text.replace(":/usr/bin:/sbin:/bin", "")
    (tmp_path / "script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("fresh-debian: SKIPPED: ")
