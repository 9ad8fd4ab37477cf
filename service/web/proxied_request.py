"""The trusted proxy's own id of a client's request, by which its repetition is told.

The proxy makes it (128 random bits) and overwrites what a client sends; nobody but the proxy and
the service learns it. So it tells the proxy's repetition from a replay, which has another one or
none, wherever it comes from.
"""

from __future__ import annotations

import re
from hashlib import sha256

from flask import Request

HEADER = "Covercard-Proxy-Request"
"""A name of its own: proxies pass X-Request-ID on as clients send it.

A proxy must drop it with underscores, too, as nginx does: WSGI does not tell the two spellings
apart.
"""

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


def proxied_request(call: Request) -> str | None:
    """A digest of the proxy's request: its id, the method, the address and the body's length.

    SHA-256 in hex; None without an id, with two, or with one that is not of nginx's `$request_id`.
    """
    sent = call.headers.get(HEADER, "")
    if _ID.fullmatch(sent) is None:
        return None
    said = (sent, call.method, call.full_path, call.headers.get("Content-Length", ""))
    return sha256("\n".join(said).encode("utf-8", "surrogatepass")).hexdigest()
