"""The software bill of materials of what is shipped (CycloneDX 1.6, JSON), from the lock files.

    python .ci/sbom.py build/sbom.cdx.json

Each locked package is a component with its version and the hashes that an installation accepts;
licenses and dependencies are those that the installed packages tell. Parquet's extra is optional.
Ends with 2 where a locked package's metadata cannot be read because it is not installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = {
    "requirements.lock": False,
    "requirements-otel.lock": True,
    "requirements-parquet.lock": True,
}
"""Lock files of what is shipped, and whether it is an extra."""


@dataclass(frozen=True)
class LockedPackage:
    """A package of a lock file; `marker` tells the environments that it is installed in."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    optional: bool


def locked(lock: Path, optional: bool) -> Iterator[LockedPackage]:
    """The packages of a lock file with hashes."""
    for entry in lock.read_text("utf-8").replace("\\\n", " ").splitlines():
        if entry.strip() and not entry.startswith("#"):
            requirement = Requirement(entry.partition(" --hash")[0])
            [pinned] = requirement.specifier
            yield LockedPackage(
                canonicalize_name(requirement.name),
                pinned.version,
                str(requirement.marker or ""),
                tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)),
                optional,
            )


def component(package: LockedPackage, found: Distribution | None) -> Component:
    """The component of a locked package, with what its installed metadata tells."""
    purl = PackageURL("pypi", name=package.name, version=package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        scope=ComponentScope.OPTIONAL if package.optional else ComponentScope.REQUIRED,
        licenses=[LicenseFactory().make_from_string(told) for told in licenses(found)],
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(purl.to_string()),
                comment="files that an installation accepts, by their hashes",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=h) for h in package.hashes],
            )
        ],
        properties=[Property(name="covercard:marker", value=package.marker)]
        if package.marker
        else [],
    )


def licenses(found: Distribution | None) -> list[str]:
    """The license that an installed package tells: an SPDX expression, else its own words."""
    if found is None:
        return []
    if expression := found.metadata.get("License-Expression"):
        return [expression]
    classifiers = found.metadata.get_all("Classifier") or []
    named = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    words = (found.metadata.get("License") or "").splitlines()
    return named[:1] or words[:1]


def bill() -> tuple[Bom, list[str]]:
    """The bill, and the names of required packages that are not installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    packages = [p for lock, extra in LOCKS.items() for p in locked(ROOT / lock, extra)]
    installed = {package.name: _installed(package.name) for package in packages}
    made = {p.name: component(p, installed[p.name]) for p in packages}
    own = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref=project["name"],
        licenses=[LicenseFactory().make_from_string(project["license"])],
    )
    # The same lock files have the same serial number, whenever the bill is made.
    content = "".join((ROOT / lock).read_text("utf-8") for lock in LOCKS)
    bom = Bom(components=made.values(), serial_number=uuid.uuid5(uuid.NAMESPACE_OID, content))
    bom.metadata.component = own
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    bom.register_dependency(own, _of(made, [*project["dependencies"], *extras]))
    for name, found in installed.items():
        bom.register_dependency(made[name], _of(made, (found and found.requires) or []))
    absent = [p.name for p in packages if not (installed[p.name] or p.optional or p.marker)]
    return bom, absent


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _of(made: dict[str, Component], requirements: list[str]) -> list[Component]:
    """The locked components among some requirements."""
    names = {canonicalize_name(Requirement(told).name) for told in requirements}
    return [made[name] for name in sorted(names & set(made))]


def main() -> int:
    bom, absent = bill()
    if absent:
        print(f"sbom: not installed: {', '.join(absent)}; run make .venv/.dev", file=sys.stderr)
        return 2
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n", "utf-8")
    print(f"sbom: {len(bom.components)} components in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
