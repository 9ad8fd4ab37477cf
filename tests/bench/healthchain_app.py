"""HealthChain with an order-sign service as plain as can be; run by its own Python.

    python healthchain_app.py PORT WORKERS as-installed|uvloop

As PyPI installs it, HealthChain brings uvicorn alone (asyncio, h11). With "uvloop", the event loop
and the parser that uvicorn takes where somebody adds them are used.
"""

from __future__ import annotations

import logging
import socket
import sys

import uvicorn
from healthchain.gateway import CDSHooksService, HealthChainAPI
from healthchain.models.requests.cdsrequest import CDSRequest
from healthchain.models.responses.cdsresponse import Card, CDSResponse, Source

logging.disable(logging.INFO)

cds = CDSHooksService(use_events=False)


@cds.hook("order-sign", id="order-sign-crd")
def order_sign(request: CDSRequest) -> CDSResponse:
    return CDSResponse(
        cards=[
            Card(
                summary="MR spectroscopy is not covered",
                indicator="warning",
                source=Source(label="Example Health Plan"),
                detail=f"Patient {request.context.patientId}: see the policy.",
            )
        ]
    )


app = HealthChainAPI(title="bench", enable_cors=False, enable_events=False)
app.register_service(cds)


def listening_socket(port: int) -> socket.socket:
    """TCP_NODELAY on it is handed down to connections: without, answers wait 40 ms for an ACK."""
    # With the protocol named, for asyncio sets the option itself only where it sees that it is TCP.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.bind(("127.0.0.1", port))
    return listening


if __name__ == "__main__":
    from uvicorn.supervisors import Multiprocess

    port, workers, how = sys.argv[1:]
    as_installed = how == "as-installed"
    config = uvicorn.Config(
        "healthchain_app:app",
        workers=int(workers),
        access_log=False,
        log_level="warning",
        loop="asyncio" if as_installed else "uvloop",
        http="h11" if as_installed else "httptools",
    )
    Multiprocess(config, sockets=[listening_socket(int(port))]).run()
