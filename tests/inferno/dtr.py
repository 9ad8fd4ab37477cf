"""Inputs of the DTR suites that a preset cannot hold: addresses, a context, tokens.

The kit is a client of SMART Backend Services; the same client makes the hook call whose answer
gives the context, and signs it with a key of ours.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.contract.calls import Json
from tests.contract.dtr_preset import BASE_URL, CONTEXT, hook_call
from tests.e2e.signing import Signer, ec_signer
from tests.inferno import kit

CLIENT_ID = "inferno"
ISSUER = "https://inferno.example.org"
SCOPE = "system/*.rs"
_ASSERTION = "coverage-assertion-id"


@functools.cache
def _signer() -> Signer:
    return ec_signer(ISSUER, kid="of-this-run")


def clients_file(folder: Path) -> Path:
    """The kit as a client: its published keys, and ours."""
    published = json.loads(kit.smart_keys().read_text("utf-8"))["keys"]
    public = [key for key in published if "verify" in key.get("key_ops", ["verify"])]
    entry = {
        "issuer": ISSUER,
        "name": "Inferno",
        "client_id": CLIENT_ID,
        "jwks": {"keys": [*public, _signer().public()]},
        "fhir_servers": [],
    }
    file = folder / "clients.yaml"
    file.write_text(json.dumps({"clients": [entry]}), "utf-8")
    return file


def inputs(
    preset: Mapping[str, object], address: str, service: Any, version: str
) -> dict[str, object]:
    """The preset's inputs for the service at `address`; `service` is the running one."""
    filled: dict[str, object] = {
        name: value.replace(BASE_URL, address) if isinstance(value, str) else value
        for name, value in preset.items()
    }
    if version == "2.0":
        token = _access_token(address, service)
        filled["smart_auth_info"] = json.dumps(
            {"auth_type": "backend_services", "access_token": token}
        )
        filled["access_token"] = token
        return filled
    asked = "questionnaire_package_request_parameters"
    filled[asked] = str(filled[asked]).replace(CONTEXT, _context(address, service, version))
    filled["backend_services_smart_auth_info"] = json.dumps(
        {
            "auth_type": "backend_services",
            "use_discovery": "true",
            "client_id": CLIENT_ID,
            "requested_scopes": SCOPE,
            "encryption_algorithm": "ES384",
            "token_url": f"{address}/oauth/token",
        }
    )
    return filled


def _context(address: str, service: Any, version: str) -> str:
    """The coverage-assertion-id that the kit's client gets for the preset's order."""
    path = "/cds-services/order-sign-crd"
    headers = {"Authorization": f"Bearer {_signer().token(address + path)}"}
    reply = requests.post(
        f"http://127.0.0.1:{service.port}{path}",
        json=hook_call(version),
        headers=headers,
        timeout=30,
    )
    reply.raise_for_status()
    found = _values(reply.json(), _ASSERTION)
    if not found:
        raise RuntimeError(f"the answer has no {_ASSERTION}")
    return found[0]


def _values(node: Any, url: str) -> list[str]:
    """The strings of the extensions with this URL."""
    if isinstance(node, dict):
        own = [node["valueString"]] if node.get("url") == url and "valueString" in node else []
        return own + [v for inner in node.values() for v in _values(inner, url)]
    return [v for inner in node for v in _values(inner, url)] if isinstance(node, list) else []


def _access_token(address: str, service: Any) -> str:
    url = f"{address}/oauth/token"
    claims: Json = {"iss": CLIENT_ID, "sub": CLIENT_ID, "iat": None}
    reply = requests.post(
        f"http://127.0.0.1:{service.port}/oauth/token",
        data={
            "grant_type": "client_credentials",
            "scope": SCOPE,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": _signer().token(url, **claims),
        },
        timeout=30,
    )
    reply.raise_for_status()
    token: str = reply.json()["access_token"]
    return token
