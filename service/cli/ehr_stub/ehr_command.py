"""covercard ehr: a FHIR server of the fixtures, for testers."""

from __future__ import annotations

from pathlib import Path

import click

from service.cli.terminal import echo

_FIXTURES = Path(__file__).parents[3] / "fhir_fixtures" / "resources"


@click.command()
@click.option("--port", default=8643, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--resources",
    "folder",
    default=_FIXTURES,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of <Type>-<id>.json files. Default: the fixtures.",
)
@click.option(
    "--open", "is_open", is_flag=True, help="Require no token, for browsers that cannot send one."
)
def ehr(port: int, folder: Path, is_open: bool) -> None:
    """Run a stand-in for an EHR's FHIR server: for testers, synthetic data, this machine only.

    Point the CDS Hooks Sandbox, Inferno or a hook request's fhirServer at it.
    """
    from werkzeug.serving import make_server

    from service.cli.ehr_stub.fhir_server import DEMO_TOKEN, PREFIX, create_stub
    from service.cli.ehr_stub.resource_store import ResourceStore

    store = ResourceStore(folder)
    host = "127.0.0.1"
    # Port 0 is any free port, known after binding.
    server = make_server(host, port, lambda *_: [], threaded=True)
    base_url = f"http://{host}:{server.server_port}{PREFIX}"
    server.app = create_stub(store, base_url, None if is_open else DEMO_TOKEN)
    echo(f"EHR stub for testers, synthetic data only: {base_url} (stop: Ctrl-C)")
    echo("No token is required." if is_open else f"Token: {DEMO_TOKEN}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        echo("Stopped.")
    finally:
        server.server_close()
