"""SMART Backend Services: discovery, and POST /oauth/token.

No app is launched here. The authorization endpoint, which SMART 2.0 requires in the discovery
document, refuses each request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import BoundedSemaphore

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from service.auth.backend_services import BackendServices
from service.auth.client_share import StoredBytes
from service.auth.rate_limit import CallLimit
from service.auth.scopes import SUPPORTED
from service.auth.tokens import ALGORITHMS
from service.call_facts import note
from service.errors import BodyTooLarge, OAuthRefusal, Unavailable
from service.web.client_auth import open_to_all
from service.web.json_body import encode
from service.web.proxied_request import proxied_request
from service.web.visitors import VisitorLimits, limit_visitors, visitor

TOKEN_PATH = "/oauth/token"  # noqa: S105  a path
AUTHORIZATION_PATH = "/oauth/authorize"

_LARGEST_REQUEST = 16_384
_SECONDS_FOR_A_CHECK = 1.0


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """The token endpoint with the limits of a client's calls.

    `base_url` is the service's public base URL; `behind_proxy` is true where a trusted proxy stands
    before it; `checks` limit the assertions checked at a time;
    `limit` the calls a minute of a client, None without a limit; `stored` its bytes a minute.
    """

    services: BackendServices
    base_url: str
    behind_proxy: bool
    checks: BoundedSemaphore
    limit: CallLimit | None
    stored: StoredBytes


def smart_blueprint(
    endpoint: TokenEndpoint, prefixes: Sequence[str], limits: VisitorLimits
) -> Blueprint:
    """The token endpoint, and discovery below each of the FHIR endpoint's `prefixes`.

    `limits` are of any caller: whose a token request is, only its body tells.
    """
    smart = Blueprint("smart", __name__)
    limit_visitors(smart, limits)
    discovered = encode(_configuration(endpoint.base_url))

    @open_to_all
    def discover() -> Response:
        return Response(discovered, content_type="application/json")

    for prefix in (*prefixes, ""):
        smart.add_url_rule(f"{prefix}/.well-known/smart-configuration", view_func=discover)

    @smart.post(TOKEN_PATH)
    @open_to_all
    def token() -> Response:
        request.max_content_length = _LARGEST_REQUEST
        try:
            form = request.form.to_dict(flat=False)
        except RequestEntityTooLarge:
            raise BodyTooLarge(f"larger than {_LARGEST_REQUEST} bytes") from None
        if not endpoint.checks.acquire(timeout=_SECONDS_FOR_A_CHECK):
            raise Unavailable(
                "too many token requests at a time", 1, limit="token requests at a time, all"
            )
        try:
            url = endpoint.base_url + TOKEN_PATH
            sent = proxied_request(request) if endpoint.behind_proxy else None
            issued = endpoint.services.token(form, url, visitor(), sent)
        finally:
            endpoint.checks.release()
        note(client=issued.client.name)
        if endpoint.limit is not None:
            endpoint.limit.count(issued.client)
        endpoint.stored.check(issued.client)
        return _json(
            {
                "access_token": issued.token,
                "token_type": "bearer",
                "expires_in": issued.lifetime,
                "scope": issued.scope,
            }
        )

    @smart.get(AUTHORIZATION_PATH)
    @open_to_all
    def authorize() -> Response:
        raise OAuthRefusal("unauthorized_client", "no app is registered for a launch here")

    @smart.errorhandler(OAuthRefusal)
    def refused(refusal: OAuthRefusal) -> Response:
        note(refused="OAuthRefusal", error=refusal.error, why=refusal.why)
        said = {"error": refusal.error, "error_description": refusal.description}
        return _json(said, refusal.response_status)

    return smart


def _configuration(base_url: str) -> dict[str, object]:
    return {
        "authorization_endpoint": base_url + AUTHORIZATION_PATH,
        "token_endpoint": base_url + TOKEN_PATH,
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": list(SUPPORTED),
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }


def _json(body: Mapping[str, object], status: int = 200) -> Response:
    response = Response(encode(body), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response
