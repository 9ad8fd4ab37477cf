"""Parquet files of the log, one a day: for questions over years, asked by other tools.

A row is a determination, or a call without any, as in the CSV; lists are lists. Each day's file is
written whole: a file that has its name is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, tzinfo
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.cli.decisions.log_shapes import decision_rows
from service.decision_log.queries import LoggedCall
from service.errors import ConfigurationError
from service.private_files import written_whole

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_A_TIME = 5000
_TEXTS = (
    "call_id",
    "client",
    "service_id",
    "hook",
    "hook_instance",
    "crd_version",
    "ehr",
    "patient",
    "encounter",
    "token_use",
    "service_version",
    "policies_digest",
    "assertion_id",
    "replaces",
    "order_ref",
    "coverage",
    "coverage_outcome",
    "payer",
    "program",
    "service_day",
    "day_source",
    "covered",
    "undetermined",
    "policy_id",
    "policy_version",
    "reason_id",
)
_LISTS = ("codes", "billing_codes", "notices")


def write_days(
    calls: Iterable[LoggedCall],
    folder: Path,
    zone: tzinfo,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[Path]:
    """Write calls, oldest first, to files of their days in `zone`; yields each when it is complete.

    A day's file that is there is replaced. Raises ConfigurationError without the package that
    writes the format.
    """
    arrow, parquet = _packages()
    schema = _schema(arrow)

    def day(logged: LoggedCall) -> date:
        return logged.received_at.astimezone(zone).date()

    for on, of_day in groupby(calls, key=day):
        file = folder / f"decisions-{on}.parquet"
        with (
            written_whole(file, replace=True) as out,
            parquet.ParquetWriter(out, schema, compression="zstd") as writer,
        ):
            for rows in _batches(of_day, advance):
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
        yield file


def _batches(
    calls: Iterable[LoggedCall], advance: Callable[[int], object]
) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for logged in calls:
        rows.extend({**row, "received_at": logged.received_at} for row in decision_rows(logged))
        advance(1)
        if len(rows) >= _ROWS_AT_A_TIME:
            yield rows
            rows = []
    if rows:
        yield rows


def _schema(arrow: Any) -> pa.Schema:
    fields = {
        "received_at": arrow.timestamp("us", tz="UTC"),
        "status": arrow.int32(),
        "elapsed_ms": arrow.float64(),
        "position": arrow.int32(),
        "stated": arrow.bool_(),
        "repeated": arrow.bool_(),
    }
    fields |= dict.fromkeys(_TEXTS, arrow.string())
    fields |= dict.fromkeys(_LISTS, arrow.list_(arrow.string()))
    return arrow.schema(sorted(fields.items()))


def _packages() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigurationError(
            "--format parquet needs another package: pip install 'covercard[parquet]', or with"
            " its hashes from requirements-parquet.lock"
        ) from None
    return pyarrow, pyarrow.parquet
