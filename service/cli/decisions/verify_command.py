"""covercard decisions verify: the chain of the records, in segments and rows."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from service.cli.decisions.options import load, opened
from service.cli.terminal import echo


@click.command()
@click.option(
    "--anchors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of anchors, as COVERCARD_RECORDS_ANCHOR has written it.",
)
def verify(anchors: Path | None) -> None:
    """Verify the chain of the records, and name the first break in segments and rows.

    A break is a record that was changed, removed, inserted or put in another order. Exit code 1 if
    there is one.
    """
    from service.cli.progress import waiting
    from service.decision_log.anchors import read_anchors
    from service.decision_log.chain_key import KEY_FILE, read_key
    from service.decision_log.records_folder import RecordsFolder
    from service.decision_log.verification import verify as verified

    settings = load()
    told = read_anchors(anchors.read_bytes()) if anchors is not None else ()
    with (
        opened(settings, "verify", {"anchors": anchors}) as connection,
        waiting("Verifying"),
    ):
        key = read_key(settings.records_key_file or settings.records_dir / KEY_FILE)
        found = verified(connection, RecordsFolder(settings.records_dir), key, told)
    echo(f"segments: {found.segments}, with {found.records_in_segments} records")
    echo(f"rows: {found.records} records of {found.chains} chains")
    if found.pruned:
        echo(f"{found.pruned} records of pruned calls: their hashes are whole")
    if found.calls_before_the_chain:
        echo(f"{found.calls_before_the_chain} calls are from before the chain: not verified")
    for other in sorted(found.other_keys):
        echo(f"records of installation {other} are linked; its key is needed for more")
    if key is None:
        echo("there is no key here: nothing was authenticated")
    for where, broken in (
        ("segments", found.first_break_in_segments),
        ("rows", found.first_break_in_rows),
    ):
        if broken is not None:
            echo(f"first break in the {where}: {broken}")
    if not found.whole:
        sys.exit(1)
    echo("the chain is whole")
