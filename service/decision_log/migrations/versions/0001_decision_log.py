"""Decision log: tables of calls, determinations, cards, feedback and accesses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
usable_from = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "call",
        sa.Column("call_id", sa.String(32), primary_key=True),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("service_id", sa.Text, nullable=False),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("hook_instance", sa.Text),
        sa.Column("crd_version", sa.Text),
        sa.Column("ehr", sa.Text),
        sa.Column("patient", sa.Text),
        sa.Column("encounter", sa.Text),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("elapsed_us", sa.BigInteger, nullable=False),
        sa.Column("token_use", sa.Text),
        sa.Column("service_version", sa.Text, nullable=False),
        sa.Column("kept", sa.LargeBinary, nullable=False),
    )
    op.create_index("call_patient", "call", ["patient", "call_id"])
    op.create_table(
        "determination",
        sa.Column("call_id", sa.String(32), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("assertion_id", sa.Text),
        sa.Column("stated", sa.Integer, nullable=False),
        sa.Column("replaces", sa.Text),
        sa.Column("order_ref", sa.Text, nullable=False),
        sa.Column("codes", sa.Text, nullable=False),
        sa.Column("coverage", sa.Text),
        sa.Column("coverage_outcome", sa.Text, nullable=False),
        sa.Column("payer", sa.Text),
        sa.Column("programme", sa.Text, nullable=False),
        sa.Column("service_day", sa.Text, nullable=False),
        sa.Column("day_source", sa.Text, nullable=False),
        sa.Column("covered", sa.Text, nullable=False),
        sa.Column("gap", sa.Text),
        sa.Column("policy_id", sa.Text),
        sa.Column("policy_version", sa.Text),
        sa.Column("reason_id", sa.Text),
        sa.Column("billing_codes", sa.Text, nullable=False),
        sa.Column("notices", sa.Text, nullable=False),
    )
    op.create_index("determination_assertion", "determination", ["assertion_id", "call_id"])
    op.create_index("determination_order", "determination", ["order_ref", "call_id"])
    op.create_table(
        "card",
        sa.Column("card_uuid", sa.String(64), primary_key=True),
        sa.Column("call_id", sa.String(32), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("policy_id", sa.Text),
        sa.Column("policy_version", sa.Text),
        sa.Column("form", sa.Integer, nullable=False),
        sa.Column("suggestions", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "feedback",
        sa.Column("feedback_id", sa.String(64), primary_key=True),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("service_id", sa.Text, nullable=False),
        sa.Column("card_uuid", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("outcome_at", sa.BigInteger, nullable=False),
        sa.Column("accepted_suggestions", sa.Text, nullable=False),
        sa.Column("reason_system", sa.Text),
        sa.Column("reason_code", sa.Text),
        sa.Column("reason_display", sa.Text),
        sa.Column("comment", sa.Text),
    )
    op.create_index("feedback_card", "feedback", ["card_uuid"])
    op.create_index("feedback_received", "feedback", ["received_at"])
    op.create_table(
        "access_log",
        sa.Column("access_id", sa.String(32), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("access_log", "feedback", "card", "determination", "call"):
        op.drop_table(table)
