"""Static assets of the pages, read once and served under their digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Blueprint, Response, abort

from service.web.client_auth import open_to_all

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_A_YEAR = "public, max-age=31536000, immutable"


class Assets:
    """The pages' files. `version` is a digest of all of them.

    It is part of their URL: browsers cache a version forever, and a script loads the modules of its
    own version.
    """

    def __init__(self, folder: Path = _FOLDER) -> None:
        files = sorted(p for p in folder.iterdir() if p.suffix in _TYPES)
        self._files = {p.name: (p.read_bytes(), _TYPES[p.suffix]) for p in files}
        digest = hashlib.sha256()
        for name, (content, _) in self._files.items():
            digest.update(b"%s\0%d\0%s" % (name.encode(), len(content), content))
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The URL of a file, relative to the service's root."""
        if name not in self._files:
            raise KeyError(f"no asset {name!r}")
        return f"/static/{self.version}/{name}"

    def response(self, version: str, name: str) -> Response:
        """A file, or 404. Another version is served without caching."""
        if name not in self._files:
            abort(404)
        content, kind = self._files[name]
        response = Response(content, content_type=kind)
        response.headers["Cache-Control"] = _FOR_A_YEAR if version == self.version else "no-cache"
        return response


def assets_blueprint(assets: Assets) -> Blueprint:
    """GET /static/<version>/<name>."""
    blueprint = Blueprint("assets", __name__)

    @blueprint.get("/static/<version>/<name>")
    @open_to_all
    def asset(version: str, name: str) -> Response:
        return assets.response(version, name)

    return blueprint
