"""Log lines: JSON, one line each, and of an exception never its message."""

import json
import subprocess
import sys

import pytest
import structlog
from flask import Flask
from structlog.testing import capture_logs

from service.call_facts import note
from service.logs import with_facts_of_call
from service.web.request_log import log_calls, name_call
from tests.e2e.servers import ROOT

PROGRAM = """
import logging, sys
import structlog
from service.logs import configure_logging
configure_logging()
log = structlog.get_logger("service.test")
log.info("event", number=1)
log.warning("two\\nlines", text='x"}\\n{"event": "forged"}')
try:
    raise ValueError("Marigold Quistgaard, born 1951-04-07")
except ValueError:
    log.exception("ours broke")
    logging.getLogger("another.package").exception("theirs broke for %s", "Marigold Quistgaard")
logging.getLogger("another.package").info("not shown")
logging.getLogger("urllib3.connectionpool").warning("Retrying /Patient/Quistgaard")
import warnings
warnings.warn("take care", stacklevel=1)
"""


@pytest.mark.threat("patient-in-logs")
def test_every_line_is_json_and_no_message_of_an_exception_is_in_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning", "error", "error", "warning"]
    assert lines[0]["number"] == 1
    assert lines[2]["kind"] == "ValueError"
    assert lines[2]["frames"][-1].startswith("__main__:")
    assert lines[3]["event"] == "theirs broke for %s"
    assert "Quistgaard" not in done.stdout
    assert "1951-04-07" not in done.stdout


def test_what_is_noted_of_a_call_is_on_its_lines_and_on_no_other() -> None:
    app = Flask(__name__)
    log_calls(app)

    @app.get("/<name>")
    def answer(name: str) -> str:
        name_call(f"call-of-{name}")
        note(client=name)
        structlog.get_logger().warning("in between")
        return ""

    with capture_logs(processors=[with_facts_of_call]) as lines:
        calls = [app.test_client().get(f"/{name}").headers["Covercard-Call"] for name in "ab"]
        structlog.get_logger().warning("afterwards")
    assert calls == ["call-of-a", "call-of-b"]
    told = [(line["event"], line.get("call"), line.get("client")) for line in lines]
    assert told == [
        ("in between", "call-of-a", "a"),
        ("call", "call-of-a", "a"),
        ("in between", "call-of-b", "b"),
        ("call", "call-of-b", "b"),
        ("afterwards", None, None),
    ]
