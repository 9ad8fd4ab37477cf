"""Reader authentication in the browser: sign-in form, session cookie, checks before each page."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import ClientDisconnected

from service.auth.places import Places
from service.auth.proxy_sign_in import ProxySignIn, Role
from service.auth.sessions import Session, Sessions
from service.auth.sign_in_limits import SignInLimits
from service.call_facts import note
from service.errors import Unauthenticated
from service.web.client_auth import open_to_all
from service.web.pages import page, problem_page
from service.web.visitors import VisitorLimits, give_back_place, take_place, visitor

HOME = "/decisions"
SIGN_IN = "/decisions/sign-in"

_MOST_BYTES = 8192
_OWN_SITES = ("same-origin", "none")
"""Values of Sec-Fetch-Site; none is the reader's own action, such as reloading a page."""


@dataclass(frozen=True, slots=True)
class ReaderAuth:
    """Reader authentication of the pages.

    `proxy` verifies the ID tokens that a proxy forwards, where there is one; `by_secret` says
    whether there are readers with secrets. `attempts` limits tries of a secret; `visitors`, the
    requests for the sign-in; `looks`, those of readers, by name; `encrypted` is true behind https;
    `public_host` is the host, with its port, of the public URL.
    """

    proxy: ProxySignIn | None
    by_secret: bool
    sessions: Sessions
    attempts: SignInLimits
    visitors: VisitorLimits
    looks: Places
    encrypted: bool
    public_host: str

    @property
    def cookie(self) -> str:
        """The cookie's name; `__Host-` binds it to this host and to TLS."""
        return "__Host-covercard-reader" if self.encrypted else "covercard-reader"

    def sent_from_here(self) -> bool:
        """Whether a form was sent by a page of this service.

        By Sec-Fetch-Site or, for browsers older than that, by Origin; its scheme is left out, since
        a proxy ends TLS. A request without either is of no browser that another site could use.
        """
        site, origin = (request.headers.get(name) for name in ("Sec-Fetch-Site", "Origin"))
        if site is not None:
            return site in _OWN_SITES
        if origin is None:
            return True
        try:
            host = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return host in (request.host.lower(), self.public_host.lower())

    def keep(self, response: Response, session: Session | None) -> None:
        """Set the session's cookie with its last use now; None deletes it."""
        response.set_cookie(
            self.cookie,
            self.sessions.written(session) if session else "",
            max_age=None if session else 0,
            path="/" if self.encrypted else HOME,
            secure=self.encrypted,
            httponly=True,
            samesite="Strict",
        )


def current_session() -> Session:
    """The session of the current request."""
    session: Session = g.reader_session
    return session


def ask_for_a_reader(blueprint: Blueprint, reader_auth: ReaderAuth) -> None:
    """Require a reader's session for the views of a blueprint; add sign-in and sign-out.

    The views must be `open_to_all`: a reader has a session, not a client's token. Without a
    session, the answer is a redirect to the sign-in. A form must come from a page of the same
    session.
    """

    @blueprint.before_request
    def admit() -> Response | None:
        # The session first: a stranger takes nothing that readers share, and no body is read.
        if reader_auth.proxy is not None and "Authorization" in request.headers:
            refusal = _of_the_proxy(reader_auth.proxy)
            if refusal is not None:
                return refusal
        elif not reader_auth.by_secret:
            note(refused="NoProxy")
            return problem_page(401, "Not signed in", _AT_THE_PROXY)
        else:
            cookie = request.cookies.get(reader_auth.cookie, "")
            g.reader_session = reader_auth.sessions.found(cookie)
        if request.path == SIGN_IN:
            take_place(reader_auth.visitors)
            if request.method == "POST":
                if not reader_auth.sent_from_here():
                    return _not_from_here()
                reader_auth.attempts.count_address(visitor())
                return _refused_form()
            return None
        if g.reader_session is None:
            return _led_to(SIGN_IN)
        name = g.reader_session.reader.name
        note(reader=name)
        reader_auth.looks.take(name)
        g.look = name
        if request.method != "POST":
            return None
        if not reader_auth.sent_from_here():
            return _not_from_here()
        refusal = _refused_form()
        if refusal is not None:
            return refusal
        if g.reader_session.allows_form(request.form.get("form_token", "")):
            return None
        return _not_from_here()

    @blueprint.after_request
    def keep_session(response: Response) -> Response:
        session: Session | None = g.get("reader_session")
        if session is not None and "roles" not in g:
            reader_auth.keep(response, session)
        return response

    @blueprint.teardown_request
    def leave(_: BaseException | None) -> None:
        name = g.pop("look", None)
        if name is not None:
            reader_auth.looks.give_back(name)
        give_back_place()

    @blueprint.get(SIGN_IN)
    @open_to_all
    def sign_in_form() -> Response:
        return page("decisions/sign_in.html")

    @blueprint.post(SIGN_IN)
    @open_to_all
    def sign_in() -> Response:
        name, secret = (request.form.get(part, "").strip() for part in ("name", "secret"))
        reader_auth.attempts.count_name(name)
        session = reader_auth.sessions.begin(name, secret)
        g.reader_session = session
        if session is None:
            note(refused="SignIn")
            return page("decisions/sign_in.html", 403, refused=True)
        note(reader=session.reader.name)
        return _led_to(HOME)

    @blueprint.post("/decisions/sign-out")
    @open_to_all
    def sign_out() -> Response:
        reader_auth.sessions.end(current_session())
        g.reader_session = None
        response = _led_to(SIGN_IN)
        reader_auth.keep(response, None)
        return response


_AT_THE_PROXY = (
    "This page is opened by the organization's sign-in. Sign in there again, or ask who runs the"
    " service."
)

_ROLES = {HOME: Role.READER, f"{HOME}/feedback": Role.AUTHOR}
"""The role beside AUDITOR that opens each page."""


def _of_the_proxy(proxy: ProxySignIn) -> Response | None:
    """Take the session of the forwarded ID token; the page that refuses it, if it does not open."""
    g.reader_session = None
    try:
        found = proxy.of(request.headers["Authorization"])
    except Unauthenticated as error:
        note(refused=type(error).__name__, claim=error.claim)
        return problem_page(401, "Not signed in", _AT_THE_PROXY)
    if not found.roles & {Role.AUDITOR, _ROLES.get(request.path, Role.AUDITOR)}:
        note(refused="Role")
        return problem_page(
            403,
            "Not with your role",
            "You are signed in, and none of your groups opens this page. Its roles are given by who"
            " runs the service.",
        )
    g.reader_session, g.roles = found.session, found.roles
    return None


def _led_to(path: str) -> Response:
    return Response(status=303, headers={"Location": path})


def _refused_form() -> Response | None:
    """The error page for what is no form, or larger than any form here; None if it is valid."""
    if request.mimetype != "application/x-www-form-urlencoded":
        return problem_page(415, "This is no form", "The page takes what its own forms send.")
    if request.content_length is None or request.content_length > _MOST_BYTES:
        return problem_page(413, "This is too long", "The page takes what its own forms send.")
    try:
        request.form  # noqa: B018  read now, within the number of looks at a time
    except ClientDisconnected:
        return problem_page(400, "This is no form", "It ended before it was complete.")
    return None


def _not_from_here() -> Response:
    text = (
        "The form was not sent by a page of your session. Go back, load the page again, and retry."
    )
    return problem_page(403, "This form was not sent from here", text)
