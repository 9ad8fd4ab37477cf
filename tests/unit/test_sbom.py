"""`make sbom`: every package that is shipped, with version, hashes and license, as CycloneDX."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sbom") / "new" / "sbom.cdx.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "sbom.py"), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(target) in done.stdout
    return target


@pytest.fixture(scope="module")
def sbom(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def lock(name: str) -> dict[str, set[str]]:
    """name==version → hashes, as the file's own lines have them."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if named := re.match(r"([a-z0-9-]+==[\w.]+)", line):
            found[named[1]] = current = set()
        current |= set(re.findall(r"sha256:([0-9a-f]{64})", line))
    return found


def test_it_is_valid_by_the_strict_schema_of_cyclonedx(file: Path) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    text = file.read_text("utf-8")
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"components"', '"componentz"')) is not None


@pytest.mark.parametrize(
    ("names", "scope"),
    [
        (["requirements.lock"], "required"),
        (["requirements-otel.lock", "requirements-parquet.lock"], "optional"),
    ],
)
def test_every_locked_package_is_a_component_with_the_hashes_of_its_lock(
    names: list[str], scope: str, sbom: Any
) -> None:
    told = {
        f"{c['name']}=={c['version']}": {
            h["content"] for r in c["externalReferences"] for h in r["hashes"]
        }
        for c in sbom["components"]
        if c["scope"] == scope
    }
    assert told == {k: v for name in names for k, v in lock(name).items()}


def test_every_component_has_a_license_and_a_package_url(sbom: Any) -> None:
    required = [c for c in sbom["components"] if c["scope"] == "required"]
    installed = [c for c in required if "properties" not in c]
    assert [c["name"] for c in installed if not c.get("licenses")] == []
    assert len(installed) > len(required) / 2
    for found in sbom["components"]:
        assert found["purl"] == f"pkg:pypi/{found['name']}@{found['version']}"


def test_the_program_depends_on_what_it_declares(sbom: Any) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(name for extra in extras for name in extra)]
    names = {re.split(r"[\[>=<;]", told)[0].strip().lower() for told in declared}
    own = sbom["metadata"]["component"]
    assert (own["name"], own["version"]) == (project["name"], project["version"])
    depends = {d["ref"]: d.get("dependsOn", []) for d in sbom["dependencies"]}
    told = {ref.removeprefix("pkg:pypi/").partition("@")[0] for ref in depends[own["bom-ref"]]}
    assert told == {name.replace(".", "-") for name in names}
    flask = next(ref for ref in depends if ref.startswith("pkg:pypi/flask@"))
    assert any(ref.startswith("pkg:pypi/werkzeug@") for ref in depends[flask])


def test_the_same_locks_have_the_same_serial_number(sbom: Any, file: Path) -> None:
    again = file.with_name("again.json")
    subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "sbom.py"), str(again)], check=True, capture_output=True
    )
    assert json.loads(again.read_text("utf-8"))["serialNumber"] == sbom["serialNumber"]
