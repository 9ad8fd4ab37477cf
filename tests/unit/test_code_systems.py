"""The spellings of a code system that are met in the field, each read as the one it means."""

from __future__ import annotations

import pytest

from service.fhir.systems import CPT, HCPCS, canonical_code, canonical_system


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://www.ama-assn.org/go/cpt", CPT),
        ("https://www.ama-assn.org/go/cpt/", CPT),
        ("urn:oid:2.16.840.1.113883.6.12", CPT),
        ("http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", HCPCS),
        ("https://www.cms.gov/Medicare/Coding/MedHCPCSGenInfo", HCPCS),
        # The Da Vinci reference clients and Inferno's own requests write this one.
        ("https://bluebutton.cms.gov/resources/codesystem/hcpcs", HCPCS),
    ],
)
def test_a_spelling_met_in_the_field_is_the_system_that_it_means(written: str, meant: str) -> None:
    assert canonical_system(written) == meant
    code = canonical_code(written, " g0296 ")
    assert code is not None
    assert code.system == meant


def test_a_system_that_nobody_knows_stays_as_it_is_written() -> None:
    assert canonical_system("http://example.org/codes") == "http://example.org/codes"
