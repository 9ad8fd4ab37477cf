"""The validator's cache of FHIR packages, filled from folders of what could be had.

A folder holds published packages (`*.tgz`), Ruby gems that carry such packages, and loose
resources (`*.json`). What the official names of the packages stand for where a folder has another
edition, and what is mended in an edition with a known fault, is data: `packages.yaml`.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Json = dict[str, Any]
_RULES: Json = YAML(typ="safe").load(Path(__file__).parent / "packages.yaml")
_CARRIERS = re.compile(r"(test_kit|fhir_models)-[\d.]+\.gem$")
"""The gems among the kits' that carry packages; the others are not opened."""
_INDEXES = (".index.json", ".index.db")


def fill(cache: Path, folders: Iterable[Path], libraries: Path) -> None:
    """Unpack everything into `cache` (a folder `id#version` each) and name what is still missing.

    `libraries` holds the validator's jars, one of which carries terminology and extensions.
    Empty packages stand for dependencies that no folder has: the validator wants all to be there.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for package in _from_jars(libraries):
        _unpack(cache, package)
    loose: list[Path] = []
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.name.endswith(".tgz"):
                _unpack(cache, file.read_bytes())
            elif _CARRIERS.search(file.name):
                for package in _from_gem(file):
                    _unpack(cache, package)
            elif re.match(r"(CodeSystem|ValueSet|StructureDefinition)-.*\.json$", file.name):
                loose.append(file)
    for name, other in _RULES["stand_in"].items():
        _stand_in(cache, name, other)
    for package_name, resources in _RULES["added"].items():
        for resource in resources:
            name = f"{resource['resourceType']}-{resource['id']}.json"
            _write(cache / package_name / "package" / name, resource)
    for file in loose:
        resource = json.loads(file.read_text("utf-8"))
        for name in _RULES["loose"][resource["resourceType"]]:
            if name in _RULES["versioned_as_named"]:
                resource["version"] = name.partition("#")[2]
            own = f"{resource['resourceType']}-{resource['id']}.json"
            _write(cache / name / "package" / own, resource)
    _mend(cache)
    for name in _dependencies(cache) | set(_RULES["asked_for"]):
        _empty(cache, name)


def _from_jars(libraries: Path) -> Iterator[bytes]:
    for jar in sorted(libraries.glob("hapi-fhir-validation-resources-*.jar")):
        with zipfile.ZipFile(jar) as archive:
            for name in archive.namelist():
                edition = Path(name).name.removesuffix(".tgz")
                if "#".join(edition.rsplit("-", 1)) in _RULES["stand_in"].values():
                    yield archive.read(name)


def _from_gem(gem: Path) -> Iterator[bytes]:
    with tarfile.open(gem) as outer:
        data = outer.extractfile("data.tar.gz")
        assert data is not None
        with tarfile.open(fileobj=io.BytesIO(data.read())) as inner:
            for member in inner:
                if member.name.endswith(".tgz"):
                    held = inner.extractfile(member)
                    assert held is not None
                    yield held.read()


def _unpack(cache: Path, package: bytes) -> None:
    """Where two folders have a package of one name and version, the later one counts."""
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        manifest = archive.extractfile("package/package.json")
        assert manifest is not None
        about = json.loads(manifest.read())
        home = cache / f"{about['name']}#{about['version']}"
        shutil.rmtree(home, ignore_errors=True)
        archive.extractall(home, filter="data")
    for index in _INDEXES:
        (home / "package" / index).unlink(missing_ok=True)


def _stand_in(cache: Path, name: str, other: str) -> None:
    """Another edition under the name asked for, with the version that the name says."""
    if (cache / name).exists() or not (cache / other).exists():
        return
    shutil.copytree(cache / other, cache / name)
    # Of these the validator wants conformance resources alone.
    for folder in ("example", "other", "openapi", "xml"):
        shutil.rmtree(cache / name / "package" / folder, ignore_errors=True)
    manifest = cache / name / "package" / "package.json"
    about = json.loads(manifest.read_text("utf-8"))
    about["name"], about["version"] = name.split("#")
    about["dependencies"] = {}
    _write(manifest, about)
    if name in _RULES["versioned_as_named"]:
        for file in (cache / name / "package").glob("*-*.json"):
            _write(file, json.loads(file.read_text("utf-8")) | {"version": about["version"]})


def _mend(cache: Path) -> None:
    for file, changes in _RULES["mended"].items():
        path = cache / file
        if not path.is_file():
            continue
        text = path.read_text("utf-8")
        resource = json.loads(text)
        for change in changes:
            _set(resource, change["at"].split("/"), change["to"])
        _write(path, resource)


def _set(value: Any, place: list[str], to: object) -> None:
    """Put a value at a place; `[path=X]` goes into every element of a list with that `path`."""
    step, *further = place
    chosen = re.fullmatch(r"\[(\w+)=(.*)\]", step)
    if chosen:
        for element in value:
            if element.get(chosen[1]) == chosen[2]:
                _set(element, further, to)
    elif further:
        if step in value:
            _set(value[step], further, to)
    else:
        value[step] = to


def _dependencies(cache: Path) -> set[str]:
    found: set[str] = set()
    for manifest in cache.glob("*/package/package.json"):
        about = json.loads(manifest.read_text("utf-8"))
        found |= {f"{name}#{version}" for name, version in about.get("dependencies", {}).items()}
    return found


def _empty(cache: Path, name: str) -> None:
    home = cache / name / "package"
    if home.exists():
        return
    home.mkdir(parents=True)
    package_id, version = name.split("#")
    _write(
        home / "package.json",
        {
            "name": package_id,
            "version": version,
            "tools-version": 3,
            "type": "IG",
            "date": "20240101000000",
            "canonical": f"http://example.org/{package_id}",
            "url": f"http://example.org/{package_id}",
            "title": package_id,
            "description": "nothing: a dependency that is not at hand",
            "fhirVersions": ["4.0.1"],
            "dependencies": {},
            "author": "nobody",
        },
    )


def _write(path: Path, resource: Json) -> None:
    path.write_text(json.dumps(resource), "utf-8")
