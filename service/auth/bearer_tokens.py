"""Bearer tokens of calls: the client's own JWT of CDS Hooks, or an access token of the service.

The FHIR endpoint takes either; the hooks take the client's own alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from service.auth.access_tokens import TYPE, AccessTokens
from service.auth.clients import Client
from service.auth.tokens import parts_of
from service.errors import Unauthenticated

_OPERATION = re.compile(r"/fhir(?:/\d+\.\d+)?/([A-Z][A-Za-z]+)(?:/.*)?")


class BearerTokens:
    """The client of a bearer token.

    `own` checks a client's own token for a called URL, the caller's address and the digest of the
    proxy's request; `base_url` is the service's public base URL.
    """

    def __init__(
        self,
        own: Callable[[str, str, str, str | None], Client],
        access: AccessTokens,
        base_url: str,
    ) -> None:
        self._own = own
        self._access = access
        self._base_url = base_url

    def client_of(self, token: str, url: str, address: str, request: str | None) -> Client:
        """The client of `token` for a call of `url`, sent from `address`.

        `request` is the digest of the trusted proxy's request, None without one.
        Raises the errors of the one that checks the token.
        """
        if not _is_access_token(token):
            return self._own(token, url, address, request)
        operation = _OPERATION.fullmatch(url.removeprefix(self._base_url))
        if operation is None:
            raise Unauthenticated("typ", "access tokens are for the FHIR endpoint")
        return self._access.client_of(token, url, operation[1])


def _is_access_token(token: str) -> bool:
    try:
        header, _ = parts_of(token)
    except Unauthenticated:
        return False
    return header.get("typ") == TYPE
