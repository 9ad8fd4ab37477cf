"""Page frame, and error pages."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Flask, Response, render_template, request

from service import __version__
from service.errors import TooManyCalls, Unavailable
from service.policies.published import PROGRAM_NAMES
from service.web.assets import Assets, assets_blueprint
from service.web.markdown import markdown_html

_FOR_PROGRAMS = ("/cds-services", "/fhir", "/workbench/", "/static/")


@dataclass(frozen=True, slots=True)
class Tab:
    """A navigation entry; shown on its own page only unless `everywhere`."""

    label: str
    path: str
    everywhere: bool = True


def page(template: str, status: int = 200, cache: str = "no-store", **values: object) -> Response:
    """A rendered template, with the Content-Security-Policy of pages (web.headers)."""
    response = Response(
        render_template(template, **values), status, content_type="text/html; charset=utf-8"
    )
    response.headers["Vary"] = "Accept"
    response.headers["Cache-Control"] = cache
    return response


def problem_page(status: int, title: str, text: str) -> Response:
    """An error page with its reason and the next step."""
    return page("problem.html", status, code=status, title=title, text=text)


def later_page(error: TooManyCalls | Unavailable) -> Response:
    """The page for a refusal that ends with time."""
    text = f"{str(error).capitalize()}. Please try again in {error.retry_after} seconds."
    response = problem_page(error.status, "Not now", text)
    response.headers.update(error.headers)
    return response


def page_wanted() -> bool:
    """Whether the caller accepts HTML: a browser, not an API client."""
    if request.path.startswith(_FOR_PROGRAMS) or request.path.endswith(".json"):
        return False
    accepted = request.accept_mimetypes
    return accepted["text/html"] > 0 and accepted["text/html"] > accepted["application/json"]


def http_error_page(status: int) -> Response | None:
    """The page for an HTTP error if the caller accepts HTML, else None."""
    if not page_wanted():
        return None
    title, text = _ERRORS.get(status, _OTHER_ERROR)
    return problem_page(status, title, text)


_ERRORS = {
    404: ("There is no such page", "The address leads nowhere here. Perhaps it was mistyped."),
    405: ("That cannot be done here", "The address exists, but not for this kind of call."),
}
_OTHER_ERROR = ("Something went wrong", "The service could not answer. Please try again later.")


def frame_pages(app: Flask, calls: Flask, tabs: tuple[Tab, ...], policies_digest: str) -> None:
    """Add the pages' templates, assets and navigation to their application.

    The one of calls gets the templates and navigation of its error pages. Each page tells the
    digest of the policies that it speaks of.
    """
    assets = Assets()
    frame = Blueprint("pages", __name__, template_folder="templates")

    @frame.app_context_processor
    def shared() -> dict[str, object]:
        return {
            "asset": assets.url,
            "tabs": tabs,
            "version": __version__,
            "policies_digest": policies_digest,
        }

    app.register_blueprint(assets_blueprint(assets))
    for each in (app, calls):
        each.register_blueprint(frame)
        each.jinja_env.filters["markdown"] = markdown_html
        each.jinja_env.globals["programs"] = PROGRAM_NAMES
        each.jinja_env.trim_blocks = True
        each.jinja_env.lstrip_blocks = True
