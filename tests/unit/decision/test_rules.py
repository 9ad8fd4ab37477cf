"""What a rule list says in situations that people meet."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from service.decision import completions
from service.decision.conditions import (
    All,
    AnyOf,
    Edge,
    InRange,
    InSets,
    InWindow,
    Is,
    Not,
    OneOf,
    age,
    fits,
    shifted,
)
from service.decision.facts import (
    NOTHING,
    ORDER_DAY,
    TABLE,
    Between,
    Fact,
    FactKind,
    FactSource,
    FactSpec,
    Family,
    Why,
)
from service.decision.order import Code
from service.decision.rules import OTHERWISE, Rule, RuleList, RuleLists, condition, holds
from service.decision.value_sets import CodeSpan, ValueSet, ValueSetEntry
from tests.unit.decision.told import TODAY, Told

ICD = "http://hl7.org/fhir/sid/icd-10-cm"
REASON = TABLE["order.reason"]
AGE = TABLE["patient.age"]
GENDER = TABLE["patient.gender"]
RED_FLAGS = ValueSet(
    "red-flags", [ValueSetEntry(CodeSpan(ICD, "C00", "D49")), ValueSetEntry(Code(ICD, "G83.4"))]
)
BACK_PAIN = ValueSet("back-pain", [ValueSetEntry(CodeSpan(ICD, "M54", "M54"))])
WEEKS = FactSpec(
    "weeks",
    FactKind.NUMBER,
    "weeks of care",
    ("item.answer",),
    unit="wk",
    least=Decimal(0),
    source=FactSource(Family.ANSWER, questionnaire="q", link_id="weeks"),
)

red_flag = Is(REASON, InSets((RED_FLAGS,)))
back_pain = Is(REASON, InSets((BACK_PAIN,)))
six_weeks = Is(WEEKS, InRange(low=Decimal(6)))

MRI = RuleList(
    [
        Rule("red-flag", red_flag, "covered"),
        Rule("after-care", All((back_pain, six_weeks)), "covered"),
        Rule("too-early", back_pain, "not covered"),
    ],
    otherwise="auth needed",
)


def reasons(*codes: str) -> Fact:
    return Fact(frozenset(Code(ICD, c) for c in codes), ("reasonCode",))


def missing(told: Told, rules: RuleList[str] = MRI) -> list[str]:
    return [m.spec.name for m in rules.decide(told).missing]


def test_the_first_rule_that_is_true_decides() -> None:
    decision = MRI.decide(Told({"order.reason": reasons("M54.50", "C79.51")}))
    assert (decision.outcome, decision.rule) == ("covered", "red-flag")


def test_a_rule_that_decides_leaves_later_facts_unasked() -> None:
    told = Told({"order.reason": reasons("G83.4")})
    assert MRI.decide(told).certain
    assert "weeks" not in told.asked


def test_where_no_rule_is_true_otherwise_decides() -> None:
    decision = MRI.decide(Told({"order.reason": reasons("Z00.00"), "weeks": Fact(Decimal(3))}))
    assert (decision.outcome, decision.rule) == ("auth needed", OTHERWISE)


def test_an_unknown_fact_that_changes_nothing_is_not_missed() -> None:
    decision = MRI.decide(Told({"order.reason": reasons("Z00.00")}))
    assert (decision.outcome, decision.missing) == ("auth needed", ())


def test_what_is_missed_is_what_would_settle_it_and_no_more() -> None:
    assert missing(Told({})) == ["order.reason", "weeks"]
    assert missing(Told({"order.reason": reasons("M54.50")})) == ["weeks"]
    assert missing(Told({"weeks": Fact(Decimal(8))})) == ["order.reason"]


def test_what_is_missed_says_why_it_is_unknown() -> None:
    unread = Fact(why=Why.NOT_REACHABLE, because="Condition/1 could not be read")
    (reason, _) = MRI.decide(Told({"order.reason": unread})).missing
    assert reason.fact == unread


def test_outcomes_still_possible_stand_in_the_order_of_the_rules() -> None:
    decision = MRI.decide(Told({"order.reason": reasons("M54.50")}))
    assert decision.outcomes == ("covered", "not covered")
    assert decision.outcome is None
    assert decision.rule is None


def test_of_codes_partly_read_the_known_ones_count_and_others_may_follow() -> None:
    some = Fact(frozenset({Code(ICD, "C79.51")}), ("reasonCode",), Why.NOT_REACHABLE)
    assert MRI.decide(Told({"order.reason": some})).outcome == "covered"
    harmless = Fact(frozenset({Code(ICD, "Z00.00")}), ("reasonCode",), Why.NOT_REACHABLE)
    assert missing(Told({"order.reason": harmless, "weeks": Fact(Decimal(8))})) == ["order.reason"]


def test_a_day_of_birth_told_as_a_year_is_enough_where_its_days_agree() -> None:
    adult = condition(Is(AGE, age(at_least=18)))
    year = Fact(Between(date(1960, 1, 1), date(1960, 12, 31)), ("Patient.birthDate",))
    assert holds(adult, Told({"patient.age": year})) is True
    turning = Fact(Between(date(2008, 1, 1), date(2008, 12, 31)), ("Patient.birthDate",))
    assert holds(adult, Told({"patient.age": turning})) is None


def test_an_age_is_reached_on_the_birthday_and_left_on_the_next() -> None:
    of_45_to_75 = condition(Is(AGE, age(at_least=45, below=76)))
    expected = {
        date(1981, 6, 15): True,
        date(1981, 6, 16): False,
        date(1950, 6, 16): True,
        date(1950, 6, 15): False,
    }
    for born, wanted in expected.items():
        assert holds(of_45_to_75, Told({"patient.age": Fact(born)})) is wanted, born


def test_conditions_of_one_fact_are_reckoned_together() -> None:
    """Neither half is known, and yet every value fulfills one of them."""
    either = condition(
        AnyOf((Is(WEEKS, InRange(low=Decimal(6))), Is(WEEKS, InRange(high=Decimal(6)))))
    )
    assert holds(either, Told({})) is True
    female, male = (Is(GENDER, OneOf(frozenset({g}))) for g in ("female", "male"))
    assert holds(condition(All((female, male))), Told({})) is False
    assert holds(condition(AnyOf((red_flag, Not(red_flag)))), Told({})) is True


def test_several_diagnoses_can_fulfill_several_conditions_at_once() -> None:
    assert holds(condition(All((red_flag, back_pain))), Told({})) is None


def test_a_prefix_inside_a_range_cannot_be_fulfilled_without_it() -> None:
    skin = Is(REASON, InSets((ValueSet("", [ValueSetEntry(CodeSpan(ICD, "C44", "C44"))]),)))
    assert holds(condition(All((skin, Not(red_flag)))), Told({})) is False


LAST = FactSpec("last", FactKind.DAY, "the last test", (), may_be_nothing=True)
in_a_year = condition(Is(LAST, InWindow(Edge(months=-12), Edge())))


def test_an_earlier_day_counts_up_to_and_with_the_edges_of_its_window() -> None:
    expected = {
        date(2025, 6, 15): True,
        date(2025, 6, 14): False,
        TODAY: True,
        date(2026, 6, 16): False,
    }
    for day, wanted in expected.items():
        assert holds(in_a_year, Told({"last": Fact(day)})) is wanted, day


def test_what_is_known_not_to_be_fulfills_no_comparison() -> None:
    assert holds(in_a_year, Told({"last": Fact(NOTHING)})) is False
    assert holds(in_a_year, Told({})) is None


def test_an_imprecise_day_of_service_is_missed_where_the_answer_hangs_on_it() -> None:
    between = Fact(Between(date(2026, 6, 1), date(2026, 12, 31)), why=Why.NOT_READABLE)
    rules = RuleList([Rule("year", Is(LAST, InWindow(Edge(months=-12), Edge())), "no")], "yes")
    early = Told({"last": Fact(date(2025, 9, 1)), ORDER_DAY: between})
    assert missing(early, rules) == [ORDER_DAY]
    assert rules.decide(early).outcomes == ("no", "yes")
    late = Told({"last": Fact(date(2026, 5, 1)), ORDER_DAY: between})
    assert rules.decide(late).outcome == "no"


def test_codes_of_a_value_set_count_on_their_days() -> None:
    dated = ValueSet("new", [ValueSetEntry(Code(ICD, "U09.9"), first=date(2026, 10, 1))])
    new = condition(Is(REASON, InSets((dated,))))
    covid = reasons("U09.9")
    for day, wanted in {date(2026, 9, 30): False, date(2026, 10, 1): True}.items():
        assert holds(new, Told({"order.reason": covid, ORDER_DAY: Fact(day)})) is wanted
    autumn = Fact(Between(date(2026, 7, 1), date(2026, 12, 1)), why=Why.NOT_READABLE)
    assert holds(new, Told({"order.reason": covid, ORDER_DAY: autumn})) is None


def test_results_hold_every_test_of_the_rules_come_to_with_its_fact() -> None:
    decision = MRI.decide(Told({"order.reason": reasons("M54.50"), "weeks": Fact(Decimal(2))}))
    assert [(r.rule, r.truth) for r in decision.results] == [
        ("red-flag", False),
        ("after-care", False),
        ("too-early", True),
    ]
    assert [(t.test, t.truth) for t in decision.results[1].tests] == [
        (back_pain, True),
        (six_weeks, False),
    ]
    assert decision.results[1].tests[0].fact.places == ("reasonCode",)


def test_unknown_facts_leave_a_condition_open_in_the_results() -> None:
    decision = MRI.decide(Told({"order.reason": reasons("M54.50")}))
    assert [(r.rule, r.truth) for r in decision.results] == [
        ("red-flag", False),
        ("after-care", None),
        ("too-early", True),
    ]


def test_an_empty_all_is_true_and_an_empty_any_is_false() -> None:
    assert holds(condition(All(())), Told({})) is True
    assert holds(condition(AnyOf(())), Told({})) is False


def test_where_too_much_is_unknown_nothing_possible_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All may then be named that the rules still ask, and the decision says so."""
    monkeypatch.setattr(completions, "MOST_STEPS", 3)
    rules = RuleList(
        [Rule("first", All((back_pain, six_weeks)), "covered"), Rule("next", red_flag, "covered")],
        otherwise="not covered",
    )
    decision = rules.decide(Told({}))
    assert not decision.exact
    assert decision.outcomes == ("covered", "not covered")
    assert [m.spec.name for m in decision.missing] == ["order.reason", "weeks"]


