"""A way to a PostgreSQL server that counts the server's answers on the wire."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

READY_FOR_QUERY = ord("Z")
"""PostgreSQL's message that ends the answer to what a client has sent at once."""


class Wire:
    """Counts round trips: how often the server was done with what it was sent, and waits."""

    def __init__(self) -> None:
        self.round_trips = 0
        self.connections = 0
        self.port = 0

    def carry(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what the server says, message by message: type, length, body."""
        waiting = b""
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                waiting += data
                while len(waiting) >= 5:
                    length = int.from_bytes(waiting[1:5], "big") + 1
                    if len(waiting) < length:
                        break
                    # Counted before the client can go on.
                    self.round_trips += waiting[0] == READY_FOR_QUERY
                    waiting = waiting[length:]
                client.sendall(data)
        client.close()


def pass_on(client: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(65_536):
            server.sendall(data)
    server.close()


@contextlib.contextmanager
def counted(port: int) -> Iterator[Wire]:
    """A port of its own that leads to the server at `port`; connect without TLS."""
    wire = Wire()
    listener = socket.create_server(("127.0.0.1", 0))
    wire.port = listener.getsockname()[1]

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                wire.connections += 1
                for work in (wire.carry, pass_on):
                    threading.Thread(target=work, args=(client, server), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield wire
    listener.close()
