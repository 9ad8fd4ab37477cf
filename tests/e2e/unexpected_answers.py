"""Answers that no server should give, byte by byte: of a key host, or of an EHR's FHIR server."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_MEGABYTE = b" " * 1_048_576
SIZE = 100
"""Megabytes of the answers that are too large."""

Answer = bytes | list[bytes]
"""An answer; a list is sent until the other side has had enough: each part a megabyte's worth."""


def reply(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP answer with this body."""
    told = {"Content-Type": "application/fhir+json", "Content-Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items()]
    head = "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""])
    return head.encode("utf-8", "surrogateescape") + body


def packed(body: bytes, layers: int = 1) -> bytes:
    for _ in range(layers):
        body = gzip.compress(body, 9)
    return body


_BOMB = packed(_MEGABYTE * SIZE)
_DEFLATED = zlib.compress(_MEGABYTE * SIZE, 9)
_ENDLESS = "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"
_JSON = "application/json"
_CHUNKED = _ENDLESS + "Transfer-Encoding: chunked\r\n\r\n"


def unexpected(good: bytes) -> Mapping[str, Answer]:
    """By name: answers that are none; `good` is what the server should send."""
    text = good.decode()
    return {
        "nothing": b"",
        "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP 0.9": good,
        "no status": b"HTTP/1.1\r\n\r\n",
        "status of letters": reply(good, "OK OK"),
        "status 999": reply(good, "999 What"),
        "status -1": reply(good, "-1 What"),
        "status 204 with a body": reply(good, "204 No Content"),
        "status 206": reply(good, "206 Partial Content", Content_Range="bytes 0-1/2"),
        "status 304": reply(b"", "304 Not Modified"),
        "100 Continue for ever": [b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000] * SIZE,
        "redirect": reply(b"", "302 Found", Location="http://169.254.169.254/latest/"),
        "redirect to a file": reply(b"", "301 Moved", Location="file:///etc/passwd"),
        "redirect to itself": reply(b"", "307 Temporary Redirect", Location=""),
        "redirect to no URL": reply(b"", "302 Found", Location="http://[x"),
        "redirect in Refresh": reply(b"", "503 Later", Refresh="0; url=http://169.254.169.254/"),
        "asks for a password": reply(b"", "401 No", WWW_Authenticate="Basic realm=x"),
        "asks for a proxy's password": reply(b"", "407 No", Proxy_Authenticate="Basic realm=x"),
        "protocol changed": reply(b"", "101 Switching Protocols", Upgrade="h2c"),
        "100 MB": [reply(b"", Content_Length=str(SIZE * 1_048_576)), *[_MEGABYTE] * SIZE],
        "100 MB in chunks": [
            f"{_CHUNKED}".encode(),
            *[b"100000\r\n" + _MEGABYTE + b"\r\n"] * SIZE,
        ],
        "100 MB of a header": [f"{_ENDLESS}X-Long: ".encode(), *[b"x" * 1_048_576] * SIZE],
        "100 MB of headers": [_ENDLESS.encode(), *[b"X: 1\r\n" * 174_763] * SIZE],
        "a chunk of 2^64": f"{_CHUNKED}ffffffffffffffffff\r\n{text}".encode(),
        "a chunk of letters": f"{_CHUNKED}zz\r\n{text}\r\n0\r\n\r\n".encode(),
        "a chunk of -1": f"{_CHUNKED}-1\r\n{text}\r\n0\r\n\r\n".encode(),
        "length -1": reply(good, Content_Length="-1"),
        "length of letters": reply(good, Content_Length="many"),
        "length too long": reply(good, Content_Length=str(len(good) + 10)),
        "length too short": reply(good, Content_Length=str(len(good) - 5)),
        "length of 10^30": reply(good, Content_Length="1" + "0" * 30),
        "gzip bomb": reply(_BOMB, Content_Encoding="gzip"),
        "gzip bomb in gzip": reply(packed(_BOMB), Content_Encoding="gzip, gzip"),
        "deflate bomb": reply(_DEFLATED, Content_Encoding="deflate"),
        "a hundred encodings": reply(packed(good, 3), Content_Encoding=", ".join(["gzip"] * 100)),
        "broken gzip": reply(good, Content_Encoding="gzip"),
        "half a gzip": reply(packed(good)[:20], Content_Encoding="gzip"),
        "brotli": reply(b"\x0b\x02\x80", Content_Encoding="br"),
        "zstd": reply(b"\x28\xb5\x2f\xfd\x00", Content_Encoding="zstd"),
        "an encoding of nobody": reply(b"\x00\x01\x02", Content_Encoding="x-\u00e4\u00f6"),
        "transfer in gzip": f"{_ENDLESS}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".encode(),
        "UTF-16": reply(text.encode("utf-16"), Content_Type=f"{_JSON}; charset=utf-16"),
        "UTF-32": reply(text.encode("utf-32"), Content_Type=f"{_JSON}; charset=utf-32"),
        "UTF-7": reply(text.encode("utf-7") + b"+AAA-", Content_Type=f"{_JSON}; charset=utf-7"),
        "EBCDIC": reply(text.encode("cp500"), Content_Type=f"{_JSON}; charset=ebcdic"),
        "Latin-1": reply(b'{"\xe4": 1}', Content_Type=f"{_JSON}; charset=iso-8859-1"),
        "a charset of nobody": reply(
            b"{\xff}", Content_Type='application/json; charset=\u00e4;;;="'
        ),
        "no content type": reply(b"{", Content_Type=""),
        "HTML": reply(b"<html>Sign in</html>", Content_Type="text/html"),
        "XML": reply(b"<Bundle xmlns='http://hl7.org/fhir'/>", Content_Type="application/fhir+xml"),
        "a lone surrogate": reply(b'{"resourceType": "\\ud800", "keys": "\\udfff"}'),
        "NUL": reply(b'{"resourceType": "Bundle\\u0000", "keys": [{"kid": "\\u0000"}]}\x00'),
        "null": reply(b"null"),
        "a number": reply(b"1e999"),
        "a number of a megabyte": reply(b"1" * 1_000_000),
        "NaN": reply(b'{"resourceType": "Bundle", "total": NaN, "keys": [NaN]}'),
        "a list": reply(b"[]"),
        "a JSON bomb": reply(b"[" * 200_000),
        "objects in objects": reply(b'{"keys":' * 100_000 + b"1" + b"}" * 100_000),
        "names twice": reply(
            b'{"resourceType": "Bundle", "keys": [], "keys": 1, "resourceType": 1}'
        ),
        "a type of another kind": reply(b'{"resourceType": ["Bundle"], "type": {}, "entry": {}}'),
        "entries of other kinds": reply(
            json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": ODD}).encode()
        ),
        "links of other kinds": reply(
            json.dumps({"resourceType": "Bundle", "type": "searchset", "link": ODD}).encode()
        ),
    }


ODD: list[Any] = [
    None,
    1,
    "x",
    [],
    {},
    {"resource": 1},
    {"relation": "next", "url": 1},
    {"url": []},
]
"""Values where objects should be."""


@contextlib.contextmanager
def answering(answers: Mapping[str, Answer]) -> Iterator[str]:
    """A server on loopback whose base URL is given: at /N the Nth answer, whatever is below it."""
    listed = list(answers.values())
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        serving = threading.Thread(target=_serve, args=(server, listed), daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        # A thread in accept() is not woken by close().
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
    serving.join(timeout=10)


def _serve(server: socket.socket, answers: list[Answer]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection, answers), daemon=True).start()


def _answer(connection: socket.socket, answers: list[Answer]) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(30)
        asked = b""
        while b"\r\n\r\n" not in asked:
            chunk = connection.recv(65536)
            if not chunk:
                return
            asked += chunk
        number = int(asked.split(b" ", 2)[1].split(b"/")[1])
        answer = answers[number]
        parts: Iterable[bytes] = [answer] if isinstance(answer, bytes) else answer
        for part in parts:
            connection.sendall(part)
