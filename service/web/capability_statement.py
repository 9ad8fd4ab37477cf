"""GET /fhir/metadata: the CapabilityStatement of the FHIR endpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version

from cards.vocabulary import Json

_OPERATION = "http://hl7.org/fhir/us/davinci-dtr/OperationDefinition/questionnaire-package"


def capability_statement(base: str, operator: str, now: datetime) -> Json:
    """CapabilityStatement of `base`, the public URL of /fhir, in the name of `operator`.

    `now` is when the statement was made.
    """
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now.astimezone(UTC).isoformat(timespec="seconds"),
        "publisher": operator,
        "kind": "instance",
        "software": {"name": "Covercard", "version": version("covercard")},
        "implementation": {
            "description": f"Forms and documentation packages of {operator}",
            "url": base,
        },
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "documentation": (
                    "Forms are open to everybody. Operations are for the clients of the hooks, "
                    "with the same token."
                ),
                "resource": [
                    {
                        "type": "Questionnaire",
                        "profile": "http://hl7.org/fhir/StructureDefinition/Questionnaire",
                        "interaction": [{"code": "read"}, {"code": "search-type"}],
                        "searchParam": [
                            {"name": "url", "type": "uri"},
                            {"name": "version", "type": "token"},
                        ],
                        "operation": [{"name": "questionnaire-package", "definition": _OPERATION}],
                    }
                ],
            }
        ],
    }
