"""Retention: pruning of old calls with their determinations, cards and feedback."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, func, select, text

from service.decision_log.instants import first_call_id, microseconds
from service.decision_log.tables import access, call, card, determination, feedback

_BATCH = 500


def count_older(connection: Connection, before: datetime) -> int:
    """The number of calls received before an instant."""
    older = select(func.count()).select_from(call).where(call.c.call_id < first_call_id(before))
    return int(connection.execute(older).scalar() or 0)


def prune(
    engine: Engine, before: datetime, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Remove each call received before an instant, with its rows; returns their number.

    Works in small transactions beside running services; an interrupted run can be repeated.
    `progress` is called with the size of each batch, and first with 0.
    """
    bound = first_call_id(before)
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # Deleted patient data is overwritten on disk.
            connection.execute(text("PRAGMA secure_delete=ON"))
            connection.commit()
        _prune_cards(connection, bound, progress)
        removed = 0
        while batch := _prune_calls(connection, bound):
            removed += batch
            progress(batch)
        at = microseconds(before)
        # Feedback on unknown cards is pruned by its own age.
        unknown = feedback.c.card_uuid.not_in(select(card.c.card_uuid))
        connection.execute(delete(feedback).where(feedback.c.received_at < at, unknown))
        connection.execute(delete(access).where(access.c.at < at))
        connection.commit()
    return removed


def _prune_cards(connection: Connection, bound: str, progress: Callable[[int], None]) -> None:
    """Cards have no index by call: one pass in order of their key."""
    last = ""
    while True:
        rows = connection.execute(
            select(card.c.card_uuid, card.c.call_id)
            .where(card.c.card_uuid > last)
            .order_by(card.c.card_uuid)
            .limit(_BATCH)
        ).all()
        if not rows:
            return
        old = [row.card_uuid for row in rows if row.call_id < bound]
        if old:
            connection.execute(delete(feedback).where(feedback.c.card_uuid.in_(old)))
            connection.execute(delete(card).where(card.c.card_uuid.in_(old)))
        connection.commit()
        progress(0)
        last = rows[-1].card_uuid


def _prune_calls(connection: Connection, bound: str) -> int:
    ids = (
        connection.execute(
            select(call.c.call_id)
            .where(call.c.call_id < bound)
            .order_by(call.c.call_id)
            .limit(_BATCH)
        )
        .scalars()
        .all()
    )
    if ids:
        last = ids[-1]
        connection.execute(delete(determination).where(determination.c.call_id <= last))
        connection.execute(delete(call).where(call.c.call_id <= last))
        connection.commit()
    return len(ids)
