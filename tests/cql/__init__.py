"""CQL of the forms: `make forms` compiles it to ELM and writes the Library resources.

Beside a form lies its CQL, `<form>.cql`; its Library goes to `libraries/<name>.json`. Compiler and
engine are npm packages, and the models are Maven's; authors of forms alone need them. The ELM is
our own output, of our own CQL only: no library of others is included.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import npm_packages
from tests.materials import ROOT, MissingPart

Json = dict[str, Any]

HERE = Path(__file__).parent
HOME = ROOT / "build" / "cql"
FOLDERS = (
    ROOT / "cards" / "questionnaires",
    *sorted((ROOT / "examples" / "policies").glob("*/questionnaires")),
)
CANONICAL = "https://covercard.example/fhir/Library/"
_MODELS = {
    "System": ("model-3.29.0.jar", "org/hl7/elm/r1/system-modelinfo.xml"),
    "FHIR": ("quick-3.29.0.jar", "org/hl7/fhir/fhir-modelinfo-4.0.1.xml"),
}
_FIRST_LINE = re.compile(r"^library (\w+) version '([\d.]+)'$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """One file of CQL, with the name and the version of its library."""

    path: Path
    name: str
    version: str
    text: str

    @property
    def output(self) -> Path:
        """The file of its Library."""
        return self.path.parent / "libraries" / f"{self.name}.json"

    @property
    def title(self) -> str:
        """Its first comment."""
        return self.text.partition("\n")[0].removeprefix("//").strip()


def sources() -> list[Source]:
    """The CQL of all forms."""
    return [_source(path) for folder in FOLDERS for path in sorted(folder.glob("*.cql"))]


def _source(path: Path) -> Source:
    text = path.read_text("utf-8")
    match = _FIRST_LINE.search(text)
    if match is None:
        raise ValueError(f"{path} does not say: library NAME version 'VERSION'")
    return Source(path, match[1], match[2], text)


def set_up() -> Path:
    """Fetch packages and models that are not there yet; the home. Raises MissingPart."""
    if shutil.which("mvn") is None:
        raise MissingPart("mvn (Maven)")
    npm_packages.install(HERE, HOME)
    try:
        if not all((HOME / jar).is_file() for jar, _ in _MODELS.values()):
            fetch = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
            _run([*fetch, f"-DoutputDirectory={HOME}"])
    except subprocess.CalledProcessError as trouble:
        raise MissingPart(f"the packages of Maven Central ({trouble})") from trouble
    return HOME


def is_set_up() -> bool:
    """Whether CQL can be run without fetching anything."""
    return npm_packages.is_installed(HERE, HOME)


def node(program: str, given: object) -> Any:
    """The JSON that one of the programs makes of JSON, its last line. Raises CalledProcessError."""
    (HOME / program).write_bytes((HERE / program).read_bytes())
    ran = subprocess.run(
        ["node", program],
        cwd=HOME,
        input=json.dumps(given),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=400,
    )
    # Packages write lines of their own before it.
    return json.loads(ran.stdout.splitlines()[-1])


def compiled(cql: Mapping[str, str]) -> dict[str, Json]:
    """The ELM of each library, by name."""
    models = {}
    for name, (jar, path) in _MODELS.items():
        with zipfile.ZipFile(HOME / jar) as archive:
            models[name] = archive.read(path).decode()
    elm: dict[str, Json] = node("compile.mjs", {"modelInfo": models, "sources": cql})
    return elm


def library(source: Source, elm: Mapping[str, Json], day: str) -> Json:
    """The Library resource of CQL and its ELM, in FHIR R4; `day` is when it last changed."""
    texts = {
        "text/cql": source.text,
        "application/elm+json": json.dumps(elm[source.name], separators=(",", ":")),
    }
    used = list(_included(source.name, elm))
    example = source.path.is_relative_to(ROOT / "examples")
    kind = {
        "system": "http://terminology.hl7.org/CodeSystem/library-type",
        "code": "logic-library",
    }
    made = {
        "resourceType": "Library",
        "id": source.name,
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/artifact-versionAlgorithm",
                "valueCoding": {
                    "system": "http://hl7.org/fhir/version-algorithm",
                    "code": "semver",
                },
            }
        ],
        "url": CANONICAL + source.name,
        "version": source.version,
        "name": source.name,
        "title": source.title.rstrip("."),
        "status": "active",
        "experimental": example,
        "type": {"coding": [kind]},
        "date": day,
        "publisher": "Example Health Plan" if example else "Covercard",
        "description": source.title,
        "relatedArtifact": [
            {"type": "depends-on", "resource": f"{CANONICAL}{name}|{version}"}
            for name, version in _includes(elm[source.name])
        ],
        "dataRequirement": requirements(elm[name]["library"] for name in used),
        "content": [
            {"contentType": content, "data": base64.b64encode(text.encode()).decode()}
            for content, text in texts.items()
        ],
    }
    return {name: value for name, value in made.items() if value != []}


def _includes(elm: Json) -> Iterator[tuple[str, str]]:
    for included in elm["library"].get("includes", {}).get("def", ()):
        yield included["path"], included["version"]


def _included(name: str, elm: Mapping[str, Json]) -> Iterator[str]:
    """The library and all that it includes."""
    yield name
    for inner, _ in _includes(elm[name]):
        yield from _included(inner, elm)


def requirements(libraries: Iterable[Json]) -> list[Json]:
    """The dataRequirement of libraries of ELM: a type each, with the codes of its retrieves."""
    codes: dict[str, list[Json] | None] = {}
    for library in libraries:
        for retrieve in _retrieves(library):
            kind = retrieve["dataType"].removeprefix("{http://hl7.org/fhir}")
            if "codes" not in retrieve:
                codes[kind] = None  # all of the type
                continue
            before = codes.setdefault(kind, [])
            if before is not None:
                before.extend(c for c in _codes(retrieve, library) if c not in before)
    return [
        {"type": kind, **({"codeFilter": [{"path": "code", "code": told}]} if told else {})}
        for kind, told in sorted(codes.items())
    ]


def _retrieves(elm: object) -> Iterator[Json]:
    if isinstance(elm, list):
        for each in elm:
            yield from _retrieves(each)
    elif isinstance(elm, dict):
        if elm.get("type") == "Retrieve":
            yield elm
        for each in elm.values():
            yield from _retrieves(each)


def _codes(retrieve: Json, library: Json) -> Iterator[Json]:
    """The codes of a retrieve of one code, as `[Type: "Code"]` is compiled."""
    systems = {s["name"]: s["id"] for s in library["codeSystems"]["def"]}
    named = {c["name"]: c for c in library["codes"]["def"]}
    if retrieve["codes"]["type"] != "ToList" or retrieve["codeProperty"] != "code":
        raise ValueError("retrieve by one code at a time: the codes are to be listed")
    code = named[retrieve["codes"]["operand"]["name"]]
    yield {"system": systems[code["codeSystem"]["name"]], "code": code["id"]}


def content(resource: Mapping[str, Any], kind: str) -> str:
    """What a Library holds of a content type."""
    (found,) = (c["data"] for c in resource["content"] if c["contentType"] == kind)
    return base64.b64decode(found).decode()


def written(resource: Json) -> str:
    """The text of a Library's file."""
    return json.dumps(resource, indent=2, ensure_ascii=False) + "\n"


def _run(command: list[str]) -> None:
    subprocess.run(command, cwd=HOME, check=True, timeout=400, stdout=subprocess.DEVNULL)
