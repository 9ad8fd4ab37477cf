"""The official HL7 validator as a local HTTP server; set up once, then without the network.

Settings, as environment variables: COVERCARD_FHIR_PACKAGES are the folders with FHIR packages (see
`packages.py`), COVERCARD_VALIDATOR_HOME is where jars and packages are kept (build/validator).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.materials import ROOT, MissingPart, found_beside
from tests.validator import packages

HERE = Path(__file__).parent
EVERYWHERE = (
    "hl7.terminology.r4#6.2.0",
    "hl7.fhir.uv.extensions.r4#5.2.0",
    "hl7.fhir.uv.tools.r4#1.1.2",
)
"""Terminology, extensions and the models of CDS Hooks, beside every guide."""
CRD_2_0 = ("hl7.fhir.us.davinci-crd#2.0.1",)
CRD_2_2 = (
    "hl7.fhir.us.davinci-crd#2.2.1",
    "hl7.fhir.us.core#3.1.1",
    "hl7.fhir.us.core#6.1.0",
    "hl7.fhir.us.core#7.0.0",
)
DTR_2_0 = ("hl7.fhir.us.davinci-dtr#2.0.1",)
DTR_2_2 = ("hl7.fhir.us.davinci-dtr#2.2.0",)

_SECONDS_TO_START = 300
_HEAP = "-Xmx6g"


def folders_of_packages() -> list[Path]:
    """The folders that the setting names, or those found beside the project."""
    told = os.environ.get("COVERCARD_FHIR_PACKAGES")
    if told:
        return [Path(part) for part in told.split(os.pathsep)]
    found = [found_beside(p) for p in ("inferno/gems", "validator", "spec/ig")]
    return [p for p in found if p is not None]


def home() -> Path:
    """Where jars, classes and packages are kept between runs."""
    return Path(os.environ.get("COVERCARD_VALIDATOR_HOME") or ROOT / "build" / "validator")


def set_up() -> Path:
    """Fetch, compile and unpack what is not there yet; the home. Raises MissingPart."""
    for program in ("java", "javac", "mvn"):
        if shutil.which(program) is None:
            raise MissingPart(f"{program} (a JDK of 17 or later, and Maven)")
    folders = folders_of_packages()
    if not folders or not all(f.is_dir() for f in folders):
        raise MissingPart("FHIR packages (COVERCARD_FHIR_PACKAGES names their folders)")
    place = home()
    mark = _mark(folders)
    if (place / "ready").is_file() and (place / "ready").read_text("utf-8") == mark:
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    fetch = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    try:
        _run([*fetch, f"-DoutputDirectory={place / 'lib'}", "-DincludeScope=runtime"])
    except subprocess.CalledProcessError as trouble:
        raise MissingPart(f"the validator's jars from Maven Central ({trouble})") from trouble
    sources = [str(s) for s in HERE.glob("*.java")]
    _run(["javac", "-nowarn", "-d", str(place / "classes"), "-cp", f"{place}/lib/*", *sources])
    packages.fill(place / ".fhir" / "packages", folders, place / "lib")
    (place / "ready").write_text(mark, "utf-8")
    return place


def _mark(folders: Sequence[Path]) -> str:
    """Changes whenever what the home is made of does."""
    made_of = hashlib.sha256()
    for name in ("ValidationServer.java", "pom.xml", "packages.py", "packages.yaml"):
        made_of.update((HERE / name).read_bytes())
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                made_of.update(f"{file.name} {file.stat().st_size}".encode())
    return made_of.hexdigest()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=400)


@contextlib.contextmanager
def running(
    port: int, log: Path, guides: Sequence[Sequence[str]] = (CRD_2_0, CRD_2_2)
) -> Iterator[str]:
    """The validator's base URL, from when these sets of guides are loaded to the block's end."""
    place = set_up()
    command = [
        "java",
        _HEAP,
        f"-Duser.home={place}",
        "-cp",
        f"{place / 'classes'}:{place}/lib/*",
        "ValidationServer",
        str(port),
        ",".join(EVERYWHERE),
        *(",".join(g) for g in guides),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=place, stdout=out, stderr=subprocess.STDOUT)
    base = f"http://127.0.0.1:{port}"
    try:
        _wait(process, base, log)
        yield base
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{base}/versions", timeout=5).ok:
                return
        time.sleep(0.25)
    ending = log.read_text("utf-8", "replace")[-2000:]
    raise RuntimeError(f"the validator did not start:\n{ending}")


def validate(
    base: str, resource: dict[str, Any] | str, guides: Sequence[str], profile: str
) -> list[dict[str, Any]]:
    """The validator's issues with a resource, or any JSON that a logical model describes."""
    text = resource if isinstance(resource, str) else json.dumps(resource)
    asked = {
        "cliContext": {"sv": "4.0.1", "igs": list(guides), "profiles": [profile]},
        "filesToValidate": [{"fileName": "it.json", "fileContent": text, "fileType": "json"}],
    }
    reply = requests.post(f"{base}/validate", json=asked, timeout=300)
    reply.raise_for_status()
    issues: list[dict[str, Any]] = reply.json()["outcomes"][0]["issues"]
    return issues
