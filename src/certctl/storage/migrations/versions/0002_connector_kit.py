"""Issuers over REST, their limits and conditions, orders that wait, events for the webhook."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what is new. An older process beside this one does not need it."""
    op.add_column("issuers", sa.Column("max_concurrency", sa.Integer()))
    op.add_column("issuers", sa.Column("max_calls_per_minute", sa.Integer()))
    op.add_column("issuers", sa.Column("archived_at", sa.BigInteger()))
    op.add_column("orders", sa.Column("failures", sa.Integer()))
    op.add_column("orders", sa.Column("unknown_since", sa.BigInteger()))
    op.add_column("order_attempts", sa.Column("code", sa.String(120)))
    for table in ("orders", "revocations"):
        op.drop_index(f"ix_{table}_due_at", table)
        _index_due(table, "issuer_id", "due_at")
    op.create_table(
        "issuer_checks",
        _issuer_id(),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("code", sa.String(120)),
        sa.Column("host", sa.String(255)),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer_id", name="pk_issuer_checks"),
        _to_issuers("issuer_checks"),
    )
    op.create_table(
        "issuer_conditions",
        _issuer_id(),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("openings", sa.Integer()),
        *_queue_columns(),
        sa.PrimaryKeyConstraint("issuer_id", name="pk_issuer_conditions"),
        _to_issuers("issuer_conditions"),
    )
    _index_due("issuer_conditions", "due_at")
    op.create_table(
        "issuer_slices",
        _issuer_id(),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("calls_per_minute", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer_id", "owner", name="pk_issuer_slices"),
        _to_issuers("issuer_slices"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text()),
        *_queue_columns(),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    _index_due("events", "due_at")


def _issuer_id() -> sa.Column[str]:
    return sa.Column("issuer_id", sa.String(80), nullable=False)


def _to_issuers(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["issuer_id"], ["issuers.id"], name=f"fk_{table}_issuer_id")


def _queue_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("lease_owner", sa.String(80)),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    ]


def _index_due(table: str, *columns: str) -> None:
    where = sa.text(f"{columns[-1]} IS NOT NULL")
    op.create_index(
        "_".join(["ix", table, *columns]),
        table,
        list(columns),
        sqlite_where=where,
        postgresql_where=where,
    )
