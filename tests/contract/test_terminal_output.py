"""Whatever a call, a file or another server sends: no command writes its control characters."""

from __future__ import annotations

import ast
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.cli import cli
from service.cli.terminal import echo_bytes
from service.settings import Settings
from tests.conftest import NOW, in_folder
from tests.documents import ROOT

Read = Callable[[str], dict[str, Any]]
Run = Callable[..., str]
URL = "/cds-services/order-sign-crd"
HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x9b31m\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\"
    "\u202e\r[link=https://evil.example]y[/link][red]z[/red]\x01\x85\u2028"
)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")


def everywhere(value: Any, key: str = "") -> Any:
    """The value with hostile text behind every text for people."""
    if isinstance(value, dict):
        return {k: everywhere(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [everywhere(v, key) for v in value]
    told = {"text", "display", "hookInstance", "family", "userComment", "summary", "detail"}
    return f"{value}{HOSTILE}" if isinstance(value, str) and key in told else value


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path)


@pytest.fixture
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture
def hostile(fixture: Read) -> dict[str, Any]:
    """A call with hostile text in every text for people."""
    changed: dict[str, Any] = everywhere(fixture("order-sign/mrs-and-unrelated-mri"))
    return changed


@pytest.fixture
def run(own: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command as on a terminal with colors; what it wrote."""
    monkeypatch.setenv("COVERCARD_DATABASE_URL", own.database_url)
    monkeypatch.setenv("COVERCARD_RECORDS_DIR", str(own.records_dir))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str) -> str:
        return CliRunner().invoke(cli, arguments, catch_exceptions=False).output

    return invoke


def is_safe(output: str) -> bool:
    """Whether nothing but this program's own colors controls the terminal."""
    return _CONTROL.search(_STYLE.sub("", output)) is None


def logged(http: FlaskClient, call: dict[str, Any]) -> str:
    """The id of a call with hostile feedback on its card."""
    reply = http.post(URL, json=call)
    assert reply.status_code == 200
    item = {
        "card": reply.json["cards"][0]["uuid"] if reply.json else "",
        "outcome": "overridden",
        "overrideReason": {
            "reason": {"code": f"other{HOSTILE}", "display": HOSTILE},
            "userComment": HOSTILE,
        },
        "outcomeTimestamp": "2026-12-01T10:00:00Z",
    }
    assert http.post(f"{URL}/feedback", json={"feedback": [item]}).status_code == 200
    return str(reply.headers["Covercard-Call"])


OF_THE_LOG = [
    ("show", "{call}"),
    ("show", "{call}", "--cards"),
    ("show", "{call}", "--request"),
    ("show", "{call}", "--answer"),
    ("find", "--patient", "ann"),
    ("find", "--patient", "ann", "--json"),
    ("find", "--patient", HOSTILE),
    ("stats",),
    ("stats", "--json"),
    ("export", "--format", "csv"),
    ("export", "--bodies"),
    ("export", "--format", "metrics-ndjson"),
    ("replay", "--policies", str(ROOT / "examples" / "policies")),
    ("replay", "--policies", str(ROOT / "examples" / "policies"), "--json"),
    ("accesses",),
]


@pytest.mark.threat("output-injection")
@pytest.mark.parametrize("command", OF_THE_LOG, ids=lambda c: " ".join(c[:3])[:40])
def test_no_command_on_the_log_writes_the_controls_of_a_call(
    run: Run, http: FlaskClient, hostile: dict[str, Any], command: tuple[str, ...]
) -> None:
    call = logged(http, hostile)
    run("decisions", "find", "--order", HOSTILE)
    output = run(
        "decisions", *(part.format(call=call) if part == "{call}" else part for part in command)
    )
    assert output
    assert is_safe(output)


@pytest.mark.threat("output-injection")
@pytest.mark.parametrize("kind", ["csv", "ndjson", "metrics-ndjson"])
def test_no_exported_file_holds_the_controls_of_a_call(
    run: Run, http: FlaskClient, hostile: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    logged(http, hostile)
    file = tmp_path / "exported"
    bodies = ["--bodies"] if kind == "ndjson" else []
    run("decisions", "export", "--format", kind, *bodies, "--output", str(file))
    text = file.read_text("utf-8")
    assert text
    assert is_safe(text)
    assert "\x1b" not in text
    if kind == "ndjson":
        assert json.loads(text.splitlines()[0])["request"]["hookInstance"].endswith(HOSTILE)


FIRED: list[list[str]] = [[], ["--explain"], ["--json"]]


@pytest.mark.threat("output-injection")
@pytest.mark.parametrize("options", FIRED, ids=" ".join)
def test_fire_writes_no_controls_of_its_file(
    run: Run, hostile: dict[str, Any], tmp_path: Path, options: list[str]
) -> None:
    file = tmp_path / "call.json"
    file.write_text(json.dumps(hostile), "utf-8")
    output = run("fire", str(file), *options)
    assert "owned" in output
    assert is_safe(output)


@pytest.mark.threat("output-injection")
@pytest.mark.parametrize("options", FIRED, ids=" ".join)
@pytest.mark.parametrize("status", [200, 400])
def test_fire_writes_no_controls_of_another_server(
    run: Run, tmp_path: Path, options: list[str], status: int
) -> None:
    card = {"summary": HOSTILE, "indicator": HOSTILE, "source": {"label": HOSTILE}}
    card |= {"detail": f"[text](https://evil.example) {HOSTILE}"}
    card |= {"links": [{"label": HOSTILE, "url": HOSTILE}]}
    outcome = {"issue": [{"diagnostics": HOSTILE}, {"code": HOSTILE}]}
    answer = {
        "cards": [card],
        **outcome,
        "determinations": [{"order": HOSTILE, "trace": [[HOSTILE] * 3]}],
    }
    file = tmp_path / "call.json"
    file.write_text('{"hook": "order-sign"}')
    with hostile_server(status, json.dumps(answer)) as base:
        output = run("fire", str(file), "--url", base, *options)
    assert output
    assert is_safe(output)


@contextmanager
def hostile_server(status: int, body: str) -> Iterator[str]:
    """A server that gives this answer to every call, with controls in a header."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Covercard-Call", "\x1b]0;owned\x07")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.threat("output-injection")
def test_policy_commands_write_no_controls_of_a_file(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "policies" / "hostile"
    folder.mkdir(parents=True)
    text = (ROOT / "service/policies/library/mr-spectroscopy/2023-10-01.yaml").read_text("utf-8")
    escaped = json.dumps(HOSTILE)[1:-1]
    (title,) = re.findall(r"^title: .*$", text, flags=re.MULTILINE)
    text = text.replace(title, f'title: "{escaped}"')
    (folder / "2023-10-01.yaml").write_text(text + f'"{escaped}": 1\n', "utf-8")
    output = run("policy", "lint", "--dir", str(tmp_path / "policies"))
    assert "owned" in output
    assert is_safe(output)
    for arguments in (["show", "hostile"], ["show", HOSTILE], ["test"]):
        try:
            output = run("policy", *arguments, "--dir", str(tmp_path / "policies"))
        except Exception as error:  # told by `main`, which passes it through the same place
            output = ""
            assert type(error).__name__ == "LibraryError"
        assert is_safe(output)


@pytest.mark.threat("output-injection")
def test_an_import_writes_no_controls_of_a_refused_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVERCARD_PAYER_DATA", f"sqlite:///{tmp_path}/payer.sqlite3")
    file = tmp_path / "members.ndjson"
    file.write_text(json.dumps({HOSTILE: HOSTILE, "number": HOSTILE}) + "\n" + HOSTILE + "\n")
    output = run("payer-data", "import", str(file))
    assert "refused" in output
    assert is_safe(output)


@pytest.mark.threat("output-injection")
def test_a_request_is_printed_as_it_is_but_not_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    body = json.dumps({"text": "\x9b31m\u202e"}, ensure_ascii=False).encode()
    echo_bytes(body)
    assert capsysbinary.readouterr().out == body + b"\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    echo_bytes(body)
    shown = capsysbinary.readouterr().out
    assert json.loads(shown) == {"text": "\x9b31m\u202e"}
    assert is_safe(shown.decode())


@pytest.mark.threat("output-injection")
def test_commands_write_through_the_terminal_module_alone() -> None:
    """So a new command cannot forget it."""
    wrong = []
    for file in (ROOT / "service" / "cli").rglob("*.py"):
        if file.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in {"click.echo", "click.secho", "print", "Console", "rich.print"}:
                    wrong.append(f"{file.name}:{node.lineno}: {called}")
    assert wrong == []
