"""Other addresses of one EHR: a gateway's, behind which references name the server within.

Which these are only the operator can tell; by default a base URL stands for itself alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from service.ehr.allowlist import FhirBase, parse_base, read_base
from service.fhir.references import host_of

_PAIR = re.compile(r"(?P<named>.+?)=(?P<other>https?://.+)")


class ServerAliases:
    """`pairs` are written "BASE=OTHER": the base URL that calls name, and another one of that EHR.

    ValueError if one of them is not so.
    """

    def __init__(self, pairs: Iterable[str] = ()) -> None:
        found: dict[str, list[FhirBase]] = {}
        for pair in pairs:
            match = _PAIR.fullmatch(pair)
            if match is None:
                raise ValueError(
                    "expected https://gateway.example.org/fhir=https://inner.example/fhir"
                )
            named, other = parse_base(match["named"]), read_base(match["other"])
            found.setdefault(named.url, []).append(other)
        self._others: Mapping[str, Sequence[FhirBase]] = found

    def bases_of(self, base: FhirBase) -> list[FhirBase]:
        """The base itself, and the other ones of the same EHR."""
        return [base, *self._others.get(base.url, ())]

    def hosts_of(self, server: str | None) -> frozenset[str]:
        """The other hosts of a call's EHR, by its base URL as the call names it."""
        if not self._others or server is None:
            return frozenset()
        try:
            others = self.bases_of(parse_base(server))[1:]
        except ValueError:
            return frozenset()
        return frozenset(host for other in others if (host := host_of(other.url)))


NO_ALIASES = ServerAliases()
