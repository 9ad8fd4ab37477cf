"""Who gets to see the decision log in a browser, and what is told to whoever does not."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.e2e.readers import (
    READER,
    SECRET,
    SIGN_IN,
    ReaderBrowser,
    assertion_id,
    readers_file,
    signed,
    start,
)
from tests.e2e.servers import ROOT, SERVE, Server, environment, refused_start
from tests.e2e.signing import changed
from tests.minutes import within_a_minute

ACCESSES = [*SERVE[:-1], "decisions", "accesses"]
PAGES = ["/decisions", "/decisions/feedback"]
FORMS = ["/decisions", "/decisions/sign-out"]


@pytest.fixture(scope="module")
def door(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A service with a decisions page, and a decision about Ann in its log."""
    server = start(start_server, tmp_path_factory.mktemp("readers"), workers=2)
    signed(server)
    return server


@pytest.fixture(scope="module")
def signed_in(door: Server) -> ReaderBrowser:
    browser = ReaderBrowser(door)
    assert browser.sign_in().url == f"{door.base}/decisions"
    return browser


@pytest.fixture
def reader(door: Server, signed_in: ReaderBrowser) -> ReaderBrowser:
    """Signed in, with a cookie jar of its own."""
    browser = ReaderBrowser(door)
    browser.cookies.update(signed_in.cookies)
    return browser


