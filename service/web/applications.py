"""Flask applications: one of the pages, and one of calls, which is mounted in it by path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response
from flask.ctx import RequestContext
from flask.globals import request_ctx
from flask.sessions import NullSession, SessionInterface, SessionMixin
from werkzeug.routing import MapAdapter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask.typing import ResponseReturnValue
    from werkzeug.exceptions import HTTPException


class Application(Flask):
    """Flask without the check, in every request, whether a view or hook is a coroutine."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function unchanged: none is a coroutine."""
        return func


class CallApplication(Application):
    """The application of hooks, feedback and DTR: a call takes the steps that it needs.

    Flask's sessions, signals, redirects, URL preprocessors and functions after this one request are
    not there. What is registered to run before, after and at the end of a request runs as Flask
    documents it, and errors are handled as there.
    """

    session_interface: SessionInterface

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None)
        self.session_interface = _NoSession()
        self.url_map.redirect_defaults = False

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """The routes for a request. Its host counts for no route, and none redirects."""
        if request is None:
            return None
        return MapAdapter(
            self.url_map, "", request.root_path, None, request.scheme, request.path, request.method
        )

    def full_dispatch_request(self) -> Response:
        try:
            answer = self.preprocess_request()
            if answer is None:
                answer = self.dispatch_request()
        except Exception as error:
            answer = self.handle_user_exception(error)
        return self.finalize_request(answer)

    def preprocess_request(self) -> ResponseReturnValue | None:
        for scope in (None, *reversed(_context().request.blueprints)):
            for step in self.before_request_funcs.get(scope, ()):
                answer: ResponseReturnValue | None = step()  # type: ignore[assignment]
                if answer is not None:
                    return answer
        return None

    def finalize_request(
        self, rv: ResponseReturnValue | HTTPException, from_error_handler: bool = False
    ) -> Response:
        if from_error_handler:
            return super().finalize_request(rv, from_error_handler)
        return self.process_response(self.make_response(rv))

    def process_response(self, response: Response) -> Response:
        for scope in (*_context().request.blueprints, None):
            for step in reversed(self.after_request_funcs.get(scope, ())):
                response = step(response)
        return response

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        for scope in (*_context().request.blueprints, None):
            for step in reversed(self.teardown_request_funcs.get(scope, ())):
                step(exc)

    def do_teardown_appcontext(self, exc: BaseException | None = None) -> None:
        for step in reversed(self.teardown_appcontext_funcs):
            step(exc)


class BytesResponse(Response):
    """A response of bytes, which go out in one piece with the headers that it has."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status = self.status_code
        if status < 200 or status in (204, 304) or environ["REQUEST_METHOD"] == "HEAD":
            return super().__call__(environ, start_response)
        start_response(self.status, self.headers.to_wsgi_list())
        # A list, as of bytes: the server sends it at once, and asks for each part of an iterator.
        return self.response  # type: ignore[return-value]


class Mounted:
    """WSGI application of the calls' and the pages' applications.

    The first segment of the path decides: the calls have those of their own routes.
    """

    def __init__(self, calls: Flask, pages: WSGIApplication) -> None:
        self._calls = calls
        self._pages = pages

    @cached_property
    def _segments(self) -> frozenset[str]:
        """The first segments of the calls' routes; all are there when the first request is."""
        return frozenset(_first_segment(rule.rule) for rule in self._calls.url_map.iter_rules())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if _first_segment(environ.get("PATH_INFO", "")) in self._segments:
            return self._calls.wsgi_app(environ, start_response)
        return self._pages(environ, start_response)


def _first_segment(path: str) -> str:
    return path.lstrip("/").partition("/")[0]


class _NoSession(SessionInterface):
    """The interface of no session: one for all requests, which keeps nothing."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        return self._none


def _context() -> RequestContext:
    context: RequestContext = request_ctx._get_current_object()  # type: ignore[attr-defined]
    return context
