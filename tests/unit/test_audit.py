"""`make audit`: a known vulnerability fails, and what could not be asked is never called well."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

WELL = {"name": "alpha", "version": "1.0", "vulns": []}
ILL = {
    "name": "beta",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.1"]}],
}
UNKNOWN = {"name": "gamma", "skip_reason": "Dependency not found on PyPI"}


def audit(folder: Path, stdout: str = "", stderr: str = "", status: int = 0) -> tuple[int, str]:
    """The script's exit status and words, where pip-audit says this."""
    stub = folder / "pip_audit"
    stub.mkdir()
    (stub / "__init__.py").write_text("")
    (stub / "__main__.py").write_text(
        f"import sys\nprint({stdout!r})\nprint({stderr!r}, file=sys.stderr)\nsys.exit({status})\n"
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "audit.py")],
        env={"PYTHONPATH": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.threat("known-vulnerability")
def test_a_known_vulnerability_fails_and_says_what_repairs_it(tmp_path: Path) -> None:
    status, said = audit(tmp_path, report(WELL, ILL, UNKNOWN, ILL), "Found 1", 1)
    assert status == 1
    assert "beta 2.0: PYSEC-2026-1, repaired in 2.1\n" in said
    assert "FAILED: 1 known" in said
    assert "SKIPPED" not in said


def test_packages_without_any_are_counted(tmp_path: Path) -> None:
    assert audit(tmp_path, report(WELL)) == (0, "audit: 1 packages, no known vulnerability\n")


@pytest.mark.threat("known-vulnerability")
def test_where_no_package_could_be_looked_up_it_is_a_skip_and_no_pass(tmp_path: Path) -> None:
    status, said = audit(tmp_path, report(UNKNOWN, {**UNKNOWN, "name": "delta"}))
    assert (status, said) == (0, "audit: SKIPPED: advisories cannot be reached\n")


def test_a_package_that_could_not_be_looked_up_is_named(tmp_path: Path) -> None:
    status, said = audit(tmp_path, report(WELL, UNKNOWN))
    assert status == 0
    assert "1 packages, no known vulnerability\n" in said
    assert "SKIPPED: no advisories for gamma" in said


@pytest.mark.parametrize(
    "stderr",
    ["ERROR: Tried to connect to the index and could not", "Read timed out.", "Connection refused"],
)
def test_without_the_network_it_is_a_skip(tmp_path: Path, stderr: str) -> None:
    status, said = audit(tmp_path, "", stderr, 1)
    assert (status, said) == (0, "audit: SKIPPED: advisories cannot be reached\n")


def test_any_other_trouble_is_a_failure(tmp_path: Path) -> None:
    status, said = audit(tmp_path, "", "requirement without a hash", 1)
    assert status == 2
    assert "requirement without a hash" in said
    assert "SKIPPED" not in said
