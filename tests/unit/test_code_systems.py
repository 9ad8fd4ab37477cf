"""The spellings of a code system that are met in the field, each read as the one it means."""

from __future__ import annotations

import pytest

from service.decision.order import Code
from service.fhir.systems import CPT, HCPCS, canonical_code, canonical_system, split_code


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


@pytest.mark.parametrize(
    ("written", "modifiers"),
    [
        ("76390", ()),
        ("76390:26", ("26",)),
        ("76390:TC,59", ("TC", "59")),
        ("76390-26", ("26",)),
        ("76390 26", ("26",)),
        ("76390TC", ("TC",)),
        ("76390TCGA", ("TC", "GA")),
        ("76390-26-GA", ("26", "GA")),
        ("76390: tc , 59", ("TC", "59")),
        (" 76390 : 26 ", ("26",)),
    ],
)
def test_modifiers_are_told_apart_from_the_code_however_they_are_written(
    written: str, modifiers: tuple[str, ...]
) -> None:
    assert split_code(CPT, written) == (Code(CPT, "76390"), modifiers)
    assert canonical_code(CPT, written) == Code(CPT, "76390")


@pytest.mark.parametrize(
    "written", ["7639026", "76390,76391", "76390-76391", "76390:", "76390:2", "76390:261", "X76390"]
)
def test_what_is_no_code_with_modifiers_stays_as_it_is_written(written: str) -> None:
    assert split_code(CPT, written) == (Code(CPT, written), ())


def test_a_code_of_category_iii_ends_in_its_letter() -> None:
    assert split_code(CPT, "0609t:26") == (Code(CPT, "0609T"), ("26",))
    assert split_code(CPT, "0609T") == (Code(CPT, "0609T"), ())


def test_level_i_of_hcpcs_is_cpt_and_level_ii_is_not() -> None:
    assert canonical_code(HCPCS, "76390") == Code(CPT, "76390")
    assert canonical_code(HCPCS, "0610T-TC") == Code(CPT, "0610T")
    assert canonical_code(HCPCS, "A9579:JZ") == Code(HCPCS, "A9579")


def test_codes_of_other_systems_are_left_alone() -> None:
    loinc = "http://loinc.org"
    assert split_code(loinc, "24558-9") == (Code(loinc, "24558-9"), ())
