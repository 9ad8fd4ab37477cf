"""covercard fire: post a hook request and show the answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click

from service.cli.terminal import echo_bytes, echo_json


class Fired(NamedTuple):
    """The answer to a fired request, with the decision traces where they are known.

    A trace is the order's reference with (topic, finding, because) of each step; `policies` is the
    digest of the policies that answered.
    """

    status: int
    answer: Any
    traces: Sequence[tuple[str, Sequence[tuple[str, str, str]]]] = ()
    policies: str = ""


class CrdVersionName(click.ParamType[str]):
    """The name of a version of CRD that is spoken; they are looked up only when one is given."""

    name = "version"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """The names, for the help."""
        return self._choice().get_metavar(param, ctx)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The name as given. Raises click.BadParameter if no version has it."""
        return self._choice().convert(value, param, ctx)

    def _choice(self) -> click.Choice[str]:
        from service.crd.versions import VERSIONS

        return click.Choice([version.name for version in VERSIONS])


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", help="Base URL of a running service; without it, decide in process.")
@click.option("--version", type=CrdVersionName(), help="CRD version to ask for.")
@click.option("--explain", is_flag=True, help="Show the way from order to answer (in process).")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.option(
    "--print", "as_sent", is_flag=True, help="Print the request as it would be sent, and send none."
)
def fire(
    file: Path, url: str | None, version: str | None, explain: bool, as_json: bool, as_sent: bool
) -> None:
    """Post the hook request in FILE and show the cards as a clinician sees them.

    "{today+30}" in it stands for a day so many days from now.

    With --url, --explain shows the steps of that service; its workbench must be on.
    """
    body = _read(file)
    if version:
        body = _asking_for(version, body)
    if as_sent:
        echo_bytes(body)
        return
    fired = _over_http(url, body, explain) if url else _in_process(body)
    if as_json:
        echo_json(fired.answer)
    else:
        from service.cli.render import Screen

        screen = Screen()
        if fired.status == 200:
            screen.answer(fired.answer)
        else:
            screen.problem(fired.status, fired.answer)
        for order, steps in fired.traces if explain else ():
            screen.trace(order, steps)
        if explain and fired.policies:
            screen.policies(fired.policies)
    if fired.status != 200:
        sys.exit(1)


def _read(file: Path) -> bytes:
    """The file with the days of a fixture ("{today+30}") reckoned from today."""
    from service.fixture_days import with_days

    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError:
        return file.read_bytes()
    return with_days(text, datetime.now(UTC).date()).encode()


def _asking_for(version: str, body: bytes) -> bytes:
    """The request with a requested CRD version."""
    try:
        data = json.loads(body)
        data.setdefault("extension", {})["davinci-crd.requestedVersion"] = version
    except (ValueError, AttributeError) as error:
        raise click.ClickException("--version needs a file with a JSON object") from error
    return json.dumps(data).encode()


def _service_id(body: bytes) -> str:
    """The service of the request's hook; order-sign's for an unknown hook."""
    from service.crd.hooks import SERVICES

    try:
        hook = json.loads(body).get("hook")
    except (ValueError, AttributeError):
        hook = None
    ids = {s.hook: s.id for s in SERVICES}
    return ids.get(hook, ids["order-sign"])


def _over_http(url: str, body: bytes, explain: bool) -> Fired:
    import requests

    from service.shown_text import shown_url

    base, service = url.rstrip("/"), _service_id(body)
    address = f"{base}/cds-services/{service}"
    try:
        reply = requests.post(
            address, data=body, headers={"Content-Type": "application/json"}, timeout=30
        )
        answer = reply.json()
        if not explain:
            return Fired(reply.status_code, answer)
        address = f"{base}/workbench/explain"
        fired = {
            "service": service,
            "request": body.decode("utf-8", "replace"),
            "status": reply.status_code,
            "answer": reply.text,
        }
        explained = requests.post(
            address, json=fired, headers={"Accept": "application/json"}, timeout=30
        )
        if explained.status_code != 200:
            call = reply.headers.get("Covercard-Call", "")
            raise click.ClickException(
                f"{shown_url(base)} explains nothing: its workbench is off (COVERCARD_WORKBENCH)."
                f" There, covercard decisions show {call} has the steps of this call"
            )
        told = explained.json()
        traces = [(d["order"], d["trace"]) for d in told["determinations"]]
        # A former version of the service does not tell its policies' digest.
        return Fired(reply.status_code, answer, traces, told.get("policies_digest", ""))
    except requests.JSONDecodeError as error:
        raise click.ClickException(
            f"{shown_url(address)} answered something else than JSON"
        ) from error
    except requests.RequestException as error:
        raise click.ClickException(
            f"{shown_url(address)} cannot be reached ({type(error).__name__})"
        ) from error


def _in_process(body: bytes) -> Fired:
    import msgspec

    from service.bootstrap.app import wire_review
    from service.bootstrap.snapshot import Library
    from service.errors import RequestError
    from service.settings import load_settings

    settings = load_settings()
    library = Library(settings)
    review = wire_review(settings, library)
    try:
        reviewed = review.review(_service_id(body), body)
    except RequestError as error:
        return Fired(error.status, error.operation_outcome())
    answer = msgspec.json.decode(reviewed.answer)
    traces = [(d.order.reference, d.trace) for d in reviewed.determinations]
    return Fired(200, answer, traces, library.digest)
