"""Published renderers of forms, filling in ours: LHC-Forms and Smart Forms, each on a page of ours.

`make dtr-clients` fetches them from npm and runs their tests; what is installed and bundled lies in
build/dtr-clients. The service needs none of it.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests import npm_packages
from tests.materials import ROOT, MissingPart

HERE = Path(__file__).parent
HOME = ROOT / "build" / "dtr-clients"
PAGES = ("dtr-app.js", "lhc-forms.html", "smart-forms.html", "smart-forms.jsx")
_FLAGS = ("--legacy-peer-deps", "--ignore-scripts")
_BUNDLE = (
    "node_modules/.bin/esbuild",
    "smart-forms.jsx",
    "--bundle",
    "--minify",
    "--format=iife",
    "--jsx=automatic",
    "--log-level=error",
    "--loader:.woff=dataurl",
    "--loader:.woff2=dataurl",
    '--define:process.env.NODE_ENV="production"',
    "--outdir=.",
)


def set_up() -> None:
    """Fetch the renderers that are not there yet, and bundle the page. Raises MissingPart."""
    npm_packages.install(HERE, HOME, _FLAGS)
    write_pages()
    try:
        subprocess.run(_BUNDLE, cwd=HOME, check=True, timeout=120)
    except (OSError, subprocess.CalledProcessError) as trouble:
        raise MissingPart(f"esbuild for this machine ({trouble})") from trouble


def is_set_up() -> bool:
    """Whether the pages can be shown without fetching or bundling anything."""
    if not npm_packages.is_installed(HERE, HOME) or not (HOME / "smart-forms.js").is_file():
        return False
    bundled = HOME / "smart-forms.jsx"
    return bundled.is_file() and bundled.read_bytes() == (HERE / bundled.name).read_bytes()


def write_pages() -> None:
    """Put the pages beside the packages that they load."""
    for name in PAGES:
        (HOME / name).write_bytes((HERE / name).read_bytes())


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the browser tells what it could not load."""


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The origin of the pages, an address of its own on loopback."""
    write_pages()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=HOME))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
