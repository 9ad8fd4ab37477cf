import pytest

from service.decision.coverage import Coverage, Payer
from service.decision.order import Code
from service.decision.policy import Program
from service.decision.programs import SOURCE_OF_PAYMENT, find_program

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def coverage(*types: tuple[str, str], line_of_business: Program = Program.UNKNOWN) -> Coverage:
    payer = Payer("http://example.org/payers", "p", "A Plan", line_of_business, ())
    codes = tuple(Code(*t) for t in types)
    return Coverage("Coverage/1", "prefetch.coverage", payer, True, type_codes=codes)


@pytest.mark.parametrize("code", ["11", "111", "112", "113", "119"])
def test_medicare_advantage_is_told_by_its_types_of_payment(code: str) -> None:
    found = find_program(coverage((SOURCE_OF_PAYMENT, code)))
    assert (found.program, found.source) == (Program.MEDICARE_ADVANTAGE, "Coverage.type")


@pytest.mark.parametrize("code", ["12", "121"])
def test_original_medicare_is_told_by_its_types_of_payment(code: str) -> None:
    assert find_program(coverage((SOURCE_OF_PAYMENT, code))).program == "original_medicare"


@pytest.mark.parametrize("code", ["1", "13", "14", "19", "123", "129"])
def test_an_ambiguous_type_of_payment_leaves_it_to_the_line_of_business(code: str) -> None:
    typed = coverage((SOURCE_OF_PAYMENT, code), line_of_business=Program.MEDICARE_ADVANTAGE)
    found = find_program(typed)
    assert (found.program, found.source) == (Program.MEDICARE_ADVANTAGE, "line of business")


@pytest.mark.parametrize("code", ["MCPOL", "PUBLICPOL", "EHCPOL"])
def test_act_codes_cannot_tell_the_programs_apart(code: str) -> None:
    assert find_program(coverage((ACT_CODE, code))).program is Program.UNKNOWN


def test_the_type_of_payment_comes_before_the_line_of_business() -> None:
    typed = coverage((SOURCE_OF_PAYMENT, "121"), line_of_business=Program.MEDICARE_ADVANTAGE)
    assert find_program(typed).program is Program.ORIGINAL_MEDICARE


def test_types_of_both_programs_contradict_each_other_and_tell_nothing() -> None:
    typed = coverage(
        (SOURCE_OF_PAYMENT, "111"),
        (SOURCE_OF_PAYMENT, "121"),
        line_of_business=Program.MEDICARE_ADVANTAGE,
    )
    assert find_program(typed).program is Program.UNKNOWN


def test_without_a_coverage_nothing_is_told() -> None:
    assert find_program(None).program is Program.UNKNOWN
