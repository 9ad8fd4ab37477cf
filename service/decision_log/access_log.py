"""Access log of the decision log: reader, time and search (CRD 2.0.1 statement 80)."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from service.decision_log.instants import first_call_id, instant
from service.decision_log.tables import access


@dataclass(frozen=True, slots=True)
class LoggedAccess:
    """One access: `what` names the action, `detail` the search."""

    at: datetime
    who: str
    what: str
    detail: Mapping[str, Any]


def accesses(connection: Connection, since: datetime | None, most: int) -> Iterator[LoggedAccess]:
    """At most `most` accesses since an instant, newest first."""
    wanted = select(access).order_by(access.c.access_id.desc()).limit(most)
    if since is not None:
        wanted = wanted.where(access.c.access_id >= first_call_id(since))
    for row in connection.execute(wanted):
        yield LoggedAccess(instant(row.at), row.who, row.what, msgspec.json.decode(row.detail))


def user() -> str:
    """The operating system's user; under sudo, the invoking user too."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {behind})" if behind and behind != name else name
