"""Everything that is shipped has a license that lets a payer run it: an allow-list, no exceptions
but those with a reason."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCK = ROOT / "requirements.lock"
LOCKED = re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text("utf-8"), flags=re.MULTILINE)

ALLOWED = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
}

AS_WRITTEN = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD license": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages without an SPDX expression write, and what it is."""

REASONS = {
    "psycopg": "LGPL-3.0-only, used as it comes and as a library of its own, never changed",
    "psycopg-binary": "as psycopg",
}


def licenses(name: str) -> set[str]:
    """The SPDX identifiers of an installed package; the words as written where they are unknown."""
    metadata = distribution(name).metadata
    expression = metadata.get("License-Expression")
    if expression:
        return set(re.findall(r"[\w.+-]+", expression)) - {"AND", "OR", "WITH"}
    classifiers = metadata.get_all("Classifier") or []
    written = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    if not written:
        written = [(metadata.get("License") or "none told").splitlines()[0]]
    return {AS_WRITTEN.get(w, w) for w in written}


@pytest.mark.threat("unlicensed-package")
@pytest.mark.parametrize("name", LOCKED)
def test_a_package_that_is_shipped_may_be_shipped(name: str) -> None:
    try:
        found = licenses(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is for another platform and not installed here")
    assert found <= ALLOWED or name in REASONS, f"{name}: {found}"


def test_the_project_itself_is_under_the_apache_license() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE"]
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_exception_is_still_needed() -> None:
    assert {n for n in REASONS if n in LOCKED and licenses(n) <= ALLOWED} == set()
    assert set(REASONS) <= set(LOCKED)


@pytest.mark.threat("replaced-package")
def test_every_locked_package_is_locked_by_hash() -> None:
    others = ("requirements-dev.lock", "requirements-otel.lock", "requirements-parquet.lock")
    for lock in (LOCK, *map(LOCK.with_name, others)):
        text = lock.read_text("utf-8")
        entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
        assert entries
        assert [e for e in entries if "--hash=sha256:" not in e] == []
        assert "://" not in re.sub(r"(?m)^\s*#.*$", "", text)
