"""A case explained on a terminal: the policy's rules with their three-valued results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.decision.facts import NOTHING, Fact
from service.decision.policy import PolicyDetermination, PolicyVersion
from service.decision.rules import Decision, RuleList
from service.policies.cases import Case, CaseFacts, CaseResult

_TRUTHS = {True: ("true", "bold green"), False: ("false", "red"), None: ("unknown", "bold yellow")}


def explained(case: Case, result: CaseResult, policy: PolicyVersion | None) -> RenderableType:
    """The case, its rules and what they came to."""
    return Group(*_parts(case, result, policy))


def _parts(
    case: Case, result: CaseResult, policy: PolicyVersion | None
) -> Iterator[RenderableType]:
    determination = result.determination
    yield Text(case.it, style="bold underline")
    rules = policy.rules.get(determination.program.program) if policy else None
    if rules is None:
        yield Text("No rules for this program: the policy's determination is all that is said.")
    else:
        yield _rules(rules, rules.decide(CaseFacts(case)))
    said = determination.policy_determination
    reason = said.reason_id if said else determination.undetermined
    yield Text(f"{determination.covered.value}: {reason}", style="bold")
    for spec in determination.missing:
        yield Text(f"Missing: {spec.name} ({spec.words})")
    for outcome in determination.possible:
        yield Text(f"Still possible: {outcome.covered.value}, {outcome.reason_id}")
    for difference in result.differences:
        yield Text(difference, style="bold red")


def _rules(rules: RuleList[PolicyDetermination], decision: Decision[PolicyDetermination]) -> Table:
    table = Table("rule", "condition", "result", "fact", box=None)
    for result in decision.results:
        table.add_row(Text(result.rule, style="bold"), "", _truth(result.truth), "")
        for tested in result.tests:
            table.add_row("", tested.test.words, _truth(tested.truth), _told(tested.fact))
    for rule in _not_come_to(rules, [r.rule for r in decision.results]):
        table.add_row(Text(rule, style="dim"), "", Text("not come to", style="dim"), "")
    return table


def _not_come_to(rules: RuleList[PolicyDetermination], done: Sequence[str]) -> Iterator[str]:
    return (rule.id for rule in rules.rules if rule.id not in done)


def _truth(truth: bool | None) -> Text:
    word, style = _TRUTHS[truth]
    return Text(word, style=style)


def _told(fact: Fact) -> str:
    if fact.why is not None:
        return f"{fact.why.value}{': ' if fact.because else ''}{fact.because}"
    if fact.value is NOTHING:
        return "none"
    if isinstance(fact.value, frozenset):
        return ", ".join(sorted(code.value for code in fact.value)) or "none"
    return str(fact.value)
