"""Coverage information is read by one reader, whichever version or payer wrote it."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from cards.coverage_information import (
    EXTENSION_URL,
    NOTICE_ON_FILE,
    CoverageInformation,
    Detail,
    Documentation,
)
from cards.coverage_information.reader import (
    is_coverage_information,
    read_coverage_information,
    read_extension,
)
from service.crd.crd_version import CrdVersion
from service.crd.versions import VERSIONS
from service.policies.answer_texts import load_texts

LABELS = load_texts().phrases.reasons
INFO = CoverageInformation(
    coverage="Coverage/a",
    covered="not-covered",
    codes=(("http://www.ama-assn.org/go/cpt", "76390"),),
    reasons=("Evidence is lacking.",),
    stated_on=date(2026, 11, 22),
    assertion_id="cc1",
    documentation=(Documentation("admin", "retain-doc", "Keep it.", "http://x.org/form|1"),),
    details=(Detail(NOTICE_ON_FILE, "QuestionnaireResponse/r1", "Signed."),),
)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
def test_what_a_version_writes_is_read_again(version: CrdVersion) -> None:
    order = {"extension": [{"url": "other"}, version.coverage_information(INFO, LABELS)]}
    (read,) = read_coverage_information(order)
    assert (read.coverage, read.covered) == ("Coverage/a", "not-covered")
    assert (read.assertion_id, read.date) == ("cc1", "2026-11-22")
    assert read.questionnaires == ("http://x.org/form|1",)
    assert [reason.rpartition(": ")[2] for reason in read.reasons] == [
        "Evidence is lacking.",
        "Keep it.",
    ]
    assert read.detail(NOTICE_ON_FILE) == ("QuestionnaireResponse/r1",)
    assert read.detail("another") == ()


def test_each_on_an_order_is_read_in_its_order() -> None:
    version = VERSIONS[0]
    ids = ["cc1", "cc2"]
    written = [
        version.coverage_information(msgspec.structs.replace(INFO, assertion_id=i), LABELS)
        for i in ids
    ]
    found = read_coverage_information({"extension": written})
    assert [info.assertion_id for info in found] == ids


@pytest.mark.parametrize(
    "malformed",
    [None, {}, "text", [None], [{"url": EXTENSION_URL}], [{"url": EXTENSION_URL, "extension": 1}]],
)
def test_what_is_not_as_fhir_wants_it_is_passed_over(malformed: Any) -> None:
    for info in read_coverage_information({"extension": malformed}):
        assert info.parts == ()
        assert (info.coverage, info.covered, info.assertion_id, info.date) == (None,) * 4


@pytest.mark.parametrize(
    "part",
    [
        None,
        "text",
        {"url": "covered"},
        {"url": "covered", "valueCode": 1},
        {"url": "covered", "valueCode": None},
        {"url": ["covered"], "valueCode": "covered"},
        {"url": "detail", "extension": [{"url": "code", "valueCodeableConcept": []}, 2]},
    ],
)
def test_a_malformed_part_says_nothing_and_the_others_still_do(part: Any) -> None:
    sound = {"url": "coverage", "valueReference": {"reference": "Coverage/a"}}
    info = read_extension({"url": EXTENSION_URL, "extension": [part, sound]})
    assert (info.coverage, info.covered) == ("Coverage/a", None)
    assert info.detail(NOTICE_ON_FILE) == ()


def test_another_extension_is_none() -> None:
    assert is_coverage_information({"url": EXTENSION_URL})
    assert not any(map(is_coverage_information, [{"url": "x"}, {}, EXTENSION_URL, None]))