def test_many_unknown_facts_that_ask_one_after_another_are_settled_exactly() -> None:
    rules = RuleList(
        [
            Rule(
                str(n),
                Is(FactSpec(f"f{n}", FactKind.FLAG, "", ()), OneOf(frozenset({True}))),
                str(n),
            )
            for n in range(30)
        ],
        otherwise="none",
    )
    decision = rules.decide(Told({}))
    assert decision.exact
    assert len(decision.outcomes) == 31
    assert len(decision.missing) == 30


def test_warming_reckons_what_value_sets_share_and_changes_no_answer() -> None:
    rules = RuleList([Rule("both", All((red_flag, back_pain)), "both")], otherwise="not both")
    rules.warm(TODAY)
    assert rules.decide(Told({})).outcomes == ("both", "not both")


def test_every_fact_of_the_table_can_be_put_to_a_test_of_its_kind_only() -> None:
    tests = {
        FactKind.CODES: InSets((RED_FLAGS,)),
        FactKind.CHOICE: OneOf(frozenset({"routine"})),
        FactKind.NUMBER: InRange(high=Decimal(1)),
        FactKind.DAY: InWindow(last=Edge()),
    }
    alike = {FactKind.FLAG: FactKind.CHOICE, FactKind.AGE: FactKind.DAY}
    for spec in TABLE.values():
        kind = alike.get(spec.kind, spec.kind)
        assert [k for k, test in tests.items() if fits(spec, test)] == [kind], spec.name
        assert spec.words
        assert spec.told_by


def test_a_month_earlier_is_the_last_day_where_there_is_no_such_day() -> None:
    assert shifted(date(2026, 3, 31), -1) == date(2026, 2, 28)
    assert shifted(date(2024, 2, 29), -12, 1) == date(2023, 3, 1)
    assert shifted(date(5, 1, 1), -1200) == date.min


def test_lists_that_are_asked_together_read_each_fact_once() -> None:
    girls = condition(Is(GENDER, OneOf(frozenset({"female"}))))
    lists = RuleLists([condition(red_flag), condition(back_pain), girls, condition(red_flag)])
    for _ in ("decided", "remembered"):
        told = Told({"order.reason": reasons("G83.4")})
        assert lists.certain(told) == (True, False, None, True)
    assert sorted(told.asked) == sorted(["order.reason", "patient.gender", ORDER_DAY])
