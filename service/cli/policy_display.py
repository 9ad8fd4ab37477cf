"""Terminal page of a policy: determinations first, then sources."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.decision.policy import Authority, Citation, PolicyVersion
from service.policies.notices import Notice, NoticeLibrary
from service.policies.published import PROGRAM_NAMES, statement
from service.policies.rules_in_words import rules_in_words


def policy_page(
    policy: PolicyVersion, notices: NoticeLibrary, on: date, today: date
) -> RenderableType:
    """A version with its notices `on` a day; `today` determines overdue reviews."""
    return Group(*_parts(policy, notices, on, today))


def _parts(
    policy: PolicyVersion, notices: NoticeLibrary, on: date, today: date
) -> Iterator[RenderableType]:
    yield Text(policy.title, style="bold underline")
    yield Text(f"{policy.manual}, as in force on {on}")
    yield from _section("Coverage", _answers(policy))
    if policy.rules:
        yield from _section("Rules, the first that is true decides", _rules(policy))
    yield from _section("Services", _services(policy))
    yield from _section("Dates", _dates(policy, today))
    yield from _section("Authorities searched, in order", map(_authority, policy.authorities))
    yield from _section("Why", _reasons(policy))
    yield from _section("Advance notice", _notices(policy, notices, on))
    yield from _section("Keep in mind", (Text(f"- {r}") for r in policy.reservations))
    yield from _section("Citations", (Text(f"- {_cited(c)}") for c in policy.citations))
    if policy.related:
        yield from _section("Related", (Text(f"- {_cited(c)}") for c in policy.related))
    if policy.ama_notice:
        yield Text(f"\n{policy.ama_notice}", style="dim")


def _section(title: str, lines: Iterator[RenderableType]) -> Iterator[RenderableType]:
    yield Text(f"\n{title}", style="bold")
    yield Padding(Group(*lines), (0, 0, 0, 2))


def _answers(policy: PolicyVersion) -> Iterator[RenderableType]:
    for program, determination in policy.determinations.items():
        answer = f"{PROGRAM_NAMES[program]}: {determination.covered.value}. "
        yield Text.assemble((answer, "bold red"), statement(policy, program))


def _rules(policy: PolicyVersion) -> Iterator[RenderableType]:
    table = Table("rule", "when", "then", box=None)
    for rule in rules_in_words(policy):
        table.add_row(Text(rule.id, style="bold"), rule.when, rule.outcome.covered.value)
    yield table


def _services(policy: PolicyVersion) -> Iterator[RenderableType]:
    table = Table("code", "service", "group", box=None)
    for service in policy.services:
        table.add_row(service.code.value, service.name, service.group_name)
    yield table


def _dates(policy: PolicyVersion, today: date) -> Iterator[RenderableType]:
    yield Text(f"Published {policy.published}{''.join(_in_force(policy))}")
    review = Text(f"Last review {policy.review_last}; next review {policy.review_next}")
    if policy.review_overdue_on(today):
        review.append(" OVERDUE", style="bold red")
    yield review


def _in_force(policy: PolicyVersion) -> Iterator[str]:
    """The days of force that the source tells beside that of publication."""
    if policy.starts != policy.published:
        yield f"; in force from {policy.starts}"
    if policy.ends:
        yield f"; in force to {policy.ends}"


def _authority(authority: Authority) -> Text:
    if authority.citation:
        return Text.assemble(f"- {authority.name}: ", (_cited(authority.citation), "bold"))
    searched = f"{authority.searched_where}, {authority.searched_when}"
    return Text(f"- {authority.name}: none found ({searched})")


def _reasons(policy: PolicyVersion) -> Iterator[Text]:
    for program, determination in policy.determinations.items():
        yield Text(f"{PROGRAM_NAMES[program]}: {determination.reason}")


def _notices(policy: PolicyVersion, notices: NoticeLibrary, on: date) -> Iterator[Text]:
    for program in policy.determinations:
        editions = [notices.edition(n, on) for n in policy.notices[program]]
        text = Text(f"{PROGRAM_NAMES[program]}: ")
        text.append(", ".join(map(_notice, editions)) or "none")
        if any(n.expired_on(on) for n in editions):
            text.append(" EXPIRED EDITION", style="bold red")
        yield text


def _notice(notice: Notice) -> str:
    form = ", ".join(filter(None, (notice.form, notice.edition)))
    return f"{notice.title} ({form})" if form else notice.title


def _cited(citation: Citation) -> str:
    return ", ".join(filter(None, (citation.title, citation.section, citation.url)))
