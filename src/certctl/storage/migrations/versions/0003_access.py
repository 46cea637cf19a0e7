"""Who made an API key; labels; what is archived; indexes of the inventory and the audit log.

An older process beside this one cannot check events that have a request id; it finds them altered.
"""

from __future__ import annotations

from typing import Any

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
    op.add_column("audit_events", sa.Column("request_id", sa.String(64)))
    for first in (["object_id"], ["action"], ["actor", "action"]):
        op.create_index(
            f"ix_audit_events_{first[0]}", "audit_events", [*first, "at", "chain_id", "seq"]
        )
    _index_inventory()
    _reverse_names()


def _index_inventory() -> None:
    whole = ["id", "not_after", "archived_at"]
    unusual = "status <> 'issued' AND archived_at IS NULL"
    for words, columns, condition in (
        ("issuer_id", ["issuer_id", *whole], None),
        ("profile_id", ["profile_id", *whole], None),
        ("owner", ["owner", *whole], "owner IS NOT NULL"),
        ("not_after", ["not_after", "id"], "archived_at IS NULL"),
        ("status", ["status", "id"], unusual),
        ("status_not_after", ["status", "not_after", "id"], unusual),
        ("archived", ["id"], "archived_at IS NOT NULL"),
        ("archived_not_after", ["not_after", "id"], "archived_at IS NOT NULL"),
    ):
        where = None if condition is None else sa.text(condition)
        op.create_index(
            f"ix_certificates_{words}",
            "certificates",
            columns,
            sqlite_where=where,
            postgresql_where=where,
        )


def _reverse_names() -> None:
    """PostgreSQL has a function for it; in SQLite, one of Python's is lent to this connection."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        op.add_column("certificate_names", sa.Column("reversed", sa.String(2048)))
        driver: Any = connection.connection.dbapi_connection
        driver.create_function("reverse", 1, _reverse, deterministic=True)
    else:
        text = sa.String(2048, collation="C")
        op.alter_column("certificate_names", "value", type_=text, existing_nullable=False)
        op.add_column("certificate_names", sa.Column("reversed", text))
        op.execute(_REVERSES)
        op.execute(_WHERE_IT_IS_MISSING)
    op.execute("UPDATE certificate_names SET reversed = reverse(value)")
    op.create_index(
        "ix_certificate_names_reversed", "certificate_names", ["reversed", "certificate_id"]
    )


# For an older process beside this one, which does not write the column.
_REVERSES = """
CREATE FUNCTION certctl_reverse_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.reversed := reverse(NEW.value);
    RETURN NEW;
END $$
"""
_WHERE_IT_IS_MISSING = """
CREATE TRIGGER certctl_reverse_name BEFORE INSERT ON certificate_names
FOR EACH ROW WHEN (NEW.reversed IS NULL) EXECUTE FUNCTION certctl_reverse_name()
"""


def _reverse(value: str) -> str:
    return value[::-1]
