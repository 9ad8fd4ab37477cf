"""nginx before several instances, as a load balancer of no particular cunning."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_CONFIGURATION = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream covercard {{
        {servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 2m;
        location / {{
            proxy_pass http://covercard;
            proxy_set_header Host 127.0.0.1;
            proxy_connect_timeout 1s;
            proxy_read_timeout 20s;
        }}
    }}
}}
"""


def installed() -> bool:
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") is not None


@contextlib.contextmanager
def nginx(folder: Path, port: int, upstreams: Sequence[int]) -> Iterator[str]:
    """Balances between loopback ports; gives the base URL. A POST that was sent is not repeated."""
    folder.mkdir(parents=True)
    servers = "\n        ".join(
        f"server 127.0.0.1:{p} max_fails=1 fail_timeout=1s;" for p in upstreams
    )
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, port=port, servers=servers))
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "nginx"
    process = subprocess.Popen(
        [program, "-c", str(file), "-p", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError("nginx did not start")
