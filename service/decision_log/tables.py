"""Tables of the log (SQLAlchemy Core), the same on SQLite and PostgreSQL.

Instants are microseconds since 1970 UTC. A call's rows are written in one transaction and pruned
together, so that foreign keys are unnecessary. `chain_record` has each record's place in its chain,
written in the same transaction: the newest of a chain is how far its segments are in the rows.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

call = Table(
    "call",
    metadata,
    Column("call_id", String(32), primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    Column("client", Text, nullable=False),
    Column("service_id", Text, nullable=False),
    Column("hook", Text, nullable=False),
    Column("hook_instance", Text),
    Column("crd_version", Text),
    Column("ehr", Text),
    Column("patient", Text),
    Column("encounter", Text),
    Column("status", Integer, nullable=False),
    Column("elapsed_us", BigInteger, nullable=False),
    Column("token_use", Text),
    Column("service_version", Text, nullable=False),
    Column("kept", LargeBinary, nullable=False),
    Column("policies_digest", Text),
    Column("repeated", Integer),
)
Index("call_patient", call.c.patient, call.c.call_id)
Index("call_ehr", call.c.ehr, call.c.call_id)
Index("call_client", call.c.client, call.c.call_id)
_is_repeated = call.c.repeated.is_not(None)
Index("call_repeated", call.c.call_id, sqlite_where=_is_repeated, postgresql_where=_is_repeated)

determination = Table(
    "determination",
    metadata,
    Column("call_id", String(32), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("assertion_id", Text),
    Column("stated", Integer, nullable=False),
    Column("replaces", Text),
    Column("order_ref", Text, nullable=False),
    Column("codes", Text, nullable=False),
    Column("coverage", Text),
    Column("coverage_outcome", Text, nullable=False),
    Column("payer", Text),
    Column("program", Text, nullable=False),
    Column("service_day", Text, nullable=False),
    Column("day_source", Text, nullable=False),
    Column("covered", Text, nullable=False),
    Column("undetermined", Text),
    Column("policy_id", Text),
    Column("policy_version", Text),
    Column("reason_id", Text),
    Column("billing_codes", Text, nullable=False),
    Column("notices", Text, nullable=False),
)
Index("determination_assertion", determination.c.assertion_id, determination.c.call_id)
Index("determination_order", determination.c.order_ref, determination.c.call_id)

card = Table(
    "card",
    metadata,
    Column("card_uuid", String(64), primary_key=True),
    Column("call_id", String(32), nullable=False),
    Column("position", Integer, nullable=False),
    Column("topic", Text, nullable=False),
    Column("policy_id", Text),
    Column("policy_version", Text),
    Column("form", Integer, nullable=False),
    Column("suggestions", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("card_call", card.c.call_id)

feedback = Table(
    "feedback",
    metadata,
    Column("feedback_id", String(64), primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    Column("client", Text, nullable=False),
    Column("service_id", Text, nullable=False),
    Column("card_uuid", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("outcome_at", BigInteger, nullable=False),
    Column("accepted_suggestions", Text, nullable=False),
    Column("reason_system", Text),
    Column("reason_code", Text),
    Column("reason_display", Text),
    Column("comment", Text),
)
Index("feedback_card", feedback.c.card_uuid)
Index("feedback_received", feedback.c.received_at)

access = Table(
    "access_log",
    metadata,
    Column("access_id", String(32), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

chain_record = Table(
    "chain_record",
    metadata,
    Column("chain", BigInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Integer, nullable=False),
    Column("form", Integer, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("call_id", String(32)),
    Column("content_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Column("content", LargeBinary),
    sqlite_with_rowid=False,
)
Index("chain_record_call", chain_record.c.call_id)
_has_content = chain_record.c.content.is_not(None)
Index(
    "chain_record_content",
    chain_record.c.recorded_at,
    sqlite_where=_has_content,
    postgresql_where=_has_content,
)
