"""nginx with `examples/nginx.conf`, as an installation would run it, on a port of loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.servers import ROOT

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
EXAMPLE = ROOT / "examples" / "nginx.conf"


@contextlib.contextmanager
def in_front(
    folder: Path, port: int, *services: int, mutual: bool = False, patience: str = "10s"
) -> Iterator[None]:
    """Run nginx on `port` before the instances on the ports `services`, to the block's end.

    `folder` holds localhost.pem and localhost.key, for `mutual` TLS also clients.pem. `patience` is
    the time that a client has for its header, and then for each part of its body.
    """
    assert NGINX is not None
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, *services, mutual=mutual, patience=patience))
    command = [NGINX, "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(file)]
    subprocess.run([*command, "-t"], check=True, capture_output=True, timeout=60)
    process = subprocess.Popen(
        [*command, "-g", "daemon off;"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        _wait(port, process)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def configuration(folder: Path, port: int, *services: int, mutual: bool, patience: str) -> str:
    """The example with the names of this machine in it."""
    text = EXAMPLE.read_text("utf-8")

    def change(old: str, new: str) -> None:
        nonlocal text
        assert old in text, f"the example does not say {old}"
        text = text.replace(old, new)

    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    change("http {\n", "http {\n" + temporary)
    change("/run/nginx.pid", f"{folder}/nginx.pid")
    change("/var/log/nginx/error.log", f"{folder}/error.log")
    change("listen 443 ", f"listen 127.0.0.1:{port} ")
    (upstream,) = [line for line in text.splitlines() if " server 127.0.0.1:8642 " in line]
    change(upstream, "\n".join(upstream.replace("8642", str(each)) for each in services))
    change("server_name covercard.example.org", "server_name localhost")
    change("/etc/covercard/tls/fullchain.pem", f"{folder}/localhost.pem")
    change("/etc/covercard/tls/privkey.pem", f"{folder}/localhost.key")
    change("client_body_timeout 10s", f"client_body_timeout {patience}")
    change("client_header_timeout 10s", f"client_header_timeout {patience}")
    if mutual:
        change(
            "# ssl_client_certificate /etc/covercard/tls/clients-ca.pem",
            f"ssl_client_certificate {folder}/clients.pem",
        )
        change("# ssl_verify_client on", "ssl_verify_client on")
    # Started by root, workers would be another user, who may not enter the test's folder.
    return ("user root;\n" if os.geteuid() == 0 else "") + text


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "nginx did not start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return
        time.sleep(0.1)
    raise AssertionError("nginx does not answer")