def accesses(server: Server) -> str:
    """What the command prints of who has read the server's log."""
    return subprocess.run(
        ACCESSES,
        cwd=server.log.parent,
        env=environment({}) | {"COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


@pytest.mark.threat("unintended-page")
def test_without_the_setting_there_is_no_such_page(server: Server) -> None:
    for path in (*PAGES, SIGN_IN):
        assert server.get(path, allow_redirects=False).status_code == 404
    assert "/decisions" not in server.get("/policies").text


@pytest.mark.threat("weak-secret")
@pytest.mark.parametrize(
    ("secret", "said"), [("", "too short"), ("change-me", "too short"), ("ab" * 20, "guessed")]
)
def test_an_empty_or_weak_secret_stops_the_start(tmp_path: Path, secret: str, said: str) -> None:
    told = refused_start(tmp_path, readers_file=readers_file(tmp_path, secret=secret))
    assert said in told
    assert "readers[0].secret" in told
    assert not secret or secret not in told


@pytest.mark.threat("weak-secret")
def test_a_readers_file_that_everybody_may_read_stops_the_start(tmp_path: Path) -> None:
    file = readers_file(tmp_path)
    file.chmod(0o644)
    told = refused_start(tmp_path, readers_file=file)
    assert "everyone can read it" in told
    assert SECRET not in told


@pytest.mark.threat("forged-session")
@pytest.mark.parametrize("path", PAGES)
def test_who_has_not_signed_in_is_led_to_the_sign_in(door: Server, path: str) -> None:
    reply = door.get(path, allow_redirects=False)
    assert (reply.status_code, reply.headers["Location"]) == (303, SIGN_IN)
    assert "Patient/ann" not in reply.text


@pytest.mark.threat("forged-session")
@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_a_session_finds_nothing(door: Server, path: str) -> None:
    reply = door.post(path, data={"patient": "ann"}, allow_redirects=False)
    assert (reply.status_code, reply.headers["Location"]) == (303, SIGN_IN)


@pytest.mark.threat("forged-session")
def test_a_forged_session_is_none(door: Server, reader: ReaderBrowser) -> None:
    (cookie,) = reader.cookies
    value = str(cookie.value)
    for forged in (changed(value), "ff" + value, value.partition(".")[0] + ".e30.x", "x", ""):
        reply = door.get("/decisions", cookies={cookie.name: forged}, allow_redirects=False)
        assert reply.status_code == 303


@pytest.mark.threat("stolen-cookie")
def test_the_cookie_is_for_this_service_alone_and_for_no_script(door: Server) -> None:
    form = {"name": READER, "secret": SECRET}
    cookie = door.post(SIGN_IN, data=form, allow_redirects=False).headers["Set-Cookie"]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "samesite=strict", "path=/decisions"}
    assert SECRET not in cookie


@pytest.mark.threat("stolen-cookie")
def test_behind_tls_the_cookie_travels_by_tls_only(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    clients = ROOT / "examples" / "clients.example.yaml"
    public = "https://covercard.example.org"
    server = start(start_server, tmp_path, public_url=public, clients_file=clients)
    form = {"name": READER, "secret": SECRET}
    reply = server.post(SIGN_IN, data=form, allow_redirects=False)
    name, *attributes = reply.headers["Set-Cookie"].split(";")
    assert name.startswith("__Host-covercard-reader=")
    told = {part.strip().lower() for part in attributes}
    assert told == {"secure", "httponly", "samesite=strict", "path=/"}


@pytest.mark.threat("cross-site-form")
def test_a_form_that_another_site_sends_is_refused(door: Server, reader: ReaderBrowser) -> None:
    token = reader.token()
    for form, headers in (
        ({"patient": "ann"}, {}),
        ({"patient": "ann", "form_token": "guessed"}, {}),
        ({"patient": "ann", "form_token": token}, {"Sec-Fetch-Site": "cross-site"}),
        ({"patient": "ann", "form_token": token}, {"Sec-Fetch-Site": "same-site"}),
    ):
        reply = reader.post(f"{door.base}/decisions", data=form, headers=headers, timeout=30)
        assert reply.status_code == 403
        assert "Patient/ann" not in reply.text
    for path in (SIGN_IN, "/decisions/sign-out"):
        refused = reader.post(
            door.base + path,
            data={"name": READER, "secret": SECRET, "form_token": token},
            headers={"Sec-Fetch-Site": "cross-site"},
            timeout=30,
        )
        assert refused.status_code == 403
    assert reader.get(f"{door.base}/decisions", timeout=30).url.endswith("/decisions")


@pytest.mark.threat("endless-form")
def test_what_no_form_of_ours_is_is_refused_before_it_is_looked_at(
    door: Server, reader: ReaderBrowser
) -> None:
    url = f"{door.base}/decisions"
    as_json = reader.post(url, json={"patient": "ann"}, timeout=30)
    assert as_json.status_code == 415
    long = reader.post(url, data={"patient": "a" * 10_000}, timeout=30)
    assert long.status_code == 413
    chunked = requests.post(
        door.base + SIGN_IN,
        data=iter([b"name=x&secret=y"]),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        timeout=30,
    )
    assert chunked.status_code == 413


@pytest.mark.threat("guessing")
def test_secrets_cannot_be_tried_without_end(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(start_server, tmp_path, workers=2)

    def tries(_: int) -> tuple[list[int], requests.Response]:
        """Of guesses at whichever worker, and of the right secret after them."""
        forms = [{"name": READER, "secret": f"{n}" * 40} for n in range(25)]
        statuses = [server.post(SIGN_IN, data=form).status_code for form in forms]
        form = {"name": READER, "secret": SECRET}
        return statuses, server.post(SIGN_IN, data=form, allow_redirects=False)

    # Each minute begins anew, so that the same address may try again in the next one.
    guesses, right = within_a_minute(tries, range(3))
    assert guesses == [403] * 20 + [429] * 5
    assert right.status_code == 429
    assert 1 <= int(right.headers["Retry-After"]) <= 60
    assert "Set-Cookie" not in right.headers


@pytest.mark.threat("guessing")
def test_a_wrong_name_and_a_wrong_secret_are_told_alike(door: Server) -> None:
    pages = []
    for form in ({"name": READER, "secret": "x" * 40}, {"name": "nobody", "secret": SECRET}):
        reply = door.post(SIGN_IN, data=form)
        assert reply.status_code == 403
        pages.append(reply.text)
    assert pages[0] == pages[1]
    assert SECRET not in pages[1]


@pytest.mark.threat("forged-session")
def test_signing_out_ends_the_session_for_every_copy_of_it(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(start_server, tmp_path, workers=2)
    reader, thief = ReaderBrowser(server), ReaderBrowser(server)
    reader.sign_in()
    thief.cookies.update(reader.cookies)
    assert thief.get(f"{server.base}/decisions", timeout=30).url == f"{server.base}/decisions"
    reply = reader.submit("/decisions/sign-out")
    assert reply.url == server.base + SIGN_IN
    assert not reader.cookies
    for _ in range(4):  # at whichever worker
        after = thief.get(f"{server.base}/decisions", allow_redirects=False, timeout=30)
        assert after.status_code == 303


@pytest.mark.threat("unjustified-access")
@pytest.mark.requirement("crd-2.0.1:80")
def test_each_look_is_logged_with_who_when_and_what(door: Server, reader: ReaderBrowser) -> None:
    told = assertion_id(signed(door))
    assert "Patient/ann" in reader.submit(patient="ann", order="").text
    assert "ServiceRequest/mrs-brain" in reader.submit(assertion_id=told).text
    assert '"hook": "order-sign"' in _unescaped(
        reader.submit(assertion_id=told, body="request").text
    )
    reader.get(f"{door.base}/decisions/feedback", timeout=30)
    lines = [li for li in accesses(door).splitlines() if f"{READER} (page)" in li]
    assert all(re.match(r"\s*\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", line) for line in lines)
    for what in (
        "find",
        f"show assertion_id {told}",
        "stats",
        "patient Patient/ann",
        "body request",
    ):
        assert [li for li in lines if what in re.sub(r"\s+", " ", li)], what


@pytest.mark.threat("patient-in-address")
def test_nothing_that_is_looked_for_is_in_an_address_the_log_or_a_cache(
    door: Server, reader: ReaderBrowser
) -> None:
    told = assertion_id(signed(door))
    before, replies = len(door.printed()), []
    for form in (
        {"patient": "Patient/ann", "order": "ServiceRequest/mrs-brain"},
        {"patient": "ann", "order": "", "since": "2026-13-01"},
        {"assertion_id": told},
        {"assertion_id": "cc-ann-nobody"},
        {"assertion_id": told, "body": "answer"},
        {"call": "ann", "position": "ann"},
    ):
        reply = reader.submit(**form)
        replies.append(reply)
        assert reply.status_code == 200
        assert reply.url == f"{door.base}/decisions"
        assert reply.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        headers = str(reply.headers)
        assert "Patient" not in headers and told not in headers
        assert not re.search(r'(?:href|action)="[^"]*(?:ann|mrs-brain|cc[0-9a-f]{30})', reply.text)
    lines = [door.line_of(reply) for reply in replies]
    printed = door.printed()[before:]
    for secret in ("Patient", "mrs-brain", told, SECRET, "cc-ann-nobody", reader.token()):
        assert secret not in printed
    assert {(li["route"], li["reader"]) for li in lines} == {("/decisions", READER)}


@pytest.mark.threat("forged-session")
def test_the_pages_are_not_for_clients_and_the_calls_not_for_readers(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    clients = Path(__file__).parent.parent.parent / "examples" / "clients.example.yaml"
    server = start(start_server, tmp_path, clients_file=clients)
    browser = ReaderBrowser(server)
    assert browser.sign_in().url == f"{server.base}/decisions"
    assert browser.post(f"{server.base}/cds-services/order-sign-crd", json={}).status_code == 401
    token = {"Authorization": f"Bearer {SECRET}"}
    reply = server.get("/decisions", headers=token, allow_redirects=False)
    assert reply.status_code == 303


@pytest.mark.threat("unintended-page")
def test_public_pages_do_not_lead_to_the_decisions(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(start_server, tmp_path, workbench="off")
    assert "/decisions" not in server.get("/policies").text
    assert 'href="/decisions"' in server.get(SIGN_IN).text


@pytest.mark.threat("endless-form")
def test_a_slow_form_of_a_stranger_holds_no_call(door: Server) -> None:
    """Whoever sends forms without end occupies the places of readers, never those of calls."""
    head = (
        f"POST {SIGN_IN} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\nname="
    ).encode()
    slow = [socket.create_connection(("127.0.0.1", door.port), timeout=30) for _ in range(60)]
    try:
        for connection in slow:
            connection.sendall(head)
        for _ in range(3):
            signed(door)
            assert door.get("/policies").status_code == 200
    finally:
        for connection in slow:
            connection.close()


def _unescaped(page: str) -> str:
    return page.replace("&#34;", '"')
