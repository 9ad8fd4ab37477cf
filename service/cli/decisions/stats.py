"""covercard decisions stats: policy statistics."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from service.cli.decisions.options import load, mention_spool, opened, span_of, span_options

if TYPE_CHECKING:
    from collections import Counter

    from service.decision_log.policy_stats import PolicyStats


@click.command()
@span_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def stats(since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """Count calls, answers, cards, feedback and forms by policy."""
    from service.cli.decisions.progress import waiting
    from service.decision_log.policy_stats import policy_stats

    settings = load()
    asked = {"since": since, "until": until}
    with opened(settings, "stats", asked) as connection, waiting("Counting"):
        found = policy_stats(connection, span_of(since, until))
    mention_spool(settings)
    if as_json:
        from service.cli.decisions.page import print_json

        print_json([_json(s) for s in found])
    else:
        _print(found)


def _json(s: PolicyStats) -> dict[str, object]:
    return {
        "policy": s.policy_id,
        "calls": s.calls,
        "orders": s.orders,
        "covered": dict(s.covered),
        "cards": s.cards,
        "accepted": s.accepted,
        "overridden": dict(s.overridden),
        "unanswered": s.unanswered,
        "forms_offered": s.forms_offered,
        "forms_started": s.forms_started,
    }


def _print(found: list[PolicyStats]) -> None:
    """One paragraph for each policy, for terminals of any width."""
    from service.decision_log.display import printable

    for s in found:
        lines = {
            "calls": f"{s.calls}, with {s.orders} orders; one asked twice counts twice",
            "answers": _counts(s.covered),
            "cards": f"{s.cards}, of which accepted {s.accepted}, overridden"
            f" {s.overridden.total()}, nothing said {s.unanswered}",
            "overridden": _counts(s.overridden),
            "forms": f"{s.forms_started} of {s.forms_offered} offered were started",
        }
        click.echo(printable(s.policy_id or "(no policy)"))
        for name, value in lines.items():
            if value:
                click.echo(f"    {name:<11} {printable(value)}")


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counter.most_common())
