"""Keeping of packages: each that a client gets is an access on record, before it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from service.call_facts import noted
from service.decision_log.recorder import Recorder
from service.web.json_body import encode

PACKAGE = "package"


@dataclass(frozen=True, slots=True)
class KeepPackages:
    """Keeping of packages in the decision log, with the digest of the policies in force."""

    recorder: Recorder
    policies_digest: str

    def keep(self, client: str, package: Mapping[str, Any]) -> None:
        """Record which forms a client gets, durable on return, and the SHA-256 of the package.

        Raises RecordsUnavailable.
        """
        sent = encode(package)
        detail: dict[str, object] = {
            "questionnaires": sorted(set(_questionnaires(msgspec.json.decode(sent)))),
            "sha256": sha256(sent).hexdigest(),
            "policies_digest": self.policies_digest,
        }
        if "repeated" in noted():
            detail["repeated"] = True
        self.recorder.record_access(f"{client} (client)", PACKAGE, encode(detail).decode())


def _questionnaires(value: object) -> Iterator[str]:
    """The canonicals, with version, of the Questionnaires in a package."""
    if isinstance(value, Mapping):
        if value.get("resourceType") == "Questionnaire":
            yield f"{value.get('url')}|{value.get('version')}"
            return
        for each in value.values():
            yield from _questionnaires(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _questionnaires(each)
