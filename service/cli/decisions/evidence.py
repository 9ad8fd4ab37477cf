"""covercard decisions evidence: one file about a decision, for a dispute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.decisions.options import client_option, load, mention_waiting, opened
from service.cli.terminal import echo

if TYPE_CHECKING:
    from service.policies.policy_text import PolicyText
    from service.settings import Settings


@click.command()
@click.argument("identifier", metavar="ASSERTION-ID")
@client_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write. Default: evidence-ASSERTION-ID.html. An existing file stays as it is.",
)
def evidence(identifier: str, client: str | None, output: Path | None) -> None:
    """Write all that is on record of a decision into one HTML file, to print or to hand over.

    It has the request and the answer as they were kept, the text of the policy's version, the way
    from order to answer, what the payer's records said, and the record's place in its chain; the
    same as JSON is within the file.
    """
    from datetime import UTC, datetime

    from service.cli.decisions.evidence_file import evidence_html
    from service.decision_log.access_log import user
    from service.decision_log.chain_proof import chain_proof
    from service.decision_log.decision_detail import by_assertion
    from service.policies.answer_texts import load_texts
    from service.private_files import written_whole

    settings = load()
    identifier = identifier.strip().lower()
    file = output or Path(f"evidence-{identifier}.html")
    asked = {"assertion_id": identifier, "client": client, "output": file}
    with opened(settings, "evidence", asked) as connection:
        found = by_assertion(connection, identifier, client)
        proof = chain_proof(connection, found.call.row.call_id) if found else None
    if found is None:
        mention_waiting(settings)
        raise click.ClickException("no decision has this assertion id")
    html = evidence_html(
        found,
        policy=_policy_text(
            settings, found.determination.policy_id, found.determination.policy_version
        ),
        proof=proof,
        undetermined=load_texts().undetermined,
        zone=settings.zone,
        by=user(),
        now=datetime.now(UTC),
    )
    try:
        with written_whole(file, replace=False) as out:
            out.write(html.encode())
    except FileExistsError:
        raise click.ClickException(
            f"{file} is there already, and evidence is never overwritten; name another --output"
        ) from None
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from None
    echo(f"written to {file}")
    if found.same_id_elsewhere:
        others = ", ".join(dict.fromkeys(d.client for d in found.same_id_elsewhere))
        echo(f"other clients have a decision with this id ({others}); see --client", err=True)


def _policy_text(
    settings: Settings, policy_id: str | None, version: str | None
) -> PolicyText | None:
    from service.bootstrap.snapshot import library_places
    from service.policies.policy_text import policy_text

    if policy_id is None or version is None:
        return None
    with library_places(settings) as places:
        return policy_text(places.folders, policy_id, version)
