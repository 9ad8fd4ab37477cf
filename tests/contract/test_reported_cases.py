"""Requests built from public bug reports, read in place where they are at hand, never copied.

They lie in the folder `cases` beside the one that COVERCARD_SPECIFICATIONS names. Each kind of them
is held by tests with bodies of their own; here the reported ones are looked at as they were.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import in_folder
from tests.contract.answer_rules import check_answer, parts, stated
from tests.e2e.servers import free_port
from tests.requirements.specifications import FOLDER

Json = dict[str, Any]
CASES = FOLDER.parent / "cases"
OF_THE_CASES = datetime(2026, 11, 25, 15, 30, tzinfo=UTC)
PORT_OF_THE_CASES, EHR_PORT = "8790", free_port()
INNER = "https://internal.ehr.example/fhir"

pytestmark = pytest.mark.skipif(
    not (CASES / "README.md").is_file(),
    reason="no reported cases at hand: they lie in `cases` beside COVERCARD_SPECIFICATIONS",
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The service on the day of the cases; a gateway and the server behind it are told."""
    folder = tmp_path_factory.mktemp("cases")
    settings = in_folder(folder, fhir_aliases=f"https://gateway.example.org/fhir={INNER}")
    app = create_app(settings, clock=lambda: OF_THE_CASES)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture(scope="module")
def reported_ehr() -> Iterator[None]:
    """The EHR with the reported quirks, on a port of these tests' own."""
    process = subprocess.Popen(
        [sys.executable, "-c", on_own_port(CASES / "ehr_stub.py")], stdout=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", EHR_PORT)) != 0:
                assert process.poll() is None, "the EHR has ended"
                assert time.monotonic() < until, "the EHR does not answer"
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def on_own_port(file: Path) -> str:
    """A file's text with another port in place of the one that the cases name: there somebody else
    may listen, or another process of these tests.
    """
    return file.read_text("utf-8").replace(PORT_OF_THE_CASES, str(EHR_PORT))


def case(number: str, twin: bool = False) -> Json:
    files = sorted(CASES.glob(f"{number}-*.json"))
    (file,) = [f for f in files if f.name.endswith(".twin.json") == twin]
    loaded: Json = json.loads(on_own_port(file))
    return loaded


class Said:
    """An answer, by what the cases speak of."""

    def __init__(self, client: FlaskClient, request: Json) -> None:
        url = request.get("path") or f"/cds-services/{request['hook']}-crd"
        self.reply = client.post(url, json=request.get("body", request))
        self.body: Json = self.reply.get_json()
        if self.status == 200 and "cards" in self.body:
            check_answer(self.body)

    @property
    def status(self) -> int:
        return self.reply.status_code

    @property
    def topics(self) -> list[str]:
        return [c["source"]["topic"]["code"] for c in self.body["cards"]]

    @property
    def updates(self) -> list[Json]:
        found: list[Json] = self.body.get("systemActions", [])
        return found

    def part(self, name: str) -> list[Any]:
        (statement,) = stated(self.body)
        return parts(statement, name)

    @property
    def is_not_covered(self) -> bool:
        return self.topics[:1] == ["guideline"] and self.part("covered") == ["not-covered"]


AS_TODAY: dict[str, Callable[[Said], bool]] = {
    "01": lambda s: s.is_not_covered and s.part("billingCode")[0]["code"] == "76390:26",
    "03": lambda s: s.is_not_covered,
    "04": lambda s: s.is_not_covered,
    "06": lambda s: s.is_not_covered and "is not active on the day" not in str(s.part("reason")),
    "07": lambda s: s.part("covered") == ["conditional"],
    "08": lambda s: s.is_not_covered,
    "10": lambda s: s.status == 400,
    "12": lambda s: s.part("coverage") == [{"reference": "Coverage/other"}],
    "13": lambda s: "without an id" in s.body["cards"][0]["summary"],
    "20": lambda s: s.is_not_covered,
    "21": lambda s: s.is_not_covered,
    "22": lambda s: s.is_not_covered,
    "23": lambda s: s.is_not_covered,
    "24": lambda s: s.topics == ["guideline"],
    "25": lambda s: s.updates[0]["description"].endswith(": conditional"),
    "26": lambda s: s.is_not_covered and s.part("pa-needed") == [],
    "27": lambda s: s.part("info-needed") == ["OTH"] and len(s.part("detail")) >= 1,
    "28": lambda s: "claim" not in s.topics,
    "30": lambda s: s.part("covered") != [],
    "31": lambda s: s.topics[:1] == ["guideline"] and s.updates == [],
    "32": lambda s: s.is_not_covered,
    "34": lambda s: s.status == 200,
    "35": lambda s: [p["name"] for p in s.body["parameter"]][:1] == ["packagebundle"],
    "36": lambda s: s.is_not_covered,
    "37": lambda s: s.is_not_covered and "null" not in json.dumps(s.updates),
    "38": lambda s: "could not be read from the EHR" in s.body["cards"][0]["summary"],
}


@pytest.mark.parametrize("number", AS_TODAY)
def test_a_reported_case_is_answered_as_its_note_says(client: FlaskClient, number: str) -> None:
    assert AS_TODAY[number](Said(client, case(number)))


ALIKE = ("01", "03", "04", "06")


@pytest.mark.parametrize("number", ALIKE)
def test_it_says_what_its_twin_says(client: FlaskClient, number: str) -> None:
    said, twin = Said(client, case(number)), Said(client, case(number, twin=True))
    if number == "06":  # its twin's dates begin before the policy
        assert twin.part("info-needed") == ["timeframe"]
    else:
        assert said.topics == twin.topics
        assert said.part("covered") == twin.part("covered")


OF_AN_EHR: dict[str, Callable[[Said], bool]] = {
    "15": lambda s: s.is_not_covered,
    "17": lambda s: s.topics == ["guideline"],
    "18": lambda s: s.is_not_covered,
    "19": lambda s: s.is_not_covered,
}


@pytest.mark.usefixtures("reported_ehr")
@pytest.mark.parametrize("number", OF_AN_EHR)
def test_an_ehr_that_behaves_as_reported_gives_what_it_has(
    client: FlaskClient, number: str
) -> None:
    assert OF_AN_EHR[number](Said(client, case(number)))


def test_a_gateway_that_the_operator_did_not_tell_of_is_no_patients_own(tmp_path: Path) -> None:
    app = create_app(in_folder(tmp_path), clock=lambda: OF_THE_CASES)
    try:
        said = Said(app.test_client(), case("20"))
        assert "for another patient" in said.body["cards"][0]["summary"]
    finally:
        app.extensions[RECORDER].stop()


def test_no_case_is_passed_over() -> None:
    numbers = {f.name[:2] for f in CASES.glob("[0-9][0-9]-*.json")}
    # 14, the lifetime of tokens, has its setting tested where tokens are.
    assert numbers == AS_TODAY.keys() | OF_AN_EHR.keys() | {"14"}
