"""HealthChain with an order-sign service as plain as can be; run by its own Python."""

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
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.bind(("127.0.0.1", port))
    return listening


if __name__ == "__main__":
    from uvicorn.supervisors import Multiprocess

    config = uvicorn.Config(
        "healthchain_app:app", workers=int(sys.argv[2]), access_log=False, log_level="warning"
    )
    Multiprocess(config, sockets=[listening_socket(int(sys.argv[1]))]).run()
