"""wire_pages(app, …): the policies for everybody, and the workbench where it is switched on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from flask import Flask, Response

from service.crd.service import Service
from service.decision.model import Payer
from service.order_review import Review
from service.policies.notices import NoticeLibrary
from service.policies.store import PolicyStore
from service.settings import Settings
from service.web.client_auth import open_to_all
from service.web.fixtures import load_fixtures
from service.web.pages import Tab, frame_pages
from service.web.policy_pages import PolicyPages, policy_pages_blueprint
from service.web.workbench import Workbench, workbench_blueprint


def wire_pages(
    app: Flask,
    settings: Settings,
    *,
    policies: PolicyStore,
    notices: NoticeLibrary,
    payers: Iterable[Payer],
    services: Sequence[Service],
    review: Callable[[str, bytes], Review],
    clock: Callable[[], datetime],
) -> None:
    """Add the pages to `app`. `review` decides a call and keeps nothing of it.

    Raises ConfigurationError if the workbench's fixtures cannot be read.
    """
    tabs = [Tab("Policies", "/policies")]
    pages = PolicyPages(policies, notices, settings.base_url, clock, settings.zone)
    app.register_blueprint(policy_pages_blueprint(pages))
    if settings.workbench_on:
        tabs.insert(0, Tab("Workbench", "/"))
        workbench = Workbench(
            # Who is not asked for a token may see an answer, but not have one decided.
            review=None if settings.asks_for_clients else review,
            services=services,
            policies=policies,
            payers=payers,
            fixtures=load_fixtures(settings.fixtures_dir),
        )
        app.register_blueprint(workbench_blueprint(workbench))
    else:
        app.add_url_rule("/", "home", open_to_all(_to_the_policies))
    frame_pages(app, tuple(tabs))


def _to_the_policies() -> Response:
    return Response(status=302, headers={"Location": "/policies"})
