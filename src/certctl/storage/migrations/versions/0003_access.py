"""Who made an API key; labels; what is archived; audit events by object, action and actor.

An older process beside this one cannot check events that have a request id; it finds them altered.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what is new. An older process beside this one works without it."""
    op.add_column("api_keys", sa.Column("created_by", sa.String(80)))
    op.add_column("profiles", sa.Column("archived_at", sa.BigInteger()))
    op.add_column("certificates", sa.Column("labels", sa.Text()))
    op.add_column("certificates", sa.Column("archived_at", sa.BigInteger()))
    in_inventory = sa.text("archived_at IS NULL")
    op.create_index(
        "ix_certificates_status_not_after",
        "certificates",
        ["status", "not_after"],
        sqlite_where=in_inventory,
        postgresql_where=in_inventory,
    )
    op.add_column("audit_events", sa.Column("request_id", sa.String(64)))
    for first in (["object_id"], ["action"], ["actor", "action"]):
        op.create_index(
            f"ix_audit_events_{first[0]}", "audit_events", [*first, "at", "chain_id", "seq"]
        )
