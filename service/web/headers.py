"""Security headers: Content-Security-Policy, no framing, no sniffing, no caching.

HSTS is set by the TLS proxy.
"""

from __future__ import annotations

from flask import Flask, Response

DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Policy of JSON and other non-pages: nothing may be loaded."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Policy of pages: own files only, nothing inline, no third party."""


_OF_ALL = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
_OF_DATA = (("Content-Security-Policy", DATA_POLICY), *_OF_ALL)
_OF_A_PAGE = (("Content-Security-Policy", PAGE_POLICY), *_OF_ALL)


def secure_headers(app: Flask) -> None:
    """Add the headers to each answer; a view's own Cache-Control stays."""

    @app.after_request
    def add(response: Response) -> Response:
        headers = response.headers
        page = headers.get("Content-Type", "").startswith("text/html")
        for name, value in _OF_A_PAGE if page else _OF_DATA:
            headers.add(name, value)
        if "Cache-Control" not in headers:
            headers["Cache-Control"] = "no-store"
        return response
