"""The tables of the first release."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OPEN = sa.text(
    "state = 'awaiting_csr' OR state = 'ready' OR state = 'submitting'"
    " OR state = 'pending' OR state = 'uncertain'"
)


def upgrade() -> None:
    """Create them."""
    _create_settings()
    _create_certificates()
    _create_orders()
    _create_revocations()
    _create_audit()


def _create_settings() -> None:
    op.create_table(
        "changes",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_changes"),
    )
    op.execute("INSERT INTO changes (id, counter) VALUES (1, 0)")
    op.create_table(
        "sealed_values",
        sa.Column("scope", sa.String(80), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name", name="pk_sealed_values"),
    )
    op.create_table(
        "issuers",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("sealed_config", sa.LargeBinary()),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_issuers"),
        sa.UniqueConstraint("name", name="uq_issuers_name"),
    )
    op.create_table(
        "profiles",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_profiles"),
        sa.UniqueConstraint("name", name="uq_profiles_name"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("scope", sa.Text()),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("last_used_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )


def _create_certificates() -> None:
    op.create_table(
        "certificates",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("issuer_id", sa.String(80), nullable=False),
        sa.Column("profile_id", sa.String(80), nullable=False),
        sa.Column("owner", sa.String(120)),
        sa.Column("common_name", sa.String(255)),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("version_id", sa.String(80)),
        sa.Column("not_after", sa.BigInteger()),
        sa.Column("renew_at", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["issuer_id"], ["issuers.id"], name="fk_certificates_issuer_id"),
        sa.ForeignKeyConstraint(["profile_id"], ["profiles.id"], name="fk_certificates_profile_id"),
        sa.PrimaryKeyConstraint("id", name="pk_certificates"),
    )
    _create_partial_index("certificates", "renew_at")
    op.create_table(
        "certificate_names",
        sa.Column("value", sa.String(2048), nullable=False),
        sa.Column("certificate_id", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.ForeignKeyConstraint(
            ["certificate_id"], ["certificates.id"], name="fk_certificate_names_certificate_id"
        ),
        sa.PrimaryKeyConstraint("value", "certificate_id", "kind", name="pk_certificate_names"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "chains",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chains"),
    )
    op.create_table(
        "versions",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("certificate_id", sa.String(80), nullable=False),
        sa.Column("issuer_id", sa.String(80), nullable=False),
        sa.Column("order_id", sa.String(80), nullable=False),
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("chain_id", sa.String(64), nullable=False),
        sa.Column("reference", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["certificate_id"], ["certificates.id"], name="fk_versions_certificate_id"
        ),
        sa.ForeignKeyConstraint(["chain_id"], ["chains.id"], name="fk_versions_chain_id"),
        sa.ForeignKeyConstraint(["issuer_id"], ["issuers.id"], name="fk_versions_issuer_id"),
        sa.PrimaryKeyConstraint("id", name="pk_versions"),
        sa.UniqueConstraint("issuer_id", "serial", name="uq_versions_issuer_id_serial"),
    )
    op.create_index("ix_versions_certificate_id", "versions", ["certificate_id"])


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("certificate_id", sa.String(80), nullable=False),
        sa.Column("issuer_id", sa.String(80), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("csr", sa.LargeBinary()),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text()),
        sa.Column("version_id", sa.String(80)),
        sa.Column("problem", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("lease_owner", sa.String(80)),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["certificate_id"], ["certificates.id"], name="fk_orders_certificate_id"
        ),
        sa.ForeignKeyConstraint(["issuer_id"], ["issuers.id"], name="fk_orders_issuer_id"),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
    )
    op.create_index("ix_orders_certificate_id", "orders", ["certificate_id"])
    _create_partial_index("orders", "due_at")
    op.create_index(
        "uq_orders_open",
        "orders",
        ["certificate_id"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_table(
        "order_attempts",
        sa.Column("order_id", sa.String(80), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(24), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_order_attempts_order_id"),
        sa.PrimaryKeyConstraint("order_id", "number", name="pk_order_attempts"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("api_key_id", sa.String(80), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("order_id", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("api_key_id", "key", name="pk_idempotency_keys"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def _create_revocations() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("version_id", sa.String(80), nullable=False),
        sa.Column("certificate_id", sa.String(80), nullable=False),
        sa.Column("issuer_id", sa.String(80), nullable=False),
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("reference", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("bulk_id", sa.String(80)),
        sa.Column("revoked_at", sa.BigInteger(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        *_lease_columns(),
        sa.ForeignKeyConstraint(
            ["certificate_id"], ["certificates.id"], name="fk_revocations_certificate_id"
        ),
        sa.ForeignKeyConstraint(["issuer_id"], ["issuers.id"], name="fk_revocations_issuer_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_revocations_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_revocations"),
        sa.UniqueConstraint("version_id", name="uq_revocations_version_id"),
    )
    op.create_index("ix_revocations_certificate_id", "revocations", ["certificate_id"])
    op.create_index("ix_revocations_issuer_id_not_after", "revocations", ["issuer_id", "not_after"])
    _create_partial_index("revocations", "due_at")
    _create_partial_index("revocations", "bulk_id")
    op.create_table(
        "bulk_revocations",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("position", sa.String(80), nullable=False),
        *_lease_columns(),
        sa.PrimaryKeyConstraint("id", name="pk_bulk_revocations"),
    )
    _create_partial_index("bulk_revocations", "due_at")
    op.create_table(
        "crls",
        sa.Column("issuer_id", sa.String(80), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("this_update", sa.BigInteger()),
        sa.Column("next_update", sa.BigInteger()),
        sa.Column("der", sa.LargeBinary()),
        sa.Column("problem", sa.Text()),
        *_lease_columns(),
        sa.ForeignKeyConstraint(["issuer_id"], ["issuers.id"], name="fk_crls_issuer_id"),
        sa.PrimaryKeyConstraint("issuer_id", name="pk_crls"),
    )
    _create_partial_index("crls", "due_at")


def _lease_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("lease_owner", sa.String(80)),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    ]


def _create_partial_index(table: str, column: str) -> None:
    where = sa.text(f"{column} IS NOT NULL")
    op.create_index(
        f"ix_{table}_{column}", table, [column], sqlite_where=where, postgresql_where=where
    )


def _create_audit() -> None:
    op.create_table(
        "audit_events",
        sa.Column("chain_id", sa.String(80), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("object_type", sa.String(40), nullable=False),
        sa.Column("object_id", sa.String(80), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "seq", name="pk_audit_events"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_audit_events_at", "audit_events", ["at", "chain_id", "seq"])
    op.create_table(
        "audit_chains",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("base_seq", sa.BigInteger(), nullable=False),
        sa.Column("base_mac", sa.LargeBinary(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_mac", sa.LargeBinary(), nullable=False),
        sa.Column("head_mac", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_chains"),
    )
