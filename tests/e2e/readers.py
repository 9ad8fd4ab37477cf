"""A service with a decisions page, and readers who may see it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.decision_log.instances import until
from tests.e2e.servers import Server

READER, SECRET = "call center", "kX3-q9vLwT7_b2Zr8NfYc5HdMj4PsAeG"
SIGN_IN = "/decisions/sign-in"
ORDER_SIGN = "/cds-services/order-sign-crd"


def readers_file(folder: Path, name: str = READER, secret: str = SECRET) -> Path:
    file = folder / "readers.yaml"
    file.write_text(json.dumps({"readers": [{"name": name, "secret": secret}]}), "utf-8")
    file.chmod(0o600)
    return file


def start(start_server: Callable[..., Server], folder: Path, **settings: object) -> Server:
    """A server with a decisions page for one reader."""
    return start_server(readers_file=readers_file(folder), **settings)


def signed(server: Server, name: str = "mrs-medicare-advantage") -> dict[str, Any]:
    """The answer to a fixture of order-sign, which is in the log from now on."""
    body = fixture_text_today(FIXTURES / "order-sign" / f"{name}.json").encode()
    reply = server.post(ORDER_SIGN, data=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 200
    is_in_the_rows(server)
    answer: dict[str, Any] = reply.json()
    return answer


def is_in_the_rows(server: Server) -> None:
    """Wait until all that the server has recorded can be read. A page waits for two seconds, and
    then tells its reader that something is still to come.
    """

    def waiting() -> int:
        return int(server.get("/readyz").json()["checks"]["records"]["waiting_bytes"])

    until(lambda: not waiting(), "all is in the rows")


def assertion_id(answer: dict[str, Any]) -> str:
    (found, *_) = re.findall(r"cc[0-9a-f]{30}", json.dumps(answer.get("systemActions", [])))
    return str(found)


class ReaderBrowser(requests.Session):
    """A browser without scripts: keeps the cookie, and sends forms with the page's token."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        # One that is kept is closed after a while: the next request could be on its way just then.
        self.headers["Connection"] = "close"

    def sign_in(self, name: str = READER, secret: str = SECRET) -> requests.Response:
        form = {"name": name, "secret": secret}
        return self.post(self.server.base + SIGN_IN, data=form, timeout=30)

    def token(self) -> str:
        page = self.get(f"{self.server.base}/decisions", timeout=30).text
        (token, *_) = re.findall(r'name="form_token" value="([^"]+)"', page)
        return str(token)

    def submit(self, path: str = "/decisions", **form: str) -> requests.Response:
        data = {"form_token": self.token(), **form}
        return self.post(self.server.base + path, data=data, timeout=30)
