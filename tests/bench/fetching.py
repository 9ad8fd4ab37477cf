"""Fetching: calls whose data an EHR holds that answers each request after 50 ms.

A call's own time for fetching is that of one call at a time. With sixteen at a time nothing of it
may be lost: sixteen times as many calls a second, over connections that are kept.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.bodies import fixture_call
from tests.bench.load import find_wrk, fire, write_bodies
from tests.bench.servers import ROOT, complete, free_port, running

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

    Count = Synchronized[int]

EHR_SECONDS = 0.05
AT_ONCE = 16
LEAST_KEPT = 0.9
_BODIES = 64


def fetching(work: Path, seconds: int) -> Iterator[str]:
    """The lines of this measurement."""
    work.mkdir()
    port = free_port()
    base = f"http://127.0.0.1:{port}/fhir"
    bodies = work / "bodies"
    bodies.mkdir()
    calls = [_without_data(base, n) for n in range(_BODIES)]
    write_bodies(bodies, calls)
    contender = complete(2, work / "data")
    environment = {**contender.environment, "COVERCARD_FHIR_SERVERS": base}
    contender = replace(contender, environment=environment)
    with (
        _slow_ehr(port, base) as (connections, requests),
        running(contender, calls[0], work / "server.log") as server,
    ):
        wrk, url = find_wrk(), contender.url
        alone = fire(wrk, url, bodies, 1, seconds, server)
        opened, asked = connections.value, requests.value
        beside = fire(wrk, url, bodies, AT_ONCE, seconds, server)
        answered = beside.rate * seconds
        yield (
            f"FETCH an EHR of {EHR_SECONDS * 1000:.0f} ms: alone p50 {alone.p50:.1f} ms, "
            f"{AT_ONCE} at a time {beside.rate:.0f} calls/s, p50 {beside.p50:.1f} ms, "
            f"p99 {beside.p99:.1f} ms, {beside.cpu:.0f} us CPU a call, "
            f"{(requests.value - asked) / answered:.1f} requests a call over "
            f"{connections.value - opened} new connections"
        )
    kept = beside.rate / (AT_ONCE * alone.rate)
    yield f"RATIO fetching at {AT_ONCE}/({AT_ONCE} x alone) {kept:.2f}"
    verdict = "reached" if kept >= LEAST_KEPT else "NOT REACHED"
    yield f"TARGET fetching at {AT_ONCE} at least {LEAST_KEPT}: {verdict}"


def _without_data(base: str, number: int) -> bytes:
    """The bench's call as an EHR sends it that prefetches nothing."""
    call = fixture_call()
    call["prefetch"] = {}
    call["fhirServer"] = base
    call["fhirAuthorization"] = {
        "access_token": "not-a-real-token",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "system/*.read",
        "subject": "covercard",
    }
    call["hookInstance"] = f"00000000-0000-4000-8000-{number:012d}"
    return json.dumps(call).encode()


@contextmanager
def _slow_ehr(port: int, base: str) -> Iterator[tuple[Count, Count]]:
    """An EHR in a process of its own: how many connections and requests it has had."""
    context = multiprocessing.get_context("spawn")
    connections, requests = context.Value("i", 0), context.Value("i", 0)
    ready = context.Event()
    ehr = context.Process(target=_ehr, args=(port, base, connections, requests, ready), daemon=True)
    ehr.start()
    try:
        if not ready.wait(30):
            raise RuntimeError("the EHR of the bench did not start")
        yield connections, requests
    finally:
        ehr.terminate()
        ehr.join(10)


def _ehr(port: int, base: str, connections: Count, requests: Count, ready: Any) -> None:
    from service.cli.ehr_stub.fhir_server import create_stub
    from service.cli.ehr_stub.resource_store import ResourceStore

    stub = create_stub(
        ResourceStore(ROOT / "fhir_fixtures/resources"), base, token=None
    ).test_client()
    answers: dict[str, bytes] = {}

    def answer(path: str) -> bytes:
        """Made once a path, so that the EHR takes no processor time of the service."""
        if path not in answers:
            reply = stub.get(path)
            head = (
                f"HTTP/1.1 {reply.status}\r\nContent-Type: {reply.content_type}\r\n"
                f"Content-Length: {len(reply.data)}\r\n\r\n"
            )
            answers[path] = head.encode() + reply.data
        return answers[path]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.value += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                requests.value += 1
                await asyncio.sleep(EHR_SECONDS)
                writer.write(answer(head.split(b" ", 2)[1].decode()))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def listen() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=512) as server:
            ready.set()
            await server.serve_forever()

    asyncio.run(listen())
