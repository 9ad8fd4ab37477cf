"""Headers that tell a browser to load, frame, guess and keep nothing. HSTS is the TLS proxy's."""

from __future__ import annotations

from flask import Flask, Response

DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""For JSON and whatever else is no page: nothing may be loaded."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""For pages: only what this service serves itself, nothing inline, nothing of a third party."""


_OF_ALL = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
_OF_DATA = (("Content-Security-Policy", DATA_POLICY), *_OF_ALL)
_OF_A_PAGE = (("Content-Security-Policy", PAGE_POLICY), *_OF_ALL)


def secure_headers(app: Flask) -> None:
    """Add the headers to every answer; what a view has set for Cache-Control stays."""

    @app.after_request
    def add(response: Response) -> Response:
        page = response.mimetype == "text/html"
        headers = response.headers
        headers.extend(_OF_A_PAGE if page else _OF_DATA)
        if "Cache-Control" not in headers:
            headers["Cache-Control"] = "no-store"
        return response
